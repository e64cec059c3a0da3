// Package target holds the connections to what upkeep looks after: one value
// for each server in the configuration, opened once and shared by the
// collectors that read it and the actions that change it.
package target

// A Set is every target in the configuration.
type Set struct {
	Postgres []*Postgres
	Redis    []*Redis
	Sentinel []*Sentinel
	Host     []*Host
	Docker   []*Docker
	Probe    []*Probe
	Backup   []*Backup
	Packages []*Packages
}

// Close closes every connection of the set.
func (s Set) Close() {
	for _, p := range s.Postgres {
		p.Close()
	}
	for _, r := range s.Redis {
		r.Close()
	}
	for _, n := range s.Sentinel {
		n.Close()
	}
	for _, d := range s.Docker {
		d.Close()
	}
}

// A Host is the machine that upkeep runs on.
type Host struct {
	Name string // the server label

	// Root is where the host's file systems are seen from, "/" unless upkeep
	// runs in a container that has them mounted elsewhere.
	Root string
}

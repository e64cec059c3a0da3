package check

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ai-micro-service/upkeep/collectors/logs/pattern"
	"github.com/ai-micro-service/upkeep/internal/platform/child"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// targets checks what the targets say of each other, and the collectors' settings.
func (k *checker) targets() {
	for i, p := range k.config.Targets.Postgres {
		if at := in("targets", "postgres", i); k.follows(p, p.Name, nil) {
			k.fault(at.in("replica_of"),
				"postgres %s follows itself through replica_of; name the primary there, and nothing at the primary",
				p.Name)
		}
		k.patterns(in("targets", "postgres", i, "databases"), "databases of postgres "+p.Name, p.Databases)
		k.patterns(in("targets", "postgres", i, "exclude"), "exclude of postgres "+p.Name, p.Exclude)
		for j, a := range p.Archives {
			if p.LeavesAlone(a.Database) && excludedBy(p, a.Database) == "databases" {
				k.fault(in("targets", "postgres", i, "archives", j, "database"),
					"the archive of %s is in database %q, which the databases of postgres %s are without, so its rows "+
						"are neither counted nor moved; name it in databases", a.Table, a.Database, p.Name)
			} else if p.LeavesAlone(a.Database) {
				k.fault(in("targets", "postgres", i, "archives", j, "database"),
					"the archive of %s is in database %q, which postgres %s excludes, so its rows are neither "+
						"counted nor moved; take it out of exclude", a.Table, a.Database, p.Name)
			}
		}
	}
	k.addresses()
	for _, name := range slices.Sorted(maps.Keys(k.config.Collectors.Settings)) {
		kind := kindOf(name)
		if len(k.words.targets[kind]) == 0 {
			k.warn(in("collectors", "settings", name),
				"collector %s has settings and asks nothing: there is no %s target; add one to targets.%s, or remove "+
					"this", name, kind, kind)
		}
		for i, target := range k.config.Collectors.Settings[name].DisabledFor {
			if names := k.words.targets[kind]; !slices.Contains(names, target) {
				do := meant(target, names, choose(names))
				if len(names) == 0 {
					do = fmt.Sprintf("no target is in targets.%s: remove this, or add one", kind)
				}
				k.fault(in("collectors", "settings", name, "disabled_for", i),
					"collector %s is disabled for %q, and there is no %s target of that name; %s", name, target, kind,
					do)
			}
		}
		if s := k.config.Collectors.Settings[name]; s.Timeout > 0 && s.Timeout > k.words.every[name] {
			k.warn(in("collectors", "settings", name, "timeout"),
				"collector %s may take %s for an answer and asks every %s; make timeout shorter, or every longer", name,
				s.Timeout, k.words.every[name])
		}
	}
}

// patterns warns of names that are meant as patterns.
func (k *checker) patterns(at place, what string, names []string) {
	for i, name := range names {
		if strings.ContainsAny(name, "*?%[") {
			k.warn(at.in(i), "%s has %q: names are compared as they are, without patterns; write each name", what, name)
		}
	}
}

// follows reports whether a chain of replica_of comes back to a server.
func (k *checker) follows(p config.Postgres, first string, seen []string) bool {
	if p.ReplicaOf == "" || slices.Contains(seen, p.Name) {
		return false
	}
	if p.ReplicaOf == first {
		return true
	}
	i := slices.IndexFunc(k.config.Targets.Postgres, func(o config.Postgres) bool { return o.Name == p.ReplicaOf })
	return i >= 0 && k.follows(k.config.Targets.Postgres[i], first, append(seen, p.Name))
}

// addresses says when two targets of a kind are the same server: everything would be
// counted, and done, twice.
func (k *checker) addresses() {
	first := make(map[string]string)
	same := func(at place, kind, name, address string) {
		id := kind + " " + strings.TrimSuffix(address, "/")
		if before, twice := first[id]; twice {
			k.warn(at, "%s %s has the address of %s; two names for one server count and act twice", kind,
				strconv.Quote(name), strconv.Quote(before))
			return
		}
		first[id] = name
	}
	for i, p := range k.config.Targets.Postgres {
		same(in("targets", "postgres", i, "url"), "postgres", p.Name, p.URL)
	}
	for i, r := range k.config.Targets.Redis {
		same(in("targets", "redis", i, "url"), "redis", r.Name, r.URL)
	}
	for i, s := range k.config.Targets.Sentinel {
		same(in("targets", "sentinel", i, "url"), "sentinel", s.Name, s.URL)
	}
	for i, d := range k.config.Targets.Docker {
		same(in("targets", "docker", i, "host"), "docker", d.Name, d.Host)
	}
}

// hostLogs checks that the logs of a machine exist and can be read.
func (k *checker) hostLogs(at place, h config.Host) {
	host := target.NewHost(h.Name, h.Root, target.HostLogs{})
	for i, f := range h.Logs.Files {
		at := at.in("files").in(i).in("path")
		found := pattern.Find(host, f.Path, func(string) bool { return false })
		if err := found.Err(); err != nil {
			k.fault(at, "logs of %s: %v; correct the path, or grant the right", f.Service, err)
			continue
		}
		if len(found.Logs) == 0 {
			k.warn(at, "no log of %s is at %s; correct the path, or wait: a log is read when it appears", f.Service,
				f.Path)
		}
		for _, log := range found.Logs {
			if _, err := host.LogFiles(log); errors.Is(err, fs.ErrPermission) {
				k.fault(at, "%s cannot be read: permission denied; let the user that runs upkeep read it, as group "+
					"adm does on Debian", log)
			} else if err != nil {
				k.fault(at, "%s: %v", log, err)
			}
		}
	}
	if len(h.Logs.Journal.Units) > 0 {
		if _, err := child.Find("journalctl"); err != nil {
			k.fault(at.in("journal"), "host %s: %v; install systemd, or remove journal", h.Name, err)
		}
	}
}

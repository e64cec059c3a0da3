package target

import (
	"net/netip"
	"time"
)

// What happens to files when their server is restarted.
const (
	Kept  Fate = iota // they are on a disk of the machine, or on a volume
	Layer             // they are in the container's own layer: kept by a restart, lost with the container
	Lost              // the folder is empty after the restart
)

// A Supervised is the state of a server as Docker or systemd sees it.
type Supervised struct {
	Running bool
	PID     int           // on this machine; 0 where it is not known
	Started time.Time     // zero where it is not known
	Grace   time.Duration // how long the server may take to stop before it is killed; negative: as long as it wants
	Args    []string      // what the server was started with, where that is known
	WorkDir string        // the folder that it was started in, where that is known
	Folders []Folder      // what a restart does to its files, where that is known

	Addresses []netip.Addr // that the server has of its own, where that is known
}

// Fate says what a restart does to the files in a folder.
type Fate int

// A Folder is one whose files share a fate; the folders below it share it too,
// unless one of them is a Folder itself.
type Folder struct {
	Path string // as the server sees it
	Fate Fate
	Bind bool   // it is a folder of the machine that a container has mounted
	What string // for people: "the tmpfs /data", "RuntimeDirectory=redis"
}

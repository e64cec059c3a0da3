package redis

import (
	_ "embed"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	read "github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// older reports whether a version is older.
func older(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return true
	}
	x, err1 := strconv.Atoi(parts[0])
	y, err2 := strconv.Atoi(parts[1])
	return err1 != nil || err2 != nil || x < major || x == major && y < minor
}

func (now observation) dockered() bool { return !now.supervised.Started.IsZero() }

// A mount is what a process sees in a folder and below.
type mount struct {
	device string // its number
	root   string // what of the device it shows
	at     string
	kind   string // of file system
}

// sameFile reports whether two files are one.
func sameFile(a, b os.FileInfo) bool { return os.SameFile(a, b) }

// A saved is the file that a server reads when it starts.
type saved struct {
	path  string
	inode uint64
	size  int64
	mtime int64
}

func (s saved) String() string {
	return fmt.Sprintf("%s, inode %d, %d bytes, written at %d", s.path, s.inode, s.size, s.mtime)
}

const (
	// leastPause is how long writes are held at least beyond what the save took last:
	// a save on a busy disk varies.
	leastPause = 10 * time.Second

	// endPause is how long writes are held from the moment of the request to
	// stop beyond the time that it may take for that.
	endPause = 5 * time.Second

	// longestGrace bounds what is waited for a server that may take as long as it wants.
	longestGrace = 10 * time.Minute

	// loadRate is how many bytes of used memory are read back in a second, at least:
	// 7.0.15 with values of 200 bytes took 1 s for 120 MB on a slow machine.
	loadRate = 50 << 20

	// bootWithin is how much later than its container a server may have been started:
	// an entry point may have to give a large folder another owner before.
	bootWithin = 2 * time.Minute

	// provedFor is for how long a save that succeeded shows that the next one can.
	provedFor = 10 * time.Minute

	// cleanUpIn is how long it may take to let writes go on.
	cleanUpIn = 5 * time.Second

	// lifeIn is how long nothing may be heard of a server that was restarted. One that
	// reads its data answers that it does.
	lifeIn = 5 * time.Minute
)

type restart struct{ target *target.Redis }

// An observation is all that is known of a server that is to be restarted.
type observation struct {
	snapshot   read.Snapshot
	memory     read.Usage
	state      read.State
	supervised target.Supervised
	place      place
	running    running
	begun      startup
	pause      time.Duration
	address    netip.Addr // that the server itself has for us; not valid where it is not known, or tells nothing
	hidden     bool       // we may not ask for it
}

// A running is what a server is set to while it runs, beside what it was started with.
type running struct {
	settings map[string]string   // by their names of now; passwords are in here
	users    map[string][]string // the rules of each ACL user
	changes  int64               // commands since the start that set something; negative where that is not known
}

// A startup is what a server is started with: its configuration file and its command
// line. It decides what the server reads when it is restarted.
type startup struct {
	known  bool
	lacks  string              // what cannot be seen, where it is not known
	said   map[string]string   // settings; save points are added up
	where  map[string]string   // which of the two says it
	users  [][]string          // ACL rules of user lines, the name first
	tokens map[string][]string // the values of said one by one
}

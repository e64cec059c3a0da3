// Package target holds the connections to what upkeep looks after: one value
// for each server in the configuration, opened once and shared by the
// collectors that read it and the actions that change it.
package target

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

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
	for _, h := range s.Host {
		h.Close()
	}
}

// A Host is the machine that upkeep runs on.
type Host struct {
	Name string // the server label

	// Root is where the host's file systems are seen from, "/" unless upkeep
	// runs in a container that has them mounted elsewhere.
	Root string

	Logs HostLogs

	closed     chan struct{}
	closedOnce sync.Once
}

// HostLogs are logs of a machine that are no containers'.
type HostLogs struct {
	Files  []HostLog
	Units  []string // whose entries are read in the journal of systemd
	Folder string   // of the journal; "": the machine's
	Fields LogFields

	// State is the folder in which it is remembered how far they were read, and what was counted in
	// them; "" where that begins anew with upkeep.
	State string
}

// A HostLog is the logs that a service writes to files.
type HostLog struct {
	Service string
	Path    string // absolute, and a pattern as path.Match has them
}

// NewHost returns a machine.
func NewHost(name, root string, logs HostLogs) *Host {
	return &Host{Name: name, Root: root, Logs: logs, closed: make(chan struct{})}
}

// Closed is closed when the machine is not used any more.
func (h *Host) Closed() <-chan struct{} { return h.closed }

// Close ends what follows its logs.
func (h *Host) Close() {
	if h.closed != nil {
		h.closedOnce.Do(func() { close(h.closed) })
	}
}

// Folder opens a folder of the machine, to which no link leads: who may write to a folder above it
// would choose what is read.
func (h *Host) Folder(path string) (*os.Root, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	fd, err := unix.Open(h.Root, flags, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: h.Root, Err: err}
	}
	defer func() { _ = unix.Close(fd) }() // was only looked through
	for step := range strings.SplitSeq(strings.Trim(filepath.Clean(path), "/"), "/") {
		if step == "" {
			break // the root itself
		}
		next, err := unix.Openat(fd, step, flags|unix.O_NOFOLLOW, 0)
		if err != nil {
			if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
				return nil, fmt.Errorf("%s: %s in it is a link or no folder: name the folder itself", path, step)
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		_ = unix.Close(fd) // was only looked through
		fd = next
	}
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.Unwrap(err)}
	}
	return root, err
}

// OpenLog opens the folder of a log. The log need not be there.
func (h *Host) OpenLog(path string) (*LogFolder, error) {
	root, err := h.Folder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	return &LogFolder{root: root, name: filepath.Base(path), extended: true}, nil
}

// LogFiles returns the paths of a log's files, the oldest first, as they are seen from here.
func (h *Host) LogFiles(path string) (paths []string, err error) {
	folder, err := h.OpenLog(path)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	names, err := folder.names()
	for _, name := range names {
		paths = append(paths, filepath.Join(h.Root, filepath.Dir(path), name))
	}
	return paths, err
}

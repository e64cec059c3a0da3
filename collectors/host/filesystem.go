// Package host asks the machine that upkeep runs on. Each file asks one question.
package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Filesystem reports how full each file system is.
func Filesystem(t *target.Host) collectors.Collector {
	gauge := func(name, help string) *collectors.Metric {
		return &collectors.Metric{Name: "upkeep_host_filesystem_" + name, Type: collectors.Gauge, Help: help,
			Labels: []string{"server", "device", "mountpoint", "fstype"}}
	}
	c := filesystem{
		hung:      &hung{asked: make(map[string]bool)},
		target:    t,
		size:      gauge("size_bytes", "Size of the file system.").WithoutPanel(collectors.AdHoc),
		used:      gauge("used_bytes", "Bytes that are used."),
		available: gauge("available_bytes", "Bytes that a user without privileges can still write."),
		ratio:     gauge("used_ratio", "Used share of the space available to users, as df counts it."),
		inodes: gauge("inodes_used_ratio",
			"Share of the file system's inodes that is used; absent where it has no fixed number."),
		readonly: gauge("readonly",
			"1 when the file system takes no writes, wherever it is mounted; 0 also where only upkeep's view is "+
				"read-only."),
		unread: &collectors.Metric{Name: "upkeep_host_filesystem_unread", Type: collectors.Gauge,
			Help: "1 for a file system that upkeep cannot read: reason is permission, elsewhere (the machine has " +
				"mounted it where upkeep does not see it), hangs or error.",
			Labels: []string{"server", "device", "mountpoint", "fstype", "reason"}},
	}
	return collectors.Collector{
		Name:   "host/filesystem",
		Target: t.Name,
		Doc: `Filesystem reports how full each file system of the machine is, its inodes and whether it takes writes.

Reads the mount table and asks each file system once, however often it is
mounted. File systems that hold no data (proc, sysfs, tmpfs, overlays and their
like) and those that another mount covers are left out. Rights: none; in a container
the host's root mounted read-only and named as the target's root. Cost: two system
calls for each file system. One that hangs is given up after the timeout, does not
hold up the next collection and is reported as unread, as is one that upkeep may not
see.`,
		Metrics: []*collectors.Metric{c.size, c.used, c.available, c.ratio, c.inodes, c.readonly, c.unread},
		Every:   15 * time.Second,
		Timeout: 10 * time.Second,
		Collect: c.collect,
	}
}

type filesystem struct {
	target                                                 *target.Host
	hung                                                   *hung
	size, used, available, ratio, inodes, readonly, unread *collectors.Metric
}

// Why a file system is not read.
const (
	forbidden = "permission" // a folder above it is closed to upkeep
	elsewhere = "elsewhere"  // the machine has it, and upkeep does not see it: it was mounted after a container began
	hanging   = "hangs"
	failing   = "error"
)

func (c filesystem) collect(ctx context.Context, w *collectors.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	all, err := mounts(c.target.Root)
	if err != nil {
		return err
	}
	answers := make([]<-chan answer, len(all)) // all in parallel: one that hangs does not delay the others
	for i, m := range all {
		answers[i] = c.hung.statfs(filepath.Join(c.target.Root, m.point))
	}
	for i, m := range all {
		a, err := c.wait(ctx, answers[i])
		if err != nil {
			return err
		}
		if why := m.unread(a); why != "" {
			w.Set(c.unread, 1, c.target.Name, m.device, m.point, m.fstype, why)
			continue
		}
		c.write(w, m, a.Statfs_t)
	}
	return nil
}

// errHangs is the answer of a file system that has given none.
var errHangs = errors.New("no answer in time")

// wait returns the answer of a file system, which may be that it hangs. It is an error when the collection
// itself is over.
func (filesystem) wait(ctx context.Context, answered <-chan answer) (answer, error) {
	if answered == nil {
		return answer{err: errHangs}, nil // an earlier question has no answer yet
	}
	select {
	case a := <-answered:
		return a, nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return answer{err: errHangs}, nil
		}
		return answer{}, context.Cause(ctx)
	}
}

// unread returns why an answer is not the mount's, or "". The parts of btrfs and bcachefs have numbers of
// their own, so what answers is not compared there.
func (m mount) unread(a answer) string {
	switch {
	case errors.Is(a.err, errHangs):
		return hanging
	case errors.Is(a.err, fs.ErrPermission):
		return forbidden
	case errors.Is(a.err, fs.ErrNotExist):
		return elsewhere
	case a.err != nil:
		return failing
	case m.fstype != "btrfs" && m.fstype != "bcachefs" && m.number != a.device:
		return elsewhere
	}
	return ""
}

func (c filesystem) write(w *collectors.Writer, m mount, s unix.Statfs_t) {
	set := func(metric *collectors.Metric, v float64) {
		w.Set(metric, v, c.target.Name, m.device, m.point, m.fstype)
	}
	block := float64(s.Bsize)
	// Some of networks say that more is free than there is.
	used, available := float64(s.Blocks-min(s.Bfree, s.Blocks))*block, float64(s.Bavail)*block
	set(c.size, float64(s.Blocks)*block)
	set(c.used, used)
	set(c.available, available)
	if used+available > 0 {
		set(c.ratio, used/(used+available))
	}
	if s.Files > 0 {
		set(c.inodes, float64(s.Files-min(s.Ffree, s.Files))/float64(s.Files))
	}
	readonly := 0.0
	if m.readOnly {
		readonly = 1
	}
	set(c.readonly, readonly)
}

// An answer is what a file system says of itself.
type answer struct {
	unix.Statfs_t
	device string // its number, as major:minor
	err    error
}

// hung knows the file systems that were asked and have not answered. A question
// to the kernel cannot be given up: it is not put a second time.
type hung struct {
	mu    sync.Mutex
	asked map[string]bool
}

// statfs asks a file system and returns where the answer will be; nil when an
// earlier question to it is still open.
func (h *hung) statfs(path string) <-chan answer {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked[path] {
		return nil
	}
	h.asked[path] = true
	answered := make(chan answer, 1) // buffered: a late answer has no receiver
	go func() {
		var a answer
		a.err = unix.Statfs(path, &a.Statfs_t)
		var file unix.Stat_t
		if a.err == nil {
			a.err = unix.Stat(path, &file)
		}
		a.device = fmt.Sprintf("%d:%d", unix.Major(file.Dev), unix.Minor(file.Dev))
		h.mu.Lock()
		delete(h.asked, path)
		h.mu.Unlock()
		answered <- a
	}()
	return answered
}

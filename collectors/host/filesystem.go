// Package host asks the machine that upkeep runs on. Each file asks one question.
package host

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"
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
		readonly: gauge("readonly", "1 when the file system takes no writes."),
	}
	return collectors.Collector{
		Name:   "host/filesystem",
		Target: t.Name,
		Doc: `Filesystem reports how full each file system of the machine is, its inodes and whether it takes writes.

Reads the mount table and asks each file system once, however often it is
mounted. File systems that hold no data (proc, sysfs, tmpfs, overlays and their
like) are left out. Rights: none; in a container the host's root mounted read-only
and named as the target's root. Cost: one system call for each file system. One
that hangs is given up after the timeout and does not hold up the next collection.`,
		Metrics: []*collectors.Metric{c.size, c.used, c.available, c.ratio, c.inodes, c.readonly},
		Every:   15 * time.Second,
		Timeout: 10 * time.Second,
		Collect: c.collect,
	}
}

type filesystem struct {
	target                                         *target.Host
	hung                                           *hung
	size, used, available, ratio, inodes, readonly *collectors.Metric
}

// dataless are the types of file systems that hold nothing of anybody's.
const dataless = " autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl " +
	"fuse.lxcfs hugetlbfs mqueue nsfs overlay proc pstore ramfs rpc_pipefs securityfs selinuxfs squashfs sysfs tmpfs " +
	"tracefs "

func (c filesystem) collect(ctx context.Context, w *collectors.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	mounts, err := c.mounts()
	if err != nil {
		return err
	}
	answers := make([]<-chan answer, len(mounts)) // all in parallel: one that hangs does not delay the others
	for i, m := range mounts {
		answers[i] = c.hung.statfs(filepath.Join(c.target.Root, m.MountPoint))
	}
	var faults []error
	for i, m := range mounts {
		if answers[i] == nil {
			faults = append(faults, fmt.Errorf("%s: it was asked before and has not answered yet", m.MountPoint))
			continue
		}
		select {
		case a := <-answers[i]:
			if a.err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", m.MountPoint, a.err))
				continue
			}
			c.write(w, m, a.Statfs_t)
		case <-ctx.Done():
			faults = append(faults, fmt.Errorf("%s: %w", m.MountPoint, context.Cause(ctx)))
		}
	}
	return errors.Join(faults...)
}

func (c filesystem) write(w *collectors.Writer, m *procfs.MountInfo, s unix.Statfs_t) {
	set := func(metric *collectors.Metric, v float64) {
		w.Set(metric, v, c.target.Name, m.Source, m.MountPoint, m.FSType)
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
	if s.Flags&unix.ST_RDONLY != 0 {
		readonly = 1
	}
	set(c.readonly, readonly)
}

// mounts returns one mount for each file system: the one with the shortest path.
func (c filesystem) mounts() ([]*procfs.MountInfo, error) {
	proc, err := procfs.NewFS(filepath.Join(c.target.Root, "proc"))
	if err != nil {
		return nil, err
	}
	process, err := proc.Proc(1) // the host's, where its /proc is mounted into a container
	if err != nil {
		return nil, err
	}
	all, err := process.MountInfo()
	if err != nil {
		if all, err = procfs.GetMounts(); err != nil { // /proc/1 is root's on some machines
			return nil, err
		}
	}
	byDevice := make(map[string]*procfs.MountInfo)
	for _, m := range all {
		if strings.Contains(dataless, " "+m.FSType+" ") {
			continue
		}
		if had := byDevice[m.MajorMinorVer]; had == nil || len(m.MountPoint) < len(had.MountPoint) {
			byDevice[m.MajorMinorVer] = m
		}
	}
	var wanted []*procfs.MountInfo
	for _, m := range byDevice {
		wanted = append(wanted, m)
	}
	slices.SortFunc(wanted, func(a, b *procfs.MountInfo) int { return strings.Compare(a.MountPoint, b.MountPoint) })
	return wanted, nil
}

// An answer is what a file system says of itself.
type answer struct {
	unix.Statfs_t
	err error
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
		h.mu.Lock()
		delete(h.asked, path)
		h.mu.Unlock()
		answered <- a
	}()
	return answered
}

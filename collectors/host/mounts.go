package host

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// dataless are the types of file systems that hold nothing of anybody's.
const dataless = " autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl " +
	"fuse.lxcfs hugetlbfs mqueue nsfs overlay proc pstore ramfs rpc_pipefs securityfs selinuxfs squashfs sysfs tmpfs " +
	"tracefs "

// A mount is a file system at a place of the machine.
type mount struct {
	device, point, fstype string
	number                string // of its device, as major:minor
	readOnly              bool   // the file system itself, wherever it is mounted
}

// mounts returns one mount for each file system that holds data: the one with the shortest path
// of those that no other mount covers.
func mounts(root string) ([]mount, error) {
	all, err := mountTable(root)
	if err != nil {
		return nil, err
	}
	seen, byDevice := uncovered(all), make(map[string]*procfs.MountInfo)
	for _, m := range all {
		if !seen[m] || strings.Contains(dataless, " "+m.FSType+" ") {
			continue
		}
		if had := byDevice[m.MajorMinorVer]; had == nil || len(m.MountPoint) < len(had.MountPoint) {
			byDevice[m.MajorMinorVer] = m
		}
	}
	var wanted []mount
	for _, m := range byDevice {
		_, readOnly := m.SuperOptions["ro"]
		wanted = append(wanted, mount{unescaped(m.Source), m.MountPoint, m.FSType, m.MajorMinorVer, readOnly})
	}
	slices.SortFunc(wanted, func(a, b mount) int { return cmp.Compare(a.point, b.point) })
	return wanted, nil
}

// mountTable reads what the machine has mounted where. Where its own table is root's alone, it is
// what upkeep itself sees below the root.
func mountTable(root string) ([]*procfs.MountInfo, error) {
	proc, err := procfs.NewFS(filepath.Join(root, "proc"))
	if err != nil {
		return nil, err
	}
	process, err := proc.Proc(1) // the host's, where its /proc is mounted into a container
	if err != nil {
		return nil, err
	}
	all, err := process.MountInfo()
	below := "/"
	if err != nil {
		own, ownErr := procfs.GetMounts()
		if ownErr != nil {
			return nil, errors.Join(err, ownErr)
		}
		all, below = own, filepath.Clean("/"+root)
	}
	var there []*procfs.MountInfo
	for _, m := range all {
		m.MountPoint = unescaped(m.MountPoint)
		if point, is := within(below, m.MountPoint); is {
			m.MountPoint = point
			there = append(there, m)
		}
	}
	if len(there) == 0 {
		return nil, fmt.Errorf("nothing is mounted at %s: mount the root of the machine there, or correct the "+
			"target's root", root)
	}
	return there, nil
}

// within returns a path as it is seen from a root above it.
func within(root, path string) (string, bool) {
	if root == "/" || path == root {
		return cmp.Or(strings.TrimPrefix(path, strings.TrimSuffix(root, "/")), "/"), true
	}
	rest, is := strings.CutPrefix(path, root+"/")
	return "/" + rest, is
}

// unescaped returns a path of the kernel's table of mounts as it is: the kernel writes a space, a
// tab, a line break, a backslash and a number sign as their octal numbers.
func unescaped(text string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, `\`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if n, err := strconv.ParseUint(after[:min(3, len(after))], 8, 8); err == nil && len(after) >= 3 {
			b.WriteByte(byte(n))
			text = after[3:]
			continue
		}
		b.WriteByte('\\')
		text = after
	}
}

// uncovered returns the mounts that a path leads to. One may be mounted over another, or
// over a folder above it.
func uncovered(all []*procfs.MountInfo) map[*procfs.MountInfo]bool {
	byID, on := make(map[int]*procfs.MountInfo), make(map[int][]*procfs.MountInfo)
	for _, m := range all {
		byID[m.MountID] = m
	}
	var tops []*procfs.MountInfo // that are mounted on nothing of the table
	for _, m := range all {
		if byID[m.ParentID] == nil || m.ParentID == m.MountID {
			tops = append(tops, m)
			continue
		}
		on[m.ParentID] = append(on[m.ParentID], m)
	}
	seen := make(map[*procfs.MountInfo]bool)
	for _, m := range all {
		seen[m] = slices.ContainsFunc(tops, func(top *procfs.MountInfo) bool { return led(top, on, m.MountPoint) == m })
	}
	return seen
}

// led returns the mount that a path leads to from a top: at each mount the next one on the way, which
// is first the one that is mounted over all of it.
func led(at *procfs.MountInfo, on map[int][]*procfs.MountInfo, path string) *procfs.MountInfo {
	for {
		var next *procfs.MountInfo
		for _, m := range on[at.MountID] {
			if _, onTheWay := within(m.MountPoint, path); onTheWay &&
				(next == nil || len(m.MountPoint) < len(next.MountPoint)) {
				next = m
			}
		}
		if next == nil {
			return at
		}
		at = next
	}
}

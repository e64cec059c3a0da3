package redis

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// mountOf returns the mount that a path of a process is on.
func mountOf(proc, file string) (m mount, ok bool) {
	for _, one := range mounts(proc) {
		if one.at == "/" || file == one.at || strings.HasPrefix(file, one.at+"/") {
			if !ok || len(one.at) >= len(m.at) { // the later one lies over the one before
				m, ok = one, true
			}
		}
	}
	return m, ok
}

func mounts(proc string) (all []mount) {
	text, err := os.ReadFile(filepath.Join(proc, "mountinfo"))
	if err != nil {
		return nil // not ours to look into
	}
	plain := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(text)) {
		own, super, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(own), strings.Fields(super)
		if ok && len(f) > 4 && len(g) > 0 {
			all = append(all, mount{f[2], plain.Replace(f[3]), plain.Replace(f[4]), g[0]})
		}
	}
	return all
}

// memory reports whether the files are in memory.
func (m mount) memory() bool { return m.kind == "tmpfs" || m.kind == "ramfs" }

// machines reports whether the machine itself has the device mounted, and not the
// process alone.
func (m mount) machines() bool {
	for _, proc := range []string{"/proc/1", "/proc/self"} {
		for _, one := range mounts(proc) {
			if one.device == m.device {
				return true
			}
		}
	}
	return false
}

// outlives refuses where what the server has saved would not be there after the
// restart; where only the container or a boot takes it, unless that is accepted.
func (now observation) outlives(volatile bool) func() error {
	return func() error {
		folders := []string{now.running.settings["dir"]}
		if own := now.running.settings["appenddirname"]; now.snapshot.AOF && own != "" {
			folders = append(folders, path.Join(folders[0], own))
		}
		for _, folder := range folders {
			if err := now.outlive(folder, volatile); err != nil {
				return err
			}
		}
		return now.isItself(folders[0])
	}
}

func (now observation) outlive(folder string, volatile bool) error {
	lost := func(what string) error {
		return remediate.Refuse(remediate.ReasonUnfit,
			"the server keeps its data in %s, which is on %s: it is empty after a restart, and all data would be "+
				"lost. Have it on a disk of the machine or a volume", folder, what)
	}
	held, known := now.supervised.Holds(folder)
	if known && held.Fate == target.Lost {
		return lost(held.What)
	}
	on, seen := mount{}, false
	if now.place.root != "" {
		on, seen = mountOf(now.place.root, folder)
	}
	switch {
	case !known && !seen:
		return remediate.Refuse(remediate.ReasonUnfit,
			"the server keeps its data in %s, and whether that outlives a restart cannot be seen from here", folder)
	case seen && strings.Contains(on.root, "/systemd-private-"):
		return lost("PrivateTmp=, a folder that systemd removes when the unit stops")
	case seen && on.memory() && (now.dockered() && !held.Bind || !now.dockered() && !on.machines()):
		return lost("a " + on.kind + " of its own")
	case volatile:
		return nil
	case seen && on.memory():
		return remediate.Refuse(remediate.ReasonUnfit,
			"the server keeps its data in %s, which is on a %s of the machine: it outlives a restart of the server "+
				"and no restart of the machine. Have it on a disk, or set the parameter volatile", folder, on.kind)
	case known && held.Fate == target.Layer:
		return remediate.Refuse(remediate.ReasonUnfit,
			"the server keeps its data in %s, which is in %s: docker restart keeps it, and who makes the container "+
				"anew, as docker compose up does, loses all. Have it on a volume, or set the parameter volatile",
			folder, held.What)
	}
	return nil
}

// isItself refuses if the folder in which the server works is not, or no longer, the
// one that its path leads to.
func (now observation) isItself(folder string) error {
	if now.place.root == "" {
		return nil
	}
	works, err := os.Stat(filepath.Join(now.place.root, "cwd"))
	if err != nil {
		return fmt.Errorf("the server's folder: %w", err)
	}
	leads, err := statInside(now.place.root, folder)
	if err != nil || !sameFile(works, leads) {
		return remediate.Refuse(remediate.ReasonUnfit,
			"the server works in a folder that was %s, and that path leads elsewhere now: what it saves would not be "+
				"found after a restart", folder)
	}
	return nil
}

// snapshotFile looks at the snapshot that the server will read, as it is now.
func (now observation) snapshotFile() (s saved) {
	s.path = path.Join(now.folder(), now.file("dbfilename"))
	f, err := openInside(now.place.root, s.path, unix.O_PATH)
	if err != nil {
		return s // the file does not exist yet
	}
	defer func() { _ = f.Close() }() // nothing was written
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err == nil {
		s.inode, s.size, s.mtime = st.Ino, st.Size, st.Mtim.Nano()
	}
	return s
}

// folder is where the server reads its data when it starts, as far as that is known.
func (now observation) folder() string {
	if now.begun.known {
		return now.begun.dir(now.supervised.WorkDir)
	}
	return now.running.settings["dir"]
}

// file is the name of a file that the server reads when it starts.
func (now observation) file(setting string) string {
	if said, ok := now.begun.said[setting]; now.begun.known && ok {
		return said
	} else if now.begun.known {
		return bearing()[setting]
	}
	return now.running.settings[setting]
}

// wrote refuses where the save has not written the file that the server reads when
// it starts, or the append-only file is not where it does.
func (now observation) wrote(before saved) (saved, error) {
	if now.place.root == "" {
		return saved{path: path.Join(now.folder(), now.file("dbfilename"))}, nil
	}
	after := now.snapshotFile()
	if after.inode == 0 || after == before {
		return after, remediate.Refuse(remediate.ReasonUnfit,
			"the server has saved, and %s, which it reads when it starts, was not written: it keeps its data elsewhere",
			after.path)
	}
	if !now.snapshot.AOF {
		return after, nil
	}
	own := path.Join(now.folder(), now.file("appendfilename"))
	if _, has := now.running.settings["appenddirname"]; has { // from 7.0 on
		own = path.Join(now.folder(), now.file("appenddirname"), now.file("appendfilename")+".manifest")
	}
	if _, err := statInside(now.place.root, own); err != nil {
		return after, remediate.Refuse(remediate.ReasonUnfit,
			"the append-only file that the server reads when it starts, %s, is not there: %v", own, err)
	}
	return after, nil
}

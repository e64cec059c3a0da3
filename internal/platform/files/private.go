package files

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Secret refuses a file with a secret that others can read or replace. Its group may read it:
// root:upkeep 0640 is how a package hands a secret to a service.
func Secret(path string) error {
	return private(path, "file", 0o006, 0o020, "chmod 640 ")
}

// Folder refuses a folder of ours that another user can read or write.
func Folder(path string) error {
	return private(path, "folder", 0o007, 0o070, "chmod 700 ")
}

// Ours refuses a file that another user can write, or put another one in the place of: who writes a configuration
// decides what upkeep does, and which of its secrets it sends where. Its group may write it, and all may read it.
func Ours(path string) error {
	if os.Getpid() == 1 {
		return nil // as in private
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	switch mode := info.Mode().Perm(); {
	case !owned(info):
		return fmt.Errorf("the file %s belongs to user %d, who could have upkeep do anything; run: chown %d %s", path,
			ownerOf(info), os.Geteuid(), path)
	case mode&0o002 != 0 && open(filepath.Dir(path), 0o001):
		return fmt.Errorf("every user can write the file %s (mode %04o); run: chmod o-w %s", path, mode, path)
	}
	return replaceable(path, "file")
}

// private refuses what belongs to another user, what others have one of the rights to, and what
// its group has one of the rights to.
func private(path, what string, others, group fs.FileMode, mend string) error {
	if os.Getpid() == 1 {
		return nil // alone in a container: there are no others, and the mount decides the modes
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if owner := ownerOf(info); !trusted(owner) {
		return fmt.Errorf("the %s %s belongs to user %d; run: chown %d %s", what, path, owner, os.Geteuid(), path)
	}
	switch mode := info.Mode().Perm(); {
	case mode&others != 0 && open(filepath.Dir(path), 0o001):
		return fmt.Errorf("the %s %s is open to every user (mode %04o); run: %s%s", what, path, mode, mend, path)
	case mode&group != 0 && open(filepath.Dir(path), 0o010):
		return fmt.Errorf("the %s %s is open to its group (mode %04o); run: %s%s", what, path, mode, mend, path)
	}
	return replaceable(path, what)
}

// open reports whether the folders above something let those pass who have a right: others, or
// a group.
func open(dir string, right fs.FileMode) bool {
	for {
		info, err := os.Stat(dir)
		if err == nil && trusted(ownerOf(info)) && info.Mode().Perm()&(right|0o001) == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

// replaceable refuses what another user can put something else in the place of.
func replaceable(path, what string) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSticky == 0 && info.Mode().Perm()&0o002 != 0 && open(filepath.Dir(dir), 0o001) {
			return fmt.Errorf(
				"every user can replace the %s %s (the folder %s has mode %04o); run: chmod o-w %s",
				what,
				path,
				dir,
				info.Mode().Perm(),
				dir,
			)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// Trusted reports whether a file is ours, root's or that of who became root by sudo, and not everybody may
// write to it.
func Trusted(info fs.FileInfo) bool {
	return owned(info) && info.Mode().Perm()&0o002 == 0
}

// owned reports whether a file is ours, root's or that of who became root by sudo.
func owned(info fs.FileInfo) bool {
	owner := ownerOf(info)
	return trusted(owner) || os.Geteuid() == 0 && strconv.FormatUint(uint64(owner), 10) == os.Getenv("SUDO_UID")
}

// trusted reports whether a user may have what is ours: we, and root.
func trusted(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

func ownerOf(info fs.FileInfo) uint32 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Uid
	}
	return uint32(os.Geteuid())
}

// Restrict makes files readable and writable by their owner only, where they exist.
func Restrict(paths ...string) error {
	for _, path := range paths {
		file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		info, err := file.Stat()
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			err = file.Chmod(0o600)
		}
		_ = file.Close() // only opened
		if err != nil {
			return err
		}
	}
	return nil
}

package docker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A logFile is the file that an engine writes a container's lines to, open for
// reading. Its folder is held open, so that what is opened by name is in it.
type logFile struct {
	root   *os.Root
	file   *os.File
	name   string
	info   fs.FileInfo
	proc   string // where the machine's processes are seen
	device uint64
	inode  uint64
	size   int64
	block  int64  // what the file system takes out whole
	kind   uint64 // of the file system
}

// open opens the log of a container. It refuses what is not that file: a link, one
// that has other names, or one that is not where the engine puts it.
func open(root string, k target.Container) (l *logFile, err error) {
	if k.LogDriver != "json-file" || k.LogPath == "" {
		return nil, remediate.Refuse(remediate.ReasonUnfit,
			"the log driver of container %s is %q; the action is for json-file", k.Name, k.LogDriver)
	}
	folder, name := filepath.Split(filepath.Join(root, k.LogPath))
	folder = filepath.Clean(folder)
	if name != k.ID+"-json.log" || filepath.Base(folder) != k.ID {
		return nil, remediate.Refuse(remediate.ReasonUnfit,
			"the log of container %s is %s, which is not in a folder of its own", k.Name, k.LogPath)
	}
	own, err := os.Lstat(folder)
	if err != nil {
		return nil, seen(err, k)
	}
	if !own.IsDir() {
		return nil, remediate.Refuse(remediate.ReasonUnfit, "the folder %s is no folder", folder)
	}
	l = &logFile{name: name, proc: processes(root)}
	if l.root, err = os.OpenRoot(folder); err != nil {
		return nil, seen(err, k)
	}
	if l.file, l.info, err = l.reopen(os.O_RDONLY); err != nil {
		l.close()
		return nil, seen(err, k)
	}
	if err := l.look(); err != nil {
		l.close()
		return nil, fmt.Errorf("log of container %s: %w", k.Name, err)
	}
	return l, nil
}

// seen says what to do about a log that cannot be opened.
func seen(err error, k target.Container) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return remediate.Refuse(remediate.ReasonUnfit,
			"the log of container %s is not seen on this machine (%v): run upkeep beside the engine, and set root "+
				"where that is mounted elsewhere", k.Name, err)
	case errors.Is(err, fs.ErrPermission):
		return remediate.Refuse(remediate.ReasonPrivilege, "the log of container %s: %v: run as root", k.Name, err)
	}
	return fmt.Errorf("log of container %s: %w", k.Name, err)
}

// reopen opens the file by its name, and refuses a link and what is no plain file.
func (l *logFile) reopen(flags int) (*os.File, fs.FileInfo, error) {
	file, err := l.root.OpenFile(l.name, flags|syscall.O_NONBLOCK, 0) // a pipe must not make us wait
	if err != nil {
		if info, lost := l.root.Lstat(l.name); lost == nil && !info.Mode().IsRegular() {
			err = remediate.Refuse(remediate.ReasonUnfit, "the log %s is no plain file", l.name)
		}
		return nil, nil, err
	}
	info, err := file.Stat()
	named, lost := l.root.Lstat(l.name)
	err = errors.Join(err, lost)
	if err == nil && (!info.Mode().IsRegular() || !named.Mode().IsRegular() || !os.SameFile(info, named)) {
		err = remediate.Refuse(remediate.ReasonUnfit, "the log %s is no plain file", l.name)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

// look reads what the file and its file system are.
func (l *logFile) look() error {
	stat, ok := l.info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the system does not tell the file's number")
	}
	if stat.Nlink != 1 {
		return remediate.Refuse(remediate.ReasonUnfit, "the log %s has %d names: what else has it would be cut too",
			l.name, stat.Nlink)
	}
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(l.file.Fd()), &s); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	l.device, l.inode, l.size = stat.Dev, stat.Ino, l.info.Size()
	l.block, l.kind = s.Bsize, uint64(s.Type)
	return nil
}

func (l *logFile) close() {
	if l.file != nil {
		_ = l.file.Close() // read only
	}
	_ = l.root.Close() // was only looked through
}

// fit refuses a log that cannot be cut, or need not be.
func (l *logFile) fit(k target.Container) error {
	const limited = "it is bounded; where that is too much, set a smaller max-size or max-file in daemon.json or the " +
		"Compose file, and make the container anew"
	if k.LogRotated {
		return remediate.Refuse(remediate.ReasonCannotHelp, "the log of container %s has a limit (max-size): %s",
			k.Name, limited)
	}
	entries, err := fs.ReadDir(l.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("log of container %s: %w", k.Name, err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), l.name+".") {
			return remediate.Refuse(remediate.ReasonCannotHelp, "the log of container %s was rotated to %s: %s", k.Name,
				e.Name(), limited)
		}
	}
	if l.kind != unix.EXT4_SUPER_MAGIC && l.kind != unix.XFS_SUPER_MAGIC || l.block <= 0 {
		return remediate.Refuse(remediate.ReasonUnfit,
			"the log of container %s is on a file system (%#x) that cannot take the head out of a file, as ext4 and "+
				"xfs can: set max-size in daemon.json or the Compose file, and make the container anew", k.Name, l.kind)
	}
	return l.appended(k)
}

// processes is where the processes of the machine are seen whose root is.
func processes(root string) string {
	if theirs := filepath.Join(root, "proc"); theirs != "/proc" {
		if _, err := os.Stat(filepath.Join(theirs, "1", "fd")); err == nil {
			return theirs
		}
	}
	return "/proc"
}

// appended refuses a file that somebody writes at a place of his own: past the end
// of what stays, and leave a hole of zeros before. Who appends is put at the end by
// the kernel. The engine appends until it rotates a file for the first time; it must
// be seen at that while the container runs. That another process cannot be looked
// into matters only if no writer is found: there are machines where one of them
// is hidden from root.
func (l *logFile) appended(k target.Container) error {
	writers, hidden, err := l.writers()
	if err != nil {
		return fmt.Errorf("log of container %s: who writes it: %w", k.Name, err)
	}
	for _, w := range writers {
		if !w.appends {
			return remediate.Refuse(remediate.ReasonUnfit,
				"process %s writes the log of container %s without O_APPEND: it would leave a hole; set max-size and "+
					"make the container anew", w.process, k.Name)
		}
	}
	if len(writers) > 0 || k.State != "running" && k.State != "paused" {
		return nil
	}
	why := "it is in another PID namespace"
	if hidden != nil {
		why = hidden.Error()
	}
	return remediate.Refuse(remediate.ReasonPrivilege,
		"container %s is %s, and the process that writes its log is not visible (%s): run upkeep as root and in the "+
			"machine's PID namespace (pid: host)", k.Name, k.State, why)
}

// A writer is a process that has the file open for writing.
type writer struct {
	process string
	appends bool
}

// writers looks into every process. What ends meanwhile writes no more; hidden is
// why one could not be looked into.
func (l *logFile) writers() (all []writer, hidden, err error) {
	entries, err := os.ReadDir(l.proc)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		files, err := os.ReadDir(filepath.Join(l.proc, e.Name(), "fd"))
		if err != nil && !ended(err) {
			hidden = err
		}
		for _, f := range files {
			flags, ok, err := l.opened(e.Name(), f.Name())
			if err != nil && !ended(err) {
				hidden = err
			}
			if ok {
				all = append(all, writer{e.Name(), flags&syscall.O_APPEND != 0})
			}
		}
	}
	return all, hidden, nil
}

// ended reports whether a process, or what it had open, is not there any more.
func ended(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// opened returns the flags with which a process has opened the file for writing;
// ok is false where it has not.
func (l *logFile) opened(process, number string) (flags int64, ok bool, err error) {
	link := filepath.Join(l.proc, process, "fd", number)
	text, err := os.ReadFile(filepath.Join(l.proc, process, "fdinfo", number))
	if err != nil {
		return 0, false, err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "flags:"); found {
			if flags, err = strconv.ParseInt(strings.TrimSpace(value), 8, 64); err != nil {
				return 0, false, fmt.Errorf("%s: %w", link, err)
			}
		}
		// To ask a file system that does not answer would hang; since Linux 5.14 the
		// number shows it without.
		if value, found := strings.CutPrefix(line, "ino:"); found &&
			strings.TrimSpace(value) != strconv.FormatUint(l.inode, 10) {
			return 0, false, nil
		}
	}
	if flags&syscall.O_ACCMODE == syscall.O_RDONLY {
		return 0, false, nil
	}
	to, err := os.Readlink(link)
	if err != nil || !strings.HasPrefix(to, "/") { // a socket, a pipe
		return 0, false, err
	}
	info, err := os.Stat(link)
	if err != nil {
		return 0, false, err
	}
	return flags, os.SameFile(info, l.info), nil
}

// mostGrain bounds an object of the archive, and the memory that it takes.
const mostGrain = 32 << 20

// grain is what the cut is a multiple of: whole blocks, and a half of what stays at
// most. So coarse it is the same, and cuts the same objects, while the log grows.
func (l *logFile) grain(keep int64) int64 {
	return max(min(keep/2, mostGrain)/l.block, 1) * l.block
}

// excess is how much of the head goes.
func (l *logFile) excess(keep int64) int64 {
	grain := l.grain(keep)
	return max(l.size-keep, 0) / grain * grain
}

// longestLine is more than the engine writes in one: it splits at 16 KiB, and adds
// labels and escapes.
const longestLine = 1 << 20

// lineEnd returns the end of the line that contains a place: behind its newline,
// or at the place itself where a line begins.
func (l *logFile) lineEnd(at int64) (int64, error) {
	text := make([]byte, 1)
	if _, err := l.file.ReadAt(text, at-1); err != nil {
		return 0, fmt.Errorf("read at %d: %w", at-1, err)
	}
	if text[0] == '\n' {
		return at, nil
	}
	text = make([]byte, longestLine)
	n, err := l.file.ReadAt(text, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read at %d: %w", at, err)
	}
	i := bytes.IndexByte(text[:n], '\n')
	if i < 0 {
		return 0, remediate.Refuse(remediate.ReasonUnfit,
			"the line at byte %d of the log has no end within %s: that is no log of the engine's", at,
			size(longestLine))
	}
	return at + int64(i) + 1, nil
}

// line returns the begin and the end of the line that contains a place: both are
// the place itself where a line begins there.
func (l *logFile) line(at int64) (begin, end int64, err error) {
	if end, err = l.lineEnd(at); err != nil || end == at {
		return at, end, err
	}
	text := make([]byte, min(at, longestLine))
	if _, err := l.file.ReadAt(text, at-int64(len(text))); err != nil {
		return 0, 0, fmt.Errorf("read at %d: %w", at-int64(len(text)), err)
	}
	i := bytes.LastIndexByte(text, '\n')
	if i < 0 && int64(len(text)) < at {
		return 0, 0, remediate.Refuse(remediate.ReasonUnfit,
			"the line at byte %d of the log has no begin within %s: that is no log of the engine's", at,
			size(longestLine))
	}
	return at - int64(len(text)) + int64(i) + 1, end, nil
}

// size tells bytes to people.
func size(n int64) string { return remediate.Quantity("_bytes", float64(n)) }

package follow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A Watcher is notified by the kernel of files that are created, renamed and removed in folders,
// and of nothing else: a notification of each write, which libraries ask for, would cost more than
// reading the lines.
type Watcher struct {
	fd    int
	queue *os.File

	mu      sync.Mutex
	folders map[int32][]*watched
	byKey   map[string]int32
	due     map[string]bool
	news    []string // names of folders in the folder of folders
	buf     []byte
}

// A watched is what is watched in a folder: a log, or what appears in it.
type watched struct {
	key, name string
	created   uint64
	known     bool // none of the notifications was lost
}

// NewWatcher returns one without folders.
func NewWatcher() (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("notifications of files: %w", err)
	}
	return &Watcher{fd: fd, queue: os.NewFile(uintptr(fd), "inotify"), folders: make(map[int32][]*watched),
		byKey: make(map[string]int32), due: make(map[string]bool), buf: make([]byte, 64<<10)}, nil
}

// Close ends Wait.
func (w *Watcher) Close() { _ = w.queue.Close() } // was only read

// Add watches a folder that is open, in which a log has a name; without a name, whatever is created in it.
// An empty key is that of the folder in which new folders are looked for.
func (w *Watcher) Add(folder *os.File, key, name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	const mask = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_DELETE_SELF |
		unix.IN_ONLYDIR
	w.drop(key) // before: it may be the last one in the same folder
	// By its number, so that it is this folder and no other that has its name now.
	wd, err := unix.InotifyAddWatch(w.fd, fmt.Sprintf("/proc/self/fd/%d", folder.Fd()), mask)
	if err != nil {
		return fmt.Errorf("notifications of %s: %w", folder.Name(), err)
	}
	w.folders[int32(wd)] = append(w.folders[int32(wd)], &watched{key: key, name: name, known: true})
	w.byKey[key] = int32(wd)
	return nil
}

// Watches reports whether the folder of a key is watched.
func (w *Watcher) Watches(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.byKey[key]
	return ok
}

// Remove forgets a folder.
func (w *Watcher) Remove(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(key)
	delete(w.due, key)
}

// drop forgets a key, and its folder where it was the last one in it.
func (w *Watcher) drop(key string) {
	wd, ok := w.byKey[key]
	if !ok {
		return
	}
	delete(w.byKey, key)
	w.folders[wd] = slices.DeleteFunc(w.folders[wd], func(f *watched) bool { return f.key == key })
	if len(w.folders[wd]) == 0 {
		delete(w.folders, wd)
		_, _ = unix.InotifyRmWatch(w.fd, uint32(wd)) // it may be gone with its folder
	}
}

// of returns what is watched under a key, or nil.
func (w *Watcher) of(key string) *watched {
	for _, f := range w.folders[w.byKey[key]] {
		if f.key == key {
			return f
		}
	}
	return nil
}

// Created returns how often the log of a key was created so far. It reports false where that is
// not known.
func (w *Watcher) Created(key string) (uint64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.take() { // what has happened before is in the queue
	}
	f := w.of(key)
	if f == nil {
		return 0, false
	}
	known := f.known
	f.known = true // from now on
	return f.created, known
}

// Wait waits for notifications, and returns the keys of the folders in which something has
// changed, and the names of new folders.
func (w *Watcher) Wait() (keys, folders []string, err error) {
	raw, err := w.queue.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	err = raw.Read(func(uintptr) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for w.take() {
		}
		return len(w.due) > 0 || len(w.news) > 0
	})
	if err != nil {
		return nil, nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for key := range w.due {
		keys = append(keys, key)
	}
	clear(w.due)
	folders, w.news = w.news, nil
	return keys, folders, nil
}

// take reads notifications, and reports whether there were any.
func (w *Watcher) take() bool {
	n, err := unix.Read(w.fd, w.buf)
	if errors.Is(err, unix.EINTR) {
		return true
	}
	if err != nil || n <= 0 {
		return false
	}
	for b := w.buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
		wd := int32(binary.NativeEndian.Uint32(b))
		mask, length := binary.NativeEndian.Uint32(b[4:]), int(binary.NativeEndian.Uint32(b[12:]))
		name := strings.TrimRight(string(b[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+length]), "\x00")
		b = b[unix.SizeofInotifyEvent+length:]
		w.happened(wd, mask, name)
	}
	return true
}

// newsMost is how many names of new folders are kept; all folders are looked at now and then anyway.
const newsMost = 1000

func (w *Watcher) happened(wd int32, mask uint32, name string) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		for _, all := range w.folders {
			for _, f := range all {
				f.known = false
				w.due[f.key] = true
			}
		}
		return
	}
	all := w.folders[wd]
	if mask&unix.IN_IGNORED != 0 { // the folder is gone
		delete(w.folders, wd)
		for _, f := range all {
			delete(w.byKey, f.key)
		}
	}
	for _, f := range all {
		w.notify(f, mask, name)
	}
}

// notify notes what has happened to a file.
func (w *Watcher) notify(f *watched, mask uint32, name string) {
	if f.key == "" {
		if mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0 && mask&unix.IN_ISDIR != 0 && len(w.news) < newsMost {
			w.news = append(w.news, name)
		}
		return
	}
	if name == f.name && mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0 {
		f.created++
	}
	if name == "" || strings.HasPrefix(name, f.name) {
		w.due[f.key] = true
	}
}

package follow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// A Sink takes the text of a log.
type Sink interface {
	// Take takes whole lines up to the end of in, and with last the rest too. It returns how
	// many bytes that were.
	Take(ctx context.Context, in io.Reader, last bool) (int64, error)

	// Recall is given the text before the place where reading begins again after a restart.
	// Its lines were taken before.
	Recall(text []byte)
}

// A Log is one log with all its files. Its methods are not to be called at the same time.
type Log struct {
	Open   func() (*target.LogFolder, error) // the folder anew: it may have been replaced
	Sink   Sink
	Budget *Budget          // shared by all logs
	Now    func() time.Time // time.Now where nil

	// Plain says that lines need have no time, so that two files may begin in the same way, and that
	// no file has its head cut off.
	Plain bool

	// Created returns how often the log was created in its folder since that is watched, up to
	// now; it reports false where that is not known. nil: it never is.
	Created func() (times uint64, known bool)

	Missed uint64 // files, or ends of them, that were gone before they were read
	Bytes  int64  // that were read

	all      []*generation // the oldest first
	restored bool          // and nothing was recalled yet
	begun    bool          // there was a first look, in this process or before
	fresh    uint64        // files that were found and not yet compared with created
	hollow   map[hole]bool // files without text that were rotated away
	counted  bool          // created is known
	created  uint64        // at the last look
}

const (
	// linger is how long a file that was rotated away is read: its writer may not know yet.
	linger = 10 * time.Second

	// lingering is how many such files are kept open at most.
	lingering = 4

	// quiet is how long nothing was written before a truncation that lost nothing.
	quiet = time.Minute

	// recall is how much of the text before is given to Recall.
	recall = 256 << 10

	// moves is how often the files are listed again because they were renamed meanwhile.
	moves = 100
)

func (l *Log) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

// listed returns the files of a log, the oldest first and the log itself last, and how often it
// had been created by then. They are listed until none was renamed meanwhile: one of them would be missing.
func (l *Log) listed(folder *target.LogFolder) (all []entry, created uint64, known bool, err error) {
	times := func() (uint64, bool) {
		if l.Created == nil {
			return 0, false
		}
		return l.Created()
	}
	created, known = times()
	for i := range moves {
		before, had, hadKnown := all, created, known
		if all, err = list(folder); err != nil {
			return nil, 0, false, err
		}
		created, known = times()
		if i > 0 && created == had && known == hadKnown && slices.EqualFunc(all, before, func(a, b entry) bool {
			return a.name == b.name && os.SameFile(a.info, b.info)
		}) {
			return all, created, known, nil
		}
	}
	return nil, 0, false, errBusy
}

// find finds out which file is which generation.
func (l *Log) find(folder *target.LogFolder) error {
	var last *generation // what the log itself was
	if n := len(l.all); n > 0 {
		last = l.all[n-1]
	}
	if l.hollow == nil {
		l.hollow = make(map[hole]bool)
	}
	for range moves {
		if err := l.findOnce(folder, last); !errors.Is(err, errMoved) {
			return err
		}
	}
	return errBusy
}

func (l *Log) findOnce(folder *target.LogFolder, last *generation) error {
	files, created, known, err := l.listed(folder)
	if err != nil {
		return err
	}
	renewed := last == nil || last.Closed || len(files) == 0 || !last.was(files[len(files)-1].info)
	strange, err := l.recognize(folder, files)
	if err != nil {
		return err
	}
	newest := -1 // place in files of the newest of which something was read
	for i, e := range files {
		if g := l.named(e.name); g != nil && (g.Closed || g.Offset > 0) {
			newest = i
		}
	}
	// What is being compressed or copied is there twice: first what it is made of.
	for _, packed := range []bool{false, true} {
		for i, e := range slices.Backward(files) {
			if !slices.Contains(strange, e.name) || isPacked(e.name) != packed {
				continue
			}
			isNew, err := l.meet(folder, e, i < newest)
			if err != nil {
				return err
			}
			if isNew && renewed { // a log that is truncated and copied is not created again
				l.fresh++
			}
		}
	}
	if l.begun && known && l.counted && created > l.created+l.fresh {
		l.Missed += created - l.created - l.fresh
	}
	l.fresh, l.created, l.counted, l.begun = 0, created, known, true
	for h := range l.hollow {
		if !slices.ContainsFunc(files, func(e entry) bool { return holeOf(e.info) == h }) {
			delete(l.hollow, h)
		}
	}
	l.order(files)
	l.lose()
	return nil
}

func (l *Log) named(name string) *generation {
	for _, g := range l.all {
		if g.name == name {
			return g
		}
	}
	return nil
}

// recognize finds the files that are known by their numbers, and returns the names of the others.
func (l *Log) recognize(folder *target.LogFolder, files []entry) (strange []string, err error) {
	for _, g := range l.all {
		g.name = ""
		if g.file != nil && g.Head.Length == 0 && !g.Packed { // it was empty
			text, err := beginning(g.file, false, l.Plain)
			if err != nil {
				return nil, err
			}
			g.Head = headOf(text, l.Plain)
		}
	}
	for _, e := range files {
		g := l.numbered(e)
		if g != nil {
			same, err := l.verify(folder, g, e)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.name, err)
			}
			if same {
				g.name, g.info = e.name, e.info
				if err := l.hold(folder, g); err != nil {
					return nil, err
				}
				continue
			}
			g.release(l.Budget) // it was truncated: what is held is the new one
			g.Inode, g.Device, g.emptied = 0, 0, true
		}
		strange = append(strange, e.name)
	}
	return strange, l.emptied()
}

// emptied finds what was truncated, written anew and then removed.
func (l *Log) emptied() error {
	for _, g := range slices.Clone(l.all) {
		if g.name != "" || g.file == nil || g.Packed {
			continue
		}
		info, err := g.file.Stat()
		if err != nil {
			return err
		}
		at, _, ok := g.resume(g.file, info.Size())
		if ok {
			g.Offset = at
			continue
		}
		text, err := beginning(g.file, false, l.Plain)
		if err != nil {
			return err
		}
		anew := &generation{plain: l.Plain, Generation: Generation{Head: headOf(text, l.Plain)}, file: g.file,
			info: info, grew: l.now()}
		anew.Device, anew.Inode = numbers(info)
		l.all = append(l.all, anew)
		g.file, g.Inode, g.Device, g.emptied = nil, 0, 0, true
	}
	return nil
}

// hold holds a file open that is to be read, also after a restart.
func (l *Log) hold(folder *target.LogFolder, g *generation) error {
	if g.Closed || g.file != nil || l.Budget.Free <= 0 {
		return nil
	}
	file, err := open(folder, entry{g.name, g.info})
	if err != nil {
		return err
	}
	g.hold(file, l.Budget)
	return nil
}

// numbered returns the generation with the number of a file: one that is held, whose number no other
// file has, before one that may be gone.
func (l *Log) numbered(e entry) (found *generation) {
	for _, g := range l.all {
		if g.is(e.info) && g.name == "" && (found == nil || g.file != nil) {
			found = g
		}
	}
	return found
}

// verify reports whether a file is the generation whose number it has: the number may be used
// again, and the file may have been truncated.
func (l *Log) verify(folder *target.LogFolder, g *generation, e entry) (bool, error) {
	if g.Packed != isPacked(e.name) {
		return false, nil
	}
	if g.same(e.info) {
		return true, nil
	}
	file := g.file
	if file == nil {
		var err error
		if file, err = open(folder, e); err != nil {
			return false, err
		}
		defer func() { _ = file.Close() }() // read only
	}
	if g.Packed {
		text, err := beginning(file, true, l.Plain)
		return g.Head.begins(text), err
	}
	at, cut, ok := g.resume(file, e.info.Size())
	if !ok {
		return false, nil
	}
	if cut || len(g.Mark) == 0 {
		text, err := beginning(file, false, l.Plain)
		if err != nil {
			return false, err
		}
		if !cut && g.file == nil && !g.Head.begins(text) {
			g.Closed = g.Closed || g.Offset == 0 // of which nothing was read: it is as good as new
			return false, nil
		}
		g.Offset, g.Head = at, headOf(text, l.Plain)
	}
	if e.info.Size() > g.Offset {
		g.Closed = false // its writer did not know that it was rotated away
	}
	return true, nil
}

// meet takes a file in that has no known number, and reports whether it is new. It may be another
// name of what is known, a copy or a compressed one. One that is older than what was read is not read.
func (l *Log) meet(folder *target.LogFolder, e entry, older bool) (isNew bool, err error) {
	file, err := open(folder, e)
	if err != nil {
		return false, err
	}
	kept := false
	defer func() {
		if !kept {
			_ = file.Close() // read only
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	isNew, kept, err = l.place(folder, e, file, info, older)
	return isNew, err
}

// place finds a place for a file among the generations, and reports whether it is kept open.
func (l *Log) place(folder *target.LogFolder, e entry, file *os.File, info fs.FileInfo, older bool) (isNew, kept bool,
	err error) {
	packed := isPacked(e.name)
	text, err := beginning(file, packed, l.Plain)
	if err != nil {
		return false, false, fmt.Errorf("%s: %w", e.name, err)
	}
	head := headOf(text, l.Plain)
	if head.Length == 0 && packed && text == nil {
		return false, false, nil // it is being written
	}
	if head.Length == 0 && packed || info.Size() == 0 && e.name != folder.Name() {
		// There was nothing in it when it was rotated away, or it is a copy that is being made.
		isNew, l.hollow[holeOf(info)] = !l.hollow[holeOf(info)], true
		return isNew, false, nil
	}
	g, copied, err := l.twin(folder, e, file, info.Size(), text)
	if copied || err != nil {
		return false, false, err
	}
	if g != nil {
		return false, l.again(g, e.name, file, info, packed), nil
	}
	g = &generation{plain: l.Plain, Generation: Generation{Head: head, Packed: packed}, name: e.name,
		info: info, grew: l.now()}
	g.Device, g.Inode = numbers(info)
	if older {
		g.Offset, g.Closed = info.Size(), true
		if !packed {
			g.remember(file)
		}
	} else {
		kept = g.hold(file, l.Budget)
	}
	l.all = append(l.all, g)
	return true, kept, nil
}

// again notes where a generation is now, and reports whether its file is kept open.
func (l *Log) again(g *generation, name string, file *os.File, info fs.FileInfo, packed bool) (kept bool) {
	g.name, g.info, g.emptied = name, info, false
	if g.file != nil {
		g.later, g.laterPacked = info, packed // what is held is the same text
		return false
	}
	g.Device, g.Inode = numbers(info)
	g.Packed = packed
	if !packed && g.Offset < info.Size() {
		g.Closed = false // there is more in it than was read
	}
	if !packed && g.Offset > info.Size() { // what was written after the copy was read before
		g.Offset = info.Size()
		g.remember(file)
	}
	return !g.Closed && g.hold(file, l.Budget)
}

// twin returns the generation that a file is another name, a copy or a compressed one of. It
// reports copied where that is there itself.
func (l *Log) twin(folder *target.LogFolder, e entry, file *os.File, size int64, text []byte) (
	g *generation, copied bool, err error) {
	packed, same := isPacked(e.name), false
	for _, g := range slices.Backward(l.all) {
		beginning := !packed && !g.Packed && len(text) < g.Head.Line // it is being copied
		if !beginning && !g.Head.begins(text) {
			continue
		}
		if g.name != "" { // it is there itself
			if e.name == folder.Name() {
				continue
			}
			same = packed || g.Packed
			if same && l.Plain && !g.Packed && strings.TrimSuffix(e.name, ".gz") != g.name &&
				!holds(file, g.info.Size(), true) {
				continue
			}
			if !same {
				if same, err = g.has(folder, file, size); err != nil {
					return nil, false, err
				}
			}
			if same {
				return nil, true, nil
			}
			continue
		}
		if beginning {
			continue
		}
		main := l.Plain && e.name == folder.Name() // it need not be the same that begins in the same way
		if main && (g.Packed || size < g.Offset) {
			continue
		}
		if !packed && !g.Packed && (size > g.Offset || main) {
			if at, cut, ok := g.resume(file, size); !ok || cut || at != g.Offset {
				continue // it begins in the same way, no more
			}
		}
		if l.Plain && !packed && !g.Packed && g.file != nil {
			if same, err = g.has(folder, file, size); err != nil {
				return nil, false, err
			}
			if !same {
				continue
			}
		}
		if l.Plain && !packed && g.Packed && size != g.Offset {
			continue
		}
		if l.Plain && packed && !g.Packed && !g.emptied && !holds(file, g.Offset, g.Closed) {
			continue
		}
		return g, false, nil
	}
	return nil, false, nil
}

// has reports whether a file is a copy of the generation's beginning: it may be copied just now.
func (g *generation) has(folder *target.LogFolder, other *os.File, size int64) (bool, error) {
	file := g.file
	if file == nil {
		var err error
		if file, err = open(folder, entry{g.name, g.info}); err != nil {
			return false, err
		}
		defer func() { _ = file.Close() }() // read only
	}
	ours, theirs := make([]byte, min(size, markLength)), make([]byte, min(size, markLength))
	at := size - int64(len(ours))
	if _, err := other.ReadAt(theirs, at); err != nil {
		return false, errMoved // it is written anew
	}
	_, err := file.ReadAt(ours, at)
	return err == nil && bytes.Equal(ours, theirs), nil
}

// order puts the generations in the order in which they were written: first those that are in no
// folder any more.
func (l *Log) order(files []entry) {
	place := make(map[string]int, len(files))
	for i, e := range files {
		place[e.name] = i + 1
	}
	slices.SortStableFunc(l.all, func(a, b *generation) int { return place[a.name] - place[b.name] })
}

// lose forgets what is gone, and counts what was not read to its end.
func (l *Log) lose() {
	l.all = slices.DeleteFunc(l.all, func(g *generation) bool {
		if g.name != "" || g.file != nil {
			return false
		}
		if !g.Closed && g.rotated.IsZero() && !(g.emptied && l.now().Sub(g.grew) > quiet) {
			l.Missed++
		}
		return true
	})
}

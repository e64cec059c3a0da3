package follow_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors/logs/follow"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

var (
	seeds = flag.Int("histories", 60, "how many histories of a log") //nolint:gochecknoglobals // a flag of the tests
	first = flag.Uint64("history", 1, "the seed of the first")       //nolint:gochecknoglobals // a flag of the tests
)

// A sink notes which lines it was given.
type sink struct {
	seen   map[int]int // how often, by the number of the line
	broken []string
}

func (s *sink) Take(_ context.Context, in io.Reader, last bool) (int64, error) {
	text, err := io.ReadAll(in)
	done := int64(0)
	for {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole && (!last || len(line) == 0) {
			return done, err
		}
		done += int64(len(line)) + 1
		if !whole {
			done--
		}
		number, _, _ := strings.Cut(strings.Trim(string(line), "\x00"), " ")
		if n, err := strconv.Atoi(number); err != nil {
			s.broken = append(s.broken, fmt.Sprintf("%.60q", line))
		} else {
			s.seen[n]++
		}
		text = rest
	}
}

func (s *sink) Recall([]byte) {}

// A world is a log, who writes it and what it looks like from outside.
type world struct {
	t      *testing.T
	random *rand.Rand
	folder string
	path   string
	max    int // files

	plain    bool // it is no container's
	extended bool // what is rotated away keeps the end of its name

	file    *os.File
	n       int    // lines so far
	rest    string // of a line of which the beginning is written
	created uint64
	base    uint64 // creations before the reader was started
	now     time.Time
	story   []string

	reader *follow.Log
	sink   *sink
	saved  []byte // state of the reader
	counts map[int]int
	budget follow.Budget

	known  map[uint64]bool // files that the reader has found
	owed   map[int]bool    // lines that it must count, since it could have looked
	torn   map[int]bool    // lines of which the end was never written
	lost   bool            // a line was lost that none could have read
	unseen bool            // a file was
	looked bool            // since the reader was started
	before map[int]bool    // lines of a file that was gone before the reader looked for the first time
}

func (w *world) do(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf(format, args...))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v\nafter %s", err, strings.Join(w.story, ", "))
	}
}

// lines writes whole lines, the first of which may have been begun.
func (w *world) lines(count int) {
	w.do("%d lines", count)
	var text strings.Builder
	text.WriteString(w.rest)
	w.rest = ""
	for range count {
		text.WriteString(w.line())
	}
	w.write(text.String())
}

func (w *world) line() string {
	w.n++
	length := w.random.IntN(120)
	switch w.random.IntN(400) {
	case 0:
		length = 5000
	case 1:
		length = 200 << 10
	}
	return strconv.Itoa(w.n) + " " + strings.Repeat("x", length) + "\n"
}

func (w *world) half() {
	if w.rest != "" {
		return
	}
	w.do("half a line")
	line := w.line()
	at := strings.IndexByte(line, ' ') + 1
	w.write(line[:at])
	w.rest = line[at:]
}

func (w *world) write(text string) {
	_, err := io.WriteString(w.file, text)
	w.must(err)
}

func (w *world) create() {
	file, err := os.OpenFile(w.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	w.must(err)
	w.file = file
	w.created++
}

// rotated returns what a file is called that was rotated away so often.
func (w *world) rotated(times int) string {
	if w.extended {
		return fmt.Sprintf("%s.%d.log", strings.TrimSuffix(w.path, ".log"), times)
	}
	return fmt.Sprintf("%s.%d", w.path, times)
}

// numbered moves the files that were rotated away, and removes the last.
func (w *world) numbered() {
	for i := w.max - 1; i > 0; i-- {
		for _, end := range []string{"", ".gz"} {
			from := w.rotated(i) + end
			if _, err := os.Stat(from); err != nil {
				continue
			}
			if i == w.max-1 {
				w.remove(from)
				continue
			}
			w.must(os.Rename(from, w.rotated(i+1)+end))
		}
	}
}

// remove removes a file. What is in it is owed where the reader holds it.
func (w *world) remove(path string) {
	info, err := os.Stat(path)
	w.must(err)
	found := w.known[inode(info)]
	delete(w.known, inode(info)) // another file may have the number
	w.unseen = w.unseen || !found
	for _, n := range read(w.t, path) {
		if found {
			w.owed[n] = true
		} else if w.sink.seen[n] == 0 {
			w.lost = true
			w.before[n] = !w.looked
		}
	}
	w.must(os.Remove(path))
}

func (w *world) rotate() {
	torn := w.whole()
	w.do("rotate")
	w.numbered()
	w.must(os.Rename(w.path, w.rotated(1)))
	old := w.file
	if !torn && w.random.IntN(3) == 0 { // its writer does not know at once
		w.create()
		w.file, old = old, w.file
		w.lines(1 + w.random.IntN(3))
		w.do("reopened")
		w.file, old = old, w.file
	} else {
		w.create()
	}
	w.must(old.Close())
}

// whole ends a line that was begun; or it is left as it is, and is the last of its file.
func (w *world) whole() (torn bool) {
	if w.rest != "" && w.random.IntN(2) == 0 {
		w.lines(0)
	}
	if torn = w.rest != ""; torn {
		w.torn[w.n] = true
	}
	w.rest = ""
	return torn
}

func (w *world) compress() {
	from := w.rotated(1)
	text, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	w.must(err)
	w.do("compress")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write(text)
	w.must(errors.Join(err, z.Close()))
	if w.random.IntN(2) == 0 { // seen while it is written
		w.must(os.WriteFile(from+".gz", packed.Bytes()[:packed.Len()/2], 0o600))
		w.look(true)
	}
	w.must(os.WriteFile(from+".gz", packed.Bytes(), 0o600))
	if w.random.IntN(3) == 0 {
		w.look(true)
	}
	info, err := os.Stat(from)
	w.must(err)
	delete(w.known, inode(info))
	w.must(os.Remove(from)) // its text is there yet
}

func (w *world) copyTruncate() {
	if w.rest != "" {
		w.lines(0)
	}
	w.do("copy")
	w.numbered()
	text, err := os.ReadFile(w.path)
	w.must(err)
	if w.random.IntN(3) == 0 {
		w.must(os.WriteFile(w.rotated(1), text[:len(text)/2], 0o600))
		w.look(true)
	}
	w.must(os.WriteFile(w.rotated(1), text, 0o600))
	if w.random.IntN(3) == 0 {
		w.look(true)
	}
	if w.random.IntN(4) == 0 { // of which there is no copy
		before := w.n
		w.lines(1)
		if w.random.IntN(2) == 0 {
			w.look(true)
		}
		for n := before + 1; n <= w.n; n++ {
			w.lost = w.lost || w.sink.seen[n] == 0
		}
	}
	w.do("truncate")
	w.must(os.Truncate(w.path, 0))
}

// recreate removes the folder, as a container's is, and makes it anew.
func (w *world) recreate() {
	w.whole()
	w.do("remove all")
	entries, err := os.ReadDir(w.folder)
	w.must(err)
	for _, e := range entries {
		w.remove(filepath.Join(w.folder, e.Name()))
	}
	w.must(w.file.Close())
	w.must(os.Remove(w.folder))
	if w.random.IntN(2) == 0 {
		w.look(true)
	}
	w.must(os.Mkdir(w.folder, 0o700))
	w.create()
}

// start starts a reader where the last one has saved.
func (w *world) start() {
	w.sink = &sink{seen: maps.Clone(w.counts)}
	w.budget = follow.Budget{Free: 50}
	w.known, w.base, w.looked = make(map[uint64]bool), w.created, false
	w.reader = &follow.Log{Sink: w.sink, Budget: &w.budget, Now: func() time.Time { return w.now },
		Created: func() (uint64, bool) { return w.created - w.base, true },
		Plain:   w.plain, Open: func() (*target.LogFolder, error) {
			if w.plain {
				return target.NewHost("s", "/", target.HostLogs{}).OpenLog(w.path)
			}
			return (&target.Docker{Root: "/"}).OpenLog(target.Container{ID: "c1", Name: "c1", LogDriver: "json-file",
				LogPath: w.path})
		}}
	if w.saved != nil {
		var state []follow.Generation
		w.must(json.Unmarshal(w.saved, &state))
		w.reader.Restore(state, true)
	}
}

// kill ends the reader: what it has not saved is forgotten, and its files are closed.
func (w *world) kill() {
	w.do("kill -9")
	w.reader.Close()
	clear(w.owed)
	w.start()
}

// look has the reader look, and compares what it has counted with what is on the disk.
func (w *world) look(save bool) {
	w.t.Helper()
	w.do("look")
	w.looked = true
	err := w.reader.Look(w.t.Context())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	w.must(err)
	entries, _ := os.ReadDir(w.folder) // it may be gone
	for _, e := range entries {
		path := filepath.Join(w.folder, e.Name())
		info, err := os.Stat(path)
		w.must(err)
		w.known[inode(info)] = true
		for _, n := range read(w.t, path) {
			w.owed[n] = true
		}
	}
	w.check("look")
	if save {
		state, err := json.Marshal(w.reader.State())
		w.must(err)
		w.saved, w.counts = state, maps.Clone(w.sink.seen)
	}
}

func (w *world) check(when string) {
	w.t.Helper()
	for n := range w.owed {
		if w.sink.seen[n] == 0 {
			w.t.Fatalf("%s: line %d is not counted\nafter %s", when, n, strings.Join(w.story, ", "))
		}
	}
	for n, times := range w.sink.seen {
		if times > 1 {
			w.t.Fatalf("%s: line %d is counted %d times\nafter %s", when, n, times, strings.Join(w.story, ", "))
		}
	}
	if len(w.sink.broken) > 0 {
		w.t.Fatalf("%s: these are no lines: %q\nafter %s", when, w.sink.broken, strings.Join(w.story, ", "))
	}
}

// read returns the numbers of the whole lines in a file. A compressed one may be unfinished.
func read(t *testing.T, path string) (all []int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			return nil
		}
		text, _ = io.ReadAll(z) // its beginning
	}
	lines := strings.Split(string(text), "\n")
	for _, line := range lines[:len(lines)-1] {
		number, _, _ := strings.Cut(strings.Trim(line, "\x00"), " ")
		if n, err := strconv.Atoi(number); err == nil {
			all = append(all, n)
		}
	}
	return all
}

func inode(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}

// Whatever happens to a log, each line that was on the disk when the reader looked, or in a file that it
// held, is counted once; and where a line is not, that is counted.
func TestHistories(t *testing.T) {
	t.Parallel()
	for seed := *first; seed < *first+uint64(*seeds); seed++ {
		if !t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { history(t, seed, false) }) {
			break
		}
	}
}

// The same holds for the log of a service that is in no container.
func TestHistoriesOfPlainFiles(t *testing.T) {
	t.Parallel()
	for seed := *first; seed < *first+uint64(*seeds); seed++ {
		if !t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { history(t, seed, true) }) {
			break
		}
	}
}

func history(t *testing.T, seed uint64, plain bool) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "c1")
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 1)), folder: folder,
		path: filepath.Join(folder, "c1-json.log"), owed: make(map[int]bool), torn: make(map[int]bool), counts: make(map[int]int),
		before: make(map[int]bool),
		now:    time.Unix(1e9, 0), plain: plain}
	if plain {
		w.path = filepath.Join(folder, "app.log")
		w.extended = w.random.IntN(3) == 0
	}
	w.max = 2 + w.random.IntN(4)
	w.must(os.Mkdir(folder, 0o700))
	w.create()
	defer func() { _ = w.file.Close() }()
	w.start()
	kills, copies := 0, w.random.IntN(2) == 0
	for range 60 {
		w.now = w.now.Add(time.Duration(w.random.IntN(9000)) * time.Millisecond)
		switch step := w.random.IntN(100); {
		case step < 35:
			w.lines(1 + w.random.IntN(30))
		case step < 42:
			w.half()
		case step < 62:
			w.look(w.random.IntN(10) > 0)
		case step < 78:
			w.rotate()
		case step < 84:
			w.compress()
		case step < 90:
			if copies {
				w.copyTruncate()
			}
		case step < 94:
			w.kill()
			kills++
		case step < 96:
			w.recreate()
		}
	}
	w.whole()
	for range 3 {
		w.look(true)
		w.now = w.now.Add(time.Minute)
	}
	missing := 0
	for n := 1; n <= w.n; n++ {
		if w.sink.seen[n] == 0 && !w.torn[n] && !w.before[n] {
			missing++
		}
	}
	if kills == 0 && missing > 0 && !w.lost {
		t.Errorf("%d lines are missing, and lost is %t\nafter %s", missing, w.lost, strings.Join(w.story, ", "))
	}
	if missed := w.reader.Missed > 0; kills == 0 && !copies && (missing > 0 && !missed || missed && !w.unseen) {
		t.Errorf("%d lines are missing, and %d files are said to be missed\nafter %s", missing, w.reader.Missed,
			strings.Join(w.story, ", "))
	}
	w.reader.Close()
	if w.budget.Free != 50 {
		t.Errorf("%d files are open yet", 50-w.budget.Free)
	}
}

// Lines need have no time: what is written anew is counted, also where it is the beginning of what was written before.
func TestLinesAlike(t *testing.T) {
	t.Parallel()
	const line = "1 GET /health 0\n" // 16 bytes: a block has whole lines
	for name, again := range map[string]func(path string) error{
		"renamed":   func(path string) error { return os.Rename(path, path+".1") },
		"removed":   os.Remove,
		"truncated": func(path string) error { return os.Truncate(path, 0) },
		"copied and truncated": func(path string) error {
			text, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path+".1", text, 0o600), os.Truncate(path, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "app.log")
			s := &sink{seen: make(map[int]int)}
			l := &follow.Log{Plain: true, Sink: s, Budget: &follow.Budget{Free: 5},
				Open: func() (*target.LogFolder, error) { return target.NewHost("s", "/", target.HostLogs{}).OpenLog(path) }}
			defer l.Close()
			written := 0
			for round, lines := range []int{2000, 1000, 80, 20, 1} {
				if round > 0 {
					if err := again(path); err != nil {
						t.Fatal(err)
					}
				}
				f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
				if err == nil {
					_, err = io.WriteString(f, strings.Repeat(line, lines))
				}
				if err != nil {
					t.Fatal(err)
				}
				_ = f.Close() // was written
				written += lines
				if err := l.Look(t.Context()); err != nil {
					t.Fatal(err)
				}
				if s.seen[1] != written {
					t.Fatalf("round %d: %d lines are counted of %d", round, s.seen[1], written)
				}
				if round%2 == 0 {
					_ = os.Remove(path + ".1")
				}
			}
		})
	}
}

package logs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ai-micro-service/upkeep/collectors/logs/follow"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// A log file as its driver writes it.
type written struct {
	t    *testing.T
	path string
	f    *os.File
	n    int
}

func newLog(t *testing.T) *written {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "c1")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	w := &written{t: t, path: filepath.Join(folder, "c1-json.log")}
	w.open(os.O_CREATE | os.O_WRONLY | os.O_APPEND)
	return w
}

func (w *written) open(flags int) {
	w.t.Helper()
	var err error
	if w.f, err = os.OpenFile(w.path, flags, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.f.Close() }) // it may be closed already
}

// lines writes n lines, and of one more the half.
func (w *written) lines(n int) {
	w.t.Helper()
	for range n {
		w.n++
		if _,
			err := fmt.Fprintf(w.f,
			`{"log":"{\"level\":\"info\",\"message\":\"%d\",\"path\":\"/p\"}\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}`+"\n", w.n); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *written) half(s string) {
	w.t.Helper()
	if _, err := w.f.WriteString(s); err != nil {
		w.t.Fatal(err)
	}
}

// rotate moves the files as the driver does.
func (w *written) rotate() {
	w.t.Helper()
	_ = os.Rename(w.path+".1", w.path+".2") // it may not exist
	if err := os.Rename(w.path, w.path+".1"); err != nil {
		w.t.Fatal(err)
	}
	w.open(os.O_CREATE | os.O_WRONLY | os.O_TRUNC)
}

func (w *written) at() (*target.LogFolder, error) {
	return (&target.Docker{Root: "/"}).OpenLog(w.container())
}

// container is whose log it is.
func (w *written) container() target.Container {
	return target.Container{ID: "c1", Name: "c1", LogDriver: "json-file", LogPath: w.path}
}

// follow begins at the end of a log, and returns what looks at it.
func (w *written) follow() (*counter, *follow.Log, func()) {
	w.t.Helper()
	c := &counter{reader: reader{fields: names()}, tally: newTally(1000)}
	f := &follow.Log{Open: w.at, Sink: c, Budget: &follow.Budget{Free: 10}}
	w.t.Cleanup(f.Close)
	if err := f.Skip(); err != nil {
		w.t.Fatal(err)
	}
	return c, f, func() {
		w.t.Helper()
		if err := f.Look(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// Every line is counted once: across reading in the middle of a line, rotation,
// two rotations, truncation, and a hole that truncation leaves.
func TestFollow(t *testing.T) {
	w := newLog(t)
	w.lines(5)
	c, f, look := w.follow()
	expect := func(what string, lines int) {
		t.Helper()
		look()
		if int(c.tally.lines) != lines || c.tally.requests != c.tally.lines {
			t.Fatalf("%s: %d lines, %d requests, want %d", what, c.tally.lines, c.tally.requests, lines)
		}
	}
	expect("what was there before", 0)
	w.lines(3)
	expect("three more", 3)
	expect("no more", 3)
	line := `{"log":"{\"path\":\"/p\"}\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}` + "\n"
	w.half(line[:20])
	expect("half a line", 3)
	w.half(line[20:])
	expect("the other half", 4)
	w.lines(2)
	w.rotate()
	w.lines(3)
	expect("rotated in between", 9)
	w.lines(1)
	w.rotate()
	expect("rotated and nothing new", 10)
	w.lines(1)
	w.rotate()
	w.rotate()
	w.lines(4)
	expect("rotated twice, and the first is there yet", 15)

	if err := os.Truncate(w.path, 0); err != nil {
		t.Fatal(err)
	}
	expect("truncated", 15)
	w.lines(2) // at its old place: what is before is a hole
	expect("written behind a hole", 17)
	if f.Missed != 1 {
		t.Errorf("%d files were missed, want that of which the end may be", f.Missed)
	}
	w.lines(2)
	w.rotate()
	w.lines(1)
	if err := os.Remove(w.path + ".1"); err != nil {
		t.Fatal(err)
	}
	expect("rotated away and removed, and held", 20)
	if f.Missed != 1 {
		t.Errorf("%d files were missed, want no more", f.Missed)
	}
}

// cut takes blocks out of the head of the file, as docker/prune_logs does.
func (w *written) cut(blocks int) {
	w.t.Helper()
	text, err := os.ReadFile(w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	const block = 4096
	rest := text[blocks*block:]
	for i := range bytes.IndexByte(rest, '\n') {
		rest[i] = ' '
	}
	if err := os.WriteFile(w.path, rest, 0o600); err != nil { // the same file: its writer appends
		w.t.Fatal(err)
	}
}

// Where the head of a file is cut off, what stays is not counted again, and what has
// come since is.
func TestFollowThroughACut(t *testing.T) {
	w := newLog(t)
	w.lines(50)
	c, _, look := w.follow()
	want := 0
	expect := func(what string, more int) {
		t.Helper()
		want += more
		look()
		if int(c.tally.lines) != want {
			t.Fatalf("%s: %d lines, want %d", what, c.tally.lines, want)
		}
	}
	w.lines(100)
	w.cut(1)
	expect("cut before the first look", 100)
	w.lines(100)
	expect("more", 100)
	w.cut(3)
	expect("cut and nothing new", 0)
	w.lines(3)
	w.cut(1)
	expect("cut, and a little more", 3)
	w.cut(1)
	w.lines(100)
	expect("cut, and longer than before", 100)
	w.lines(2)
	if err := os.Truncate(w.path, 0); err != nil {
		t.Fatal(err)
	}
	w.lines(5)
	expect("truncated, and written since", 5)
	w.lines(200)
	expect("more than before", 200)
	if err := os.Truncate(w.path, 0); err != nil {
		t.Fatal(err)
	}
	w.lines(250)
	expect("truncated, and longer than before", 250)
}

func TestFiles(t *testing.T) {
	w := newLog(t)
	for _, name := range []string{"c1-json.log.1", "c1-json.log.2.gz", "c1-json.log.10", "other.log"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(w.path), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := (&target.Docker{Root: "/"}).LogFiles(w.container())
	want := []string{w.path + ".10", w.path + ".2.gz", w.path + ".1", w.path}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Files: %v %v, want %v", got, err, want)
	}
}

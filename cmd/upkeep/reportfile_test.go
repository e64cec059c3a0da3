package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	review "github.com/ai-micro-service/upkeep/internal/product/report"
)

func says(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// A report takes the place of a file whole or not at all, with its mode; a link stays a link, a pipe is written to,
// and nothing is left of one that failed.
func TestReportFile(t *testing.T) {
	dir := t.TempDir()
	file, link, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	read := func(path, want string) {
		t.Helper()
		if text, err := os.ReadFile(path); err != nil || string(text) != want {
			t.Errorf("%s: %q %v, want %q", path, text, err, want)
		}
	}
	write(t, file, "before") // of mode 0600
	half := func(w io.Writer) error { return errors.Join(says("half")(w), errors.New("full")) }
	if err := replaceFile(file, half); err == nil {
		t.Error("half a report is no error")
	}
	read(file, "before")
	if err := errors.Join(os.Symlink(file, link), replaceFile(link, says("after"))); err != nil {
		t.Error(err)
	}
	read(file, "after")
	for path, want := range map[string]os.FileMode{file: 0o600, link: os.ModeSymlink | 0o777} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v, want %v", path, info.Mode(), err, want)
		}
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		text, err := os.ReadFile(pipe)
		got <- string(text)
		if err != nil {
			t.Error(err)
		}
	}()
	if err := replaceFile(pipe, says("through")); err != nil {
		t.Error(err)
	}
	if text := <-got; text != "through" {
		t.Errorf("%q came through the pipe", text)
	}
	if err := replaceFile(dir, says("x")); err == nil || !strings.Contains(err.Error(), "name a file") {
		t.Errorf("a folder: %v", err)
	}
	all, err := os.ReadDir(dir)
	if err != nil || len(all) != 3 {
		t.Errorf("%v %v", all, err)
	}
}

// An unknown kind of resource is no empty answer.
func TestForecastArguments(t *testing.T) {
	var out, said strings.Builder
	code := execute([]string{"forecast", "--resource", "databse", "--url", "http://127.0.0.1:1"}, &out, &said)
	if code != int(exitUsage) || !strings.Contains(said.String(), `--resource "databse": want one of filesystem, `) {
		t.Errorf("%d %q", code, said.String())
	}
}

// On a full disk a report is an error, the one before stays as it was, and nothing is left of the new one; with room
// again it takes its place.
func TestReportOnAFullDisk(t *testing.T) {
	t.Parallel()
	disk := newFull(t, t.TempDir())
	file := filepath.Join(disk.dir, "review.html")
	if err := replaceFile(file, says("of October")); err != nil {
		t.Fatal(err)
	}
	empty := disk.fill(t)
	page := review.Report{Title: strings.Repeat("November", 10_000)}
	if err := replaceFile(file, func(w io.Writer) error { return review.Page(w, page) }); err == nil ||
		!strings.Contains(err.Error(), "no space left") {
		t.Errorf("on a full disk: %v", err)
	}
	for name, write := range map[string]func(io.Writer) error{
		"html": func(w io.Writer) error { return review.Page(w, page) },
		"md":   func(w io.Writer) error { return review.Markdown(w, page) },
		"json": func(w io.Writer) error { return printJSON(w, page) },
	} {
		if err := replaceFile(filepath.Join(disk.dir, "new."+name), write); err == nil {
			t.Errorf("%s is written to a full disk", name)
		}
	}
	left, err := os.ReadDir(disk.dir)
	if text, e := os.ReadFile(file); err != nil || len(left) != 2 || string(text) != "of October" { // it and the filler
		t.Errorf("%v %v %v %q", left, err, e, text)
	}
	if empty(); replaceFile(file, says("of November")) != nil {
		t.Error("with room again")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "of November" {
		t.Errorf("%v %q", err, text)
	}
}

// A report of which figures could not be read is written, and the command says so and fails: the reader of the file, a week
// later, cannot mend it.
func TestReportThatIsNotWhole(t *testing.T) {
	t.Parallel()
	f := &fort{site: site{dir: t.TempDir(), address: freeAddress(t)}}
	write(t, filepath.Join(f.dir, "view"), "the-token-of-view\n")
	write(t, filepath.Join(f.dir, "upkeep.yaml"), fmt.Sprintf(`data_dir: data
web: {listen: %q, tokens: [{name: v, role: view, file: view}]}
targets: {host: [{name: here}]}
collectors: {settings: {host/updates: {disabled: true}}}
embedded: {enabled: false}
prometheus: {url: "http://%s"}
`, f.address, freeAddress(t)))
	f.cmd = spawn(t, f.dir, "upkeep", "serve", "--config", "upkeep.yaml")
	f.awaitReady(t)
	file := filepath.Join(t.TempDir(), "review.html")
	for _, args := range [][]string{{"--out", file}, {"--format", "md"}} {
		var out, said strings.Builder
		code := execute(append([]string{"report", "month", "--url", "http://" + f.address, "--token-file",
			filepath.Join(f.dir, "view")}, args...), &out, &said)
		if code != 1 || !strings.Contains(said.String(), " is written without ") ||
			!strings.Contains(said.String(), "connection refused") {
			t.Errorf("%v: %d %s", args, code, said.String())
		}
		if !strings.Contains(out.String(), map[bool]string{true: file, false: "Not read: "}[args[0] == "--out"]) {
			t.Errorf("%v: %s", args, out.String())
		}
	}
	if page, err := os.ReadFile(file); err != nil || !strings.Contains(string(page), "not read: ") {
		t.Errorf("%v, %d bytes", err, len(page))
	}
}

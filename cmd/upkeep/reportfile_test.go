package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
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

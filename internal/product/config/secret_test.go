package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// writer makes a program, and returns a target whose password it writes.
func writer(t *testing.T, text string) (target config.Postgres, program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "program")
	if err := sandbox.WriteProgram(program, "#!/bin/sh\n"+text, 0o700); err != nil {
		t.Fatal(err)
	}
	return config.Postgres{PasswordCommand: []string{program, "an argument; with $PATH"}}, program
}

// A program is asked each time, gets its arguments as they are and nothing of our environment, and its
// last line feed is not of the password.
func TestPasswordCommand(t *testing.T) {
	t.Setenv("UPKEEP_TEST_SECRET", "S3cret")
	target, program := writer(t, `echo x >>"$0.runs"; echo "$1|$HOME|$UPKEEP_TEST_SECRET|$(wc -l <"$0.runs")"`)
	password := target.Password()
	for _, run := range []string{"1", "2"} {
		if got, err := password(); err != nil || got != "an argument; with $PATH|/nonexistent||"+run {
			t.Errorf("the password is %q, %v", got, err)
		}
	}
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if got, err := password(); err == nil || got != "" || !strings.Contains(err.Error(), "password_command: ") {
		t.Errorf("of a program that is gone: %q, %v", got, err)
	}
}

// Connections that are made at once share one run of the program.
func TestPasswordCommandIsShared(t *testing.T) {
	target, program := writer(t, `echo x >>"$0.runs"; while [ ! -e "$0.go" ]; do sleep 0.01; done; echo secret`)
	password := target.Password()
	var all sync.WaitGroup
	ask := func() {
		if got, err := password(); err != nil || got != "secret" {
			t.Errorf("%q, %v", got, err)
		}
	}
	runs := func() int {
		text, _ := os.ReadFile(program + ".runs") // made by the first run
		return strings.Count(string(text), "x")
	}
	all.Go(ask)
	servertest.Eventually(t, "the program runs", func() bool { return runs() == 1 })
	for range 7 {
		all.Go(ask)
	}
	// Those that ask before it ends wait for it, and are as many as the machine lets ask by then.
	if err := os.WriteFile(program+".go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if n := runs(); n > 7 {
		t.Errorf("it was run %d times for 8 connections", n)
	}
}

// What a program writes that is no password is refused, and is in no error.
func TestPasswordCommandThatFails(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"status", `echo S3cret; echo S3cret >&2; exit 3`, "exit status 3"},
		{"nothing", `:`, "has written nothing"},
		{"an empty line", `echo`, "has written nothing"},
		{"two lines", `echo S3cret; echo S3cret`, "more than one line"},
		{"too much", `head -c 70000 /dev/zero | tr '\0' S`, "has written 70000 bytes"},
		{"no end", `head -c 20000000 /dev/zero`, "it wrote more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			target, program := writer(t, tt.text)
			got, err := target.Password()()
			if got != "" || err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), program) ||
				strings.Contains(err.Error(), "S3cret") || strings.Contains(err.Error(), "argument") {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// A program that every user can write is not run, and refused at the start.
func TestPasswordCommandOfOthers(t *testing.T) {
	target, program := writer(t, `echo S3cret`)
	if err := os.Chmod(filepath.Dir(filepath.Dir(program)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(program, 0o777); err != nil {
		t.Fatal(err)
	}
	c := config.Config{Targets: config.Targets{Postgres: []config.Postgres{target}}}
	if err := c.Private(); err == nil || !strings.Contains(err.Error(), "password_command: every user can write the file") {
		t.Errorf("at the start: %v", err)
	}
	if got, err := target.Password()(); err == nil || got != "" || !strings.Contains(err.Error(), "every user can write") {
		t.Errorf("%q, %v", got, err)
	}
}

package child_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/child"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// program writes a program into a folder of its own.
func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := sandbox.WriteProgram(path, "#!/bin/sh\n"+text, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// Nothing of our environment reaches a child, and no configuration in our home is found by it.
func TestEnvironment(t *testing.T) {
	t.Setenv("UPKEEP_SECRET", "S3cret")
	t.Setenv("PGPASSWORD", "S3cret")
	t.Setenv("PATH", os.Getenv("PATH")+":.:relative")
	r, err := child.Run(t.Context(), child.Program{Path: "/usr/bin/env", Env: []string{"LC_ALL=C", "HOME=/tmp/its"}})
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]string)
	for line := range strings.Lines(string(r.Out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		names[name] = value
	}
	if len(names) != 4 || names["HOME"] != "/tmp/its" || names["LANG"] == "" || names["LC_ALL"] != "C" {
		t.Errorf("the environment is %v", names)
	}
	for _, dir := range filepath.SplitList(names["PATH"]) {
		if !filepath.IsAbs(dir) {
			t.Errorf("PATH has the folder %q", dir)
		}
	}
	r, err = child.Run(t.Context(), child.Program{Path: "/bin/pwd"})
	if err != nil || strings.TrimSpace(string(r.Out)) != "/" {
		t.Errorf("it works in %s: %v", r.Out, err)
	}
}

// What a program has started ends with it, whether it ended by itself or the context did.
func TestWholeGroupEnds(t *testing.T) {
	for name, ends := range map[string]bool{"by itself": true, "with the context": false} {
		t.Run(name, func(t *testing.T) {
			note := filepath.Join(t.TempDir(), "pid")
			text := "sleep 1000 & echo $! > " + note + ".tmp; mv " + note + ".tmp " + note + "\n"
			if !ends {
				text += "wait\n"
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			over := errors.New("over")
			go func() {
				defer cancel(over)
				servertest.Eventually(t, "the grandchild's number", func() bool {
					_, err := os.Stat(note)
					return err == nil
				})
				if ends {
					<-t.Context().Done()
				}
			}()
			_, err := child.Run(ctx, child.Program{Path: program(t, text)})
			if ends && err != nil || !ends && !errors.Is(err, over) {
				t.Errorf("it ended with %v", err)
			}
			text2, err := os.ReadFile(note)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text2)))
			if err != nil {
				t.Fatal(err)
			}
			servertest.Eventually(t, "the end of what it has started", func() bool {
				stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
				return err != nil || strings.Contains(string(stat), ") Z ")
			})
		})
	}
}

// A program that writes without end is killed.
func TestBoundedOutput(t *testing.T) {
	r, err := child.Run(t.Context(), child.Program{Path: program(t, "cat /dev/zero")})
	if err == nil || !strings.Contains(err.Error(), "it wrote more than") || len(r.Out) > 16<<20 {
		t.Errorf("%d bytes, %v", len(r.Out), err)
	}
	r, err = child.Run(t.Context(), child.Program{Path: program(t, "head -c 1000000 /dev/zero >&2; exit 3")})
	if err == nil || len(r.Said) > 64<<10 {
		t.Errorf("%d bytes of complaints, %v", len(r.Said), err)
	}
}

// No shell is between us and the program, and what cannot be an argument is refused.
func TestArguments(t *testing.T) {
	hostile := []string{"$(id)", "`id`", "; id", "a\nb", "-n", "'", `"`, "*"}
	r, err := child.Run(t.Context(), child.Program{Path: program(t, `for a in "$@"; do printf '%s\0' "$a"; done`),
		Args: hostile})
	if err != nil || string(r.Out) != strings.Join(hostile, "\x00")+"\x00" {
		t.Errorf("%q, %v", r.Out, err)
	}
	for name, p := range map[string]child.Program{
		"a relative path":     {Path: "sh"},
		"a relative folder":   {Path: "/bin/sh", Dir: "."},
		"a NUL":               {Path: "/bin/sh", Args: []string{"a\x00b"}},
		"a long argument":     {Path: "/bin/sh", Args: []string{strings.Repeat("x", 1<<17)}},
		"no name":             {Path: "/bin/sh", Env: []string{"S3cret"}},
		"a NUL in a variable": {Path: "/bin/sh", Env: []string{"A=S3cret\x00"}},
	} {
		if _, err := child.Run(t.Context(), p); err == nil || strings.Contains(err.Error(), "S3cret") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := child.Start(p, nil); err == nil {
			t.Errorf("%s: it was started", name)
		}
	}
}

// A program in the working directory is not found, whatever PATH says.
func TestFind(t *testing.T) {
	here := t.TempDir()
	if err := sandbox.WriteProgram(filepath.Join(here, "npm"), "#!/bin/sh\n", 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(here)
	for _, path := range []string{".", "", ":", "./", "../" + filepath.Base(here)} {
		t.Setenv("PATH", path)
		if found, err := child.Find("npm"); !errors.Is(err, child.ErrNotInstalled) {
			t.Errorf("PATH %q: found %q, %v", path, found, err)
		}
	}
	t.Setenv("PATH", here)
	if found, err := child.Find("npm"); err != nil || found != filepath.Join(here, "npm") {
		t.Errorf("found %q, %v", found, err)
	}
	if _, err := child.Find("../npm"); err == nil {
		t.Error("a path is found as a name")
	}
}

// A program that is looked after gets SIGINT, and its whole group ends by Kill.
func TestStart(t *testing.T) {
	var out strings.Builder
	p, err := child.Start(child.Program{Path: program(t,
		"trap 'echo cleaned; exit 0' INT\necho ready\nwhile :; do sleep 0.05; done")}, &out)
	if err != nil {
		t.Fatal(err)
	}
	p.Interrupt() // a shell that has not yet set its trap ends by it
	<-p.Ended()
	p, err = child.Start(child.Program{Path: program(t, "trap '' INT\nsleep 1000")}, &out)
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	<-p.Ended()
	if exit := p.Err(); exit == nil || !strings.Contains(exit.Error(), syscall.SIGKILL.String()) {
		t.Errorf("it ended with %v", exit)
	}
	p.Kill() // of what has ended is nothing
}

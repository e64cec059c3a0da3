package pattern_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/collectors/logs/pattern"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
)

// files makes files below a root. A name that ends in a slash is a folder, one with -> a link.
func files(t *testing.T, root string, names ...string) {
	t.Helper()
	for _, name := range names {
		name, to, link := strings.Cut(name, "->")
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case err != nil:
		case link:
			err = os.Symlink(to, path)
		case strings.HasSuffix(name, "|"):
			err = syscall.Mkfifo(strings.TrimSuffix(path, "|"), 0o600)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		default:
			err = os.WriteFile(path, []byte("x\n"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A pattern finds each log once: not what was rotated away from it, and a log also while it is being rotated.
func TestFind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pattern string
		there   []string
		known   []string
		want    []string
	}{
		"a file":                      {"/log/a.log", []string{"log/a.log", "log/b.log"}, nil, []string{"/log/a.log"}},
		"a file that is not there":    {"/log/a.log", []string{"log/b.log"}, nil, nil},
		"no folder":                   {"/log/a.log", nil, nil, nil},
		"several":                     {"/log/*.log", []string{"log/b.log", "log/a.log", "log/c", "log/d.log/"}, nil, []string{"/log/a.log", "/log/b.log"}},
		"rotated":                     {"/log/*", []string{"log/a.log", "log/a.log.1", "log/a.log.2.gz", "log/b-20261130.gz", "log/a.log-20261130"}, nil, []string{"/log/a.log", "/log/b"}},
		"being rotated":               {"/log/*.log", []string{"log/a.log.1"}, nil, []string{"/log/a.log"}},
		"dated":                       {"/log/*.log", []string{"log/a.log", "log/a-20261130.log", "log/a.1.log", "log/a-20261129.log.gz"}, nil, []string{"/log/a.log"}},
		"each day another":            {"/log/*.log", []string{"log/a-20261130.log", "log/a-20261201.log"}, nil, []string{"/log/a-20261130.log", "/log/a-20261201.log"}},
		"dated, being rotated":        {"/log/*.log", []string{"log/a-20261130.log"}, []string{"/log/a.log"}, []string{"/log/a.log"}},
		"with a number of their own":  {"/log/w-*", []string{"log/w-1", "log/w-2"}, nil, []string{"/log/w-1", "/log/w-2"}},
		"with a number and an end":    {"/log/*.log", []string{"log/w.log", "log/w-2.log"}, nil, []string{"/log/w-2.log", "/log/w.log"}},
		"the rotated one by its name": {"/log/a.log.1", []string{"log/a.log", "log/a.log.1"}, nil, []string{"/log/a.log.1"}},
		"folders":                     {"/srv/*/log/[ab].log", []string{"srv/x/log/a.log", "srv/y/log/b.log", "srv/y/log/c.log", "srv/z/a.log", "srv/f"}, nil, []string{"/srv/x/log/a.log", "/srv/y/log/b.log"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			files(t, root, c.there...)
			f := pattern.Find(target.NewHost("s", root, target.HostLogs{}), c.pattern, func(path string) bool {
				return strings.Contains(strings.Join(c.known, " "), path)
			})
			if diff := cmp.Diff(c.want, f.Logs); diff != "" || f.Err() != nil {
				t.Errorf("%v, and it differs:\n%s", f.Err(), diff)
			}
		})
	}
}

// What is no plain file is named, and no link leads to a log.
func TestFindNoLinks(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	files(t, root, "etc/secret.log", "log/a.log", "log/b.log->/etc/secret.log", "log/c.log|", "log/dir.log/",
		"linked->/etc", "srv/x->/etc", "srv/y/log->../../etc")
	h := target.NewHost("s", root, target.HostLogs{})
	none := func(string) bool { return false }
	f := pattern.Find(h, "/log/*.log", none)
	if diff := cmp.Diff([]string{"/log/a.log"}, f.Logs); diff != "" || len(f.Odd) != 2 || len(f.Unread) > 0 {
		t.Errorf("%v\n%s", f.Err(), diff)
	}
	for _, odd := range f.Odd {
		if visibletest.Line(t, odd.Err.Error()); !strings.Contains(odd.Err.Error(), "name the file itself") {
			t.Error(odd.Err)
		}
	}
	for p, want := range map[string]string{"/linked/*.log": "linked in it is a link", "/srv/*/*.log": "",
		"/srv/*/log/*.log": "log in it is a link", "/log/a.log/x.log": "a.log in it is a link or no folder"} {
		f := pattern.Find(h, p, none)
		if len(f.Logs) > 0 || len(f.Unread) > 0 != (want != "") {
			t.Errorf("%s: %q, %v", p, f.Logs, f.Err())
		}
		for _, one := range f.Unread {
			if !strings.Contains(one.Err.Error(), want) {
				t.Errorf("%s: %v", p, one.Err)
			}
		}
	}
}

// Whatever a file is called, it belongs to one log at most, and is not lost.
func TestFindAnyName(t *testing.T) {
	t.Parallel()
	visibletest.Names(t, func(name string) {
		root := t.TempDir()
		if os.WriteFile(filepath.Join(root, name), nil, 0o600) != nil || filepath.Base(name) != name {
			return // no name of a file
		}
		h := target.NewHost("s", root, target.HostLogs{})
		f := pattern.Find(h, "/*", func(string) bool { return false })
		if len(f.Logs) != 1 || f.Err() != nil {
			t.Fatalf("%q: %q, %v", name, f.Logs, f.Err())
		}
		if files, err := h.LogFiles(f.Logs[0]); err != nil || len(files) != 1 || filepath.Base(files[0]) != name {
			t.Errorf("%q is of %q, which has %q: %v", name, f.Logs, files, err)
		}
	})
}

// What is no pattern is refused, with what was expected.
func TestCheck(t *testing.T) {
	t.Parallel()
	for p, want := range map[string]string{"/var/log/a.log": "", "/var/log/*/[a-z]?.log": "", "a.log": "an absolute path",
		"/var/log/": "a file was expected", "/var/log/[a": "syntax error in pattern", "": "an absolute path", "/a\x00": "NUL"} {
		err := pattern.Check(p)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", p, err)
		}
	}
}

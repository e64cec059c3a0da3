package target

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
)

// aLog is a container with a log below a root, in the files of which is what they are called.
func aLog(t *testing.T, root string, files ...string) Container {
	t.Helper()
	id := strings.Repeat("ab12", 16)
	folder := filepath.Join("/var/lib/docker/containers", id)
	c := Container{ID: id, Name: "web", LogDriver: "json-file", LogPath: filepath.Join(folder, id+"-json.log")}
	if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range files {
		if err := os.WriteFile(filepath.Join(root, c.LogPath+suffix), []byte("text of"+suffix), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// The files of a log are listed from the oldest on, however often it was rotated, and its size is that of all of them.
func TestLogFiles(t *testing.T) {
	t.Parallel()
	d := &Docker{Root: t.TempDir()}
	suffixes := []string{"", ".1", ".2.gz", ".3.gz", ".9.gz", ".10.gz", ".11"}
	c := aLog(t, d.Root, suffixes...)
	other := filepath.Join(d.Root, filepath.Dir(c.LogPath), "config.v2.json")
	if err := os.WriteFile(other, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	paths, err := d.LogFiles(c)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	sum := 0.0
	for _, path := range paths {
		got = append(got, strings.TrimPrefix(filepath.Base(path), c.ID+"-json.log"))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		sum += float64(info.Size())
	}
	if want := []string{".11", ".10.gz", ".9.gz", ".3.gz", ".2.gz", ".1", ""}; !slices.Equal(got, want) {
		t.Errorf("the files are %q, want %q", got, want)
	}
	if bytes, err := d.LogBytes(c); err != nil || bytes != sum {
		t.Errorf("they have %v bytes, want %v, %v", bytes, sum, err)
	}
	if paths, err := d.LogFiles(aLogThatIsGone(c)); err != nil || len(paths) != 0 {
		t.Errorf("a log that was not begun: %q, %v", paths, err)
	}
}

// aLogThatIsGone is the same container with another id.
func aLogThatIsGone(c Container) Container {
	id := strings.Repeat("cd34", 16)
	c.LogPath = strings.ReplaceAll(c.LogPath, c.ID, id)
	c.ID = id
	return c
}

// Of what an engine calls a log, nothing else is opened: another file, a folder of another container, a way
// upwards, another driver.
func TestOpenLogOfAnythingElse(t *testing.T) {
	t.Parallel()
	d := &Docker{Root: t.TempDir()}
	c := aLog(t, d.Root, "")
	if err := os.MkdirAll(filepath.Join(d.Root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.Root, "etc/shadow"), []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := d.OpenLog(c)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	folder := filepath.Dir(c.LogPath)
	for _, path := range []string{"", "/", "/etc/shadow", "etc/shadow", folder, folder + "/config.v2.json",
		c.LogPath + ".1",
		c.LogPath + "/", folder + "/../../../../../etc/shadow", strings.Replace(c.LogPath, c.ID, "x", 1),
		strings.TrimPrefix(c.LogPath, "/"), "/" + c.ID + "-json.log", c.LogPath + "\x00"} {
		wrong := c
		wrong.LogPath = path
		l, err := d.OpenLog(wrong)
		if err == nil && filepath.Clean(path) != c.LogPath {
			t.Errorf("%q is opened", path)
		}
		if err == nil {
			l.Close()
		} else {
			visibletest.Line(t, err.Error())
		}
	}
	for name, change := range map[string]func(*Container){"another driver": func(c *Container) { c.LogDriver = "syslog" },
		"no driver": func(c *Container) { c.LogDriver = "" }, "an id that is a path": func(c *Container) { c.ID = "../x" },
		"no id": func(c *Container) { c.ID = "" }, "another id": func(c *Container) { c.ID = c.ID[1:] }} {
		wrong := c
		change(&wrong)
		if l, err := d.OpenLog(wrong); err == nil {
			t.Errorf("%s: %q is opened", name, wrong.LogPath)
			l.Close()
		}
	}
}

// No link leads out of the root of an engine, or from its folder to another file, and a log has no second name.
func TestLinksAreNoLogs(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(root string, c Container) error{
		"the log": func(root string, c Container) error { return os.Symlink(secret, root+c.LogPath) },
		"another name of a file": func(root string, c Container) error {
			if err := os.WriteFile(root+"/second", []byte("theirs"), 0o600); err != nil {
				return err
			}
			return os.Link(root+"/second", root+c.LogPath)
		},
		"the folder": func(root string, c Container) error {
			folder := filepath.Dir(root + c.LogPath)
			if err := os.Remove(folder); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(outside, filepath.Base(c.LogPath)), []byte("theirs"),
				0o600); err != nil {
				return err
			}
			return os.Symlink(outside, folder)
		},
		"a folder above": func(root string, c Container) error {
			if err := os.RemoveAll(root + "/var"); err != nil {
				return err
			}
			in := filepath.Join(outside, "lib/docker/containers", c.ID)
			if err := os.MkdirAll(in, 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(in, filepath.Base(c.LogPath)), []byte("theirs"), 0o600); err != nil {
				return err
			}
			return os.Symlink(outside, root+"/var")
		},
	} {
		d := &Docker{Root: t.TempDir()}
		c := aLog(t, d.Root)
		if err := make(d.Root, c); err != nil {
			t.Fatal(err)
		}
		if paths, err := d.LogFiles(c); err == nil {
			t.Errorf("%s is a link: the files are %q", name, paths)
		}
		if text, err := readLog(d, c); err == nil {
			t.Errorf("%s is a link: %q is read", name, text)
		}
		if bytes, err := d.LogBytes(c); err == nil && bytes != 0 {
			t.Errorf("%s is a link: it has %v bytes", name, bytes)
		}
	}
}

// readLog reads a log as the collector does.
func readLog(d *Docker, c Container) (string, error) {
	l, err := d.OpenLog(c)
	if err != nil {
		return "", err
	}
	defer l.Close()
	f, err := l.Open(l.Name())
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // read only
	text, err := io.ReadAll(f)
	return string(text), err
}

// A name of a unit is that of a service, and reaches systemctl as one word that is no flag.
func TestUnitNames(t *testing.T) {
	t.Parallel()
	visibletest.Names(t, func(name string) {
		for _, unit := range []string{name, name + ".service", "a" + name + ".service"} {
			if !UnitName(unit) {
				continue
			}
			if unit[0] == '-' || strings.ContainsAny(unit, " \t\n/$`'\"*?[;&|<>()") || !strings.HasSuffix(unit, ".service") {
				t.Errorf("%q is a unit", unit)
			}
			if said := (Restart{Unit: unit}).String(); said != "systemctl restart "+unit {
				t.Errorf("%q is shown as %q", unit, said)
			}
		}
	})
	for name, want := range map[string]bool{"a.service": true, "redis-server@6379.service": true, `a\x2db.service`: true,
		".service": false, "-a.service": false, "a.socket": false, "a.service ": false, "@a.service": false,
		strings.Repeat("a", 247) + ".service": true, strings.Repeat("a", 248) + ".service": false} {
		if UnitName(name) != want {
			t.Errorf("%.60q: %t", name, !want)
		}
	}
}

// Notes that are kept in memory are given back as they were left, and one that is not changed stays.
func TestNotesInMemory(t *testing.T) {
	t.Parallel()
	var m memory
	for i, step := range []struct{ name, write, want string }{{"a", "1", ""}, {"a", "", "1"}, {"b", "2", ""}, {"a", "3", "1"},
		{"b", "", "2"}, {"a", "", "3"}} {
		err := m.Change(t.Context(), step.name, func(old []byte) ([]byte, error) {
			if string(old) != step.want {
				t.Errorf("step %d: %q, want %q", i, old, step.want)
			}
			if step.write == "" {
				return nil, nil
			}
			return []byte(step.write), nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	failed := fmt.Errorf("it failed")
	if err := m.Change(t.Context(), "a", func([]byte) ([]byte, error) { return []byte("lost"), failed }); err == nil ||
		string(m.all["a"]) != "3" {
		t.Errorf("%v, and the note is %q", err, m.all["a"])
	}
}

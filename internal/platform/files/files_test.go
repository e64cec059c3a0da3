package files_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/files"
)

// shared returns a folder that every user can reach, unlike t.TempDir.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "upkeep-shared-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func made(t *testing.T, path string, mode fs.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is no plain file is refused, and nothing hangs.
func TestIn(t *testing.T) {
	dir := t.TempDir()
	outside := made(t, filepath.Join(t.TempDir(), "shadow"), 0o600)
	for name, make := range map[string]func(path string) error{
		"plain":   func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) },
		"pipe":    func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"link":    func(path string) error { return os.Symlink(outside, path) },
		"inside":  func(path string) error { return os.Symlink("plain", path) },
		"folder":  func(path string) error { return os.Mkdir(path, 0o700) },
		"twice":   func(path string) error { return os.Link(outside, path) },
		"through": func(path string) error { return os.Symlink(filepath.Dir(outside), path) },
	} {
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if text, err := files.ReadIn(root, "plain", 1); err != nil || string(text) != "x" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := files.ReadIn(root, "plain", 0); err == nil {
		t.Error("a larger one is read")
	}
	for _, name := range []string{"pipe", "link", "inside", "folder", "twice"} {
		if _, err := files.In(root, name); !errors.Is(err, files.ErrNotPlain) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"through/shadow", "../" + filepath.Base(dir) + "/plain", outside, "/dev/zero"} {
		if f, err := files.In(root, name); err == nil {
			t.Errorf("%s is opened: %s", name, f.Name())
		}
	}
	if _, _, err := files.Read(filepath.Join(dir, "pipe"), 1); !errors.Is(err, files.ErrNotPlain) {
		t.Errorf("a pipe: %v", err)
	}
	if _, _, err := files.Read("/dev/zero", 1); !errors.Is(err, files.ErrNotPlain) {
		t.Errorf("a device: %v", err)
	}
}

// A secret that others can read, write or replace is refused with the command that mends it.
func TestSecret(t *testing.T) {
	dir := shared(t)
	for mode, want := range map[fs.FileMode]string{0o600: "", 0o400: "", 0o640: "", 0o440: "", 0o644: "chmod 640 ",
		0o666: "chmod 640 ", 0o604: "chmod 640 ", 0o602: "chmod 640 ", 0o660: "chmod 640 ", 0o620: "chmod 640 "} {
		path := made(t, filepath.Join(dir, "secret"), mode)
		err := files.Secret(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want+path) {
			t.Errorf("%04o: %v", mode, err)
		}
	}
	private := filepath.Join(dir, "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := files.Secret(made(t, filepath.Join(private, "secret"), 0o644)); err != nil {
		t.Errorf("others cannot come to it: %v", err)
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := files.Secret(made(t, filepath.Join(open, "secret"), 0o600)); err == nil ||
		!strings.Contains(err.Error(), "chmod o-w "+open) {
		t.Errorf("others can replace it: %v", err)
	}
	if os.Geteuid() == 0 {
		path := made(t, filepath.Join(dir, "theirs"), 0o600)
		if err := os.Chown(path, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if err := files.Secret(path); err == nil || !strings.Contains(err.Error(), "chown 0 "+path) {
			t.Errorf("another's: %v", err)
		}
	}
}

// A configuration may be read by all, and is written by us, root and a group that we chose.
func TestOurs(t *testing.T) {
	dir := shared(t)
	for mode, want := range map[fs.FileMode]string{0o600: "", 0o644: "", 0o664: "", 0o666: "chmod o-w ", 0o602: "chmod o-w "} {
		path := made(t, filepath.Join(dir, "upkeep.yaml"), mode)
		err := files.Ours(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want+path) {
			t.Errorf("%04o: %v", mode, err)
		}
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := files.Ours(made(t, filepath.Join(open, "upkeep.yaml"), 0o644)); err == nil ||
		!strings.Contains(err.Error(), "chmod o-w "+open) {
		t.Errorf("others can replace it: %v", err)
	}
	if err := files.Ours(filepath.Join(dir, "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is not there: %v", err)
	}
	if os.Geteuid() == 0 {
		path := made(t, filepath.Join(dir, "theirs"), 0o600)
		if err := os.Chown(path, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if err := files.Ours(path); err == nil || !strings.Contains(err.Error(), "chown 0 "+path) {
			t.Errorf("another's: %v", err)
		}
		t.Setenv("SUDO_UID", "65534")
		if err := files.Ours(path); err != nil {
			t.Errorf("of who became root: %v", err)
		}
	}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(shared(t), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for mode, refused := range map[fs.FileMode]bool{0o700: false, 0o755: true, 0o750: true, 0o701: true, 0o770: true,
		0o777: true} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := files.Folder(dir); (err != nil) != refused || err != nil && !strings.Contains(err.Error(), "chmod 700 "+dir) {
			t.Errorf("%04o: %v", mode, err)
		}
	}
}

func TestRestrict(t *testing.T) {
	dir := t.TempDir()
	open := made(t, filepath.Join(dir, "open"), 0o644)
	outside := made(t, filepath.Join(t.TempDir(), "outside"), 0o644)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	if err := files.Restrict(filepath.Join(dir, "none"), open); err != nil {
		t.Fatal(err)
	}
	if err := files.Restrict(link); err == nil {
		t.Error("a link is followed")
	}
	for path, want := range map[string]fs.FileMode{open: 0o600, outside: 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

package store_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// The store's files are for its owner only, whatever the umask is, and so are those of an
// earlier version.
func TestFilesArePrivate(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "data")
	open := func() *store.Store {
		s, err := store.Open(t.Context(), store.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec("create table if not exists something (n integer)")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	look := func() (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %04o", e.Name(), info.Mode().Perm())
			}
			names = append(names, e.Name())
		}
		return names
	}
	s := open()
	if names := strings.Join(look(), " "); !strings.Contains(names, "upkeep.db-wal") {
		t.Errorf("there is no journal file: %s", names)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "upkeep.db"), 0o644); err != nil {
		t.Fatal(err)
	}
	s = open()
	look()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A folder that others can read or write is refused: the key that signs approvals is in it.
func TestOpenFolderIsRefused(t *testing.T) {
	above, err := os.MkdirTemp("", "upkeep-data-") // unlike t.TempDir it is reached by everybody
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(above) }()
	if err := os.Chmod(above, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(above, "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(context.Background(), store.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "chmod 700 "+dir) {
		t.Errorf("opened: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("something was written: %v, %v", entries, err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(context.Background(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// What is written to a SQLite file that somebody has moved away is not found after a
// restart: nothing is taken until the file is back.
func TestFileMovedAway(t *testing.T) {
	dir := t.TempDir()
	s := open(t, store.Options{Dir: dir})
	exec(t, s, "create table tries (name text primary key, n bigint not null default 0)")
	exec(t, s, "insert into tries (name) values ('a')")
	add := func() error {
		return s.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec("update tries set n = n + 1")
			return err
		})
	}
	file, aside := filepath.Join(dir, "upkeep.db"), filepath.Join(dir, "aside.db")
	away := func(when, want string) {
		t.Helper()
		rows, err := s.Query(t.Context(), "select n from tries")
		if err == nil {
			_ = rows.Close() // it is not to have been answered
		}
		for what, err := range map[string]error{"Write": add(), "Query": err} {
			if !store.Away(err) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %s: %v, want that the store is away: %s", when, what, err, want)
			}
		}
	}
	if err := os.Rename(file, aside); err != nil {
		t.Fatal(err)
	}
	away("moved away", "was moved or removed")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made in its place: %v", err)
	}
	text, err := os.ReadFile(aside)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	away("a copy in its place", "is not the database file that is open")
	if err := os.Rename(aside, file); err != nil {
		t.Fatal(err)
	}
	if err := add(); err != nil {
		t.Errorf("the file is back: %v", err)
	}
	if got := count(t, s); got != 1 {
		t.Errorf("the sum is %d, want the one write after the file was back", got)
	}
}

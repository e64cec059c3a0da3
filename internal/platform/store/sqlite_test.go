package store_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

func TestSecondProcessIsRefused(t *testing.T) {
	o := store.Options{Dir: t.TempDir()}
	s := open(t, o)
	if _, err := store.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "another upkeep") {
		t.Errorf("a second owner was let in: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, o)
}

// A folder may be called anything, and be named relative to where we are.
func TestOpenAnywhere(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"data", "./a b/ü?mode=ro#x%20", "deep/down"} {
		s, err := store.Open(t.Context(), store.Options{Dir: dir})
		if err != nil {
			t.Errorf("%q: %v", dir, err)
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "upkeep.db")); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A store of the first version is brought to the newest, with what it holds.
func TestOlderFormIsBroughtUp(t *testing.T) {
	dir := t.TempDir()
	first, err := os.ReadFile("schema1.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "upkeep.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(first), "pragma user_version = 1",
		"insert into episodes (key, alert, opened, seen) values ('k', '{}', 7, 8)"} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	schemas, err := filepath.Glob("schema*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // and once more, when there is nothing to do
		s := open(t, store.Options{Dir: dir})
		if got := read[int64](t, s, "pragma user_version"); got[0] != int64(len(schemas)) {
			t.Errorf("version %d, want %d", got[0], len(schemas))
		}
		if got := read[int64](t, s, "select opened from incidents where key = 'k' and flaps = 0"); len(got) != 1 ||
			got[0] != 7 {
			t.Errorf("the incident is %v", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Two stores in memory share nothing.
func TestMemoryIsItsOwn(t *testing.T) {
	first, second := table(t, store.Options{Memory: true}), table(t, store.Options{Memory: true})
	if err := first.Write(t.Context(), add("a")); err != nil {
		t.Fatal(err)
	}
	if got := count(t, second); got != 0 {
		t.Errorf("%d rows came from the other store", got)
	}
}

// A simulation runs in a bubble with a clock of its own: nothing of a store may
// go on beside it, and what waits for a write waits for nothing outside.
func TestMemoryInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := store.Open(t.Context(), store.Options{Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		exec(t, s, "create table tries (name text primary key, n bigint not null default 0)")
		begin := time.Now()
		for range 10 {
			go func() {
				_ = s.Write(t.Context(), func(tx *store.Tx) error {
					time.Sleep(time.Hour)
					return add("a")(tx)
				}) // counted below
			}()
		}
		synctest.Wait()
		time.Sleep(10*time.Hour + 1)
		if now, err := s.Now(t.Context()); err != nil || now.Sub(begin) != 10*time.Hour+1 {
			t.Errorf("%s have passed (%v)", now.Sub(begin), err)
		}
		if got := count(t, s); got != 10 {
			t.Errorf("%d writes were kept, want 10", got)
		}
	})
}

// One statement may be asked again while its rows are read.
func TestStatementWithinItself(t *testing.T) {
	s := table(t, store.Options{Memory: true})
	for _, name := range []string{"a", "b"} {
		if err := s.Write(t.Context(), add(name)); err != nil {
			t.Fatal(err)
		}
	}
	seen := ""
	err := s.Write(t.Context(), func(tx *store.Tx) error {
		const query = "select name from tries order by name"
		outer, err := tx.Query(query)
		if err != nil {
			return err
		}
		defer outer.Close()
		for outer.Next() {
			var one, two string
			if err := outer.Scan(&one); err != nil {
				return err
			}
			if err := tx.QueryRow(query).Scan(&two); err != nil {
				return err
			}
			seen += one + two
		}
		return outer.Err()
	})
	if err != nil || seen != "aaba" {
		t.Errorf("read %q, want aaba (%v)", seen, err)
	}
}

package store_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// storeOf makes an empty store of a former version. What is done to it ends with end.
func storeOf(t *testing.T, o store.Options, version int) (do func(text string), end func()) {
	t.Helper()
	driver, address := "sqlite", filepath.Join(o.Dir, "upkeep.db")
	mark := fmt.Sprintf("pragma user_version = %d", version)
	if o.Postgres != "" {
		driver, address = "pgx", o.Postgres
		mark = fmt.Sprintf("insert into upkeep.store_version values (%d)", version)
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	do = func(text string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if o.Postgres != "" {
		do("create schema upkeep; set search_path = upkeep; create table store_version (version bigint not null)")
	}
	for v := 1; v <= version; v++ {
		text, err := store.Schema(v, o.Postgres != "")
		if err != nil {
			t.Fatal(err)
		}
		do(text)
	}
	return do, func() {
		t.Helper()
		do(mark)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// former makes a store of version 6 with some rows in it.
func former(t *testing.T, o store.Options) {
	t.Helper()
	do, end := storeOf(t, o, 6)
	for n, closed := range []int{0, 0, 0, 5} {
		do(fmt.Sprintf("insert into incidents (key, alert, opened, seen, closed) values ('k%d', "+
			`'{"labels":{"alertname":"A%d","severity":"%s","server":"main"}}'`+", 1, 1, %d)", n, n/2,
			[]string{"critical", "warning"}[n/2], closed))
	}
	for n, r := range []struct {
		state          string
		begun, created int64
	}{{"resolved", 1, 1000}, {"resolved", 1, 4000}, {"failed", 0, 5000}, {"waiting", 1, 9000}} {
		do(fmt.Sprintf("insert into runs (key, request, action, subject, policy, state, why, plan, begun, due, created, "+
			"changed) values ('r%d', '{}', 'x', 's', 'p', '%s', '', '{}', %d, 0, %d, %d)", n, r.state, r.begun, r.created,
			r.created+500))
	}
	end()
}

// What versions 7 and 8 count is what a store of version 6 has in it, on both databases.
func TestCountsOfFormerStore(t *testing.T) {
	kept(t, func(t *testing.T, o store.Options) {
		former(t, o)
		s := open(t, o)
		for query, want := range map[string][]string{
			"select scope || ' ' || name || ' ' || opened from incident_counts order by scope, name": {"alert A0 2",
				"alert A1 1", "all  3", "rated 2/main 1", "rated 3/main 2", "severity 2 1", "severity 3 2"},
			"select severity || server from incidents where closed = 0 order by id": {"3main", "3main", "2main"},
			"select outcome || ' ' || ended from policy_ends order by outcome":      {"failed 1", "resolved 2"},
			"select acted || ' ' || resolving || ' ' || came_back from policy_sums": {"3 1000 2"},
			"select name from incidents where id = 2":                               {"A0"},
		} {
			if diff := cmp.Diff(want, read[string](t, s, query)); diff != "" {
				t.Errorf("%s:\n%s", query, diff)
			}
		}
	})
}

// A file that an earlier version has made gives room back after the first start.
func TestFormerFileGivesRoomBack(t *testing.T) {
	o := store.Options{Dir: t.TempDir()}
	former(t, o)
	s := open(t, o)
	if mode := read[int64](t, s, "pragma auto_vacuum"); mode[0] != 2 {
		t.Fatalf("auto_vacuum is %d", mode[0])
	}
	was, err := s.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000) insert into " +
		"notifications (key, notification, created, due) select 'n' || i, hex(zeroblob(1000)), 1, 1 from n",
		"delete from notifications"} {
		if err := s.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(text)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	for more := true; more; {
		if more, err = s.GiveBack(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if is, err := s.Size(t.Context()); err != nil || is > was+was/2 {
		t.Errorf("the store had %d bytes and has %d (%v)", was, is, err)
	}
}

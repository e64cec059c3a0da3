package servertest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// Two copies of a cluster have different system identifiers, as two clusters that
// initdb made, and each is whole: it starts, also after a crash, its indexes fit their
// tables, and the pages that this reads pass their checksums where there are any.
func TestCopiedCluster(t *testing.T) {
	for version, c := range map[string]struct{ bin, checksums string }{
		"15": {"", "off"},
		"18": {servertest.Versions(t)["18"], "on"},
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			seen := make(map[string]bool)
			for range 2 {
				dir, err := servertest.Dir()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = os.RemoveAll(dir) })
				o := sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"), Bin: c.bin}
				id := examined(t, o, c.checksums, (*sandbox.Postgres).Abort)
				if again := examined(t, o, c.checksums, (*sandbox.Postgres).Stop); seen[id] || again != id {
					t.Errorf("the identifier is %s, and %s after a crash; those before are %v", id, again, seen)
				}
				seen[id] = true
			}
		})
	}
}

// examined starts a server, has it read its indexes and the tables behind them, and ends
// it again. It returns the server's identifier.
func examined(t *testing.T, o sandbox.PostgresOptions, checksums string,
	end func(*sandbox.Postgres) error) (id string) {
	t.Helper()
	s, err := servertest.StartPostgres(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	servertest.Exec(t, s.URL, "create extension if not exists amcheck")
	var indexes int
	var has string
	err = servertest.Connect(t, s.URL).QueryRow(t.Context(), `select (select system_identifier::text from pg_control_system()), current_setting('data_checksums'),
		(select count(bt_index_check(c.oid, true)) from pg_class c join pg_am a on a.oid = c.relam where a.amname = 'btree')`).Scan(&id, &has, &indexes)
	if err != nil || indexes < 100 || has != checksums {
		t.Errorf("%d indexes were checked, want at least 100; data_checksums is %q, want %q; error %v", indexes, has,
			checksums, err)
	}
	if err := end(s); err != nil {
		t.Error(err)
	}
	return id
}

// What makes the end of a session cheap is not handed on to programs that a server
// starts, and a session that ends reports to the server what it did.
func TestQuickExit(t *testing.T) {
	address, name := servertest.Database(t)
	servertest.Exec(t, address, "create table env (line text)", "copy env from program 'env'",
		"create table t as select 1")
	if said := servertest.Ask(t, address, "select count(*) from env where line like 'LD_PRELOAD=%'"); said != "0" {
		t.Error("a program that the server started has LD_PRELOAD in its environment")
	}
	c, err := pgx.Connect(t.Context(), address)
	if err == nil {
		_, err = c.Exec(t.Context(), "insert into t select generate_series(1, 10)")
	}
	if err == nil {
		err = c.Close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the server counts the rows of a session that has ended", func() bool {
		return servertest.Ask(t, address, "select n_tup_ins from pg_stat_user_tables where relname = 't'") == "11"
	})
	servertest.Eventually(t, "the session's end is seen", func() bool {
		return servertest.Ask(t, servertest.Postgres(t), "select count(*) from pg_stat_activity where datname = $1",
			name) == "0"
	})
}

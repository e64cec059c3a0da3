package postgres_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

func TestServer(t *testing.T) {
	collectortest.Postgres(t, postgres.Server, "testdata/server.txtar")
}

func TestVacuum(t *testing.T) {
	collectortest.Postgres(t, postgres.Vacuum, "testdata/vacuum.txtar")
}

func TestTableBloat(t *testing.T) {
	collectortest.Postgres(t, postgres.TableBloat, "testdata/tablebloat.txtar")
}

func TestIndexBloat(t *testing.T) {
	collectortest.Postgres(t, postgres.IndexBloat, "testdata/indexbloat.txtar")
}

func TestInvalidIndex(t *testing.T) {
	collectortest.Postgres(t, postgres.InvalidIndex, "testdata/invalidindex.txtar")
}

func TestDatabase(t *testing.T) {
	collectortest.Postgres(t, postgres.Database, "testdata/database.txtar")
}

func TestDatabaseSize(t *testing.T) {
	collectortest.Postgres(t, postgres.DatabaseSize, "testdata/databasesize.txtar")
}

func TestTableSize(t *testing.T) {
	collectortest.Postgres(t, postgres.TableSize, "testdata/tablesize.txtar")
}

func TestWAL(t *testing.T) {
	collectortest.Postgres(t, postgres.WAL, "testdata/wal.txtar")
}

func TestReplication(t *testing.T) {
	collectortest.Postgres(t, postgres.Replication, "testdata/replication.txtar")
}

func TestLocks(t *testing.T) {
	collectortest.Postgres(t, postgres.Locks, "testdata/locks.txtar")
}

func TestSettings(t *testing.T) {
	collectortest.Postgres(t, postgres.Settings, "testdata/settings.txtar")
}

func TestSequences(t *testing.T) {
	collectortest.Postgres(t, postgres.Sequences, "testdata/sequences.txtar")
}

func TestProgress(t *testing.T) {
	collectortest.Postgres(t, postgres.Progress, "testdata/progress.txtar")
}

func TestUnusedIndex(t *testing.T) {
	collectortest.Postgres(t, postgres.UnusedIndex, "testdata/unusedindex.txtar")
}

func TestDuplicateIndex(t *testing.T) {
	collectortest.Postgres(t, postgres.DuplicateIndex, "testdata/duplicateindex.txtar")
}

// A database that refuses does not silence the others.
func TestOneDatabaseFails(t *testing.T) {
	server := servertest.Postgres(t)
	good, name := servertest.Database(t)
	servertest.Exec(t, good, "create table t (id int)")
	_, bad := servertest.Database(t)
	servertest.Exec(t, server, "alter database "+bad+" connection limit 0", "create role weak login in role pg_monitor")
	t.Cleanup(func() { servertest.Exec(t, server, "drop role weak") })
	p, err := target.NewPostgres(target.PostgresConfig{Name: "s", URL: strings.Replace(server, "upkeep@", "weak@", 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	c := postgres.Vacuum(p)
	w := collectors.NewWriter(c)
	err = c.Collect(t.Context(), w)
	if err == nil || !strings.Contains(err.Error(), "database "+bad) {
		t.Errorf("the error does not name database %s: %v", bad, err)
	}
	if !strings.Contains(string(w.Text()), `database="`+name+`",schema="public",table="t"`) {
		t.Errorf("database %s is silent in:\n%s", name, w.Text())
	}
}

// What a role may not see is an error that names the grant, not an empty answer.
func TestHiddenStatistics(t *testing.T) {
	address, _ := servertest.Database(t)
	servertest.Exec(t, address,
		"create table t as select n as id, n::text as name from generate_series(1, 1000) n",
		"create index t_name on t (name)", "analyze t",
		"create role blind login", "create role sighted login in role pg_read_all_data")
	t.Cleanup(func() { servertest.Exec(t, servertest.Postgres(t), "drop role blind", "drop role sighted") })
	for _, tc := range []struct {
		role string
		sees bool
	}{{"blind", false}, {"sighted", true}, {"upkeep", true}} {
		t.Run(tc.role, func(t *testing.T) {
			db := connect(t, strings.Replace(address, "upkeep@", tc.role+"@", 1))
			tables, err := postgres.ReadTableBloat(t.Context(), db, postgres.Subject{})
			judge(t, "tables", len(tables), err, tc.sees)
			indexes, err := postgres.ReadIndexBloat(t.Context(), db, postgres.Subject{})
			judge(t, "indexes", len(indexes), err, tc.sees)
		})
	}
}

func judge(t *testing.T, what string, rows int, err error, sees bool) {
	t.Helper()
	switch {
	case sees && (err != nil || rows != 1):
		t.Errorf("%d %s, %v", rows, what, err)
	case !sees && (err == nil || !strings.Contains(err.Error(), "grant pg_read_all_data") || rows != 0):
		t.Errorf("%d %s, and the error does not name the grant: %v", rows, what, err)
	}
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// A database in which nothing is changed is left in peace; one in which something is
// says so at once, also what an ANALYZE has done.
func TestVacuumVisitsWhatChanges(t *testing.T) {
	address, name := servertest.Database(t)
	servertest.Exec(t, address, "create table t (id int)", "insert into t select generate_series(1, 1000)",
		"select pg_stat_force_next_flush()")
	c := postgres.Vacuum(looked(t, target.PostgresConfig{URL: address}))
	sample := `upkeep_postgres_table_live_rows{server="s",database="` + name + `",schema="public",table="t"`
	db := connect(t, address)
	await := func(want float64) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); value(t, collectortest.Answer(t, c),
			sample) != want; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("never %v rows", want)
			}
		}
	}
	await(1000)
	servertest.Exec(t, address, "insert into t select generate_series(1, 1500)")
	await(2500)
	if text := collectortest.Answer(t, c); strings.Contains(text,
		`last_analyze_timestamp_seconds{server="s",database="`+name) {
		t.Errorf("never analyzed:\n%s", text)
	}
	servertest.Exec(t, address, "analyze t")
	for end := time.Now().Add(2 * time.Minute); !strings.Contains(collectortest.Answer(t, c),
		`last_analyze_timestamp_seconds{server="s",database="`+name); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the ANALYZE is never seen")
		}
	}
	// However often it is asked, the database itself is not.
	asked := func() (last time.Time) {
		t.Helper()
		err := db.QueryRow(t.Context(), "select max(query_start) from pg_stat_activity where application_name = "+
			"'upkeep' and query like '%How much of each table is dead%' and datname = current_database()").Scan(&last)
		if err != nil {
			t.Fatal(err)
		}
		return last
	}
	collectortest.Answer(t, c)
	before := asked()
	for range 10 {
		collectortest.Answer(t, c)
	}
	if after := asked(); !after.Equal(before) {
		t.Errorf("it was asked at %s, and again at %s", before, after)
	}
}

// Where there are more databases than connections are kept, a few changed rows are not worth a
// visit, and a thousand are.
func TestVacuumOfManyDatabases(t *testing.T) {
	t.Parallel()
	var names []string
	var address, name string
	for range target.DatabaseConnections + 1 {
		address, name = servertest.Database(t)
		names = append(names, name)
	}
	db := connect(t, address)
	insert := func(rows int) {
		t.Helper()
		for _, sql := range []string{fmt.Sprintf("insert into t select generate_series(1, %d)", rows),
			"select pg_stat_force_next_flush()"} {
			if _, err := db.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	servertest.Exec(t, address, "create table t (id int)")
	insert(100)
	c := postgres.Vacuum(looked(t, target.PostgresConfig{URL: servertest.Postgres(t), Databases: names}))
	sample := `upkeep_postgres_table_live_rows{server="s",database="` + name + `",schema="public",table="t"`
	for _, step := range []struct{ more, want int }{{0, 100}, {500, 100}, {600, 1200}, {10, 1200}} {
		if step.more > 0 {
			insert(step.more)
		}
		if got := value(t, collectortest.Answer(t, c), sample); got != float64(step.want) {
			t.Errorf("%d more rows: %v, want %d", step.more, got, step.want)
		}
	}
}

// A list has an age once it was written, whatever its server is called.
func TestIndexAdvice(t *testing.T) {
	p, err := target.NewPostgres(target.PostgresConfig{Name: "../a b", URL: "postgres://u@127.0.0.1:1/x",
		Advice: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if got := collectortest.Answer(t, postgres.IndexAdvice(p)); got != "" {
		t.Errorf("there is no list, and it says %q", got)
	}
	file := postgres.AdviceFile(p)
	if filepath.Dir(file) != p.Advice {
		t.Fatalf("the file is %s", file)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, at, at); err != nil {
		t.Fatal(err)
	}
	if age := value(t, collectortest.Answer(t, postgres.IndexAdvice(p)),
		"upkeep_postgres_index_advice_age_seconds{"); age < 3600 || age > 3700 {
		t.Errorf("the age is %v", age)
	}
	p.Name = "s"
	collectortest.Promises(t, postgres.IndexAdvice(p))
}

package postgres_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// server starts a PostgreSQL of the test's own.
func server(t *testing.T, settings map[string]string) *sandbox.Postgres {
	t.Helper()
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	s, err := servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"),
		Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// looked returns a server as a target called s.
func looked(t *testing.T, c target.PostgresConfig) *target.Postgres {
	t.Helper()
	c.Name = "s"
	p, err := target.NewPostgres(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// value returns the value of the only sample that begins so.
func value(t *testing.T, text, sample string) float64 {
	t.Helper()
	var found []float64
	for line := range strings.Lines(text) {
		if name, v, _ := strings.Cut(strings.TrimSpace(line), "} "); strings.HasPrefix(name, sample) {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, n)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d samples %s in:\n%s", len(found), sample, text)
	}
	return found[0]
}

// A server with six statements of which three are exported: the others are summed,
// no literal is shown, and a reset of the statistics takes nothing away.
func TestStatements(t *testing.T) {
	s := server(t, map[string]string{"shared_preload_libraries": "pg_stat_statements",
		"pg_stat_statements.track_planning": "off"})
	db := connect(t, s.URL)
	run := func(sql string, args ...any) {
		t.Helper()
		if _, err := db.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	p := looked(t, target.PostgresConfig{URL: s.URL})
	c := postgres.Statements(p)
	if got := collectortest.Answer(t, c); got != "" {
		t.Errorf("without the extension:\n%s", got)
	}
	run("create database other_one")
	other := connect(t, strings.Replace(s.URL, "/postgres?", "/other_one?", 1))
	if _,
		err := other.Exec(t.Context(),
		`create schema "Odd; --"; create extension pg_stat_statements schema "Odd; --"`); err != nil {
		t.Fatal(err)
	}
	run("create role app password 'hunter2-in-a-command'")
	run("create table secrets (id int, v text)")
	run("insert into secrets select n, 'hunter2-' || n from generate_series(1, 1000) n")
	for range 50 {
		run("select count(*) from secrets where v = 'hunter2-literal'")
	}
	calls := func(text string) (all float64) {
		for _, m := range regexp.MustCompile(`statement_calls_total\{[^}]*\} (\S+)`).FindAllStringSubmatch(text, -1) {
			n, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			all += n
		}
		return all
	}
	first := collectortest.Answer(t, c)
	if strings.Contains(first, "hunter2") || !strings.Contains(first,
		`query="select count(*) from secrets where v = $1"`) {
		t.Errorf("the texts are not as they should be:\n%s", first)
	}
	id := regexp.MustCompile(`queryid="(-?\d+)",query="select count\(\*\) from secrets`).FindStringSubmatch(first)
	if id == nil {
		t.Fatalf("no statement is exported:\n%s", first)
	}
	sample := fmt.Sprintf(`upkeep_postgres_statement_calls_total{server="s",database="postgres",user="upkeep",queryid="%s"`, id[1])
	if n := value(t, first, sample); n != 50 {
		t.Errorf("%v calls, want 50", n)
	}
	if _, err := other.Exec(t.Context(), `select "Odd; --".pg_stat_statements_reset()`); err != nil {
		t.Fatal(err)
	}
	for range 7 {
		run("select count(*) from secrets where v = 'hunter2-literal'")
	}
	if n := value(t, collectortest.Answer(t, c), sample); n != 7 && n != 57 {
		t.Errorf("%v calls after the reset, want 57", n)
	}
	if n := value(t, collectortest.Answer(t, c), sample); n != 57 {
		t.Errorf("%v calls after the reset, want 57", n)
	}

	// With room for three, the rest is one sum, and nothing is lost between them.
	few := postgres.Statements(p)
	few.Limit = 3
	all, some := calls(collectortest.Answer(t, postgres.Statements(p))), collectortest.Answer(t, few)
	if n := strings.Count(some, "statement_calls_total{"); n != 4 {
		t.Errorf("%d are exported, want 3 and the others:\n%s", n, some)
	}
	if got := calls(some); got < all || got > all+60 {
		t.Errorf("%v calls in all, want %v", got, all)
	}
	hushed := looked(t, target.PostgresConfig{URL: s.URL, WithoutText: true})
	if got := collectortest.Answer(t, postgres.Statements(hushed)); strings.Contains(got, "query=") ||
		!strings.Contains(got, "statement_calls_total") {
		t.Errorf("without texts:\n%s", got)
	}
	run("create role blind login")
	blind := looked(t, target.PostgresConfig{URL: strings.Replace(s.URL, "upkeep@", "blind@", 1)})
	run("grant all on schema public to public")
	if _, err := other.Exec(t.Context(), `grant usage on schema "Odd; --" to blind`); err != nil {
		t.Fatal(err)
	}
	w := collectors.NewWriter(c)
	if err := postgres.Statements(blind).Collect(t.Context(), w); err == nil ||
		!strings.Contains(err.Error(), "grant pg_read_all_stats") {
		t.Errorf("a role without the right: %v", err)
	}
	collectortest.Promises(t, postgres.Statements(p))
}

// The planner's estimate of what is past its age is near the truth, and names
// with special characters do no harm.
func TestRetention(t *testing.T) {
	address, name := servertest.Database(t)
	servertest.Exec(t, address,
		`create schema "My Schema"`,
		`create table "My Schema"."logs; drop table victim; --" (id int, "at; --" timestamptz)`,
		"create table victim ()",
		`insert into "My Schema"."logs; drop table victim; --" select n, now() - n * interval '1 hour' from generate_series(0, 9999) n`,
		`analyze "My Schema"."logs; drop table victim; --"`, "create table nobodys (at date)",
		"create table numbers (at int)")
	archive := target.Archive{Database: name, Schema: "My Schema", Table: "logs; drop table victim; --",
		Column: "at; --", After: 7500 * 3600e9}
	p := looked(t, target.PostgresConfig{URL: address, Archives: []target.Archive{archive}})
	c := postgres.Retention(p)
	if n := value(t, collectortest.Answer(t, c), "upkeep_postgres_retention_rows{"); n < 2300 || n > 2700 {
		t.Errorf("%v rows, want about 2500", n)
	}
	collectortest.Promises(t, postgres.Retention(p))
	for _, alone := range []target.PostgresConfig{{Exclude: []string{name}}, {Databases: []string{"another"}}} {
		alone.URL, alone.Archives = address, []target.Archive{archive}
		if got := collectortest.Answer(t, postgres.Retention(looked(t, alone))); strings.Contains(got, "retention_rows{") {
			t.Errorf("of a database that is left alone:\n%s", got)
		}
	}
	archive.To = target.Destination{Schema: "My Schema", Table: "old; --"}
	servertest.Exec(t, address,
		`create table "My Schema"."old; --" as select id, "at; --" from "My Schema"."logs; drop table victim; --" limit 3000`, `analyze "My Schema"."old; --"`)
	p = looked(t, target.PostgresConfig{URL: address, Archives: []target.Archive{archive}})
	if n := value(t, collectortest.Answer(t, postgres.Retention(p)), "upkeep_postgres_archived_rows{"); n != 3000 {
		t.Errorf("%v rows are archived, want 3000", n)
	}
	db, err := p.Database(name)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := postgres.ReadArchived(t.Context(), db, archive, time.Now().Add(-1100*time.Hour),
		time.Now().Add(-100*time.Hour)); err != nil || n < 950 || n > 1050 {
		t.Errorf("%v rows of 1000 hours: %v", n, err)
	}
	servertest.Exec(t, address, "select from victim", "create role blind login")
	t.Cleanup(func() { servertest.Exec(t, servertest.Postgres(t), "drop role blind") })
	for _, tc := range []struct {
		user string
		a    target.Archive
		want string
	}{
		{"upkeep", target.Archive{Database: name, Schema: "public", Table: "gone", Column: "at"},
			"archive of public.gone"},
		{"upkeep", target.Archive{Database: "gone", Schema: "public", Table: "nobodys", Column: "at"}, "database gone"},
		{"upkeep", target.Archive{Database: name, Schema: "public", Table: "numbers", Column: "at"},
			"the column is to be a timestamp or a date"},
		{"blind", target.Archive{Database: name, Schema: "public", Table: "nobodys", Column: "at"},
			"grant SELECT on the table"},
	} {
		p := looked(t, target.PostgresConfig{URL: strings.Replace(address, "upkeep@", tc.user+"@", 1),
			Archives: []target.Archive{tc.a}})
		c := postgres.Retention(p)
		w := collectors.NewWriter(c)
		if err := c.Collect(t.Context(), w); err == nil || !strings.Contains(err.Error(), tc.want) || w.Samples() != 0 {
			t.Errorf("%+v: %v", tc.a, err)
		}
	}
}

// A session in the way of two others, one of which is in the way of the second
// too: the one at the head of the queue is reported.
func TestLocksOfSessions(t *testing.T) {
	s := server(t, nil)
	open := func(application, sql string) *pgx.Conn {
		t.Helper()
		c := connect(t, s.URL+"&application_name="+application)
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		return c
	}
	open("setup", "create table t (id int)")
	open("holder", "begin; lock table t in row exclusive mode")
	for _, w := range []struct{ name, sql string }{{"first", "lock table t in access exclusive mode"},
		{"second", "select from t"}} {
		c := open(w.name, "begin")
		go func() { _, _ = c.Exec(t.Context(), w.sql) }() // ends with the server
	}
	c := postgres.Locks(looked(t, target.PostgresConfig{URL: s.URL}))
	var got string
	for range 200 {
		if got = collectortest.Answer(t, c); strings.Contains(got, `mode="AccessExclusiveLock",state="waiting"} 1`) &&
			strings.Contains(got, `mode="AccessShareLock",state="waiting"} 1`) {
			break
		}
	}
	if n := value(t, got, `upkeep_postgres_blocking_sessions_blocked{`); n != 1 {
		t.Errorf("%v sessions are blocked by one that does not wait, want 1:\n%s", n, got)
	}
	if n := value(t, got,
		`upkeep_postgres_blocking_longest_wait_seconds{server="s",database="postgres",user="upkeep",application="holder",state="idle in transaction"`); n <= 0 || n > 60 {
		t.Errorf("the longest waits for %v s", n)
	}
	collectortest.Promises(t, c)
}

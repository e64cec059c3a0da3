package postgres_test

import (
	"context"
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

func TestSessions(t *testing.T) {
	collectortest.Postgres(t, postgres.Sessions, "testdata/sessions.txtar")
}

// The head of a queue of three is the blocker of both that wait, whatever its
// application is called; a session that only writes holds dead rows back too, and so
// does a prepared transaction; a logical slot does not.
func TestSessionsInTheWay(t *testing.T) {
	s := server(t, map[string]string{"max_prepared_transactions": "2", "wal_level": "logical"})
	open := func(application, sql string) *pgx.Conn {
		t.Helper()
		c, err := pgx.ParseConfig(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		c.RuntimeParams["application_name"] = application
		conn, err := pgx.ConnectConfig(t.Context(), c)
		if err == nil {
			_, err = conn.Exec(t.Context(), sql)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) }) // and it stays open until then
		return conn
	}
	setup := open("setup", "create table t (id int); create table u (id int)")
	if _,
		err := setup.Exec(t.Context(), "select pg_create_logical_replication_slot('logical', 'pgoutput')"); err != nil {
		t.Fatal(err)
	}
	const hurts = `wo"rst', 1); --`
	holder := open(hurts, "begin; insert into t values (1); lock table t in row exclusive mode")
	awaitGone(t, s.URL, "select count(*) from pg_stat_activity where state = 'idle in transaction' and "+
		"clock_timestamp() - state_change < interval '50ms'")
	second := open("second", "begin; lock table u")
	go func() { _, _ = second.Exec(t.Context(), "lock table t in access exclusive mode") }() // ends with the server
	third := open("third", "begin")
	go func() { _, _ = third.Exec(t.Context(), "select from u") }()
	p := looked(t, target.PostgresConfig{URL: s.URL})
	c := postgres.Sessions(p)
	read := func(of string) postgres.SessionRow {
		t.Helper()
		db, err := p.Server()
		if err != nil {
			t.Fatal(err)
		}
		rows, err := postgres.ReadSessions(t.Context(), db, of, "postgres")
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			return postgres.SessionRow{}
		}
		return rows[0]
	}
	var blocker postgres.SessionRow
	for end := time.Now().Add(2 * time.Minute); blocker.Blocked != 2; time.Sleep(20 * time.Millisecond) {
		if blocker = read(postgres.OfBlocker); time.Now().After(end) {
			t.Fatalf("never two that wait: %+v", blocker)
		}
	}
	for _, of := range []string{postgres.OfIdle, postgres.OfTransaction, postgres.OfBlocker, postgres.OfHorizon} {
		r := read(of)
		if r.Application != hurts || r.PID != int32(holder.PgConn().PID()) || !r.Wrote || r.Blocked != 2 ||
			!r.MayBeEnded || r.Seconds <= 0 || r.Seconds > 60 {
			t.Errorf("of %s: %+v", of, r)
		}
	}
	answer := collectortest.Answer(t, c)
	if n := strings.Count(answer, `user="upkeep",application="wo\"rst', 1); --"`); n != 4 {
		t.Errorf("reported %d times, want 4:\n%s", n, answer)
	}
	collectortest.Promises(t, c)

	if _, err := holder.Exec(t.Context(), `prepare transaction 'it''s "mine"'`); err != nil {
		t.Fatal(err)
	}
	if r := read(postgres.OfHorizon); r.What != postgres.Prepared || r.Name != `it's "mine"` || r.User != "upkeep" ||
		r.Age == 0 {
		t.Errorf("of horizon: %+v", r)
	}
	if r := read(postgres.OfBlocker); r.What != postgres.Prepared || r.Name != `it's "mine"` || r.Blocked != 2 {
		t.Errorf("of blocker: %+v", r)
	}
	if answer := collectortest.Answer(t, c); !strings.Contains(answer,
		`application="prepared transaction \"it's \\\"mine\\\"\""`) {
		t.Errorf("it is not named:\n%s", answer)
	}
}

// awaitGone waits until a count is 0.
func awaitGone(t *testing.T, url, sql string) {
	t.Helper()
	c := connect(t, url)
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var n int
		if err := c.QueryRow(t.Context(), sql).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %d", sql, n)
		}
	}
}

// Without the right to see every session it is an error, and no session is named.
func TestSessionsHidden(t *testing.T) {
	address, _ := servertest.Database(t)
	connect(t, address) // a session of somebody else
	servertest.Exec(t, address, "create role blind login")
	t.Cleanup(func() { servertest.Exec(t, address, "drop role blind") })
	c := postgres.Sessions(looked(t, target.PostgresConfig{URL: strings.Replace(address, "upkeep@", "blind@", 1)}))
	w := collectors.NewWriter(c)
	if err := c.Collect(t.Context(), w); err == nil || !strings.Contains(err.Error(), "grant pg_read_all_stats") ||
		w.Samples() != 0 {
		t.Errorf("Collect: %v\n%s", err, w.Text())
	}
}

// Names in the lists of databases that match nothing are an error, or noted where they are to be left out; the
// server is up all the same.
func TestServerScope(t *testing.T) {
	t.Parallel()
	address, name := servertest.Database(t)
	for what, tc := range map[string]struct {
		databases, exclude []string
		err, note          []string
	}{
		"no lists":     {},
		"as it is":     {databases: []string{name}, exclude: []string{"postgres"}},
		"a pattern":    {databases: []string{name, "app*"}, err: []string{`database app*: databases names it, and the server has no such database`}},
		"a template":   {databases: []string{name, "template0"}, err: []string{`database template0: databases names it, and upkeep's role may not connect to it`}},
		"none is left": {databases: []string{"app*"}, err: []string{`database app*: `, "no database is read"}},
		"to exclude":   {exclude: []string{"rdsadmin"}, note: []string{`exclude names "rdsadmin", and the server has no such database`}},
	} {
		p, err := target.NewPostgres(target.PostgresConfig{Name: "s", URL: address, Databases: tc.databases, Exclude: tc.exclude})
		if err != nil {
			t.Fatal(err)
		}
		c := postgres.Server(p)
		w := collectors.NewWriter(c)
		check := func(kind string, got error, want []string) {
			if (got == nil) != (want == nil) {
				t.Errorf("%s: %s: %v", what, kind, got)
			}
			for _, text := range want {
				if got != nil && !strings.Contains(got.Error(), text) {
					t.Errorf("%s: %s: no %q in %v", what, kind, text, got)
				}
			}
		}
		check("error", c.Collect(t.Context(), w), tc.err)
		check("note", w.Noted(), tc.note)
		if !strings.Contains(string(w.Text()), `upkeep_postgres_up{server="s"} 1`) {
			t.Errorf("%s:\n%s", what, w.Text())
		}
		p.Close()
	}
}

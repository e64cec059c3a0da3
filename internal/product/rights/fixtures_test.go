package rights_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// kept is the table that rows move to which are past their age.
const kept = `kept "rows"`

// aging says which rows of a ownedDatabase's table are past their age.
func aging(c *target.PostgresConfig, w *ownedDatabase) {
	c.Archives = []target.Archive{{Database: w.database, Schema: schema, Table: table, Column: "created_at",
		After: 10000 * time.Hour, Purge: w.purge}}
	if !w.purge {
		c.Archives[0].To = target.Destination{Schema: schema, Table: kept}
	}
	c.Advice = w.advice
}

// fixtures say on what each action of PostgreSQL is planned. An action that is in
// the catalog and not here fails the tests.
func fixtures() map[string]fixture {
	const monitor, stats = "pg_monitor", "pg_read_all_stats"
	qTable := quoted(schema, table)
	return map[string]fixture{
		"postgres/analyze": {},
		// objects need it, this one has a table
		"postgres/archive": {prepare: destination, tables: []string{kept}, later: []string{monitor, "create schema"}},
		"postgres/purge": {prepare: func(_ *testing.T, w *ownedDatabase) { w.purge = true },
			later: []string{monitor}},
		"postgres/restore_archived": {prepare: destination, tables: []string{kept},
			later:  []string{monitor, "grant temporary"},
			params: map[string]string{"since": "2000-01-01", "until": "2010-01-01"}},
		"postgres/advise_indexes": {open: true},
		"postgres/drop_index": {
			setup:   []string{"create index i2 on " + qTable + " (key)"},
			subject: map[string]string{"index": "i"}, params: map[string]string{"because": "duplicate"},
			later: []string{monitor},
		},
		"postgres/freeze":           {limit: new(2000.0), prepare: aged, later: []string{stats}},
		"postgres/reindex":          {subject: map[string]string{"index": "i"}, later: []string{monitor}},
		"postgres/repack":           {setup: []string{"vacuum " + qTable, "analyze " + qTable}},
		"postgres/reset_statements": {setup: []string{"create extension pg_stat_statements"}, since: 14},
		"postgres/terminate":        {params: map[string]string{"of": "idle"}, prepare: idle},
		"postgres/vacuum":           {later: []string{stats}},
		"postgres/vacuum_full":      {setup: []string{"vacuum " + qTable, "analyze " + qTable}},
	}
}

// destination makes the table that rows move to, with one row in it.
func destination(t *testing.T, w *ownedDatabase) {
	t.Helper()
	servertest.Exec(t, w.url, "create table "+quoted(schema,
		kept)+" (id bigint primary key, key text, created_at timestamptz not null)",
		"insert into "+quoted(schema, kept)+" values (1000000, 'old', '2005-01-01')",
		"alter table "+quoted(schema, kept)+" owner to "+quoted(w.owner))
}

// aged makes everything of the ownedDatabase old, but not the catalogs that all databases
// share: those are a superuser's before PostgreSQL 17.
func aged(t *testing.T, w *ownedDatabase) {
	t.Helper()
	servertest.Exec(t, w.url, "alter database "+quoted(w.database)+" owner to "+quoted(w.owner),
		"do $$ begin for i in 1..3000 loop perform pg_current_xact_id(); commit; end loop; end $$")
	c, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }() // nothing is left to be written
	rows, err := c.Query(t.Context(), "select oid::regclass::text from pg_class where relisshared and relkind = 'r'")
	if err != nil {
		t.Fatal(err)
	}
	shared, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range shared {
		servertest.Exec(t, w.url, "vacuum freeze "+name)
	}
}

// idle opens a session that forgets its transaction.
func idle(t *testing.T, w *ownedDatabase) {
	t.Helper()
	servertest.Exec(t, w.server, "alter role "+quoted(w.owner)+" login")
	u, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(w.owner)
	c, err := pgx.Connect(t.Context(), u.String())
	if err == nil {
		_, err = c.Exec(t.Context(), "begin; select 1")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) }) // it may have been ended
}

// A redisFixture is on what an action of Redis is planned.
type redisFixture struct {
	args     []string // of the server
	params   map[string]string
	prepare  func(t *testing.T, admin *target.Redis)
	planOnly bool     // the steps are not done here
	refuses  string   // the reason, other than privilege, for which this server's plan is refused
	later    []string // rights that only the steps need
}

func redisFixtures() map[string]redisFixture {
	all := map[string]redisFixture{
		"redis/bgrewriteaof": {args: []string{"--appendonly", "yes"}},
		"redis/bgsave":       {},
		"redis/defrag":       {refuses: "cannot_help", later: []string{"+config|get"}}, // as Debian builds it
		"redis/purge_memory": {},
		"redis/restart":      {refuses: "unfit"}, // this one has no restart
	}
	for name, f := range all {
		// Servers let everybody say these; a list that is handed on may say so all the same.
		f.later = append(f.later, "+hello", "+multi")
		all[name] = f
	}
	return all
}

package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

// Names that need quoting: without it one drops a table.
const (
	schema = `My "Schema"`
	table  = "täble\"; DROP TABLE victim; --\\ '\n"
	index  = `index $1 %s 'x'`
)

func quoted(names ...string) string { return pgx.Identifier(names).Sanitize() }

// TestMain also carries out the steps whose process is to be killed.
func TestMain(m *testing.M) {
	servertest.KeepSessions()
	actiontest.Main(m, func(action, child string) (remediate.Action, error) {
		p, err := serverOf(child)
		if err != nil {
			return remediate.Action{}, err
		}
		for _, a := range []remediate.Action{
			postgres.AdviseIndexes(p),
			postgres.Analyze(p),
			postgres.Archive(p),
			postgres.DropIndex(p),
			postgres.Freeze(p),
			postgres.Purge(p),
			postgres.Reindex(p),
			postgres.Repack(p),
			postgres.ResetStatements(p),
			postgres.RestoreArchived(p),
			postgres.Terminate(p),
			postgres.Vacuum(p),
			postgres.VacuumFull(p),
		} {
			if a.Name == action {
				return a, nil
			}
		}
		return remediate.Action{}, fmt.Errorf("no action %q", action)
	})
}

// A fixture is a database with one table that can be made degraded.
type fixture struct {
	server         *target.Postgres
	url, database  string
	qTable, qIndex string
}

func open(t testing.TB) *fixture {
	t.Helper()
	url, database := servertest.Database(t)
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	c := &fixture{server: p, url: url, database: database, qTable: quoted(schema, table), qIndex: quoted(schema, index)}
	servertest.Exec(t, url,
		"create table public.victim (id int)", "insert into public.victim values (1)",
		"create schema "+quoted(schema),
		"create table "+c.qTable+" (id int, key text) with (autovacuum_enabled = off)",
		"create index "+quoted(index)+" on "+c.qTable+" (key)")
	t.Cleanup(func() {
		if n := c.number(t, "select count(*) from public.victim"); n != 1 {
			t.Error("the victim is gone: a name was not quoted")
		}
	})
	return c
}

func (c *fixture) subject(labels ...string) map[string]string {
	all := map[string]string{"server": "main", "database": c.database, "schema": schema, "table": table, "index": index}
	s := make(map[string]string)
	for _, l := range labels {
		s[l] = all[l]
	}
	return s
}

func (c *fixture) connect(t testing.TB) *pgx.Conn {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // in cleanups too
	conn, err := pgx.Connect(ctx, c.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(ctx) })
	return conn
}

func (c *fixture) text(t testing.TB, sql string, args ...any) string {
	t.Helper()
	return servertest.Ask(t, c.url, sql, args...)
}

func (c *fixture) number(t testing.TB, sql string, args ...any) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(c.text(t, "select ("+sql+")::text", args...), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// fill puts rows with random keys into the table and takes most of them out again.
func (c *fixture) fill(t testing.TB, rows int, more ...string) {
	t.Helper()
	servertest.Exec(t, c.url, append([]string{
		"truncate " + c.qTable,
		fmt.Sprintf("insert into %s select i, md5(i::text || random()::text) from generate_series(1, %d) i", c.qTable,
			rows),
		"analyze " + c.qTable,
		"delete from " + c.qTable + " where id % 10 <> 0",
		"select pg_stat_force_next_flush()",
	}, more...)...)
}

func (c *fixture) node(t *testing.T) string {
	t.Helper()
	return c.text(t, "select c.oid || ' ' || c.relfilenode from pg_class c join pg_namespace n on n.oid = "+
		"c.relnamespace where n.nspname = $1 and c.relname = $2", schema, index)
}

func TestVacuum(t *testing.T) {
	c := open(t)
	count := "select pg_stat_get_vacuum_count(" +
		"(select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and " +
		"c.relname = $2))"
	actiontest.Run(t, actiontest.Case{
		Action: postgres.Vacuum(c.server), Subject: c.subject("server", "database", "schema", "table"), Limit: 0.2,
		Child: c.url,
		Degrade: func(t *testing.T) {
			c.fill(t, 20_000)
			action := postgres.Vacuum(c.server)
			for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if v, err := action.Measure(t.Context(),
					remediate.Request{Subject: c.subject("server", "database", "schema", "table")}); err == nil &&
					v > 0.2 {
					return // the statistics have arrived
				}
			}
		},
		State:   func(t *testing.T) string { return fmt.Sprint(c.number(t, count, schema, table)) },
		Effects: func(t *testing.T) int { return c.number(t, count, schema, table) },
	})
}

func TestReindex(t *testing.T) {
	c := open(t)
	effects, last := 0, ""
	actiontest.Run(t, actiontest.Case{
		Action: postgres.Reindex(c.server), Subject: c.subject("server", "database", "schema", "table", "index"),
		Limit: 0.4, Child: c.url,
		Degrade: func(t *testing.T) {
			c.fill(t, 15_000, "vacuum "+c.qTable, "analyze "+c.qTable)
			last = c.node(t)
		},
		State: func(t *testing.T) string { return c.node(t) + c.invalid(t) },
		Effects: func(t *testing.T) int {
			if now := c.node(t); now != last {
				effects, last = effects+1, now
			}
			return effects
		},
	})
	if left := c.invalid(t); left != "" {
		t.Errorf("invalid indexes were left behind: %s", left)
	}
}

// invalid names the indexes that an interrupted build left.
func (c *fixture) invalid(t *testing.T) string {
	t.Helper()
	return c.text(t, "select coalesce(string_agg(indexrelid::regclass::text, ' ' order by indexrelid), '') from "+
		"pg_index where not indisvalid")
}

// A build that somebody else began and the server gave up leaves an invalid index. The
// plan names it, and it stays, as does an index that merely looks alike.
func TestReindexLeavesWhatOthersLeft(t *testing.T) {
	c := open(t)
	c.fill(t, 20_000, "vacuum "+c.qTable, "analyze "+c.qTable)
	c.interruptBuild(t, "row exclusive")
	left := c.invalid(t)
	if left == "" {
		t.Fatal("the interrupted build left nothing: the test shows nothing")
	}
	innocent := quoted("innocent_ccnew")
	servertest.Exec(t, c.url, "create index "+innocent+" on "+c.qTable+" (id)")
	action := postgres.Reindex(c.server)
	limit := 0.4
	r := remediate.Request{Action: action.Name, Subject: c.subject(action.Subject...), Limit: &limit}
	plan, err := action.Plan(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if facts := strings.Join(plan.Facts, "\n"); len(plan.Steps) != 1 ||
		!strings.Contains(facts, "the invalid index "+quoted(schema,
			index+"_ccnew")+" was not seen to be built by upkeep") {
		t.Fatalf("the plan is %+v", plan)
	}
	before := c.node(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for range 2 {
		if err := action.Apply(ctx, remediate.Fence{Held: func(context.Context) error { return nil }},
			plan.Steps[0]); err != nil {
			t.Fatal(err)
		}
	}
	if now := c.invalid(t); now != left || c.node(t) == before {
		t.Errorf("invalid are %q, want %q; node %s", now, left, c.node(t))
	}
	if n := c.number(t, "select count(*) from pg_class where relname = 'innocent_ccnew'"); n != 1 {
		t.Error("an index that is not a leftover was dropped")
	}
}

// A build that was interrupted after the new index had taken the name of the old
// one is done, and what it left of the old one is dropped.
func TestReindexRemovesTheOld(t *testing.T) {
	c := open(t)
	c.fill(t, 20_000, "vacuum "+c.qTable, "analyze "+c.qTable)
	action := postgres.Reindex(c.server)
	limit := 0.4
	plan, err := action.Plan(t.Context(), remediate.Request{Action: action.Name, Subject: c.subject(action.Subject...),
		Limit: &limit})
	if err != nil {
		t.Fatal(err)
	}
	before := c.node(t)
	c.interruptBuild(t, "access share")
	after := c.node(t)
	if left := c.invalid(t); left == "" || before == after {
		t.Fatalf("left %q, node %v and then %v: the test shows nothing", left, before, after)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := action.Apply(ctx, remediate.Fence{Held: func(context.Context) error { return nil }},
		plan.Steps[0]); err != nil {
		t.Fatal(err)
	}
	if left := c.invalid(t); left != "" || c.node(t) != after {
		t.Errorf("left %q, node %v; want none, and %v as before", left, c.node(t), after)
	}
}

// interruptBuild cancels a concurrent build while it waits for an older
// transaction: for one that writes before it builds, and for one that only reads
// before it drops the old index.
func (c *fixture) interruptBuild(t *testing.T, mode string) {
	t.Helper()
	older := c.connect(t)
	if _, err := older.Exec(t.Context(), "begin; lock table "+c.qTable+" in "+mode+" mode"); err != nil {
		t.Fatal(err)
	}
	builder := c.connect(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := builder.Exec(t.Context(), "set statement_timeout = '1s'"); err != nil {
		t.Fatal(err)
	}
	_, err := builder.Exec(context.WithoutCancel(ctx), "reindex index concurrently "+c.qIndex)
	if err == nil {
		t.Fatal("the build was not interrupted")
	}
	if _, err := older.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	c := open(t)
	servertest.Exec(t, c.url,
		"create role stranger login", "create view public.v as select 1 as id",
		"create table public.p (id int) partition by range (id)", "create index p_id on public.p (id)",
		"create table public.e (r int4range, constraint e_excl exclude using gist (r with &&))",
		"grant usage on schema "+quoted(schema)+" to stranger")
	t.Cleanup(func() {
		servertest.Exec(t, c.url, "revoke usage on schema "+quoted(schema)+" from stranger", "drop role stranger")
	})
	stranger, err := target.NewPostgres(target.PostgresConfig{Name: "main",
		URL: strings.Replace(c.url, "upkeep@", "stranger@", 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stranger.Close)
	set := func(subject map[string]string, kv ...string) map[string]string {
		for i := 0; i < len(kv); i += 2 {
			subject[kv[i]] = kv[i+1]
		}
		return subject
	}
	vacuum, reindex := []string{"server", "database", "schema", "table"},
		[]string{"server", "database", "schema", "table", "index"}
	for _, test := range []struct {
		name    string
		action  remediate.Action
		subject map[string]string
		reason  string
	}{
		{"vacuum without the right", postgres.Vacuum(stranger), c.subject(vacuum...), remediate.ReasonPrivilege},
		{"vacuum of a view", postgres.Vacuum(c.server), set(c.subject(vacuum...), "schema", "public", "table", "v"),
			remediate.ReasonUnfit},
		{"vacuum of a partitioned table", postgres.Vacuum(c.server),
			set(c.subject(vacuum...), "schema", "public", "table", "p"), remediate.ReasonUnfit},
		{"vacuum in no database", postgres.Vacuum(c.server), set(c.subject(vacuum...), "database", "nowhere"),
			remediate.ReasonGone},
		{"reindex without the right", postgres.Reindex(stranger), c.subject(reindex...), remediate.ReasonPrivilege},
		{"reindex of a table", postgres.Reindex(c.server), set(c.subject(reindex...), "index", table),
			remediate.ReasonUnfit},
		{"reindex of a partitioned index", postgres.Reindex(c.server),
			set(c.subject(reindex...), "schema", "public", "table", "p", "index", "p_id"), remediate.ReasonUnfit},
		{"reindex of an exclusion constraint", postgres.Reindex(c.server),
			set(c.subject(reindex...), "schema", "public", "table", "e", "index", "e_excl"), remediate.ReasonUnfit},
		{"reindex of a catalog", postgres.Reindex(c.server),
			set(c.subject(reindex...), "schema", "pg_catalog", "table", "pg_class", "index", "pg_class_oid_index"),
			remediate.ReasonUnfit},
		{"reindex of another table's index", postgres.Reindex(c.server),
			set(c.subject(reindex...), "schema", "public", "table", "victim"), remediate.ReasonGone},
	} {
		t.Run(test.name, func(t *testing.T) {
			plan, err := test.action.Plan(t.Context(), remediate.Request{Subject: test.subject})
			if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != test.reason {
				t.Errorf("Plan: %+v, %v, want the refusal %q", plan.Steps, err, test.reason)
			}
		})
	}
}

// A useless vacuum is announced: the blocker is a fact of the plan.
func TestVacuumNamesTheHolder(t *testing.T) {
	c := open(t)
	holder := c.connect(t)
	if _, err := holder.Exec(t.Context(), "set application_name = 'forgotten'; begin isolation level repeatable "+
		"read; select 1"); err != nil {
		t.Fatal(err)
	}
	conn := c.connect(t)
	if _, err := conn.Exec(t.Context(), "do $$ begin for i in 1..10100 loop perform pg_current_xact_id(); commit; "+
		"end loop; end $$"); err != nil {
		t.Fatal(err)
	}
	plan, err := postgres.Vacuum(c.server).Plan(t.Context(),
		remediate.Request{Subject: c.subject("server", "database", "schema", "table")})
	if err != nil || !strings.Contains(strings.Join(plan.Facts, "\n"), "forgotten") {
		t.Errorf("Plan: %q %v", plan.Facts, err)
	}
}

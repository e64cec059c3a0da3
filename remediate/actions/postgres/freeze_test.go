package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

// spend uses transactions up.
func (c *fixture) spend(t *testing.T, n int) {
	t.Helper()
	servertest.Exec(t, c.url, fmt.Sprintf("do $$ begin for i in 1..%d loop perform pg_current_xact_id(); commit; end "+
		"loop; end $$", n))
}

// elder is a server of its own with a table whose name hurts.
func elder(t *testing.T, settings map[string]string) *fixture {
	t.Helper()
	s := own(t, "", settings)
	servertest.Exec(t, s.URL, "create schema "+quoted(schema),
		"create table "+quoted(schema, table)+" (id int, v text)", "create table public.victim (id int)")
	return &fixture{server: asRole(t, s.URL, "upkeep"), url: s.URL, database: "postgres", qTable: quoted(schema, table)}
}

func TestFreeze(t *testing.T) {
	t.Parallel() // on a server of its own
	c := elder(t, map[string]string{"max_prepared_transactions": "2", "wal_level": "logical"})
	t.Run("as promised", c.freezes)
	t.Run("takes the rest up", c.freezesTheRest)
	t.Run("takes the oldest", c.freezesTheOldest)
	t.Run("refuses", c.freezeRefuses)
	if n := c.number(t, "select count(*) from pg_class where relname = 'victim'"); n != 1 {
		t.Error("the victim is gone: a name was not quoted")
	}
}

func (c *fixture) freezes(t *testing.T) {
	count := func(t *testing.T) int {
		return c.number(t, "select pg_stat_get_vacuum_count($1::text::regclass)", c.qTable)
	}
	// All is young but the table, to which its old age is given back each time: to
	// vacuum every table again and again takes long.
	old := c.text(t, "select relfrozenxid::text from pg_class where oid = $1::text::regclass", c.qTable)
	c.spend(t, 2100)
	servertest.Exec(t, c.url, "vacuum (freeze)")
	actiontest.Run(t, actiontest.Case{
		Action: postgres.Freeze(c.server), Subject: c.subject("server", "database"), Limit: 2000, Child: c.url,
		Degrade: func(t *testing.T) { c.backdate(t, c.qTable, old) },
		State:   func(t *testing.T) string { return fmt.Sprint(count(t)) },
		Effects: count,
	})
}

// backdate makes a table, and with it the database, as old as a transaction.
func (c *fixture) backdate(t *testing.T, table, xid string) {
	t.Helper()
	conn := c.connect(t)
	if _, err := conn.Exec(t.Context(), "update pg_class set relfrozenxid = '"+xid+"' where oid = $1::text::regclass",
		table); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "update pg_database set datfrozenxid = '"+xid+"' where datname = current_database()")
}

// A step that was interrupted before the database counted as younger is brought to its
// end, without vacuuming the table again.
func (c *fixture) freezesTheRest(t *testing.T) {
	old := c.text(t, "select relfrozenxid::text from pg_class where oid = $1::text::regclass", c.qTable)
	c.spend(t, 2100)
	servertest.Exec(t, c.url, "vacuum (freeze)")
	c.backdate(t, c.qTable, old)
	action, limit := postgres.Freeze(c.server), 2000.0
	r := remediate.Request{Subject: c.subject("server", "database"), Limit: &limit}
	plan, err := action.Plan(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	servertest.Exec(t, c.url, "vacuum (freeze) "+c.qTable)
	c.backdate(t, "public.victim", c.text(t, "select relfrozenxid::text from pg_class where oid = $1::text::regclass",
		c.qTable))
	// as if it had not come to that
	servertest.Exec(t, c.url, "update pg_database set datfrozenxid = '"+old+"' where datname = current_database()")
	count := "select pg_stat_get_vacuum_count($1::text::regclass)"
	before := c.number(t, count, c.qTable)
	carryPlan(t, action, plan)
	if age, err := action.Measure(t.Context(), r); err != nil || age > limit {
		t.Errorf("the database is %v old: %v", age, err)
	}
	if n := c.number(t, count, c.qTable); n != before {
		t.Errorf("%d vacuums of the table, want %d", n, before)
	}
}

// Every table that is too old is in the plan, catalogs too and the oldest first, and the
// database is younger than the limit afterwards.
func (c *fixture) freezesTheOldest(t *testing.T) {
	oldest := c.text(t, "select relfrozenxid::text from pg_class where oid = $1::text::regclass", c.qTable)
	c.spend(t, 100)
	old := c.text(t, "select pg_current_xact_id()::text")
	c.spend(t, 2100)
	servertest.Exec(t, c.url, "vacuum (freeze)")
	c.backdate(t, "pg_catalog.pg_am", old)
	c.backdate(t, c.qTable, oldest)
	action, limit := postgres.Freeze(c.server), 2000.0
	r := remediate.Request{Subject: c.subject("server", "database"), Limit: &limit}
	before, err := action.Measure(t.Context(), r)
	if err != nil || before <= limit {
		t.Fatalf("Measure: %v %v", before, err)
	}
	plan, err := action.Plan(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Steps) != 2 || plan.Steps[0].Do != "VACUUM (FREEZE, TRUNCATE off) "+c.qTable ||
		plan.Steps[1].Args["table"] != "pg_am" {
		t.Errorf("the steps are %+v", plan.Steps)
	}
	carryPlan(t, action, plan)
	after, err := action.Measure(t.Context(), r)
	if err != nil || after > limit {
		t.Errorf("it was %v old, and is %v: %v", before, after, err)
	}
}

func (c *fixture) freezeRefuses(t *testing.T) {
	servertest.Exec(t, c.url, "create role weak login in role pg_read_all_stats", "create role blind login")
	limit := 2000.0
	refuses := func(t *testing.T, p *target.Postgres, reason, names string) {
		t.Helper()
		plan, err := postgres.Freeze(p).Plan(t.Context(),
			remediate.Request{Subject: c.subject("server", "database"), Limit: &limit})
		refusal, refused := remediate.Refused(err)
		if !refused || refusal.Reason != reason || !strings.Contains(refusal.Detail, names) {
			t.Fatalf("Plan: %+v %v, want the refusal %q that names %q", plan.Steps, err, reason, names)
		}
		t.Log(refusal.Detail)
	}
	t.Run("a session", func(t *testing.T) {
		holder := c.as(t, hurts, "begin", "insert into public.victim values (1)")
		c.spend(t, 2500)
		refuses(t, c.server, remediate.ReasonCannotHelp,
			fmt.Sprintf("session %d of user \"upkeep\" (application %q", holder.PgConn().PID(), hurts))
		exec(t, holder, "prepare transaction 'it''s'")
		refuses(t, c.server, remediate.ReasonCannotHelp, `prepared transaction "it's" of "upkeep"`)
		servertest.Exec(t, c.url, "rollback prepared 'it''s'")
	})
	t.Run("without the right", func(t *testing.T) {
		refuses(t, asRole(t, c.url, "weak"), remediate.ReasonPrivilege, "role weak may not vacuum")
	})
	t.Run("what cannot be seen", func(t *testing.T) {
		c.as(t, "somebody")
		refuses(t, asRole(t, c.url, "blind"), remediate.ReasonPrivilege, "grant pg_read_all_stats")
	})
	t.Run("a temporary table", func(t *testing.T) {
		owner := c.as(t, "x", "create temp table mine (id int)")
		c.spend(t, 2500)
		servertest.Exec(t, c.url, "vacuum (freeze)")
		refuses(t, c.server, remediate.ReasonCannotHelp, `."mine" is`)
		exec(t, owner, "drop table mine")
	})
	t.Run("a logical slot", func(t *testing.T) {
		servertest.Exec(t, c.url, "select pg_create_logical_replication_slot('forgotten', 'pgoutput')")
		c.spend(t, 2500)
		refuses(t, c.server, remediate.ReasonCannotHelp, `replication slot "forgotten"`)
	})
}

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

func (c *fixture) vacuum() remediate.Request {
	return remediate.Request{Subject: c.subject("server", "database", "schema", "table")}
}

// dead is how many dead rows the server knows of.
func (c *fixture) dead(t *testing.T) int {
	t.Helper()
	return c.number(t, "select pg_stat_get_dead_tuples($1::text::regclass)", c.qTable)
}

// refuses plans a vacuum and wants it refused with the name of who is in the way.
func (c *fixture) refuses(t *testing.T, action remediate.Action, r remediate.Request, waits bool, names ...string) {
	t.Helper()
	plan, err := action.Plan(t.Context(), r)
	refusal, refused := remediate.Refused(err)
	if !refused || refusal.Reason != remediate.ReasonCannotHelp || refusal.Until.IsZero() == waits {
		t.Fatalf("Plan: %+v %v, want a refusal, to look again: %v", plan, err, waits)
	}
	for _, name := range names {
		if !strings.Contains(refusal.Detail, name) {
			t.Errorf("the refusal does not name %q: %s", name, refusal.Detail)
		}
	}
	t.Log(refusal.Detail)
}

// plans plans a vacuum and wants a fact.
func (c *fixture) plans(t *testing.T, action remediate.Action, r remediate.Request, fact string) remediate.Plan {
	t.Helper()
	plan, err := action.Plan(t.Context(), r)
	if err != nil || !strings.Contains(strings.Join(plan.Facts, "\n"), fact) {
		t.Fatalf("Plan: %+v %v, want the fact %q", plan, err, fact)
	}
	return plan
}

// A useless vacuum is not repeated while the same transaction is open, and
// that one is named. What died before it began is removed, what a holder who is gone
// held too, and a later step of a chain is always tried.
func TestVacuumInVain(t *testing.T) {
	c := open(t)
	action := postgres.Vacuum(c.server)
	servertest.Exec(t, c.url, "insert into "+c.qTable+" select i, i::text from generate_series(1, 2000) i",
		"delete from "+c.qTable+" where id <= 500")
	holder := c.as(t, hurts, "begin isolation level repeatable read", "select 1")
	servertest.Exec(t, c.url, "delete from "+c.qTable+" where id <= 1500", "select pg_stat_force_next_flush()")
	servertest.Eventually(t, "the dead rows are known", func() bool { return c.dead(t) == 1500 })

	carryPlan(t, action, c.plans(t, action, c.vacuum(), "dead")) // it has never been tried
	servertest.Eventually(t, "what died before the holder is gone", func() bool { return c.dead(t) == 1000 })
	who := fmt.Sprintf("session %d of user \"upkeep\" (application %q, from 127.0.0.1), idle in transaction",
		holder.PgConn().PID(), hurts)
	c.refuses(t, action, c.vacuum(), true, "none of the 1000 dead rows", who, "since 2") // young: it may end by itself
	c.refuses(t, postgres.Vacuum(c.server), c.vacuum(), true, who)                       // another process knows it too
	later := c.vacuum()
	later.Step = 2
	c.plans(t, action, later, who)

	exec(t, holder, "rollback")
	carryPlan(t, action, c.plans(t, action, c.vacuum(), "1000 of 1500 rows are dead"))
	servertest.Eventually(t, "all are gone", func() bool { return c.dead(t) == 0 })
}

// The chain: what a vacuum cannot remove names who holds it, a person lets that one be
// ended, and the next vacuum removes it, though a younger holder was there as well.
func TestVacuumChain(t *testing.T) {
	c := open(t)
	vacuum, terminate := postgres.Vacuum(c.server), postgres.Terminate(c.server)
	c.as(t, "forgotten", "begin isolation level repeatable read", "select 1")
	servertest.Exec(t, c.url, "insert into "+c.qTable+" select i, i::text from generate_series(1, 2000) i",
		"delete from "+c.qTable+" where id <= 1500", "select pg_stat_force_next_flush()")
	younger := c.as(t, "younger", "begin isolation level repeatable read", "select 1")
	servertest.Exec(t, c.url, "vacuum "+c.qTable)
	servertest.Eventually(t, "the dead rows are known", func() bool { return c.dead(t) == 1500 })
	c.refuses(t, vacuum, c.vacuum(), true, `application "forgotten"`)
	if v, err := terminate.Measure(t.Context(), c.terminate("horizon")); err != nil || v <= 0 {
		t.Errorf("Measure: %v %v", v, err)
	}
	ends := c.plans(t, terminate, c.terminate("horizon"), `application "forgotten"`)
	carryPlan(t, terminate, ends)
	later := c.vacuum()
	later.Step = 2
	carryPlan(t, vacuum, c.plans(t, vacuum, later, "1500 of 2000 rows are dead"))
	servertest.Eventually(t, "all are gone", func() bool { return c.dead(t) == 0 })
	if !c.alive(t, younger) {
		t.Error("another was ended too")
	}
}

// A holder that began after the last vacuum does not prevent a vacuum: what that one
// left may be removed by now.
func TestVacuumNotInVain(t *testing.T) {
	c := open(t)
	action := postgres.Vacuum(c.server)
	older := c.as(t, "older", "begin isolation level repeatable read", "select 1")
	servertest.Exec(t, c.url, "insert into "+c.qTable+" select i, i::text from generate_series(1, 2000) i",
		"delete from "+c.qTable+" where id <= 1500", "select pg_stat_force_next_flush()", "vacuum "+c.qTable)
	c.as(t, "younger", "begin isolation level repeatable read", "select 1")
	exec(t, older, "rollback")
	servertest.Eventually(t, "the dead rows are known", func() bool { return c.dead(t) == 1500 })
	carryPlan(t, action, c.plans(t, action, c.vacuum(), "1500 of 2000 rows are dead"))
	servertest.Eventually(t, "all are gone", func() bool { return c.dead(t) == 0 })
}

// Prepared transactions and the slots of standbys that are gone are named, and not
// waited for. A slot is known once it was seen before the last vacuum.
func TestVacuumNamesWhoIsNoSession(t *testing.T) {
	t.Parallel() // on a server of its own
	s := own(t, "", map[string]string{"max_prepared_transactions": "2", "wal_level": "replica", "max_wal_senders": "2",
		"max_replication_slots": "2"})
	servertest.Exec(t, s.URL, "create schema "+quoted(schema),
		"create table "+quoted(schema, table)+" (id int, v text)", "create table public.other (id int)",
		"select pg_create_physical_replication_slot('standby', true)")
	c := &fixture{server: asRole(t, s.URL, "upkeep"), url: s.URL, database: "postgres", qTable: quoted(schema, table)}
	action := postgres.Vacuum(c.server)
	c.as(t, "app", "begin", "insert into public.other values (1)", "prepare transaction 'it''s'")
	servertest.Exec(t, c.url, "insert into "+c.qTable+" select i, i::text from generate_series(1, 2000) i",
		"delete from "+c.qTable, "select pg_stat_force_next_flush()", "vacuum "+c.qTable)
	servertest.Eventually(t, "the dead rows are known", func() bool { return c.dead(t) == 2000 })
	c.refuses(t, action, c.vacuum(), false, `prepared transaction "it's" of "upkeep" holds back`)

	leave := feedBack(t, c, "standby")
	servertest.Exec(t, c.url, "rollback prepared 'it''s'")
	plan, err := postgres.Terminate(c.server).Plan(t.Context(), c.terminate("horizon"))
	if refusal, refused := remediate.Refused(err); !refused || refusal.Reason != remediate.ReasonUnfit ||
		!strings.Contains(refusal.Detail, "walsender") && !strings.Contains(refusal.Detail, "slot") {
		t.Errorf("Plan: %+v %v, want that who sends to a standby is left alone", plan, err)
	} else {
		t.Log(refusal.Detail)
	}
	leave()
	servertest.Exec(t, c.url, "vacuum "+c.qTable)
	servertest.Eventually(t, "the slot holds them", func() bool { return c.dead(t) == 2000 })
	carryPlan(t, action, c.plans(t, action, c.vacuum(), "dead")) // the server does not tell since when
	c.refuses(t, action, c.vacuum(), false, `replication slot "standby" holds back`)
	if plan, err = postgres.Terminate(c.server).Plan(t.Context(), c.terminate("horizon")); err == nil ||
		!strings.Contains(err.Error(), `replication slot "standby"`) {
		t.Errorf("Plan: %+v %v", plan, err)
	}
	servertest.Exec(t, c.url, "select pg_drop_replication_slot('standby')")
	carryPlan(t, action, c.plans(t, action, c.vacuum(), "dead"))
	servertest.Eventually(t, "all are gone", func() bool { return c.dead(t) == 0 })
}

// feedBack does as a standby that says what it needs, until it leaves.
func feedBack(t *testing.T, c *fixture, slot string) (leave func()) {
	t.Helper()
	u, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("replication", "true")
	u.RawQuery = q.Encode()
	config, err := pgx.ParseConfig(u.String())
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	xid := uint32(c.number(t, "select xmin::text from pg_class order by age(xmin) limit 1"))
	oldest := uint32(c.number(t, "select transaction::text from pg_prepared_xacts"))
	xid = min(xid, oldest)
	front := conn.PgConn().Frontend()
	front.Send(&pgproto3.Query{String: fmt.Sprintf("START_REPLICATION SLOT %s PHYSICAL %s", slot,
		c.text(t, "select pg_current_wal_lsn()::text"))})
	message := make([]byte, 0, 25)
	message = append(message, 'h', 0, 0, 0, 0, 0, 0, 0, 0, byte(xid>>24), byte(xid>>16), byte(xid>>8), byte(xid), 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	front.Send(&pgproto3.CopyData{Data: message})
	if err := front.Flush(); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the slot has an xmin", func() bool {
		return c.number(t, "select count(*) from pg_replication_slots where xmin is not null") == 1
	})
	return func() {
		_ = conn.PgConn().Conn().Close()
		servertest.Eventually(t, "the standby is gone", func() bool {
			return c.number(t,
				"select count(*) from pg_replication_slots where active") == 0
		})
	}
}

// The table is frozen when its age asks for it, and the plan says why.
func TestVacuumFreezes(t *testing.T) {
	t.Parallel() // on a server of its own
	s := own(t, "", map[string]string{"autovacuum_freeze_max_age": "100000"})
	w := admit(t, s.URL, "postgres")
	do := func(params map[string]string) (string, string) {
		t.Helper()
		plan, err := w.action.Plan(t.Context(), w.request("postgres", params))
		if err != nil {
			t.Fatal(err)
		}
		return plan.Steps[0].Do, strings.Join(plan.Facts, "\n")
	}
	if young, _ := do(nil); strings.Contains(young, "FREEZE") {
		t.Errorf("a young table: %s", young)
	}
	if young, _ := do(map[string]string{"freeze": "always"}); !strings.Contains(young, "FREEZE") {
		t.Errorf("always: %s", young)
	}
	w.spend(t, 50_000)
	old, facts := do(nil)
	if !strings.Contains(old, ", FREEZE)") || !strings.Contains(facts,
		"autovacuum has to come at 100000: its rows are frozen") {
		t.Errorf("an old table: %s\n%s", old, facts)
	}
	if old, _ := do(map[string]string{"freeze": "never"}); strings.Contains(old, "FREEZE") {
		t.Errorf("never: %s", old)
	}
	plan, err := w.action.Plan(t.Context(), w.request("postgres", nil))
	if err != nil {
		t.Fatal(err)
	}
	carryPlan(t, w.action, plan)
	if age := w.number(t, "select age(relfrozenxid) from pg_class where oid = 'public.logs'::regclass"); age > 100 {
		t.Errorf("it is still %d transactions old", age)
	}
}

// While a vacuum works, its progress is visible; cancelled, it ends on the
// server, and the table is as it was.
func TestVacuumCancelled(t *testing.T) {
	c := open(t)
	c.fill(t, 20_000)
	// A vacuum that takes minutes: it sleeps after every page.
	servertest.Exec(t, c.url, "create extension amcheck",
		"alter database "+c.database+" set vacuum_cost_delay = '100ms'",
		"alter database "+c.database+" set vacuum_cost_limit = 1")
	action := postgres.Vacuum(c.server)
	plan, err := action.Plan(t.Context(), c.vacuum())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- action.Apply(ctx, remediate.Fence{Token: 1, Held: held}, plan.Steps[0]) }()
	progress := read.Progress(c.server)
	servertest.Eventually(t, "its progress is reported", func() bool {
		return strings.Contains(collectortest.Answer(t, progress),
			fmt.Sprintf(`{server="main",database="%s",schema="My \"Schema\"",table="`, c.database))
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Apply: %v", err)
	}
	if n := c.number(t, "select count(*) from pg_stat_activity where datname = current_database() and "+
		"application_name like 'upkeep postgres/vacuum%'"); n != 0 {
		servertest.Eventually(t, "its session is gone", func() bool {
			return c.number(t, "select count(*) from pg_stat_activity where datname = current_database() and "+
				"application_name like 'upkeep postgres/vacuum%'") == 0
		})
	}
	if n := c.number(t, "select count(*) from "+c.qTable); n != 2000 {
		t.Errorf("%d rows, want 2000", n)
	}
	if wrong := c.text(t, "select coalesce(string_agg(msg, ', '), '') from verify_heapam($1::text::regclass)",
		c.qTable); wrong != "" {
		t.Errorf("the table is damaged: %s", wrong)
	}
	servertest.Exec(t, c.url, "alter database "+c.database+" reset all",
		"select bt_index_check($q$"+c.qIndex+"$q$::regclass, true)")
	carryPlan(t, action, plan) // taken up again, it comes to its end
	servertest.Eventually(t, "all are gone", func() bool { return c.dead(t) == 0 })
}

// Without the right to see who holds dead rows back, the table is vacuumed, and
// the plan says that it is not known.
func TestVacuumByItsOwner(t *testing.T) {
	c := open(t)
	c.connect(t) // a session of somebody else
	servertest.Exec(t, c.url, "create role keeper login", "grant usage on schema "+quoted(schema)+" to keeper",
		"alter table "+c.qTable+" owner to keeper")
	t.Cleanup(func() {
		servertest.Exec(t, c.url, "revoke usage on schema "+quoted(schema)+" from keeper",
			"alter table "+c.qTable+" owner to upkeep", "drop role keeper")
	})
	action := postgres.Vacuum(asRole(t, c.url, "keeper"))
	carryPlan(t, action, c.plans(t, action, c.vacuum(), "grant pg_read_all_stats"))
}

package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// A triggered is a partition whose rows can be moved, and a function for triggers that
// changes its row and records it.
type triggered struct {
	*fixture
	action remediate.Action
	plan   remediate.Plan
	notes  string // what is in the rows
}

func (c *fixture) triggered(t *testing.T, more ...string) triggered {
	t.Helper()
	servertest.Exec(t, c.url, append([]string{
		"drop schema if exists ev cascade", "drop publication if exists p", "create schema ev",
		"create table ev.audit (id int)",
		"create function ev.touch() returns trigger language plpgsql as $$ begin insert into ev.audit values " +
			"(old.id); new.note := 'touched'; return new; end $$",
		"create table ev.ev (id int not null, note text, gone int, primary key (id)) partition by range (id)",
		"create table ev.leaf partition of ev.ev for values from (0) to (1000000) with (autovacuum_enabled = off)",
		"insert into ev.ev select i, md5(i::text), i from generate_series(1, 10000) i",
		"delete from ev.ev where id <= 7500", "vacuum (analyze, truncate off) ev.leaf",
	}, more...)...)
	return triggered{fixture: c, action: postgres.Repack(c.server)}
}

func (g *triggered) request() remediate.Request {
	return remediate.Request{Action: g.action.Name, Subject: map[string]string{"server": "main", "database": g.database,
		"schema": "ev", "table": "leaf"}}
}

func (g *triggered) planned(t *testing.T) {
	t.Helper()
	var err error
	if g.plan, err = g.action.Plan(t.Context(), g.request()); err != nil {
		t.Fatal(err)
	}
	if g.plan.Steps[0].Args["way"] != "rows" {
		t.Fatalf("the way is %s: the test shows nothing", g.plan.Steps[0].Args["way"])
	}
	g.notes = g.said(t, "ev.leaf")
}

func (g *triggered) said(t *testing.T, table string) string {
	t.Helper()
	return g.text(t, "select count(*) || ' ' || md5(string_agg(id || note, ',' order by id)) from "+table)
}

// The triggers that a partition inherits are seen on every version, and what a plan wins
// and costs is reported.
func TestRepackSeesInheritedTriggers(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"13", "14", ""} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			c := serverClinic(t, own(t, version, nil).URL)
			for _, when := range []string{"before update on ev.ev for each row",
				"after update of note on ev.ev for each row"} {
				g := c.triggered(t, "create trigger touch "+when+" execute function ev.touch()")
				if plan, err := g.action.Plan(t.Context(), g.request()); !refusedFor(err, remediate.ReasonUnfit,
					`the trigger "touch" would fire`) {
					t.Errorf("%s: %+v, %v", when, plan, err)
				}
			}
			// What does nothing where the key stays is no obstacle.
			g := c.triggered(t, "create table ev.child (id int references ev.ev)",
				"create trigger noted after insert on ev.ev for each row execute function ev.touch()",
				"alter table ev.ev drop column gone",
				"update ev.leaf set note = (select string_agg(md5(i::text), '') from generate_series(1, 400) i) "+
					"where id = 9999", "vacuum (analyze, truncate off) ev.leaf")
			g.planned(t)
			wants(t, g.plan, "new xmin")
			wants(t, g.plan, "TOAST")
			wants(t, g.plan, "1 columns were dropped")
			if err := applied(t, g.action, g.plan.Steps[0]); err != nil {
				t.Fatal(err)
			}
			if got := g.said(t, "ev.leaf"); got != g.notes || g.number(t, "select count(*) from ev.audit") != 0 {
				t.Errorf("the rows were %s and are %s, and a trigger fired %d times", g.notes, got,
					g.number(t, "select count(*) from ev.audit"))
			}
		})
	}
}

// changes are what somebody may do to a table between two batches, and where its rows
// are afterwards.
func changes() map[string]struct{ do, rows string } {
	return map[string]struct{ do, rows string }{
		"trigger of the table": {do: "create trigger touch before update on ev.leaf for each row execute " +
			"function ev.touch()"},
		"trigger of the parent": {do: "create trigger touch before update on ev.ev for each row execute function " +
			"ev.touch()"},
		"rule": {do: "create rule r as on update to ev.leaf do also insert into ev.audit values " +
			"(old.id)"},
		"publication of the table":  {do: "create publication p for table ev.leaf"},
		"publication of the parent": {do: "create publication p for table ev.ev"},
		"publication of the schema": {do: "create publication p for tables in schema ev"},
		"publication of everything": {do: "create publication p for all tables"},
		"column added":              {do: "alter table ev.ev add column hold text default 'hold'"},
		"column dropped":            {do: "alter table ev.ev drop column gone"},
		"column exchanged": {do: "alter table ev.ev rename gone to went; alter table ev.ev add column gone " +
			"int"},
		"generated column": {do: "alter table ev.ev add column sum int generated always as (id + 1) stored"},
		"row security": {do: "alter table ev.leaf enable row level security; alter table ev.leaf force " +
			"row level security"},
		"replica identity":       {do: "alter table ev.leaf replica identity full"},
		"constraint":             {do: "alter table ev.leaf add constraint long check (id < 8000) not valid"},
		"foreign key of another": {do: "create table ev.child (id int references ev.ev on update cascade)"},
		"unlogged":               {do: "alter table ev.leaf set unlogged"},
		"detached":               {do: "alter table ev.ev detach partition ev.leaf"},
		"renamed":                {do: "alter table ev.leaf rename to old", rows: "ev.old"},
		"another of the same name": {do: "alter table ev.leaf rename to old; create table ev.leaf (like ev.old " +
			"including all); insert into ev.leaf select id, 'new', 0 from generate_series(1, 20000) id; create " +
			"trigger touch before update on ev.leaf for each row execute function ev.touch()", rows: "ev.old"},
		"moved to another schema": {do: "create schema if not exists aside; drop table if exists aside.leaf; alter " +
			"table ev.leaf set schema aside", rows: "aside.leaf"},
		"dropped": {do: "drop table ev.leaf", rows: "-"},
		"session_replication_role": {do: "alter system set session_replication_role = replica; select " +
			"pg_reload_conf()"},
	}
}

// What was done to the table between two batches stops the run before the next one
// commits: no trigger fires, no row is another, and what was moved stays moved.
func TestRepackStopsAtChanges(t *testing.T) {
	t.Parallel()
	c := serverClinic(t, own(t, "", map[string]string{"wal_level": "logical"}).URL)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 11))
	for name, change := range changes() {
		t.Run(name, func(t *testing.T) {
			g := c.triggered(t)
			g.planned(t)
			at, looks := 3+r.IntN(3), 0 // carry and the first vacuum look first
			done := false
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			err := g.action.Apply(ctx, remediate.Fence{Token: 1, Held: func(context.Context) error {
				if looks++; looks == at {
					for sql := range strings.SplitSeq(change.do, "; ") {
						servertest.Exec(t, c.url, sql)
					}
					done = true
				}
				return nil
			}}, g.plan.Steps[0])
			if name == "session_replication_role" {
				servertest.Exec(t, c.url, "alter system reset session_replication_role", "select pg_reload_conf()")
			}
			if !done || !refusedFor(err, remediate.ReasonChanged, "") {
				t.Errorf("at look %d of %d: %v, want a refusal that says what changed", at, looks, err)
			}
			t.Log(err)
			g.untouched(t, change.rows)
		})
	}
}

func (g *triggered) untouched(t *testing.T, table string) {
	t.Helper()
	if table == "" {
		table = "ev.leaf"
	}
	if n := g.number(t, "select count(*) from ev.audit"); n != 0 {
		t.Errorf("a trigger or a rule fired %d times", n)
	}
	if table == "-" {
		return
	}
	if got := g.said(t, table); got != g.notes {
		t.Errorf("the rows were %s and are %s", g.notes, got)
	}
}

// The same at any moment, also within a batch: whether the run is stopped or was
// faster, the trigger has fired for no row of it.
func TestRepackBesideChanges(t *testing.T) {
	t.Parallel()
	c := serverClinic(t, own(t, "", nil).URL)
	for i := range 6 {
		g := c.triggered(t)
		g.planned(t)
		sql := []string{"create trigger touch before update on ev.leaf for each row execute function ev.touch()",
			"create trigger touch before update on ev.ev for each row execute function ev.touch()"}[i%2]
		looks, done := 0, make(chan error, 1)
		conn := c.connect(t)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		err := g.action.Apply(ctx, remediate.Fence{Token: 1, Held: func(context.Context) error {
			if looks++; looks == 3+i/2 {
				go func() {
					_, err := conn.Exec(ctx, sql)
					done <- err
				}()
			}
			return nil
		}}, g.plan.Steps[0])
		if err != nil && !refusedFor(err, remediate.ReasonChanged, "touch") {
			t.Errorf("Apply: %v", err)
		}
		if looks >= 3+i/2 {
			if err := <-done; err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
		cancel()
		g.untouched(t, "")
	}
}

// Obstacles to pg_repack are looked for again when its step begins, and the
// table compared with that of the plan.
func TestPgRepackLooksAgain(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.withKey(t)
	c.bloat(t, 10_000)
	action := postgres.Repack(c.server)
	for name, change := range map[string][2]string{
		"trigger": {"create trigger mine before update on " + c.qTable +
			" for each row execute function suppress_redundant_updates_trigger()", "drop trigger mine on " + c.qTable},
		"column": {"alter table " + c.qTable + " add column more int",
			"alter table " + c.qTable + " drop column more"},
		"publication": {"create publication everything for all tables", "drop publication everything"},
		"heir":        {"create table public.heir () inherits (" + c.qTable + ")", "drop table public.heir"},
	} {
		plan, err := action.Plan(t.Context(), c.order(action))
		if err != nil {
			t.Fatal(err)
		}
		wants(t, plan, "the way is pg_repack")
		wants(t, plan, "new xmin")
		file := c.file(t)
		servertest.Exec(t, c.url, change[0])
		if err := applied(t, action, plan.Steps[0]); !refusedFor(err, remediate.ReasonChanged, "") {
			t.Errorf("%s: %v, want a refusal that says what changed", name, err)
		}
		servertest.Exec(t, c.url, change[1])
		if c.file(t) != file {
			t.Errorf("%s: the table was written anew", name)
		}
	}
	plan, err := action.Plan(t.Context(), c.order(action))
	if err == nil {
		err = applied(t, action, plan.Steps[0])
	}
	if err != nil {
		t.Error(err)
	}
}

// A table that has the name of the one of the plan is not written anew.
func TestVacuumFullOfAnother(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.bloat(t, 10_000)
	action := postgres.VacuumFull(c.server)
	plan, err := action.Plan(t.Context(), c.order(action))
	if err != nil {
		t.Fatal(err)
	}
	servertest.Exec(t, c.url, "alter table "+c.qTable+" rename to aside",
		fmt.Sprintf("create table %s (id int, key text)", c.qTable))
	file := c.file(t)
	if err := applied(t, action, plan.Steps[0]); !refusedFor(err, remediate.ReasonChanged, "another") ||
		c.file(t) != file {
		t.Errorf("Apply: %v", err)
	}
}

package postgres_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// reindexRequest asks for a rebuild of the fixture's index that waits so long for others.
func (c *fixture) reindexRequest(patience string) remediate.Request {
	r := remediate.Request{Action: "postgres/reindex", Subject: c.subject("server", "database", "schema", "table",
		"index")}
	if patience != "" {
		r.Params = map[string]string{"patience": patience}
	}
	return r
}

// refuses wants the refusal of a plan, for now or for good.
func refuses(t *testing.T, a remediate.Action, r remediate.Request, reason, says string, again bool) {
	t.Helper()
	plan, err := a.Plan(t.Context(), r)
	refusal, ok := remediate.Refused(err)
	if !ok || refusal.Reason != reason || !strings.Contains(refusal.Detail, says) || refusal.Until.IsZero() == again {
		t.Errorf("Plan: %+v, %v, want the refusal %q that says %q, and to look again: %v", plan.Steps, err, reason,
			says, again)
	}
}

// Who would be waited for is found before, and who would not is left in peace.
func TestReindexLooksForOthers(t *testing.T) {
	c := open(t)
	servertest.Exec(t, c.url, "create table public.elsewhere (id int)", "insert into "+c.qTable+" values (1, 'x')")
	action := postgres.Reindex(c.server)
	for _, test := range []struct {
		name   string
		begin  []string
		second bool   // it counts after a second only
		says   string // "" where it is not in the way
	}{
		{"a snapshot of anything", []string{"begin isolation level repeatable read", "select from public.elsewhere"},
			true, "has a transaction of"},
		{"a lock of a reader", []string{"begin", "select from " + c.qTable}, true, "has a transaction of"},
		{"a lock of another table", []string{"begin", "select from public.elsewhere"}, true, ""},
		{"maintenance", []string{"begin", "lock table " + c.qTable + " in share update exclusive mode"}, false,
			"excludes this"},
		{"DDL", []string{"begin", "lock table " + c.qTable + " in access exclusive mode"}, false, "excludes this"},
	} {
		t.Run(test.name, func(t *testing.T) {
			other := c.connect(t)
			exec(t, other, "set application_name = 'nightly report'")
			exec(t, other, test.begin...)
			if test.second {
				if _, err := action.Plan(t.Context(), c.reindexRequest("10m")); err != nil {
					t.Errorf("Plan beside a young one: %v", err)
				}
				for c.number(t, "select count(*) from pg_stat_activity where application_name = 'nightly report' and "+
					"clock_timestamp() - xact_start > interval '1.1 s'") == 0 {
					time.Sleep(50 * time.Millisecond)
				}
			}
			if test.says == "" {
				if _, err := action.Plan(t.Context(), c.reindexRequest("1s")); err != nil {
					t.Errorf("Plan: %v", err)
				}
			} else {
				refuses(t, action, c.reindexRequest("1s"), "headroom", "nightly report", true)
				refuses(t, action, c.reindexRequest("1s"), "headroom", test.says, true)
			}
			_ = other.Close(t.Context()) // ends its transaction
			for c.number(t, "select count(*) from pg_stat_activity where application_name = 'nightly report'") > 0 {
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	refuses(t, action, c.reindexRequest("3w"), remediate.ReasonSubject, "patience", false)
	refuses(t, action, c.reindexRequest("0s"), remediate.ReasonSubject, "patience", false)
}

// A prepared transaction holds its locks without a session.
func TestReindexLooksForPrepared(t *testing.T) {
	s := own(t, "", map[string]string{"max_prepared_transactions": "2"})
	c := serverClinic(t, s.URL)
	servertest.Exec(t, c.url, "create table t (a int)", "create index i on t (a)",
		"begin; insert into t values (1); prepare transaction 'for''gotten'")
	for c.number(t,
		"select count(*) from pg_prepared_xacts where clock_timestamp() - prepared > interval '1.1 s'") == 0 {
		time.Sleep(50 * time.Millisecond)
	}
	r := c.dropRequest("i", map[string]string{"patience": "1s"})
	refuses(t, postgres.Reindex(c.server), r, "headroom", "prepared transaction 'for''gotten' of upkeep", true)
	servertest.Exec(t, c.url, "rollback prepared 'for''gotten'")
}

// One index of a server is built at a time, whichever database it is in.
func TestReindexOneAtATime(t *testing.T) {
	c, elsewhere := open(t), open(t)
	older, builder := elsewhere.connect(t), elsewhere.connect(t)
	exec(t, older, "begin", "lock table "+elsewhere.qTable+" in row exclusive mode")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := builder.Exec(ctx, "create index concurrently on "+elsewhere.qTable+" (id)")
		ended <- err
	}()
	for end := time.Now().Add(2 * time.Minute); c.number(t,
		"select count(*) from pg_stat_progress_create_index") == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no index is being built")
		}
	}
	refuses(t, postgres.Reindex(c.server), c.reindexRequest(""), "headroom", "in database "+elsewhere.database, true)
	cancel()
	<-ended
	exec(t, older, "rollback")
}

// Room is looked for where the server keeps its files, and a limit of temporary
// files is taken seriously.
func TestReindexLooksForRoom(t *testing.T) {
	s := own(t, "", nil)
	c := serverClinic(t, s.URL)
	servertest.Exec(t, c.url, "create table t (a text)",
		"insert into t select md5(n::text) from generate_series(1, 40000) n", "create index i on t (a)", "analyze t",
		"checkpoint")
	action := postgres.Reindex(c.server)
	plan, err := action.Plan(t.Context(), c.dropRequest("i", nil))
	if err != nil || !strings.Contains(strings.Join(plan.Facts, "\n"), "and the disk has it") {
		t.Fatalf("Plan: %q %v", plan.Facts, err)
	}
	servertest.Exec(t, c.url, "alter database postgres set temp_file_limit = '100kB'",
		"alter database postgres set maintenance_work_mem = '1MB'")
	fresh := serverClinic(t, s.URL)
	refuses(t, postgres.Reindex(fresh.server), c.dropRequest("i", nil), "headroom", "temp_file_limit allows 100 KiB",
		false)
	servertest.Exec(t, c.url, "alter database postgres reset all")
	// As large as no disk here is, and without a block more.
	file := filepath.Join(s.Dir, "data", c.text(t, "select pg_relation_filepath('i')"))
	if err := os.Truncate(file, 4<<40); err != nil {
		t.Fatal(err)
	}
	fresh = serverClinic(t, s.URL)
	refuses(t, postgres.Reindex(fresh.server), c.dropRequest("i", nil), "headroom",
		"the disk for the new index, WAL, sorting has", true)
}

// A build that waits too long for one who came after the plan is given up. What it
// leaves goes as soon as that is possible, and no later than the next try.
func TestReindexGivesUp(t *testing.T) {
	for _, test := range []struct {
		name     string
		within   time.Duration // the deadline of the step
		patience string
		rebuilt  bool // the index is built anew all the same
	}{
		{"a writer before the build", time.Minute, "1s", false},
		{"a reader after the build", time.Minute, "1s", true},
		{"the step's deadline", 3 * time.Second, "1h", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := open(t)
			c.fill(t, 5_000, "vacuum "+c.qTable, "analyze "+c.qTable)
			action := postgres.Reindex(c.server)
			plan, err := action.Plan(t.Context(), c.reindexRequest(test.patience))
			if err != nil {
				t.Fatal(err)
			}
			before := c.node(t)
			other := c.connect(t)
			exec(t, other, "begin")
			if test.rebuilt {
				exec(t, other, "select from "+c.qTable)
			} else {
				exec(t, other, "lock table "+c.qTable+" in row exclusive mode")
			}
			ctx, cancel := context.WithTimeout(t.Context(), test.within)
			defer cancel()
			began := time.Now()
			fence := remediate.Fence{Token: 1, Held: held}
			if err := action.Apply(ctx, fence, plan.Steps[0]); err == nil {
				t.Fatal("it does not wait")
			}
			if took := time.Since(began); took > servertest.Patience {
				t.Errorf("it took %s to give up", took)
			}
			if c.invalid(t) == "" || c.node(t) != before != test.rebuilt {
				t.Errorf("left %q, node %s and then %s", c.invalid(t), before, c.node(t))
			}
			if n := c.number(t, "select count(*) from pg_stat_activity where application_name like 'upkeep "+
				"postgres/reindex%'"); n != 0 {
				t.Errorf("%d sessions of ours are left", n)
			}
			exec(t, other, "rollback")
			if err := applyAll(t, action, plan); err != nil {
				t.Fatalf("taken up again: %v", err)
			}
			if left := c.invalid(t); left != "" || c.node(t) == before {
				t.Errorf("left %q, node %s", left, c.node(t))
			}
		})
	}
}

// A build that was given up for its last wait alone is done when that ends in time.
func TestReindexTidiesUp(t *testing.T) {
	c := open(t)
	c.fill(t, 5_000, "vacuum "+c.qTable, "analyze "+c.qTable)
	action := postgres.Reindex(c.server)
	plan, err := action.Plan(t.Context(), c.reindexRequest("1s"))
	if err != nil {
		t.Fatal(err)
	}
	other := c.connect(t)
	exec(t, other, "begin", "select from "+c.qTable)
	ended := make(chan error, 1)
	go func() { ended <- applyAll(t, action, plan) }()
	for end := time.Now().Add(2 * time.Minute); c.number(t,
		"select count(*) from pg_stat_activity where application_name like 'upkeep postgres/reindex%' and query like "+
			"'DROP INDEX%'") == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing is dropped")
		}
	}
	exec(t, other, "rollback")
	if err := <-ended; err != nil {
		t.Errorf("Apply: %v", err)
	}
	if left := c.invalid(t); left != "" {
		t.Errorf("left: %s", left)
	}
}

// Who holds the table's lock is not waited for longer than a moment, and nothing is
// begun behind him.
func TestReindexTriesTheLock(t *testing.T) {
	c := open(t)
	action := postgres.Reindex(c.server)
	plan, err := action.Plan(t.Context(), c.reindexRequest("1s"))
	if err != nil {
		t.Fatal(err)
	}
	before := c.node(t)
	other := c.connect(t)
	exec(t, other, "begin", "lock table "+c.qTable+" in share update exclusive mode")
	began := time.Now()
	if err := applyAll(t, action, plan); err == nil || !strings.Contains(err.Error(), "lock timeout") {
		t.Errorf("Apply: %v", err)
	}
	if took := time.Since(began); took > servertest.Patience {
		t.Errorf("it took %s", took)
	}
	if c.invalid(t) != "" || c.node(t) != before {
		t.Error("something was begun")
	}
	exec(t, other, "rollback")
}

// The bloat is measured where the extension is and the role may, else estimated.
func TestReindexMeasures(t *testing.T) {
	c := open(t)
	c.fill(t, 20_000, "vacuum "+c.qTable, "analyze "+c.qTable)
	action := postgres.Reindex(c.server)
	measure := func() float64 {
		t.Helper()
		v, err := action.Measure(t.Context(), c.reindexRequest(""))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	db, err := c.server.Database(c.database)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := read.ReadIndexBloat(t.Context(), db, read.Subject{Schema: schema, Table: table, Index: index})
	if err != nil || len(rows) != 1 {
		t.Fatalf("%v %v", rows, err)
	}
	if v := measure(); v != rows[0].Ratio {
		t.Errorf("%v, estimated %v", v, rows[0].Ratio)
	}
	servertest.Exec(t, c.url, `create schema "x; y"`, `create extension pgstattuple schema "x; y"`)
	var want float64
	err = c.connect(t).QueryRow(t.Context(),
		`select 1 - (p.leaf_pages * p.avg_leaf_density / 90 + p.internal_pages + 1) * 8192 / p.index_size from "x; y".pgstatindex($1) p`, c.qIndex).Scan(&want)
	if err != nil {
		t.Fatal(err)
	}
	if v := measure(); math.Abs(v-want) > 1e-9 || v == rows[0].Ratio {
		t.Errorf("%v, measured %v, estimated %v", v, want, rows[0].Ratio)
	}
}

// To own the database is enough to rebuild, and not to drop what that may leave.
func TestReindexOfDatabaseOwner(t *testing.T) {
	c := open(t)
	servertest.Exec(t, c.url, "create role keeper login", "alter database "+c.database+" owner to keeper",
		"grant usage on schema "+quoted(schema)+" to keeper")
	t.Cleanup(func() {
		servertest.Exec(t, c.url, "alter database "+c.database+" owner to upkeep",
			"revoke usage on schema "+quoted(schema)+" from keeper", "drop role keeper")
	})
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main",
		URL: strings.Replace(c.url, "upkeep@", "keeper@", 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	refuses(t, postgres.Reindex(p), c.reindexRequest(""), remediate.ReasonPrivilege, "must own the table or its schema",
		false)
	// It would be true: it may rebuild, and the leftover it may not drop.
	c.interruptBuild(t, "row exclusive")
	keeper, err := pgx.Connect(t.Context(), strings.Replace(c.url, "upkeep@", "keeper@", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = keeper.Close(t.Context()) }() // nothing is left to be written
	if _, err := keeper.Exec(t.Context(), "drop index concurrently "+quoted(schema, index+"_ccnew")); err == nil ||
		!strings.Contains(err.Error(), "must be owner") {
		t.Errorf("drop: %v", err)
	}
}

package postgres_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// noting is the action of an upkeep that has just been started, with its notes in a
// file.
func noting(t *testing.T, c *fixture, file string) remediate.Action {
	t.Helper()
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: c.url, Rebuilds: file, Alone: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return postgres.Reindex(p)
}

// waiting waits for the number that a query gives.
func waiting(t *testing.T, c *fixture, want int, sql string, args ...any) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); c.number(t, sql, args...) != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s is never %d", sql, want)
		}
	}
}

// seen waits until the notes in a file say which index is being built.
func seen(t *testing.T, file string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(text), `"seen":true`) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the notes never say what is built: %s, %v", text, err)
		}
	}
}

const (
	buildsSQL = "select count(*) from pg_stat_activity a join pg_stat_progress_create_index p using (pid) where " +
		"a.application_name like 'upkeep postgres/reindex fence%'"
	dropsSQL = "select count(*) from pg_stat_activity where application_name like 'upkeep postgres/reindex%' and " +
		"query like 'DROP INDEX%'"
)

// broken begins a step behind a transaction that writes, and breaks it off when it
// waits for that. It returns what the step says; the transaction goes on.
func broken(t *testing.T, c *fixture, a remediate.Action, s remediate.Step, table string,
	off func(cancel context.CancelCauseFunc)) (release func(), ended chan error) {
	t.Helper()
	older := c.connect(t)
	exec(t, older, "begin", "lock table "+table+" in row exclusive mode")
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	limited, enough := context.WithTimeout(ctx, time.Minute)
	t.Cleanup(enough)
	ended = make(chan error, 1)
	go func() { ended <- a.Apply(limited, remediate.Fence{Token: 1, Held: held}, s) }()
	waiting(t, c, 1, buildsSQL)
	off(cancel)
	return func() { exec(t, older, "rollback") }, ended
}

// errStopped is how a person's stop ends a step.
var errStopped = errors.New("stopped by a person")

// A build that a person stops leaves nothing: what it has left is dropped before the
// step returns.
func TestReindexStopped(t *testing.T) {
	c := open(t)
	c.fill(t, 5_000, "vacuum "+c.qTable, "analyze "+c.qTable)
	file := filepath.Join(t.TempDir(), "rebuilds.json")
	action := noting(t, c, file)
	plan, err := action.Plan(t.Context(), c.reindexRequest(""))
	if err != nil {
		t.Fatal(err)
	}
	before := c.node(t)
	release, ended := broken(t, c, action, plan.Steps[0], c.qTable, func(cancel context.CancelCauseFunc) {
		seen(t, file) // what was not seen to be built is not dropped
		cancel(errStopped)
	})
	waiting(t, c, 1, dropsSQL)
	release()
	if err := <-ended; !errors.Is(err, errStopped) {
		t.Errorf("%v, want %v", err, errStopped)
	}
	if left := c.invalid(t); left != "" || c.node(t) != before {
		t.Errorf("left %q, node %s", left, c.node(t))
	}
}

// What others have left is never dropped, and what upkeep has left is, even if another
// session has left something of the same name in between: by the same run, and by the next
// plan where that has ended.
func TestReindexTellsLeftoversApart(t *testing.T) {
	c := open(t)
	c.fill(t, 5_000, "vacuum "+c.qTable, "analyze "+c.qTable)
	file := filepath.Join(t.TempDir(), "rebuilds.json")
	c.interruptBuild(t, "row exclusive") // a person's, before the plan
	plan, err := noting(t, c, file).Plan(t.Context(), c.reindexRequest(""))
	if err != nil || len(plan.Steps) != 1 {
		t.Fatalf("%+v %v", plan, err)
	}
	c.interruptBuild(t, "row exclusive") // another's, before the step
	theirs := c.invalid(t)
	release, ended := broken(t, c, noting(t, c, file), plan.Steps[0], c.qTable, func(context.CancelCauseFunc) {
		seen(t, file)
		c.number(t, "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like "+
			"'upkeep postgres/reindex fence%' and datname = current_database()")
	})
	if err := <-ended; err == nil {
		t.Fatal("it was broken off, and says nothing")
	}
	release()
	if now := c.invalid(t); strings.Count(now, "_ccnew") != 3 {
		t.Fatalf("invalid are %q: the test shows nothing", now)
	}
	c.interruptBuild(t, "row exclusive") // a third, without other sessions
	theirs = strings.Join([]string{theirs,
		c.text(t, "select max(indexrelid)::regclass::text from pg_index where not indisvalid")}, " ")
	// The run has ended there: the next one finds it.
	next, err := noting(t, c, file).Plan(t.Context(), c.reindexRequest(""))
	if err != nil || len(next.Steps) != 2 || next.Steps[0].Do != "DROP INDEX CONCURRENTLY "+quoted(schema,
		index+"_ccnew2") {
		t.Fatalf("the next plan is %+v, %v", next, err)
	}
	// The same run goes on, in another process.
	again := noting(t, c, file)
	for range 2 {
		if err := applyAll(t, again, plan); err != nil {
			t.Fatal(err)
		}
	}
	if now := c.invalid(t); now != theirs {
		t.Errorf("invalid are\n%s, want what others have left,\n%s", now, theirs)
	}
	if err := applyAll(t, again, remediate.Plan{Steps: next.Steps[:1]}); err != nil {
		t.Fatal(err) // it is gone
	}
	if now := c.invalid(t); now != theirs {
		t.Errorf("invalid are\n%s, want\n%s", now, theirs)
	}
}

// Whatever an index is called and is for: what an attempt leaves is found by the next.
func TestReindexLeftoverNames(t *testing.T) {
	for _, version := range []string{"13", "18"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel() // they wait most of the time
			c := serverClinic(t, own(t, version, nil).URL)
			servertest.Exec(t, c.url, "create table public.victim (id int)")
			long, wide := strings.Repeat("l", 63), strings.Repeat("ж", 30)+"abc"
			servertest.Exec(t, c.url,
				"create table t (id int primary key, key text, constraint \"Unique \"\"one\" unique (key))",
				"insert into t select n, md5(n::text) from generate_series(1, 1000) n",
				"create index "+long+" on t (key)", "create index "+quoted(wide)+" on t (lower(key)) where id > 7",
				"create table p (id int, key text) partition by range (id)",
				"create table p1 partition of p for values from (0) to (10)", "create index p_key on p (key)",
				"analyze t")
			file := filepath.Join(t.TempDir(), "rebuilds.json")
			for _, name := range []struct{ table, index string }{{"t", "t_pkey"}, {"t", `Unique "one`}, {"t", long},
				{"t", wide}, {"p1", "p1_key_idx"}} {
				r := c.dropRequest(name.index, map[string]string{"patience": "300ms"})
				r.Action, r.Subject["table"] = "postgres/reindex", name.table
				plan, err := noting(t, c, file).Plan(t.Context(), r)
				if err != nil {
					t.Fatalf("%s: %v", name.index, err)
				}
				older := c.connect(t)
				exec(t, older, "begin", "lock table "+name.table+" in row exclusive mode")
				if err := applyAll(t, noting(t, c, file), plan); err == nil || c.invalid(t) == "" {
					t.Fatalf("%s: %v, left %q: the test shows nothing", name.index, err, c.invalid(t))
				}
				exec(t, older, "rollback")
				if err := applyAll(t, noting(t, c, file), plan); err != nil {
					t.Errorf("%s: %v", name.index, err)
				}
				if left := c.invalid(t); left != "" {
					t.Errorf("%s: left %s", name.index, left)
				}
				if oid := c.text(t, "select oid::text from pg_class where relname = $1",
					name.index); oid == plan.Steps[0].Args["oid"] {
					t.Errorf("%s was not built anew", name.index)
				}
			}
		})
	}
}

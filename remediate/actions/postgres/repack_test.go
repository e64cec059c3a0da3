package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	command "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

// bloat empties nine tenths of the table's pages.
func (c *fixture) bloat(t *testing.T, rows int) {
	t.Helper()
	c.fill(t, rows, "vacuum (truncate off) "+c.qTable, "analyze "+c.qTable)
}

// withKey gives the table a primary key, and the database pg_repack.
func (c *fixture) withKey(t *testing.T) {
	t.Helper()
	servertest.Exec(t, c.url, "alter table "+c.qTable+" add primary key (id)", "create extension pg_repack",
		"create extension amcheck")
}

func (c *fixture) file(t *testing.T) string {
	t.Helper()
	return c.text(t, "select c.oid || ' ' || c.relfilenode from pg_class c join pg_namespace n on n.oid = "+
		"c.relnamespace where n.nspname = $1 and c.relname = $2", schema, table)
}

func (c *fixture) pages(t *testing.T) int {
	t.Helper()
	return c.number(t, "select pg_relation_size($1::regclass) / 8192", c.qTable)
}

// rows is the content of the table, whatever its order.
func (c *fixture) rows(t *testing.T) string {
	t.Helper()
	return c.text(t, "select count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)), 0) from "+c.qTable+" t")
}

// remains is what a pg_repack has left, of whatever table.
func (c *fixture) remains(t *testing.T) string {
	t.Helper()
	return c.text(t, `select concat((select string_agg(tgrelid::regclass::text, ' ') from pg_trigger where tgname = 'repack_trigger'),
		(select string_agg(relname, ' ') from pg_class where relnamespace = 'repack'::regnamespace and relkind = 'r'),
		(select string_agg(typname, ' ') from pg_type where typnamespace = 'repack'::regnamespace and typname like 'pk%'))`)
}

// sound has the server look for damage.
func (c *fixture) sound(t *testing.T) {
	t.Helper()
	if n := c.number(t, "select count(*) from verify_heapam($1::regclass)", c.qTable); n != 0 {
		t.Errorf("the heap has %d faults", n)
	}
	servertest.Exec(t, c.url,
		"select bt_index_check(indexrelid, true) from pg_index where indrelid = "+literal(c.qTable)+"::regclass")
}

func literal(s string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// tableLabels are those of a subject that is a table.
func tableLabels() []string { return []string{"server", "database", "schema", "table"} }

func (c *fixture) order(action remediate.Action) remediate.Request {
	limit := 0.5
	return remediate.Request{Action: action.Name, Subject: c.subject(tableLabels()...), Limit: &limit}
}

// do plans and applies, and returns the plan.
func (c *fixture) do(t *testing.T, action remediate.Action) remediate.Plan {
	t.Helper()
	plan, err := action.Plan(t.Context(), c.order(action))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range plan.Steps {
		if err := applied(t, action, s); err != nil {
			t.Fatalf("%s: %v", s.Do, err)
		}
	}
	return plan
}

func applied(t *testing.T, action remediate.Action, s remediate.Step) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	return action.Apply(ctx, remediate.Fence{Token: 1, Held: held}, s)
}

// wants is a plan's method, found by its facts.
func wants(t *testing.T, p remediate.Plan, fact string) {
	t.Helper()
	if !strings.Contains(strings.Join(p.Facts, "\n"), fact) {
		t.Errorf("no fact mentions %q: %q", fact, p.Facts)
	}
}

// Each way keeps every promise, and the rows.
func TestRepack(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"pg_repack", "rows"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			c := open(t)
			servertest.Exec(t, c.url, "create extension amcheck")
			if way == "pg_repack" {
				servertest.Exec(t, c.url, "alter table "+c.qTable+" add primary key (id)", "create extension pg_repack")
			}
			action := postgres.Repack(c.server)
			effects, last, rows := 0, 0, ""
			actiontest.Run(t, actiontest.Case{
				Action: postgres.Repack(c.server), Subject: c.subject(tableLabels()...), Limit: 0.5, Child: c.url,
				Degrade: func(t *testing.T) {
					c.bloat(t, 4_000)
					last, rows = c.pages(t), c.rows(t)
					plan, err := action.Plan(t.Context(), c.order(action))
					if err != nil || len(plan.Steps) != 1 || plan.Steps[0].Args["way"] != way {
						t.Fatalf("Plan: %+v %v, want the way %s", plan, err, way)
					}
				},
				State: func(t *testing.T) string { return fmt.Sprint(c.file(t), c.pages(t), c.rows(t)) },
				Effects: func(t *testing.T) int {
					now := c.pages(t)
					if now < last/2 {
						effects++
						last = now
					}
					if got := c.rows(t); got != rows {
						t.Errorf("the rows were %s and are %s", rows, got)
					}
					return effects
				},
			})
			c.sound(t)
			if way == "pg_repack" {
				if left := c.remains(t); left != "" {
					t.Errorf("left behind: %s", left)
				}
			}
		})
	}
}

func TestVacuumFull(t *testing.T) {
	t.Parallel()
	c := open(t)
	effects, last := 0, ""
	actiontest.Run(t, actiontest.Case{
		Action: postgres.VacuumFull(c.server), Subject: c.subject(tableLabels()...), Limit: 0.5, Child: c.url,
		Degrade: func(t *testing.T) {
			c.bloat(t, 10_000)
			last = c.file(t)
		},
		State: c.file,
		Effects: func(t *testing.T) int {
			if now := c.file(t); now != last {
				effects, last = effects+1, now
			}
			return effects
		},
	})
}

// older opens a transaction that pg_repack waits for before it changes the files.
// It holds no lock of the table.
func (c *fixture) older(t *testing.T) (end func()) {
	t.Helper()
	conn := c.connect(t)
	exec(t, conn, "set application_name = 'older'", "begin isolation level repeatable read",
		"select count(*) from public.victim")
	return func() { exec(t, conn, "commit") }
}

// start applies the last step of a plan, and returns when pg_repack has copied the
// table and waits.
func (c *fixture) start(t *testing.T, action remediate.Action, token int64) (ended chan error) {
	t.Helper()
	plan, err := action.Plan(t.Context(), c.order(action))
	if err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		ended <- action.Apply(ctx, remediate.Fence{Token: token, Held: held}, plan.Steps[len(plan.Steps)-1])
	}()
	c.until(t, "pg_repack waits", "select count(*) from pg_locks where locktype = 'advisory' and classid = 16185446 "+
		"and exists (select from pg_index where indrelid = to_regclass('repack.table_' || "+literal(c.qTable)+"::regclass::oid))")
	return ended
}

// until waits for a count that is not zero.
func (c *fixture) until(t *testing.T, what, count string) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if c.number(t, count) > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// byHand is the program.
func byHand(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_repack")
	if err != nil || len(found) == 0 {
		t.Fatalf("pg_repack is needed: tools/install-deps.sh test installs it (%v)", err)
	}
	return found[len(found)-1]
}

// children are the pg_repacks that we have started for the database.
func (c *fixture) children(t *testing.T) (all []*os.Process) {
	t.Helper()
	out, err := command.CommandContext(t.Context(), "pgrep", "-P", strconv.Itoa(os.Getpid()), "-f", "--",
		"--dbname="+c.database).Output()
	if err != nil {
		t.Fatalf("no pg_repack runs: %v", err)
	}
	for text := range strings.FieldsSeq(string(out)) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// A pg_repack that is killed leaves a trigger and a log. While we are there it is
// removed at once; else the next plan begins with it.
func TestRepackRemovesWhatWasLeft(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.withKey(t)
	c.bloat(t, 10_000)
	action := postgres.Repack(c.server)
	end := c.older(t)
	rows := c.rows(t)
	ended := c.start(t, action, 1)
	for _, p := range c.children(t) {
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Apply, whose program was killed: %v", err)
	}
	if left := c.remains(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
	// The same by another's hand, who is gone.
	by := command.CommandContext(t.Context(), byHand(t), "--no-order", "--table="+c.qTable, "--dbname="+c.database)
	env, err := c.server.Environ(c.database, "by hand")
	if err != nil {
		t.Fatal(err)
	}
	by.Env = env
	if err := by.Start(); err != nil {
		t.Fatal(err)
	}
	c.until(t, "it waits",
		"select count(*) from pg_class where relname = 'table_' || "+literal(c.qTable)+"::regclass::oid and "+
			"relhasindex")
	if _, err := action.Plan(t.Context(), c.order(action)); !refusedFor(err, remediate.ReasonCannotHelp,
		"works on the table already") {
		t.Errorf("Plan beside another's pg_repack: %v", err)
	}
	if err := by.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = by.Wait() // it was killed
	c.until(t, "its sessions end", "select 1 - least(count(*), 1) from pg_stat_activity where application_name = 'by "+
		"hand'")
	end()
	servertest.Exec(t, c.url, "update "+c.qTable+" set key = key")
	if c.remains(t) == "" {
		t.Fatal("nothing was left: the test shows nothing")
	}
	before := c.file(t)
	plan := c.do(t, action)
	if len(plan.Steps) != 2 || !strings.Contains(plan.Steps[0].Do,
		"DROP TRIGGER IF EXISTS repack_trigger ON "+c.qTable) {
		t.Errorf("the plan does not begin with what was left: %+v", plan.Steps)
	}
	if left := c.remains(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
	if got := c.rows(t); got != rows || c.file(t) == before {
		t.Errorf("the rows were %s and are %s", rows, got)
	}
	c.sound(t)
}

func refusedFor(err error, reason, detail string) bool {
	r, refused := remediate.Refused(err)
	return refused && r.Reason == reason && strings.Contains(r.Detail, detail)
}

// A pg_repack of a frozen owner is ended by the present holder of the fence;
// when it wakes up it destroys nothing.
func TestRepackTakesOver(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.withKey(t)
	c.bloat(t, 10_000)
	action := postgres.Repack(c.server)
	end := c.older(t)
	rows, before := c.rows(t), c.file(t)
	plan, err := action.Plan(t.Context(), c.order(action))
	if err != nil {
		t.Fatal(err)
	}
	env, err := c.server.Environ(c.database, "upkeep postgres/repack fence 1")
	if err != nil {
		t.Fatal(err)
	}
	frozen := command.CommandContext(t.Context(), byHand(t), "--no-order", "--no-kill-backend", "--table="+c.qTable,
		"--dbname="+c.database)
	frozen.Env = append(env, "PGOPTIONS=-c lock_timeout=1200")
	if err := frozen.Start(); err != nil {
		t.Fatal(err)
	}
	c.until(t, "it waits",
		"select count(*) from pg_class where relname = 'table_' || "+literal(c.qTable)+"::regclass::oid and "+
			"relhasindex")
	if err := frozen.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	end()
	if err := applied(t, action, plan.Steps[0]); err != nil {
		t.Errorf("the next owner: %v", err)
	}
	if c.file(t) == before {
		t.Error("the table has the file that it had")
	}
	if err := frozen.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	_ = frozen.Wait() // its connections were lost
	if left := c.remains(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
	if got := c.rows(t); got != rows {
		t.Errorf("the rows were %s and are %s", rows, got)
	}
	c.sound(t)
}

// Who reads in a transaction and idles is not ended: the work is given up.
func TestRepackEndsNobody(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.withKey(t)
	c.bloat(t, 10_000)
	action := postgres.Repack(c.server)
	plan, err := action.Plan(t.Context(), c.order(action))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, plan, "the way is pg_repack")
	wants(t, plan, "is free")
	reader := c.connect(t)
	exec(t, reader, "begin", "select count(*) from "+c.qTable)
	if err := applied(t, action, plan.Steps[0]); err == nil ||
		!strings.Contains(err.Error(), "1 sessions hold the table") {
		t.Errorf("Apply with a reader in the way: %v", err)
	}
	exec(t, reader, "select count(*) from "+c.qTable, "commit")
	if left := c.remains(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
	if err := applied(t, action, plan.Steps[0]); err != nil {
		t.Errorf("after the reader: %v", err)
	}
}

// Who wants to change the table does not wait for the end of the copy, nor does anyone
// behind them.
func TestRepackGivesWay(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.withKey(t)
	c.bloat(t, 10_000)
	end := c.older(t)
	defer end()
	ended := c.start(t, postgres.Repack(c.server), 1)
	began := time.Now()
	servertest.Exec(t, c.url, "alter table "+c.qTable+" add column more int")
	if took := time.Since(began); took > servertest.Patience {
		t.Errorf("the change took %s", took)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "waits to lock the table") {
		t.Errorf("Apply: %v", err)
	}
	if left := c.remains(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// The right to act passes on in the middle of a copy: it is stopped.
func TestRepackStopsWithoutTheFence(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.withKey(t)
	c.bloat(t, 10_000)
	end := c.older(t)
	defer end()
	action := postgres.Repack(c.server)
	plan, err := action.Plan(t.Context(), c.order(action))
	if err != nil {
		t.Fatal(err)
	}
	before := c.file(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	until := time.Now().Add(time.Second)
	err = action.Apply(ctx, remediate.Fence{Token: 1, Held: func(context.Context) error {
		if time.Now().After(until) {
			return remediate.ErrFenced
		}
		return nil
	}}, plan.Steps[0])
	if !errors.Is(err, remediate.ErrFenced) {
		t.Errorf("Apply: %v", err)
	}
	c.until(t, "what it made is removed by itself",
		"select case when not exists (select from pg_trigger where tgname = 'repack_trigger') then 1 else 0 end")
	if c.file(t) != before {
		t.Error("the table has another file")
	}
}

// An index that is made while the table is copied would point into the old file:
// the copy is stopped. One that was made unseen is built anew.
func TestRepackMindsNewIndexes(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.withKey(t)
	c.bloat(t, 10_000)
	action := postgres.Repack(c.server)
	end := c.older(t)
	ended, before := c.start(t, action, 1), c.file(t)
	servertest.Exec(t, c.url, "create index "+quoted("made mean\"while")+" on "+c.qTable+" (key, id)")
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "index") ||
		!strings.Contains(err.Error(), "old file") {
		t.Errorf("Apply: %v", err)
	}
	if left := c.remains(t); left != "" || c.file(t) != before {
		t.Errorf("left behind: %s", left)
	}
	end()
	plan, err := action.Plan(t.Context(), c.order(action))
	if err != nil {
		t.Fatal(err)
	}
	by := command.CommandContext(t.Context(), byHand(t), "--no-order", "--table="+c.qTable, "--dbname="+c.database)
	if by.Env, err = c.server.Environ(c.database, "by another"); err != nil {
		t.Fatal(err)
	}
	if out, err := by.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	servertest.Exec(t, c.url, "create index unseen on "+c.qTable+" (id, key)")
	oid := "select indexrelid::text from pg_index where indexrelid::regclass::text like '%unseen%' and indrelid = " +
		"$1::regclass"
	one := c.text(t, oid, c.qTable)
	if err := applied(t, action, plan.Steps[0]); err != nil {
		t.Error(err)
	}
	if two := c.text(t, oid, c.qTable); one == two {
		t.Error("an index that pg_repack did not know was not built anew")
	}
	c.sound(t)
}

package postgres_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// killed is a fence that is lost at its n-th check, as that of a process that is killed:
// nothing is done after it, also not what a step does that is stopped.
func killed(n int) remediate.Fence {
	checks := 0
	return remediate.Fence{Token: 1, Held: func(context.Context) error {
		if checks++; checks >= n {
			return remediate.ErrFenced
		}
		return nil
	}}
}

// undo undoes a step, twice, with an upkeep whose configuration has no archive entry.
func (y *yard) undo(t *testing.T, a remediate.Action, s remediate.Step) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	u, ok := a.Executor.(remediate.Undoer)
	if !ok {
		t.Fatalf("%s undoes nothing", a.Name)
	}
	found, err := u.Undo(ctx, remediate.Fence{Token: 2, Held: held}, s)
	if err != nil {
		t.Fatalf("undo %s: %v", s.Do, err)
	}
	if again, err := u.Undo(ctx, remediate.Fence{Token: 2, Held: held}, s); err != nil || again != "" {
		t.Errorf("undone twice: %q %v", again, err)
	}
	return found
}

// Killed at any moment of a step on a partition, and undone, the partition is one of its
// table again, as it was.
func TestUndoPartitions(t *testing.T) {
	for name, purge := range map[string]bool{"purge": true, "archive": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := yards(t, "", purge)
			action := func() remediate.Action {
				if purge {
					return postgres.Purge(y.server)
				}
				return postgres.Archive(y.server)
			}
			plan := y.plan(t, action())
			bare := action() // of a server that the configuration has no archives for
			y.use(t, !purge)
			before := y.shape(t)
			undone := map[string]bool{}
			for n := 1; n < 20; n++ {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				err := bare.Apply(ctx, killed(n), plan.Steps[0])
				cancel()
				if err == nil {
					break
				}
				was := y.loose(t)
				found := y.undo(t, action(), plan.Steps[0])
				if (was == "") != (found == "") {
					t.Errorf("killed at check %d: %q was left, found %q", n, was, found)
				}
				if diff := cmp.Diff(before, y.shape(t)); diff != "" {
					t.Fatalf("killed at check %d: %q was left, and not undone (%s):\n%s", n, was, found, diff)
				}
				undone[was] = true
			}
			detached := slices.ContainsFunc(slices.Collect(maps.Keys(undone)),
				func(was string) bool { return strings.Contains(was, "t_2020 is detached") })
			if detached != purge || !undone["t_2020 has upkeep_bounds"] {
				t.Errorf("what was left is only %v: the test shows little", undone)
			}
			// What is done stays done, and somebody's own is left alone.
			apply(t, bare, remediate.Fence{Held: held}, plan.Steps[1])
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			found, err := bare.Executor.(remediate.Undoer).Undo(ctx, remediate.Fence{Held: held}, plan.Steps[1])
			if err != nil || !strings.Contains(found, "t_2021") {
				t.Errorf("a step that is done: %q %v", found, err)
			}
			servertest.Exec(t, y.url, "alter table t detach partition t_2022")
			if found, err := bare.Executor.(remediate.Undoer).Undo(ctx, remediate.Fence{Held: held},
				plan.Steps[2]); err == nil || found != "" {
				t.Errorf("somebody else's detachment: %q %v", found, err)
			}
			if !strings.Contains(plan.Steps[0].Left,
				`ALTER TABLE "public"."t" ATTACH PARTITION "public"."t_2020" FOR VALUES FROM`) {
				t.Errorf("the text for people: %s", plan.Steps[0].Left)
			}
		})
	}
}

// What somebody else made of a partition that a run of ours had begun with stays so, and
// nothing of ours stays on it, whatever its name is by now; the next run leaves it alone,
// and what was made like it.
func TestUndoTaken(t *testing.T) {
	t.Parallel()
	const like = "; create table t_2020 (like old including all); insert into t_2020 values (-1, '2020-05-05', 'kept')"
	for _, c := range []struct{ until, do, marked string }{
		{"t_2020 has upkeep_bounds", "alter table t_2020 rename to old", ""},
		{"t_2020 has upkeep_bounds", "alter table t detach partition t_2020", ""},
		{"t_2020 has upkeep_bounds", "alter table t detach partition t_2020; alter table t_2020 rename to old", ""},
		{"t_2020 has upkeep_bounds", "alter table t detach partition t_2020; alter table t_archive attach partition " +
			"t_2020 for values from ('2020-01-01Z') to ('2021-01-01Z')", ""},
		{"t_2020 is detached", "alter table t_2020 rename to old" + like, "old, t_2020"},
	} {
		t.Run(c.do, func(t *testing.T) {
			t.Parallel()
			y := yards(t, "", true)
			a := postgres.Purge(y.server)
			plan := y.plan(t, a)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			for n := 1; n < 20 && !strings.HasPrefix(y.loose(t), c.until); n++ {
				if err := a.Apply(ctx, killed(n), plan.Steps[0]); err == nil {
					t.Fatalf("the step ended before %s", c.until)
				}
			}
			rows := y.number(t, "select count(*) from t_2020")
			servertest.Exec(t, y.url, strings.Split(c.do, "; ")...)
			if _, err := a.Executor.(remediate.Undoer).Undo(ctx, remediate.Fence{Token: 2, Held: held},
				plan.Steps[0]); err == nil {
				t.Error("Undo reports nothing")
			}
			if err := a.Apply(ctx, remediate.Fence{Token: 3, Held: held}, plan.Steps[0]); err == nil {
				t.Error("the step of before goes on")
			}
			if marked := y.text(t, "select coalesce(string_agg(conrelid::regclass::text, ', ' order by 1), '') from "+
				"pg_constraint where conname = 'upkeep_bounds'"); marked != c.marked {
				t.Errorf("our constraint is on %q, want %q", marked, c.marked)
			}
			for _, s := range y.plan(t, a).Steps {
				if c.do != "alter table t_2020 rename to old" &&
					(s.Args["part_table"] == "t_2020" || s.Args["part_table"] == "old") {
					t.Errorf("the next run would take %s", s.Args["part_table"])
				}
			}
			name := "t_2020"
			if strings.Contains(c.do, "rename") {
				name = "old"
			}
			if n := y.number(t, "select count(*) from "+name); n != rows {
				t.Errorf("%s has %d rows, want %d", name, n, rows)
			}
		})
	}
}

// Who may read the archive and not the table is a part of what is approved.
func TestWiderIsPlanned(t *testing.T) {
	t.Parallel()
	y := yards(t, "", false)
	servertest.Exec(t, y.url, "drop table t_archive", "create table t_archive (like t including indexes)")
	a := postgres.Archive(y.server)
	before := y.plan(t, a)
	for _, sql := range []string{"grant select on t_archive to pg_monitor",
		"grant select (body) on t_archive to pg_monitor"} {
		servertest.Exec(t, y.url, sql)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		err := a.Apply(ctx, remediate.Fence{Held: held}, before.Steps[0])
		cancel()
		if r, ok := remediate.Refused(err); !ok || r.Reason != remediate.ReasonChanged ||
			!strings.Contains(r.Detail, "pg_monitor") {
			t.Errorf("%s: the plan of before: %v", sql, err)
		}
		if after := y.plan(t, a); after.Hash() == before.Hash() {
			t.Errorf("%s: the plan is the same one: %v", sql, after.Facts)
		}
		servertest.Exec(t, y.url, strings.Replace(strings.Replace(sql, "grant", "revoke", 1), " to ", " from ", 1))
	}
	if y.plan(t, a).Hash() != before.Hash() || y.number(t, "select count(*) from t_archive") != 0 {
		t.Error("something was moved")
	}
	// In the middle of the work.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	err := a.Apply(ctx, after(2, func() { servertest.Exec(t, y.url, "grant select on t_archive to pg_monitor") }),
		before.Steps[0])
	if r, ok := remediate.Refused(err); !ok || r.Reason != remediate.ReasonChanged {
		t.Errorf("in the middle of the work: %v", err)
	}
}

// What a pg_repack leaves that was killed with upkeep is dropped, and the table stays.
func TestUndoRepack(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.withKey(t)
	c.bloat(t, 10_000)
	action := postgres.Repack(c.server)
	plan, err := action.Plan(t.Context(), c.order(action))
	if err != nil {
		t.Fatal(err)
	}
	step := plan.Steps[len(plan.Steps)-1]
	oid, before := step.Args["oid"], c.rows(t)
	servertest.Exec(t, c.url, "create table repack.log_"+oid+" (id bigint)",
		"create trigger repack_trigger after insert or update or delete on "+c.qTable+" for each row execute "+
			"procedure repack.repack_trigger('INSERT INTO repack.log_"+oid+"(pk, row) VALUES (null, null)')")
	if c.remains(t) == "" {
		t.Fatal("nothing was left: the test shows nothing")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for n, want := range []string{"the trigger and the log that pg_repack left are dropped", ""} {
		found, err := action.Executor.(remediate.Undoer).Undo(ctx, remediate.Fence{Token: 2, Held: held}, step)
		if left := c.remains(t); err != nil || found != want || left != "" || c.rows(t) != before {
			t.Errorf("try %d: %q %v, left %q", n+1, found, err, left)
		}
	}
	if !strings.Contains(step.Left, "DROP TRIGGER IF EXISTS repack_trigger ON "+c.qTable) {
		t.Errorf("the text for people: %s", step.Left)
	}
}

package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
)

const detachedOld = "select count(*) from pg_class c where relname = 't_old' and not exists (select from pg_inherits " +
	"where inhrelid = c.oid)"

// halfDropped is an reloaded whose upkeep was killed between the DETACH and the DROP of a
// partition.
func halfDropped(t *testing.T) *reloaded {
	t.Helper()
	o := newReloaded(t, "waiting")
	servertest.Exec(t, o.postgres, "drop table t",
		"create table t (id int, at timestamptz not null) partition by range (at)",
		"create table t_old partition of t for values from ('2020-01-01') to ('2021-01-01')",
		"create table t_new partition of t for values from ('2021-01-01') to ('2099-01-01')",
		"insert into t select i, '2020-06-01' from generate_series(1, 1000) i", "analyze t",
		"create function slow() returns event_trigger language plpgsql as 'begin perform pg_sleep(0.4); raise "+
			"exception ''no''; end'",
		// The trigger is made by the DETACH: with one that is there before, upkeep detaches nothing.
		`create function late() returns event_trigger language plpgsql as $$ begin
			if current_query() like '%DETACH%' and not exists (select from pg_event_trigger where evtname = 'slow') then
				create event trigger slow on sql_drop when tag in ('DROP TABLE') execute function public.slow();
			end if; end $$`,
		"create event trigger late on ddl_command_start when tag in ('ALTER TABLE') execute function late()")
	o.write(t)
	for n := 0; ; n++ {
		o.start(t)
		if n == 0 {
			o.alert(t)
		}
		o.until(t, "the partition is detached", func() bool { return o.query(t, detachedOld) == 1 })
		if err := o.cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = o.cmd.Wait() // killed
		o.cmd = nil
		o.until(t, "its session has ended", func() bool {
			return o.query(t, "select count(*) from pg_stat_activity where datname = current_database() and "+
				"application_name like 'upkeep%'") == 0
		})
		if o.query(t, detachedOld) == 1 {
			return o
		}
		if n == 4 {
			t.Fatal("it was faster each time") // and had attached the partition again
		}
	}
}

// A run that was killed in the middle of a step, and that the configuration no longer
// asks for, leaves the target as it was.
func TestKilledAndNotAskedForAnyMore(t *testing.T) {
	t.Parallel()
	o := halfDropped(t)
	o.age = ""
	o.write(t)
	o.start(t)
	o.until(t, "it is refused", func() bool { return o.run(t).State == remediate.StateRefused })
	run := o.run(t)
	if run.Reason != remediate.ReasonConfiguration || !strings.Contains(run.Why, "step 1 was begun") ||
		!strings.Contains(run.Why, `partition "public"."t_old" is one of "public"."t" again`) {
		t.Errorf("%s: %s", run.Reason, run.Why)
	}
	if n := o.query(t, "select count(*) from t"); n != 1000 ||
		o.query(t, "select count(*) from pg_constraint where contype = 'c' and conrelid = 't_old'::regclass") != 0 {
		t.Errorf("%d rows are seen, or a constraint is left", n)
	}
}

// Where its target is not in the configuration, the end says what is left and what mends it.
func TestKilledAndCancelledWithoutItsTarget(t *testing.T) {
	t.Parallel()
	o := halfDropped(t)
	o.target = "other"
	o.write(t)
	o.start(t)
	o.until(t, "it waits", func() bool {
		run := o.run(t)
		return run.State == remediate.Waiting && run.Reason == remediate.ReasonTarget
	})
	if code, said := o.post(t, console.Prefix+"/runs/1/cancel",
		console.Answer{By: "user/ann", Why: "enough"}); code != http.StatusOK {
		t.Fatalf("cancel: %d %s", code, said)
	}
	o.until(t, "it is cancelled", func() bool { return o.run(t).State == remediate.Cancelled })
	run := o.run(t)
	for _, part := range []string{"step 1 was begun", "is not undone", `no target "main"`,
		`ALTER TABLE "public"."t" ATTACH PARTITION "public"."t_old" FOR VALUES FROM`} {
		if !strings.Contains(run.Why, part) {
			t.Errorf("%q is not in: %s", part, run.Why)
		}
	}
	if o.query(t, detachedOld) != 1 {
		t.Error("something was done to a server that is not the run's target")
	}
}

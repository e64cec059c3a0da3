package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
)

// newAged is an reloaded with a table of 50,013 rows, 13 of which are past their age.
func newAged(t *testing.T, mode string) *reloaded {
	t.Helper()
	o := newReloaded(t, "waiting")
	o.situation, o.mode = "amount", mode
	servertest.Exec(t, o.postgres, "truncate t", "alter table t set (autovacuum_enabled = off)",
		"insert into t select i, now() - case when i <= 13 then interval '2 days' else interval '0' end, 'x' from "+
			"generate_series(1, 50013) i", "analyze t")
	return o
}

// open starts the upkeep and sends it the alert on rows past their age.
func (o *reloaded) open(t *testing.T) {
	t.Helper()
	o.write(t)
	o.start(t)
	o.alert(t)
}

// backfill moves all rows over their age.
func (o *reloaded) backfill(t *testing.T) {
	t.Helper()
	servertest.Exec(t, o.postgres, "update t set at = now() - interval '2 days'")
}

func (o *reloaded) yes(t *testing.T) {
	t.Helper()
	if code, said := o.post(t, console.Prefix+"/runs/1/approve",
		map[string]string{"by": "user/ann"}); code != http.StatusOK {
		t.Fatalf("approve: %d %s", code, said)
	}
}

func (o *reloaded) asked(t *testing.T, what string) {
	t.Helper()
	o.until(t, "it asks: "+what, func() bool {
		run := o.run(t)
		return run.State == remediate.AwaitingApproval && strings.Contains(run.Why, what)
	})
	if n := o.query(t, "select count(*) from t"); n != 50013 {
		t.Fatalf("%d rows are left", n)
	}
}

// What was approved is an amount: when far more would go the run asks again, and says
// from what to what it has grown.
func TestApprovedAmount(t *testing.T) {
	t.Parallel()
	o := newAged(t, "ask")
	o.open(t)
	o.asked(t, "")
	seen := o.run(t).Plan.Question()
	o.backfill(t)
	o.yes(t)
	o.asked(t, "because of the amount")
	run := o.run(t)
	if code, said := o.post(t, console.Prefix+"/runs/1/approve",
		console.Answer{By: "user/bob", Plan: seen}); code != http.StatusConflict {
		t.Errorf("a yes to the amount of before: %d %s", code, said)
	}
	if a := run.Plan.Amount; a == nil || a.Rows < 45_000 || !strings.Contains(run.Why, a.String()) ||
		!strings.Contains(run.Why, "(claims to be user/ann) approved 13 of") {
		t.Errorf("%s: %+v", run.Why, a)
	}
	o.yes(t)
	o.until(t, "all is purged", func() bool { return o.query(t, "select count(*) from t") == 0 })
	o.until(t, "it is resolved", func() bool { return o.run(t).State == remediate.Resolved })
}

// Where more comes to its age after the plan has counted, the batches stop at what was
// approved, or at what the policy allows.
func TestAmountUnknownToThePlan(t *testing.T) {
	t.Parallel()
	for mode, most := range map[string]int{"ask": 1100, "auto, most_share: 1%": 1100} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			o := newAged(t, mode)
			other, err := pgx.Connect(t.Context(), o.postgres)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = other.Close(context.Background()) })
			writes := func(sql string) {
				t.Helper()
				if _, err := other.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			writes("begin; lock table t in exclusive mode") // plans read, batches wait
			o.open(t)
			if mode == "ask" {
				o.asked(t, "")
				o.yes(t)
			}
			o.until(t, "its batch waits", func() bool {
				return o.query(t, "select count(*) from pg_locks where not granted and relation = 't'::regclass") > 0
			})
			writes("update t set at = now() - interval '2 days'; commit")
			o.until(t, "it stops for the amount",
				func() bool { run := o.run(t); return run.Reason == remediate.ReasonAmount })
			run := o.run(t)
			if gone := 50013 - o.query(t, "select count(*) from t"); gone > most || gone < 100 ||
				run.State != remediate.StateRefused || run.Plan.Amount.Rows > 100 {
				t.Errorf("%d rows are gone; %s: %s; the plan: %s", gone, run.State, run.Why, run.Plan.Amount)
			}
		})
	}
}

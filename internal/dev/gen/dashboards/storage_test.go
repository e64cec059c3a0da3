package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/teststorage"
)

// Prometheus reads from its own storage, in which the last hours of the samples are written, what it reads from the
// storage that computes them.
func TestFilledIsWhatPrometheusReads(t *testing.T) {
	const hours = 3
	f := fill(t, time.Minute)
	db := teststorage.New(t, func(o *tsdb.Options) { // one series after the other is written
		o.MinBlockDuration, o.MaxBlockDuration = (1000 * 24 * time.Hour).Milliseconds(), (1000 * 24 * time.Hour).Milliseconds()
	})
	a := db.Appender(t.Context())
	for name, all := range f.series {
		if strings.HasPrefix(name, "upkeep:") { // they look back over days
			continue
		}
		for _, s := range all {
			samples := s.in(filledEnd().Add(-hours*time.Hour).UnixMilli(), filledEnd().UnixMilli())
			for i := range samples.Len() {
				one := samples.Get(i)
				if _, err := a.Append(0, s.name, one.T(), one.F()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(*panelSeed, 0))
	var compared int
	for _, b := range every(t) {
		values, _ := valuesOf(f, b.dashboard)
		for _, q := range questions(b.dashboard, values, time.Hour, time.Minute) {
			if r.Float64() > 0.02 || strings.Contains(q.target.Expr, "upkeep:") {
				continue
			}
			want, err := one(context.Background(), engine(), f, q.expr(), filledEnd())
			if err != nil {
				t.Fatal(err)
			}
			got, err := one(context.Background(), engine(), db, q.expr(), filledEnd())
			if err != nil {
				t.Fatal(err)
			}
			near := cmpopts.EquateApprox(1e-9, 0)
			if diff := cmp.Diff(sorted(want), sorted(got), near, cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("%s: -computed +written:\n%s", q, diff)
			}
			compared++
		}
	}
	if compared < 10 {
		t.Errorf("%d queries were compared, want 10 at least", compared)
	}
}

// sorted are the values: of series with the same value topk takes any.
func sorted(v promql.Vector) (all []float64) {
	for _, s := range v {
		all = append(all, s.F)
	}
	slices.Sort(all)
	return all
}

// What two replicas report of the same target is shown once: as many series, and the same value where it is of targets.
func TestReplicasAreShownOnce(t *testing.T) {
	f := fill(t, time.Minute)
	for _, b := range every(t) {
		for _, q := range questions(b.dashboard, map[string][]string{"instance": {"one:9847"}}, time.Hour, time.Minute) {
			if q.chosen == "all=All" || strings.HasPrefix(q.panel, "annotation") {
				continue
			}
			alone, err := one(context.Background(), engine(), f, q.expr(), filledEnd())
			if err != nil {
				t.Fatal(err)
			}
			q.values["instance"] = ".+"
			both, err := one(context.Background(), engine(), f, q.expr(), filledEnd())
			if err != nil {
				t.Fatal(err)
			}
			if len(both) != len(alone) {
				t.Errorf("%s: %d series of one replica, %d of two: %s", q, len(alone), len(both), q.expr())
				continue
			}
			process := strings.Contains(q.target.Expr, "upkeep_run_") || strings.Contains(q.target.Expr, "upkeep_inbox_") ||
				strings.Contains(q.target.Expr, "upkeep_webhook_") || strings.Contains(q.target.Expr, "upkeep_notifications_total")
			near := cmpopts.EquateApprox(0.05, 1)
			if diff := cmp.Diff(sorted(alone), sorted(both), near, cmpopts.EquateNaNs()); diff != "" && !process {
				t.Errorf("%s: -one replica +two: %s", q, diff)
			}
		}
	}
}

package journal_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// The metrics are what is stored: a counter of each outcome is there at zero before its
// first run, a pause that is over does not count, and a promoted policy is not demoted.
func TestMetrics(t *testing.T) {
	d := openStore(t, store.Options{Memory: true})
	d.Expect([]journal.Expected{{Policy: "p", Action: "a/b"}})
	for n, state := range []remediate.State{remediate.Resolved, remediate.Resolved, remediate.Failed} {
		run, _, err := d.Create(t.Context(), remediate.Request{Key: fmt.Sprint(n), Action: "a/b", Policy: "p",
			Subject: map[string]string{"server": "s"}}, "why")
		if err != nil {
			t.Fatal(err)
		}
		run.Begun = 1
		if state == remediate.Failed {
			walk(t, d.Journal, run, remediate.Planned, remediate.Allowed, state)
		} else {
			walk(t, d.Journal, run, remediate.Planned, remediate.Allowed, remediate.Applied, state)
		}
		d.now = d.now.Add(15 * time.Second)
	}
	create(t, d.Journal, "active")
	for _, p := range []remediate.Pause{{Scope: "all", Reason: "over", Until: d.now}, {Scope: "target/s", Reason: "r"}} {
		if err := d.SetPause(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for _, policy := range []string{"p", "q"} {
		if _, err := d.Demote(t.Context(), policy, "why", 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Promote(t.Context(), "p", "ann", "mended"); err != nil {
		t.Fatal(err)
	}
	d.another("second")
	want := `
# HELP upkeep_paused 1 for each active pause; its scope is all, a policy, an action or a target.
# TYPE upkeep_paused gauge
upkeep_paused{scope="target/s"} 1
# HELP upkeep_policy_acted_total Runs of a policy that have changed something, since the store was created.
# TYPE upkeep_policy_acted_total counter
upkeep_policy_acted_total{action="a/b",policy="p"} 3
# HELP upkeep_policy_came_back_total Runs of a policy that resolved an incident which needed another run ` +
		`within 24 hours.
# TYPE upkeep_policy_came_back_total counter
upkeep_policy_came_back_total{action="a/b",policy="p"} 2
# HELP upkeep_policy_demoted 1 for each policy that is demoted: too few of its runs helped, or a person ` +
		`demoted it.
# TYPE upkeep_policy_demoted gauge
upkeep_policy_demoted{policy="q"} 1
# HELP upkeep_replicas Number of processes that execute runs from this store.
# TYPE upkeep_replicas gauge
upkeep_replicas 2
# HELP upkeep_runs_active Number of runs that have not ended, by state; runs that wait or await approval are included.
# TYPE upkeep_runs_active gauge
upkeep_runs_active{action="a/b",state="received"} 1
`
	if err := testutil.CollectAndCompare(d.Journal, strings.NewReader(want), "upkeep_paused",
		"upkeep_policy_acted_total", "upkeep_policy_came_back_total", "upkeep_policy_demoted", "upkeep_replicas",
		"upkeep_runs_active"); err != nil {
		t.Error(err)
	}
	ends := 0
	for _, s := range remediate.States() {
		if s.Ended() {
			ends++
		}
	}
	if n := testutil.CollectAndCount(d.Journal, "upkeep_policy_runs_total"); n != ends {
		t.Errorf("%d outcomes of the policy, want each of %d", n, ends)
	}
	if err := d.store.Close(); err != nil {
		t.Fatal(err)
	}
	samples := make(chan prometheus.Metric, 100)
	d.Collect(samples)
	close(samples)
	for m := range samples {
		if err := m.Write(new(dto.Metric)); err == nil {
			t.Errorf("a store that is closed has a value: %s", m.Desc())
		}
	}
}

// Processes are counted by the clock by which their leases end, whatever the clock of this
// process says.
func TestReplicasAreCountedByTheClockOfLeases(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		d.another("second")
		if d.store.Shared() {
			d.now = time.Now().Add(24 * time.Hour)
		}
		if err := testutil.CollectAndCompare(d.Journal, strings.NewReader(
			"# HELP upkeep_replicas Number of processes that execute runs from this store.\n"+
				"# TYPE upkeep_replicas gauge\nupkeep_replicas 2\n"), "upkeep_replicas"); err != nil {
			t.Error(err)
		}
	})
}

// The first entry that was changed is named, wherever the change is, and what cannot be read
// is not taken for a journal that was changed.
func TestVerifyNamesTheEntry(t *testing.T) {
	d := openStore(t, store.Options{Memory: true})
	for n := range 20 {
		create(t, d.Journal, fmt.Sprint(n))
	}
	d.sql(t, "create table kept as select * from entries")
	for seq := int64(1); seq <= 20; seq++ {
		for _, change := range []string{"entry = replace(entry, 'why', 'wHy')", "hash = upper(hash)", "hash = ''",
			"entry = entry || ' '", "run = run + 100"} {
			d.sql(t, "update entries set "+change+" where seq = ?", seq)
			n, err := d.Verify(t.Context())
			if n.Entries != seq-1 || !journal.Broken(err) || !strings.Contains(err.Error(), fmt.Sprintf("entry %d was", seq)) {
				t.Errorf("entry %d, %s: %+v %v", seq, change, n, err)
			}
			d.sql(t, "update entries set (run, entry, hash) = (select run, entry, hash from kept where kept.seq = entries.seq)")
		}
	}
	if n, err := d.Verify(t.Context()); n.Entries != 20 || err != nil {
		t.Errorf("as it was: %+v %v", n, err)
	}
	d.sql(t, "update entries set seq = 21 where seq = 20") // the chain holds, and a number is missing
	if n, err := d.Verify(t.Context()); n.Entries != 19 || !journal.Broken(err) {
		t.Errorf("a number is missing: %+v %v", n, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Verify(cancelled); err == nil || journal.Broken(err) {
		t.Errorf("cancelled: %v", err)
	}
	if err := d.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Verify(t.Context()); err == nil || journal.Broken(err) {
		t.Errorf("a store that is closed: %v", err)
	}
}

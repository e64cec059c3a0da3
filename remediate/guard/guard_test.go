package guard_test

import (
	"context"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// A record is what a guard is told.
type record struct {
	pauses []journal.Pause
	last   time.Time
	holder int64
}

func (r record) Pauses(context.Context) ([]journal.Pause, error) { return r.pauses, nil }

func (r record) LastEnd(context.Context, string, string) (time.Time, error) { return r.last, nil }

func (r record) Holder(context.Context, string) (int64, error) { return r.holder, nil }

func TestGuards(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	run := remediate.Run{ID: 7, Request: remediate.Request{
		Action: "postgres/vacuum", Policy: "dead rows", Mode: remediate.Auto, Cooldown: time.Hour,
		Subject: map[string]string{"server": "main"},
	}}
	observing := run
	observing.Request.Mode = remediate.Observe
	paused := func(scope string, until time.Time) record {
		return record{pauses: []journal.Pause{{Scope: scope, Reason: "move", By: "ann", Until: until}}}
	}
	for _, test := range []struct {
		name   string
		record record
		run    remediate.Run
		reason string // of the first refusal; "" when all agree
		until  time.Time
	}{
		{name: "nothing stands in the way", run: run},
		{name: "observe", run: observing, reason: "observe"},
		{name: "observe is said before all others", run: observing, record: paused("all", time.Time{}), reason: "observe"},
		{name: "all is paused", run: run, record: paused("all", time.Time{}), reason: "pause", until: now.Add(30 * time.Second)},
		{name: "paused for a moment", run: run, record: paused("all", now.Add(time.Second)), reason: "pause", until: now.Add(time.Second)},
		{name: "the policy is paused", run: run, record: paused("policy/dead rows", time.Time{}), reason: "pause", until: now.Add(30 * time.Second)},
		{name: "the action is paused", run: run, record: paused("action/postgres/vacuum", time.Time{}), reason: "pause", until: now.Add(30 * time.Second)},
		{name: "the target is paused", run: run, record: paused("target/main", time.Time{}), reason: "pause", until: now.Add(30 * time.Second)},
		{name: "another target is paused", run: run, record: paused("target/other", time.Time{})},
		{name: "in the cooldown", run: run, record: record{last: now.Add(-10 * time.Minute)}, reason: "cooldown", until: now.Add(50 * time.Minute)},
		{name: "at the end of the cooldown", run: run, record: record{last: now.Add(-time.Hour)}},
		{name: "the subject is busy", run: run, record: record{holder: 3}, reason: "busy", until: now.Add(5 * time.Second)},
		{name: "the subject is its own", run: run, record: record{holder: 7}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var first *remediate.Refusal
			for _, g := range guard.All(test.record, func(remediate.Request) string { return "subject" }, func() time.Time { return now }) {
				err := g.Check(t.Context(), test.run)
				refusal, ok := remediate.Refused(err)
				if err != nil && !ok {
					t.Fatalf("%s: %v", g.Name, err)
				}
				if ok && refusal.Reason != g.Name {
					t.Errorf("guard %s refuses with the reason %s", g.Name, refusal.Reason)
				}
				if first == nil {
					first = refusal
				}
			}
			if first == nil {
				first = &remediate.Refusal{}
			}
			if first.Reason != test.reason || !first.Until.Equal(test.until) {
				t.Errorf("refused with %q until %v, want %q until %v", first.Reason, first.Until, test.reason, test.until)
			}
		})
	}
}

package journal_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// A person demotes a policy: it is in the journal with the person and the reason, the others are notified, and it
// holds in another process and where its row is changed, until a person promotes it.
func TestDemotedByAPerson(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		name := "index \"bloat\"\n"
		run := remediate.Run{ID: 99, Request: remediate.Request{Policy: name}}
		demoted := func(j *journal.Journal, want string) {
			t.Helper()
			if w, err := j.Working(t.Context(), run); err != nil || w.Demoted != want {
				t.Errorf("demoted because of %q, want %q: %v", w.Demoted, want, err)
			}
		}
		demoted(d.Journal, "")
		if err := d.DemoteBy(t.Context(), name, "user/ann", "the storage is slow"); err != nil {
			t.Fatal(err)
		}
		err := d.DemoteBy(t.Context(), name, "user/bob", "it is")
		if stale, ok := errors.AsType[*journal.StaleError](err); !ok ||
			!strings.Contains(stale.Text, "since 2023-11-14T22:13:20Z: user/ann: the storage is slow") {
			t.Errorf("a second time: %v", err)
		}
		if done, err := d.Demote(t.Context(), name, "1 of 9", 7); done || err != nil {
			t.Errorf("by its effect too: %v %v", done, err)
		}
		part, err := d.Find(t.Context(), journal.EntryFilter{}, 9)
		all := part.Entries
		if err != nil || len(all) != 1 || all[0].Note != remediate.NoteDemoted || all[0].By != "user/ann" ||
			!strings.HasSuffix(all[0].Why, "is demoted: user/ann: the storage is slow") {
			t.Errorf("%+v %v", all, err)
		}
		if keys := d.notified(t); len(keys) != 1 || !strings.HasPrefix(keys[0], "demoted/") {
			t.Errorf("notified: %q", keys)
		}
		demoted(d.another("another"), "user/ann: the storage is slow")
		if _, err := d.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		d.sql(t, "delete from policy_states")
		if w, err := d.Working(t.Context(), run); err != nil || !strings.Contains(w.Demoted, "the storage is slow") {
			t.Errorf("without its row: %+v %v", w, err)
		}
		if _, err := d.Verify(t.Context()); !journal.Broken(err) {
			t.Errorf("without its row: %v", err)
		}
		d.passes(t, time.Minute)
		if err := d.Promote(t.Context(), name, "user/bob", "it is mended"); err != nil {
			t.Fatal(err)
		}
		demoted(d.Journal, "")
		demoted(d.another("a third"), "")
		if err := d.DemoteBy(t.Context(), name, "user/ann", "once more"); err != nil {
			t.Error(err)
		}
		if keys := d.notified(t); len(keys) != 2 {
			t.Errorf("notified: %q", keys)
		}
		if _, err := d.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A tally counts what came of the last runs of a policy that acted, a thousand at most, and says from when on where
// there are more. Other policies, and runs that did nothing, do not count.
func TestTally(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		var rows [][]any
		put := func(n int, policy string, state remediate.State, begun, back int, changed time.Time) {
			rows = append(rows, []any{fmt.Sprint(policy, state, n), string(state), store.Millis(changed), policy, begun, back})
		}
		begin := d.now
		states := []remediate.State{remediate.Resolved, remediate.Unresolved, remediate.Inconclusive, remediate.Failed,
			remediate.Cancelled, remediate.Resolved}
		for n, state := range states {
			put(n, "p", state, 1, n/5, begin.Add(time.Duration(n)*time.Hour))
			put(n, "q", state, 1, 0, begin)
			put(n+10, "p", state, 0, 0, begin)
		}
		put(20, "p", remediate.Waiting, 1, 0, begin)
		for n := range 1000 {
			put(100+n, "r", remediate.Failed, 1, 0, begin.Add(time.Duration(n)*time.Minute))
		}
		put(99, "r", remediate.Failed, 1, 0, begin.Add(-time.Minute))
		err := d.store.Write(t.Context(), func(tx *store.Tx) error {
			for _, row := range rows {
				if _, err := tx.Exec("insert into runs (key, request, action, subject, state, why, reason, plan, due, created, "+
					"changed, policy, target, begun, came_back) values (?, '{}', 'a/b', '', ?, '', '', '{}', 0, 0, ?, ?, '', ?, ?)",
					row...); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for since, want := range map[int]journal.Tally{
			-1: {Resolved: 2, CameBack: 1, Unresolved: 1, Inconclusive: 1, Failed: 1, Stopped: 1},
			2:  {Resolved: 1, CameBack: 1, Failed: 1, Stopped: 1}, 9: {},
		} {
			got, err := d.Tally(t.Context(), "p", begin.Add(time.Duration(since)*time.Hour))
			if err != nil || got != want || got.All() != want.All() {
				t.Errorf("after %d h: %+v, want %+v: %v", since, got, want, err)
			}
		}
		run, ok, err := d.LastActed(t.Context(), "p")
		if err != nil || !ok || run.State != remediate.Resolved || !run.Changed.Equal(begin.Add(5*time.Hour)) {
			t.Errorf("the last one: %v %+v %v", ok, run, err)
		}
		if _, ok, err := d.LastActed(t.Context(), "none"); ok || err != nil {
			t.Errorf("of a policy without runs: %v %v", ok, err)
		}
		got, err := d.Tally(t.Context(), "r", begin.Add(-time.Hour))
		if err != nil || got.Failed != 1000 || !got.Since.Equal(begin) {
			t.Errorf("of more than are counted: %+v %v", got, err)
		}
	})
}

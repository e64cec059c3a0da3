package store_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// The states and the names of version 5 are those of the trade after it, on both databases.
func TestFormerNames(t *testing.T) {
	kept(t, func(t *testing.T, o store.Options) {
		do, end := storeOf(t, o, 5)
		do("insert into episodes (key, alert, opened, seen) values ('k', '{}', 7, 8)")
		do("insert into notices (key, notice, created, due) values ('n', '{}', 1, 1)")
		do("insert into deliveries (notifier, notice) values ('slack', 1)")
		do("insert into letters (received, remote, source, status, error, body, size) values (1, '', '', 400, '', '', 0)")
		do("insert into standings (policy, demoted) values ('p', 9)")
		states := []struct{ state, reason, want string }{
			{"received", "", "received"}, {"asked", "approval", "awaiting_approval"}, {"waiting", "pause", "waiting"},
			{"cleared", "", "resolved"}, {"uncleared", "", "unresolved"}, {"inconclusive", "prepared", "inconclusive"},
			{"failed", "", "failed"}, {"failed", "cancelled", "cancelled"}, {"declined", "cancelled", "cancelled"},
			{"declined", "person", "rejected"}, {"declined", "unanswered", "expired"}, {"declined", "observe", "observed"},
			{"declined", "gone", "refused"}, {"declined", "", "refused"},
		}
		var want []string
		for i, s := range states {
			do(fmt.Sprintf("insert into runs (key, request, action, subject, episode, state, reason, why, plan, due, "+
				"created, changed) values ('episode/7/episode/%d', '{}', '', '', 7, '%s', '%s', '', '{}', 1, 1, 1)", i, s.state, s.reason))
			want = append(want, s.want)
		}
		end()
		s := open(t, o)
		if diff := cmp.Diff(want, read[string](t, s, "select state from runs where incident = 7 order by id")); diff != "" {
			t.Error(diff)
		}
		if got := read[string](t, s, "select key from runs where id = 1"); got[0] != "incident/7/episode/0" {
			t.Errorf("the key of the run is %s", got[0])
		}
		for _, query := range []string{"select count(*) from incidents where key = 'k'",
			"select count(*) from notifications n join deliveries d on d.notification = n.id where n.notification = '{}'",
			"select count(*) from dead_letters", "select count(*) from policy_states where demoted = 9"} {
			if got := read[int64](t, s, query); got[0] != 1 {
				t.Errorf("%s: %d", query, got[0])
			}
		}
	})
}

package journal

import (
	"errors"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// SQLite uses a partial index only for a condition that is written as the index is. A state
// that is added, renamed or moved needs a new version of the store.
func TestIndexesServe(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []struct {
		index, query string
		args         []any
	}{
		{"entries_run", beforeEntryOfRun, []any{1, 1, 1}},
		{"PRIMARY KEY", beforeEntry, []any{1, 1}},
		{"runs_due", isDue() + " order by due, id limit ?", []any{1, 1}},
		{"runs_due", isLater() + " order by due, id", []any{1}},
		{"runs_ended", "policy = ? and changed > ? and " + hasActed() +
			" and reason <> ? order by changed desc, id desc", []any{"p", 1, "r"}},
		{"runs_ended", isTallied() + " order by changed desc, id desc limit ?", []any{"p", 1, 1}},
		{"runs_active", isUnfinished() + " group by action, state", nil},
		{"runs_shown", isShown() + " and id < ? order by id desc limit ?", []any{1, 1}},
		{"runs_acting", isActing() + " and id <> ?", []any{1}},
		{"runs_waiting", isWaiting() + " and reason = ? order by id limit 4", []any{remediate.ReasonLimit}},
		{"runs_waiting_target", isWaiting() + " and reason = ? and target = ? order by id limit 4",
			[]any{remediate.ReasonLimit, "t"}},
		{"runs_waiting", isWaiting() + " and reason = ? and (policy = ? or action = ?) order by id limit 8",
			[]any{remediate.ReasonBudget, "p", "a"}},
		{"runs_waiting", isWaiting() + " and reason = ? and exclusive = (select exclusive from runs where id = ?) " +
			"order by id limit 2", []any{remediate.ReasonBusy, 1}},
		{"runs_subject", "subject = ? and action = ? and policy = ? and id > ? and begun > 0 and created > ?",
			[]any{"s", "a", "p", 1, 1}},
		{"runs_state", listed("state") + " and id < ? order by id desc limit ?", []any{"waiting", 1, 1}},
		{"runs_policy", listed("policy") + " and id < ? order by id desc limit ?", []any{"p", 1, 1}},
		{"runs_action", listed("action") + " and id < ? order by id desc limit ?", []any{"a", 1, 1}},
		{"runs_target", listed("target") + " and id < ? order by id desc limit ?", []any{"t", 1, 1}},
		{"runs_owned", "owner <> 0 and owner = ?", []any{1}},
	} {
		from := "request from runs"
		if c.index == "entries_run" || c.index == "PRIMARY KEY" {
			from = "seq, entry from entries"
		}
		plan, err := s.Query(t.Context(), "explain query plan select "+from+" where "+c.query, c.args...)
		if err != nil {
			t.Fatalf("%s: %v", c.query, err)
		}
		var steps []string
		for plan.Next() {
			var id, parent, unused int64
			var step string
			if err := plan.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			steps = append(steps, step)
		}
		if err := errors.Join(plan.Err(), plan.Close()); err != nil {
			t.Fatal(err)
		}
		said := strings.Join(steps, "\n") + " "
		if !strings.Contains(said, "INDEX "+c.index+" ") && !strings.Contains(said, "INTEGER "+c.index+" ") ||
			strings.Contains(said, "TEMP B-TREE") && strings.HasPrefix(from, "seq") {
			t.Errorf("%s is not chosen for %s: %q", c.index, c.query, steps)
		}
	}
}

package journal

import (
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
		{"runs_due", isDue() + " order by due, id limit ?", []any{1, 1}},
		{"runs_due", isLater() + " order by id", []any{1}},
		{"runs_ended", "policy = ? and changed > ? and " + hasActed() +
			" and reason <> ? order by changed desc, id desc", []any{"p", 1, "r"}},
		{"runs_active", isUnfinished() + " group by action, state", nil},
		{"runs_shown", isShown() + " and id < ? order by id desc limit ?", []any{1, 1}},
		{"runs_acting", isActing() + " and id <> ?", []any{1}},
		{"runs_waiting", isWaiting() + " and reason = ? order by id limit 4", []any{remediate.ReasonLimit}},
		{"runs_waiting_target", isWaiting() + " and reason = ? and target = ? order by id limit 4",
			[]any{remediate.ReasonLimit, "t"}},
	} {
		rows, err := s.Query(t.Context(), "select 1 from runs indexed by "+c.index+" where "+c.query, c.args...)
		if err != nil {
			t.Errorf("%s does not serve %s: %v", c.index, c.query, err)
			continue
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

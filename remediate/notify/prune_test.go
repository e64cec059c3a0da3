package notify_test

import (
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// What is of no run and no incident is not sent twice for its key within eight days, however short the retention is:
// the review of a month is announced for a week.
func TestKeysOutlastTheRetention(t *testing.T) {
	t.Parallel()
	s := begin(t)
	o := s.outbox()
	at := s.clock()
	s.write(t, remediate.Notification{Key: "report/2026-10", At: at},
		remediate.Notification{Key: "of a run", Run: 7, At: at}, remediate.Notification{Key: "the newest", At: at})
	left := func() (n int) {
		t.Helper()
		none := func(*store.Tx, remediate.Notification) (bool, error) { return false, nil }
		if _, _, err := o.Prune(t.Context(), s.clock().Add(-time.Second), 0, none); err != nil {
			t.Fatal(err)
		}
		rows, err := s.store.Query(t.Context(), "select count(*) from notifications")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }() // read only
		if !rows.Next() || rows.Scan(&n) != nil {
			t.Fatal(rows.Err())
		}
		return n
	}
	s.pass(7*24*time.Hour + 23*time.Hour)
	if n := left(); n != 2 {
		t.Errorf("%d are left after a week, want the review and the newest", n)
	}
	s.pass(2 * time.Hour)
	if n := left(); n != 1 {
		t.Errorf("%d are left after eight days, want the newest", n)
	}
}

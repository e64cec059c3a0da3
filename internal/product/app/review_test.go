package app

import (
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// The review of a month is announced on the first of the next one, and up to a week later.
func TestReviewIsAnnouncedInTime(t *testing.T) {
	for _, test := range []struct{ now, key string }{
		{"2026-11-01T05:59:59Z", ""},
		{"2026-11-01T06:00:00Z", "report/2026-10"},
		{"2026-11-01T06:30:00+01:00", ""}, // half past five in UTC
		{"2026-11-07T23:59:59Z", "report/2026-10"},
		{"2026-11-08T00:00:00Z", ""},
		{"2027-01-01T06:00:00Z", "report/2026-12"},
	} {
		now, err := time.Parse(time.RFC3339, test.now)
		if err != nil {
			t.Fatal(err)
		}
		n, _, ready := reviewOf(now, "https://upkeep.example")
		if n.Key != test.key || ready != (test.key != "") {
			t.Errorf("%s: %q %v, want %q", test.now, n.Key, ready, test.key)
		}
		if ready && !strings.Contains(n.Text, "https://upkeep.example/report/"+strings.TrimPrefix(test.key,
			"report/")) {
			t.Errorf("%q", n.Text)
		}
	}
}

// It is announced once, also by a process that is started again on the same store.
func TestReviewIsAnnouncedOnce(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC)
	for try := range 3 {
		s, err := store.Open(t.Context(), store.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		n, _, _ := reviewOf(at.Add(time.Duration(try)*time.Hour), "https://upkeep.example")
		anew, err := journal.New(journal.Config{Store: s}).Notify(t.Context(), n)
		if err != nil || anew != (try == 0) {
			t.Errorf("try %d: %v %v", try, anew, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

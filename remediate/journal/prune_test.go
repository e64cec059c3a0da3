package journal_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// A run that waits stays, however long ago its last entry was written, and what has ended before goes.
func TestUnfinishedRunsStay(t *testing.T) {
	d := open(t)
	ended := walk(t, d.Journal, create(t, d.Journal, "ended"), remediate.Planned, remediate.StateRefused)
	waits := walk(t, d.Journal, create(t, d.Journal, "waits"), remediate.Planned, remediate.AwaitingApproval)
	create(t, d.Journal, "newest") // stays in any case
	p, err := d.Prune(t.Context(), d.now.Add(1000*time.Hour), 0)
	if err != nil || p.Entries != 3 {
		t.Errorf("Prune: %+v %v", p, err)
	}
	if _, err := d.Get(t.Context(), ended.ID); !errors.Is(err, journal.ErrNoRun) {
		t.Errorf("the run that has ended: %v", err)
	}
	if r, err := d.Get(t.Context(), waits.ID); err != nil || r.State != remediate.AwaitingApproval {
		t.Errorf("the run that waits: %v %v", r.State, err)
	}
	if _, err := d.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	claim(t, d.Journal, waits.ID)
}

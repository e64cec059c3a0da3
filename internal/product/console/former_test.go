package console_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// The journal of a store that a former version has written is unchanged and decides the same,
// and its runs have the states of now.
func TestFormerStore(t *testing.T) {
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", "store5.sql"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "upkeep.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), string(text)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	j := journal.New(journal.Config{Store: s})
	if n, err := j.Verify(t.Context()); err != nil || n.Entries != 58 {
		t.Errorf("Verify: %+v, %v", n, err)
	}
	if k, err := console.Replay(t.Context(), j); err != nil || k.Cases != 22 || len(k.Wrong) != 0 {
		t.Errorf("Replay: %+v, %v", k, err)
	}
	runs, err := j.Recent(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	states := make(map[int64]string)
	for _, r := range runs {
		states[r.ID] = r.State.Named(r.Reason)
		if r.Request.Incident == 0 {
			t.Errorf("run %d is of no incident", r.ID)
		}
		entries, err := j.Entries(t.Context(), r.ID)
		if err != nil || entries[0].Incident != r.Request.Incident {
			t.Errorf("run %d is of incident %d, its first entry says %d (%v)", r.ID, r.Request.Incident,
				entries[0].Incident, err)
		}
	}
	if diff := cmp.Diff(map[int64]string{
		1: "resolved", 2: "refused (gone)", 3: "rejected", 4: "refused (gone)", 5: "refused (gone)", 6: "expired",
		7: "refused (window)", 8: "refused (resolved)", 9: "cancelled", 10: "unresolved", 11: "waiting (cooldown)",
		12: "awaiting_approval",
	}, states); diff != "" {
		t.Error(diff)
	}
	entries, err := j.Entries(t.Context(), 3)
	if err != nil || entries[len(entries)-2].Note != remediate.NoteRejected {
		t.Errorf("the rejection of run 3: %+v (%v)", entries, err)
	}
}

package journal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Every filter of entries gives what a model gives, part by part: a part looks at a thousand entries, and what it has
// not reached follows.
func TestFind(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	j := New(Config{Store: s})
	r := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // the same each time
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	var all []remediate.Entry
	err = s.Write(t.Context(), func(tx *store.Tx) error {
		for i := range 2600 {
			e := remediate.Entry{Run: int64(r.IntN(4)), At: time.Unix(int64(i), 0).UTC(), By: pick("", "", "user/Ann", "user/bob"),
				Why: pick("all is well", "100% of _it_") + fmt.Sprint(" ", i), About: pick("", "target/main")}
			switch r.IntN(3) {
			case 0:
				e.Note = remediate.Notes()[r.IntN(len(remediate.Notes()))]
			case 1:
				e.Step = 1 + r.IntN(2)
			default:
				e.To = remediate.Resolved
			}
			if i < 1500 { // far from the newest
				e.By = "user/early"
			}
			if err := appendEntry(tx, e); err != nil {
				return err
			}
			e.Seq = int64(i + 1)
			all = append(all, e)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	is := func(f EntryFilter, e remediate.Entry) bool {
		kind := map[string]bool{"": true, KindPerson: e.By != "", KindStep: e.Step > 0,
			KindTransition: e.Step == 0 && e.Note == ""}
		text := strings.ToLower(e.By + " " + e.Why + " " + e.About)
		return (f.Run == 0 || e.Run == f.Run) && (kind[f.Kind] || e.Note != "" && f.Kind == string(e.Note)) &&
			strings.Contains(text, strings.ToLower(f.Text))
	}
	for n := range 50 {
		var f EntryFilter
		for _, set := range []func(){
			func() { f.Run = int64(1 + r.IntN(4)) }, func() { f.Kind = Kinds()[r.IntN(len(Kinds()))] },
			func() { f.Text = pick("ANN", "early", "100%", "_it_ 7", "target/main", "no such text") },
		} {
			if r.IntN(2) == 0 {
				set()
			}
		}
		if n == 0 {
			f = EntryFilter{Text: "early"}
		}
		var want, got []int64
		for _, e := range slices.Backward(all) {
			if is(f, e) {
				want = append(want, e.Seq)
			}
		}
		for parts, at := 0, f; ; parts++ {
			p, err := j.Find(t.Context(), at, 41)
			if err != nil || parts > 100 || len(p.Entries) > 41 {
				t.Fatalf("%+v: %v, %d parts", at, err, parts)
			}
			for _, e := range p.Entries {
				got = append(got, e.Seq)
			}
			if !p.More {
				break
			}
			at.Before = p.Next
		}
		if !slices.Equal(want, got) {
			t.Errorf("%+v: %d entries, want %d", f, len(got), len(want))
		}
	}
}

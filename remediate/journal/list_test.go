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

// A listedRun is a run as the model of the test has it.
type listedRun struct {
	id                     int64
	state                  remediate.State
	action, policy, target string
	reason, why            string
	created                int64
	begun                  int
}

func (r listedRun) is(f Filter) bool {
	nothing := r.state == remediate.StateRefused && r.begun == 0 && slices.Contains([]string{remediate.ReasonNothing,
		remediate.ReasonResolved, remediate.ReasonGone}, r.reason)
	text := strings.ToLower(strings.Join([]string{"server=" + r.target, r.why, r.action, r.policy}, "\n"))
	return (f.State == "" || r.state == f.State) && (!f.Active || r.state.Unfinished()) &&
		(f.Action == "" || r.action == f.Action) && (f.Policy == "" || r.policy == f.Policy) &&
		(f.Target == "" || r.target == f.Target) && (f.All || f.Active || !nothing) &&
		(f.Since.IsZero() || r.created >= store.Millis(f.Since)) &&
		(f.Until.IsZero() || r.created < store.Millis(f.Until)) && strings.Contains(text, strings.ToLower(f.Text))
}

// Every filter gives what a model gives, part by part, whatever it is combined with; a part looks at a thousand
// runs, and what it has not reached follows.
func TestList(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	j := New(Config{Store: s})
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	var all []listedRun
	began := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	err = s.Write(t.Context(), func(tx *store.Tx) error {
		for i := range 2500 {
			one := listedRun{id: int64(i + 1), state: remediate.States()[r.IntN(len(remediate.States()))],
				action: pick("postgres/vacuum", "postgres/reindex", "redis/bgsave"), policy: pick("", "a", "b"),
				target: pick("main", "other"), reason: pick("", remediate.ReasonNothing, remediate.ReasonPause,
					remediate.ReasonGone), why: pick("all is well", "100% of _it_", "NOTHING to do") + fmt.Sprint(" ", i),
				created: store.Millis(began.Add(time.Duration(i/3) * time.Minute)), begun: r.IntN(2)}
			if i < 1500 { // far from the newest
				one.policy = pick("a", "old")
			}
			all = append(all, one)
			if _, err := tx.Exec("insert into runs (id, key, request, action, subject, state, why, reason, plan, begun, due, "+
				"created, changed, policy, target) values (?, ?, '{}', ?, ?, ?, ?, ?, '{}', ?, 0, ?, 0, ?, ?)", one.id,
				fmt.Sprint(i), one.action, "server="+one.target, string(one.state), one.why, one.reason, one.begun, one.created,
				one.policy, one.target); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 60 {
		var f Filter
		for _, set := range []func(){
			func() { f.State = remediate.States()[r.IntN(len(remediate.States()))] }, func() { f.Active = true },
			func() { f.Action = pick("postgres/vacuum", "redis/bgsave", "none/such") }, func() { f.Policy = pick("a", "b", "old") },
			func() { f.Target = "main" }, func() { f.Text = pick("nothing", "100%", "_IT_", "well 7", "n", `\`) },
			func() { f.Since = began.Add(time.Duration(r.IntN(900)) * time.Minute) },
			func() { f.Until = began.Add(time.Duration(r.IntN(900)) * time.Minute) }, func() { f.All = true },
		} {
			if r.IntN(4) == 0 {
				set()
			}
		}
		if n == 0 {
			f = Filter{Text: "well 17", All: true}
		}
		var want, got []int64
		for _, one := range slices.Backward(all) {
			if one.is(f) {
				want = append(want, one.id)
			}
		}
		for parts, at := 0, f; ; parts++ {
			p, err := j.List(t.Context(), at, 37)
			if err != nil || parts > 100 {
				t.Fatalf("%+v: %v, %d parts", at, err, parts)
			}
			for _, run := range p.Runs {
				got = append(got, run.ID)
			}
			if !p.More {
				break
			}
			at.Before = p.Next
		}
		if !slices.Equal(want, got) {
			t.Errorf("%+v: %d runs, want %d", f, len(got), len(want))
		}
	}
}

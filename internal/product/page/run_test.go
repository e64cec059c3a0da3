package page_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Who may only look gets no form; a run that has ended is neither answered nor cancelled; one that awaits approval is
// answered by who may approve, unless something is in the way; and only what has ended is run again.
func TestFormsOfARun(t *testing.T) {
	t.Parallel()
	for _, state := range remediate.States() {
		for n := range 32 {
			may := page.May{Operate: n&1 > 0, Approve: n&2 > 0}
			r := runOf("x", 7, state)
			r.Request.Mode, r.Reason = remediate.Auto, ""
			needs := ""
			if n&4 > 0 {
				r.Request.Mode = remediate.Ask
			}
			if n&8 > 0 {
				r.Cancel = "user/ann: enough"
			}
			if n&16 > 0 {
				needs = "another person must approve it"
			}
			o := read(t, write(t, frameOf("x"), page.Run{At: at(), May: may, Run: r, Needs: needs}.Nodes()...))
			o.sound(t)
			answer, cancel, retry := slices.Contains(o.forms, "/runs/7/answer"), slices.Contains(o.forms,
				"/runs/7/cancel"),
				slices.Contains(o.forms, "/runs/7/retry")
			asked := state == remediate.AwaitingApproval && r.Cancel == ""
			which := fmt.Sprintf("%s, %+v, mode %s, cancelled %t, needs %q: forms %q", state, may, r.Request.Mode,
				r.Cancel != "", needs, o.forms)
			switch {
			case may == page.May{} && len(o.forms) > 0:
				t.Errorf("who may only look gets a form: %s", which)
			case answer != (asked && may.Approve && needs == ""):
				t.Errorf("the answer: %s", which)
			case cancel && (state.Ended() || r.Cancel != "" || !may.Operate || state == remediate.Applied || answer):
				t.Errorf("cancelled though it cannot be: %s", which)
			case !cancel && !state.Ended() && may.Operate && r.Cancel == "" && state != remediate.Applied && !asked:
				t.Errorf("it cannot be cancelled: %s", which)
			case retry && (!state.Ended() || !may.Operate || r.Request.Mode == remediate.Ask && !may.Approve):
				t.Errorf("run again by who may not: %s", which)
			case !retry && state.Ended() && state != remediate.Observed && may.Operate && may.Approve:
				t.Errorf("it cannot be run again: %s", which)
			}
			if needs != "" && asked && !strings.Contains(o.text, needs) {
				t.Errorf("it does not say what is in the way: %s", which)
			}
		}
	}
}

// A run with every state and every number of steps begun and done shows each step once, those that are done as done,
// and one that runs only while the run acts.
func TestStepsOfARun(t *testing.T) {
	t.Parallel()
	for _, state := range remediate.States() {
		for begun := range 4 {
			for done := range begun + 1 {
				r := remediate.Run{ID: 1, State: state, Begun: begun, Done: done, Plan: remediate.Plan{
					Steps: []remediate.Step{{Do: "one"}, {Do: "two", Undo: "back", Left: "half of two"},
						{Do: "three"}}}}
				text := write(t, frameOf(""), page.Run{At: at(), Run: r}.Nodes()...)
				count := func(class, said string) int {
					return strings.Count(text, fmt.Sprintf(`<span class="pill%s">%s</span>`, class, said))
				}
				running, begunOnly := 0, max(begun-done, 0)
				if state == remediate.Allowed {
					running, begunOnly = begunOnly, 0
				}
				got := []int{count(" good", "done"), count(" busy running", "running"), count(" bad", "begun"),
					count(" ", "not begun"), strings.Count(text, "Cannot be undone"), strings.Count(text,
						"half of two")}
				left := 0
				if begun == 2 && done < 2 {
					left = 1
				}
				want := []int{done, running, begunOnly, 3 - max(begun, done), 2, left}
				if !slices.Equal(got, want) {
					t.Errorf("%s, %d begun, %d done: %v done, running, begun, not begun, not undone, left; want %v",
						state,
						begun, done, got, want)
				}
			}
		}
	}
}

// The journal shows the last hundred entries, and says how many are left out.
func TestJournalOfARun(t *testing.T) {
	t.Parallel()
	for n, left := range map[int]int{0: 0, 1: 0, 100: 0, 101: 1, 250: 150} {
		var all []remediate.Entry
		for i := range n {
			all = append(all, remediate.Entry{Seq: int64(i + 1), At: at(), Why: fmt.Sprintf("entry-%d.", i+1)})
		}
		o := read(t, write(t, frameOf(""), page.Run{At: at(), Entries: all}.Nodes()...))
		says := strings.Contains(o.text, fmt.Sprintf("%d earlier entries are left out", left))
		if got := strings.Count(o.text, "entry-"); got != n-left || says != (left > 0) {
			t.Errorf("of %d entries %d are shown, and it says %d are left out: %t", n, got, left, says)
		}
		if n > 0 && !strings.Contains(o.text, fmt.Sprintf("entry-%d.", n)) {
			t.Errorf("of %d entries the last is not shown", n)
		}
	}
}

// What an entry is, in a word.
func TestEntryOfARun(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]remediate.Entry{
		"step 2 done": {Step: 2, Done: true, To: remediate.Allowed}, "step 2 begun": {Step: 2, To: remediate.Allowed},
		"paused": {Note: "paused"}, "note": {}, "refused (window)": {To: remediate.StateRefused, Reason: "window"},
		"resolved": {To: remediate.Resolved},
	} {
		e.At = at()
		o := read(t, write(t, frameOf(""), page.Run{At: at(), Entries: []remediate.Entry{e}}.Nodes()...))
		if row := "12:00:00 UTC" + want; !strings.Contains(o.text, row) {
			t.Errorf("%+v: not %q in %s", e, row, o.text)
		}
	}
}

// Before, after and limit are written in the unit of the metric, and what is not known is a dash, not zero.
func TestEffectOfARun(t *testing.T) {
	t.Parallel()
	limit := 0.3
	for name, c := range map[string]struct {
		run    remediate.Run
		lowers string
		want   string
	}{
		"nothing known": {remediate.Run{State: remediate.Failed}, "m_ratio", "Metricm_ratioBefore–After–Limit–"},
		"it is not done yet": {remediate.Run{State: remediate.Allowed}, "m_ratio",
			"After" + "measured when all steps are done"},
		"all of it": {remediate.Run{State: remediate.Resolved, Before: new(0.75), After: new(0.0),
			Request: remediate.Request{Limit: &limit}}, "m_ratio", "Before75 %After0 %Limit30 %"},
		"bytes": {remediate.Run{State: remediate.Resolved, Before: new(2048.0), After: new(3.0)}, "m_bytes",
			"Before2 KiBAfter3 B"},
	} {
		o := read(t, write(t, frameOf(""), page.Run{At: at(), Run: c.run, Lowers: c.lowers}.Nodes()...))
		if !strings.Contains(o.text, c.want) {
			t.Errorf("%s: not %q in %s", name, c.want, o.text)
		}
	}
	if o := read(t, write(t, frameOf(""), page.Run{At: at()}.Nodes()...)); strings.Contains(o.text, "Before → after") {
		t.Error("a run without a metric has an effect")
	}
}

// How far a run is.
func TestDoing(t *testing.T) {
	t.Parallel()
	two := remediate.Plan{Steps: make([]remediate.Step, 2)}
	for _, c := range []struct {
		run  remediate.Run
		want string
	}{
		{remediate.Run{State: remediate.Allowed, Plan: two}, "step 1 of 2"},
		{remediate.Run{State: remediate.Allowed, Plan: two, Done: 1}, "step 2 of 2"},
		{remediate.Run{State: remediate.Allowed, Plan: two, Done: 2}, "step 2 of 2"},
		{remediate.Run{State: remediate.Allowed, Why: "why"}, "why"},
		{remediate.Run{State: remediate.Applied, Plan: two, Why: "why"}, "all steps are done; it is being verified"},
		{remediate.Run{State: remediate.Received, Why: "why"}, "its plan is being made"},
		{remediate.Run{State: remediate.Waiting, Plan: two, Why: "why"}, "why"},
	} {
		if got := page.Doing(c.run); got != c.want {
			t.Errorf("%s, %d steps, %d done: %q, want %q", c.run.State, len(c.run.Plan.Steps), c.run.Done, got, c.want)
		}
	}
}

// An age has one unit or two, is never negative where the duration is not, and grows with it.
func TestAge(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 s", time.Second - 1: "0 s", time.Minute - 1: "59 s", time.Minute: "1 min", time.Hour - 1: "59 min",
		time.Hour: "1 h 0 min", 25*time.Hour + 61*time.Second: "25 h 1 min", 48*time.Hour - 1: "47 h 59 min",
		48 * time.Hour: "2 d", 400 * 24 * time.Hour: "400 d",
	} {
		if got := page.Age(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

// On what a run works: the names of the object, else the labels, else the server alone.
func TestSubject(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]map[string]string{
		"d.s.t on main":   {"server": "main", "table": "t", "schema": "s", "database": "d"},
		"d.s.i on main":   {"server": "main", "index": "i", "schema": "s", "database": "d"},
		"web on engine":   {"server": "engine", "container": "web"},
		"a=1 b=2 on main": {"server": "main", "b": "2", "a": "1"},
		"main":            {"server": "main"},
		"":                nil,
		"t on main":       {"server": "main", "table": "t", "method": "estimate", "schema": ""},
	} {
		if got := page.Subject(remediate.Request{Subject: s}); got != want {
			t.Errorf("%v: %q, want %q", s, got, want)
		}
	}
}

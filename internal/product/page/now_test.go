package page_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/remediate"
)

// The heading has what matters most, in one line, with its number; the tab has how many alerts fire.
func TestHeadingOfNow(t *testing.T) {
	t.Parallel()
	down, well := page.TargetState{Name: "a", Down: "refused"}, page.TargetState{Name: "b", Asked: true}
	for _, c := range []struct {
		now         page.Now
		title, want string
	}{
		{page.Now{}, "Now", "Nothing fires"},
		{page.Now{Targets: []page.TargetState{well}, Open: map[remediate.Severity]int64{remediate.Critical: 0}}, "Now",
			"Nothing fires"},
		{page.Now{Open: map[remediate.Severity]int64{remediate.Warning: 1}}, "(1) Now",
			"1 alert fires, none of them critical"},
		{page.Now{Open: map[remediate.Severity]int64{remediate.Info: 2, remediate.Unrated: 3}}, "(5) Now",
			"5 alerts fire, none of them critical"},
		{page.Now{Open: map[remediate.Severity]int64{remediate.Critical: 1, remediate.Warning: 7}}, "(8) Now",
			"1 critical alert"},
		{page.Now{Open: map[remediate.Severity]int64{remediate.Critical: 2}, Targets: []page.TargetState{down, well,
			down},
			Awaiting: make([]page.Asking, 1)}, "(2) Now",
			"2 critical alerts, 2 targets do not answer, 1 plan awaits approval"},
		{page.Now{Targets: []page.TargetState{down}, Awaiting: make([]page.Asking, 2)}, "Now",
			"1 target does not answer, 2 plans await approval"},
	} {
		text := write(t, frameOf(""), c.now.Nodes()...)
		if h := "<h1>" + c.want + "</h1>"; !strings.Contains(text, h) || c.now.Title() != c.title {
			t.Errorf("%+v: the heading is not %q, or the title %q is not %q", c.now, c.want, c.now.Title(), c.title)
		}
	}
}

// An answer is offered to who may approve alone, and a pause or its end to who may operate alone.
func TestFormsOfNow(t *testing.T) {
	t.Parallel()
	for n := range 8 {
		now := page.Now{At: at(), May: page.May{Operate: n&1 > 0, Approve: n&2 > 0},
			Awaiting: []page.Asking{{Run: runOf("x", 2, remediate.AwaitingApproval)},
				{Run: runOf("x", 3, remediate.AwaitingApproval)}},
			Pauses: []page.Pause{{Pause: remediate.Pause{Scope: "all", Since: at()}},
				{Pause: remediate.Pause{Scope: "policy/p", Since: at()}}}}
		if n&4 > 0 {
			now.Scopes = []string{"all"}
		}
		o := read(t, write(t, frameOf("x"), now.Nodes()...))
		want := make(map[string]int)
		if now.May.Approve {
			want["/runs/2/answer"], want["/runs/3/answer"] = 1, 1
		}
		if now.May.Operate {
			want["/resume"] = 2
		}
		if now.May.Operate && n&4 > 0 {
			want["/pause"] = 1
		}
		got := make(map[string]int)
		for _, form := range o.forms {
			got[form]++
		}
		if !maps.Equal(got, want) {
			t.Errorf("%+v, scopes %q: forms %v, want %v", now.May, now.Scopes, got, want)
		}
		if strings.Contains(o.text, "needs the role approve") == now.May.Approve {
			t.Errorf("%+v: it says the wrong thing about the role", now.May)
		}
	}
}

// A section is left out where nothing is in it, but for alerts and targets, of which the absence is said.
func TestSectionsOfNow(t *testing.T) {
	t.Parallel()
	always := []string{"firing", "main", "live", "sums", "targets"}
	for name, c := range map[string]struct {
		now  page.Now
		also []string
		says string
	}{
		"nothing": {page.Now{First: true}, nil, "No alert fires.TargetsNone is configured."},
		"further": {page.Now{}, nil, "No further alerts."},
		"operate": {page.Now{May: page.May{Operate: true}, Scopes: []string{"all"}},
			[]string{"pauses", "new-pause", "why-pause"}, "Nothing is paused."},
		"waiting": {page.Now{Waiting: 1}, []string{"working"}, "1 run waits for a window, another run or a pause."},
		"pending": {page.Now{PendingCount: 3, Pending: make([]page.Pending, 1)}, []string{"pending"}, "and 2 more"},
		"all of the pending": {page.Now{PendingCount: 1, Pending: []page.Pending{{Labels: map[string]string{
			"alertname": "Soon", "a": "1"}, Since: at()}}}, []string{"pending"}, "Soon"},
		"errors": {page.Now{Problems: []page.Problem{{Text: "refused", Where: []string{"a", "b", "c", "d", "e", "f"}}}},
			[]string{"problems"}, "a, b, c, 3 more: refused"},
		"four errors": {page.Now{Problems: []page.Problem{{Text: "refused", Where: []string{"a", "b", "c", "d"}}}},
			[]string{"problems"}, "a, b, c, d: refused"},
	} {
		o := read(t, write(t, frameOf(""), c.now.Nodes()...))
		want := slices.Sorted(slices.Values(slices.Concat(always, c.also)))
		if ids := slices.Sorted(slices.Values(o.ids)); !slices.Equal(ids, want) {
			t.Errorf("%s: the parts %q, want %q", name, ids, want)
		}
		if !strings.Contains(o.text, c.says) {
			t.Errorf("%s: not %q in %s", name, c.says, o.text)
		}
	}
}

// What a target is called, and that what is worse is shown before: down, an alert that is critical or a warning, what
// could be read in part, and at the end what is well.
func TestTargetsOfNow(t *testing.T) {
	t.Parallel()
	order := []struct {
		is   page.TargetState
		want string
	}{
		{page.TargetState{Down: "refused", Open: 1, Worst: remediate.Info}, `<span class="pill bad">down</span>`},
		{page.TargetState{Asked: true, Open: 2, Worst: remediate.Critical}, `<span class="pill bad">critical</span>`},
		{page.TargetState{Asked: true, Open: 1, Worst: remediate.Warning}, `<span class="pill busy">warning</span>`},
		{page.TargetState{Asked: true, Failing: []string{"a"}}, `<span class="pill busy">partly read</span>`},
		{page.TargetState{}, `<span class="pill ">not read yet</span>`},
		{page.TargetState{Asked: true}, `<span class="pill good">well</span>`},
		{page.TargetState{Asked: true, Open: 1, Worst: remediate.Info}, `<span class="pill good">well</span>`},
		{page.TargetState{Asked: true, Worst: remediate.Critical}, `<span class="pill good">well</span>`},
	}
	last := 9
	for _, c := range order {
		if rank := c.is.Rank(); rank > last {
			t.Errorf("%+v has rank %d, behind one of %d", c.is, rank, last)
		} else {
			last = rank
		}
		if text := write(t, frameOf(""),
			page.Now{Targets: []page.TargetState{c.is}}.Nodes()...); !strings.Contains(text,
			c.want) {
			t.Errorf("%+v: not %s", c.is, c.want)
		}
	}
	failing := page.TargetState{Asked: true, Failing: strings.Split("abcdef", "")}
	if o := read(t, write(t, frameOf(""),
		page.Now{Targets: []page.TargetState{failing}}.Nodes()...)); !strings.Contains(
		o.text, "failing: a, b, c, d, and 2 more") {
		t.Errorf("those that fail: %s", o.text)
	}
}

// A plan that awaits approval shows ten steps and says how many there are, and its metric with the limit.
func TestAsksOfNow(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 10, 11, 40} {
		r := runOf("x", 2, remediate.AwaitingApproval)
		r.Plan.Steps = nil
		for i := range n {
			r.Plan.Steps = append(r.Plan.Steps, remediate.Step{Do: fmt.Sprintf("step-%d;", i)})
		}
		o := read(t, write(t, frameOf(""), page.Now{At: at(), Awaiting: []page.Asking{{Run: r,
			Lowers: "m_ratio"}}}.Nodes()...))
		says := fmt.Sprintf("What it would do: %d step", n)
		if got := strings.Count(o.text, "step-"); got != min(n, 10) || !strings.Contains(o.text, says) {
			t.Errorf("of %d steps %d are shown, or it does not say %q", n, got, says)
		}
		if value := "m_ratio is 75 %, its limit is 50 %; by by x"; !strings.Contains(o.text, value) {
			t.Errorf("not %q in %s", value, o.text)
		}
	}
}

// A moment is written with its zone, and with how long ago it was or how far it is ahead.
func TestMoments(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		since time.Time
		want  string
	}{
		"never":            {time.Time{}, "since never"},
		"now":              {at(), "since 12:00:00 UTC, now"},
		"almost now":       {at().Add(-999 * time.Millisecond), "since 11:59:59 UTC, now"},
		"a moment ahead":   {at().Add(time.Second), "since 12:00:01 UTC, now"},
		"a second":         {at().Add(-time.Second), "since 11:59:59 UTC, 1 s ago"},
		"ahead":            {at().Add(90 * time.Minute), "since 13:30:00 UTC, in 1 h 30 min"},
		"yesterday":        {at().Add(-24 * time.Hour), "since 2026-11-29 12:00:00 UTC, 24 h 0 min ago"},
		"in another zone":  {at().In(time.FixedZone("far", 13*3600)), "since 12:00:00 UTC, now"},
		"on the next day":  {at().Add(13 * time.Hour), "since 2026-12-01 01:00:00 UTC, in 13 h 0 min"},
		"years before now": {at().AddDate(-3, 0, 0), "since 2023-11-30 12:00:00 UTC, 1096 d ago"},
	} {
		now := page.Now{At: at(), Working: []remediate.Run{{State: remediate.Applied, Changed: c.since}}}
		if o := read(t, write(t, frameOf(""), now.Nodes()...)); !strings.Contains(o.text, c.want) {
			t.Errorf("%s: not %q in %s", name, c.want, o.text)
		}
	}
}

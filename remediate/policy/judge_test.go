package policy_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// A step with a limit of its own is judged by it; the alert is the next step's.
func TestJudgeAside(t *testing.T) {
	for _, tc := range []struct {
		name   string
		after  float64
		firing *bool
		want   policy.Verdict
	}{
		{"done, the alert holds", 5, new(true), policy.Verdict{State: remediate.Inconclusive,
			Reason: remediate.ReasonPrepared}},
		{"done, and the alert is unknown", 5, nil, policy.Verdict{State: remediate.Inconclusive,
			Reason: remediate.ReasonPrepared}},
		{"done, and the alert is over", 5, new(false), policy.Verdict{State: remediate.Resolved}},
		{"not done", 500, new(true), policy.Verdict{State: remediate.Unresolved}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := policy.Judge(policy.Evidence{
				Metric: "upkeep_x_seconds", Before: new(500.0), After: &tc.after, Limit: new(60.0), Aside: true,
				Firing: tc.firing, Evaluable: tc.firing != nil, Since: 11 * time.Second, Settle: 10 * time.Second,
				Horizon: time.Minute,
			})
			got.Why = ""
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	const (
		none  = -1.0 // not read
		early = remediate.State("")
	)
	number := func(v float64) *float64 {
		if v == none {
			return nil
		}
		return &v
	}
	yes, no := new(true), new(false)
	at := func(s int) time.Duration { return time.Duration(s) * time.Second }
	// The measure settles within 10 s, and the expression looks back 60 s.
	for _, tc := range []struct {
		name                 string
		before, after, limit float64
		firing               *bool
		evaluable, gone      bool
		since                int
		want                 remediate.State
		why                  string
	}{
		{"within, and no Prometheus", 0.5, 0.1, 0.2, nil, false, false, 1, remediate.Resolved,
			"upkeep_x_ratio went from 50 % to 10 %, limit 20 %"},
		{"at the limit", 0.5, 0.2, 0.2, nil, false, false, 1, remediate.Resolved,
			"upkeep_x_ratio went from 50 % to 20 %, limit 20 %"},
		{"within, and the expression agrees", 0.5, 0.1, 0.2, no, true, false, 1, remediate.Resolved,
			"upkeep_x_ratio went from 50 % to 10 %, limit 20 %; the alert's expression no longer holds"},
		{"within, it still holds, early", 0.5, 0.1, 0.2, yes, true, false, 59, early,
			"upkeep_x_ratio went from 50 % to 10 %, limit 20 %; the metric is within its limit, but the alert's " +
				"expression still holds"},
		{"within, it still holds", 0.5, 0.1, 0.2, yes, true, false, 60, remediate.Inconclusive,
			"upkeep_x_ratio went from 50 % to 10 %, limit 20 %; the metric is within its limit, but the alert's " +
				"expression still holds"},
		{"within, not asked, early", 0.5, 0.1, 0.2, nil, true, false, 59, early,
			"upkeep_x_ratio went from 50 % to 10 %, limit 20 %; the alert's expression could not be evaluated"},
		{"within, not asked", 0.5, 0.1, 0.2, nil, true, false, 60, remediate.Inconclusive,
			"upkeep_x_ratio went from 50 % to 10 %, limit 20 %; the alert's expression could not be evaluated"},

		{"not within, early", 0.5, 0.3, 0.2, yes, true, false, 9, early,
			"upkeep_x_ratio went from 50 % to 30 %, limit 20 %"},
		{"not within", 0.5, 0.3, 0.2, yes, true, false, 10, remediate.Unresolved,
			"upkeep_x_ratio went from 50 % to 30 %, limit 20 %"},
		{"not within, and the expression would let it pass", 0.5, 0.3, 0.2, no, true, false, 10, remediate.Unresolved,
			"upkeep_x_ratio went from 50 % to 30 %, limit 20 %"},
		{"not within, and no Prometheus", 0.5, 0.3, 0.2, nil, false, false, 3600, remediate.Unresolved,
			"upkeep_x_ratio went from 50 % to 30 %, limit 20 %"},
		{"worse", 0.5, 0.9, 0.2, nil, false, false, 10, remediate.Unresolved,
			"upkeep_x_ratio went from 50 % to 90 %, limit 20 %"},

		{"no limit, better", 0.5, 0.3, none, nil, false, false, 1, remediate.Resolved,
			"upkeep_x_ratio went from 50 % to 30 %"},
		{"no limit, the same", 0.5, 0.5, none, nil, false, false, 1, remediate.Resolved,
			"upkeep_x_ratio went from 50 % to 50 %"},
		{"no limit, worse", 0.5, 0.6, none, nil, false, false, 10, remediate.Unresolved,
			"upkeep_x_ratio went from 50 % to 60 %"},
		{"no limit, nothing before", none, 0.6, none, nil, false, false, 1, remediate.Resolved,
			"upkeep_x_ratio went from unknown to 60 %"},
		{"no limit, better, it still holds", 0.5, 0.3, none, yes, true, false, 60, remediate.Inconclusive,
			"upkeep_x_ratio went from 50 % to 30 %; the metric is within its limit, but the alert's expression still " +
				"holds"},

		{"gone", 0.5, none, 0.2, no, true, true, 1, remediate.Inconclusive, "the subject no longer exists"},
		{"gone, whatever was read", 0.5, 0.1, 0.2, no, true, true, 1, remediate.Inconclusive,
			"the subject no longer exists"},
		{"not read, early", 0.5, none, 0.2, no, true, false, 59, early, "upkeep_x_ratio could not be read"},
		{"not read", 0.5, none, 0.2, no, true, false, 60, remediate.Inconclusive, "upkeep_x_ratio could not be read"},
		{"read as no number", 0.5, math.NaN(), 0.2, no, true, false, 60, remediate.Inconclusive,
			"upkeep_x_ratio could not be read"},
		{"read as infinite", 0.5, math.Inf(-1), 0.2, no, true, false, 60, remediate.Inconclusive,
			"upkeep_x_ratio could not be read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := policy.Evidence{
				Metric: "upkeep_x_ratio", Before: number(tc.before), After: number(tc.after), Limit: number(tc.limit),
				Firing: tc.firing, Evaluable: tc.evaluable, Gone: tc.gone, Since: at(tc.since), Settle: at(10),
				Horizon: at(60),
			}
			got := policy.Judge(e)
			if diff := cmp.Diff(policy.Verdict{State: tc.want, Why: tc.why}, got); diff != "" {
				t.Error(diff)
			}
			// What is written down is judged the same.
			text, err := json.Marshal(policy.Record{Kind: policy.KindJudge, Evidence: &e, Verdict: &got})
			if err != nil {
				t.Fatal(err)
			}
			var r policy.Record
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatal(err)
			}
			if err := policy.Replay(nil, r); err != nil {
				t.Errorf("Replay: %v\n%s", err, text)
			}
		})
	}
}

// The measure is not awaited longer than the expression: with a horizon that
// is shorter than what the measure needs to settle, the longer counts.
func TestJudgeShortHorizon(t *testing.T) {
	e := policy.Evidence{Metric: "m", Evaluable: true, After: new(0.0), Limit: new(1.0), Firing: new(true),
		Settle: time.Minute, Since: 30 * time.Second}
	if v := policy.Judge(e); v.State != "" {
		t.Errorf("after 30 s: %+v", v)
	}
	e.Since = time.Minute
	if v := policy.Judge(e); v.State != remediate.Inconclusive {
		t.Errorf("after 60 s: %+v", v)
	}
}

// As time goes on a verdict is given once and does not change with the same evidence.
func TestJudgeIsFinal(t *testing.T) {
	for _, after := range []*float64{nil, new(0.1), new(0.3)} {
		for _, firing := range []*bool{nil, new(true), new(false)} {
			for _, evaluable := range []bool{true, false} {
				var last remediate.State
				for s := range 120 {
					v := policy.Judge(policy.Evidence{
						Metric: "m", Before: new(0.5), After: after, Limit: new(0.2), Firing: firing, Evaluable: evaluable,
						Since: time.Duration(s) * time.Second, Settle: 10 * time.Second, Horizon: time.Minute,
					})
					if last != "" && v.State != last {
						t.Fatalf("%v %v %v: %s after %d s, %s before", after, firing, evaluable, v.State, s, last)
					}
					last = v.State
				}
				if last == "" {
					t.Errorf("%v %v %v: no verdict after two minutes", after, firing, evaluable)
				}
			}
		}
	}
}

// The bounds as the formula is tabulated: z = 1.96 is the usual 95 % on both sides.
func TestWilson(t *testing.T) {
	for _, tc := range []struct {
		resolved, all int
		z, want       float64
	}{
		{0, 0, 1.96, 0},
		{0, 10, 1.96, 0},
		{1, 10, 1.96, 0.0179},
		{5, 10, 1.96, 0.2366},
		{9, 10, 1.96, 0.5958},
		{10, 10, 1.96, 0.7225},
		{50, 100, 1.96, 0.4038},
		{95, 100, 1.96, 0.8882},
		{8, 10, 0, 0.8},
		{4, 4, 1.2816, 0.7089},
	} {
		if got := policy.Wilson(tc.resolved, tc.all, tc.z); math.Abs(got-tc.want) > 0.0001 {
			t.Errorf("Wilson(%d, %d, %g) = %.4f, want %.4f", tc.resolved, tc.all, tc.z, got, tc.want)
		}
	}
	for all := 1; all < 200; all++ {
		for resolved := 1; resolved <= all; resolved++ {
			if less, more := policy.Wilson(resolved-1, all, 1.2816), policy.Wilson(resolved, all, 1.2816); less >= more ||
				more > float64(resolved)/float64(all) || less < 0 {
				t.Fatalf("%d of %d: %f, %d of them: %f", resolved-1, all, less, resolved, more)
			}
		}
	}
}

func TestFalls(t *testing.T) {
	for _, tc := range []struct {
		effect        float64
		resolved, all int
		want          bool
	}{
		{0.5, 9, 10, false},
		{0.5, 2, 8, true},
		{0.5, 0, 4, false}, // too few
		{0.5, 0, 5, true},
		{0.5, 4, 5, false},
		{0.5, 3, 5, true},
		{0.5, 50, 100, true},
		{0.5, 60, 100, false},
		{0.9, 10, 10, true},
		{0.9, 20, 20, false},
		{0, 0, 100, false}, // never asked for
	} {
		falls, why := policy.Falls(remediate.Terms{Effect: tc.effect}, tc.resolved, tc.all)
		if falls != tc.want || falls == (why == "") {
			t.Errorf("%d of %d at %g: %v %s", tc.resolved, tc.all, tc.effect, falls, why)
		}
	}
	if _, why := policy.Falls(remediate.Terms{Effect: 0.5}, 2,
		8); why != "2 of 8 runs resolved the incident (lower bound 11 %); at least 50 % is required" {
		t.Error(why)
	}
}

func TestReplay(t *testing.T) {
	b := book(t)
	books := map[string]policy.Book{b.Hash(): b}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]policy.Case{
		"new": dead(), "next": dead(past(0, remediate.Unresolved, "")),
		"page": dead(past(0, remediate.Inconclusive, "")),
		"held over a change of the clock": with(dead(), func(c *policy.Case) {
			c.Incident.Opened = time.Date(2026, 3, 29, 1, 58, 0, 5, berlin)
			c.Now = c.Incident.Opened.Add(time.Minute)
		}),
		"none": labelled("alertname", "Nothing"), "wrong": labelled("alertname", "Typed", "count", "x\x00"),
	}
	for name, c := range cases {
		d := b.Decide(c)
		text, err := json.Marshal(policy.Record{Kind: policy.KindDecide, Book: b.Hash(), Case: &c, Decision: &d})
		if err != nil {
			t.Fatal(err)
		}
		var r policy.Record
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatal(err)
		}
		if err := policy.Replay(books, r); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

// A decision that would be another one is reported, with the difference.
func TestReplayFindsWhatDiffers(t *testing.T) {
	b := book(t)
	c, evidence := dead(), policy.Evidence{Metric: "m", After: new(0.1), Limit: new(0.2)}
	d, v := b.Decide(c), policy.Judge(evidence)
	other := book(t)
	other.Policies[0].Name = "renamed"
	decide := policy.Record{Kind: policy.KindDecide, Book: b.Hash(), Case: &c, Decision: &d}
	judge := policy.Record{Kind: policy.KindJudge, Evidence: &evidence, Verdict: &v}
	for _, tc := range []struct {
		name   string
		record policy.Record
		change func(*policy.Record)
		books  map[string]policy.Book
		want   string
	}{
		{"nothing", decide, func(*policy.Record) {}, nil, ""},
		{"mode", decide, func(r *policy.Record) { r.Decision.Request.Mode = remediate.Ask }, nil,
			`decision.request.mode was "ask" and is "auto" now`},
		{"subject", decide, func(r *policy.Record) { r.Decision.Request.Subject["table"] = "x" }, nil,
			`decision.request.subject.table was "x" and is "logs" now`},
		{"page", decide, func(r *policy.Record) { r.Decision.Page = true }, nil,
			`decision.page was true and is not there now`},
		{"case", decide, func(r *policy.Record) { r.Case.Incident.Closed = r.Case.Now }, nil,
			`decision.policy was "dead rows" and is not there now`},
		{"no such book", decide, func(r *policy.Record) { r.Book = "0000" }, nil,
			"the policies 0000, which decided, are not kept"},
		{"another book", decide, func(*policy.Record) {}, map[string]policy.Book{b.Hash(): other},
			"the policies that are kept as"},
		{"no case", decide, func(r *policy.Record) { r.Case = nil }, nil, "holds no case"},
		{"verdict", judge, func(r *policy.Record) { r.Verdict.State = remediate.Unresolved }, nil,
			`verdict.state was "unresolved" and is "resolved" now`},
		{"evidence", judge, func(r *policy.Record) { r.Evidence.After = new(0.3) }, nil, `verdict.state was "resolved"`},
		{"no verdict", judge, func(r *policy.Record) { r.Verdict = nil }, nil, "holds no evidence or no verdict"},
		{"kind", judge, func(r *policy.Record) { r.Kind = "guess" }, nil, `there is no kind of record "guess"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text, err := json.Marshal(tc.record)
			if err != nil {
				t.Fatal(err)
			}
			var r policy.Record
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatal(err)
			}
			tc.change(&r)
			books := tc.books
			if books == nil {
				books = map[string]policy.Book{b.Hash(): b}
			}
			err = policy.Replay(books, r)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Replay: %v\nwant %s", err, tc.want)
			}
		})
	}
}

// A decision that an earlier version has recorded is replayed: there an incident was an episode,
// and states had other names.
func TestReplayOfFormerNames(t *testing.T) {
	b := book(t)
	books := map[string]policy.Book{b.Hash(): b}
	closed := dead()
	closed.Incident.Closed = closed.Now
	for name, c := range map[string]struct {
		now    policy.Case
		former []string // pairs: as it is written now, and as it was
	}{
		"first":  {now: dead()},
		"closed": {now: closed, former: []string{"the incident is closed", "the episode is over"}},
		"next": {now: dead(past(0, remediate.Unresolved, "")), former: []string{
			`"state":"unresolved"`, `"state":"uncleared"`, "is unresolved;", "is uncleared;"}},
		"end": {now: dead(past(0, remediate.Resolved, "")), former: []string{
			`"state":"resolved"`, `"state":"cleared"`, "is resolved", "is cleared"}},
		"refused": {now: dead(past(0, remediate.StateRefused, "unfit")), former: []string{
			`"state":"refused"`, `"state":"declined"`, "is refused (unfit)", "is declined (unfit)"}},
		"rejected": {now: dead(past(0, remediate.Rejected, "person")), former: []string{
			`"state":"rejected"`, `"state":"declined"`, "is rejected", "is declined (person)"}},
		"cancelled": {now: dead(past(0, remediate.Cancelled, "cancelled")), former: []string{
			`"state":"cancelled"`, `"state":"failed"`, "is cancelled", "is failed (cancelled)"}},
	} {
		d := b.Decide(c.now)
		text, err := json.Marshal(policy.Record{Kind: policy.KindDecide, Book: b.Hash(), Case: &c.now, Decision: &d})
		if err != nil {
			t.Fatal(err)
		}
		former := strings.NewReplacer(append(c.former, `"incident":`, `"episode":`, `"incident/`, `"episode/`)...).
			Replace(string(text))
		if name != "first" && !strings.Contains(former, c.former[1]) {
			t.Fatalf("%s: %s", name, former)
		}
		var r policy.Record
		if err := json.Unmarshal([]byte(former), &r); err != nil {
			t.Fatal(err)
		}
		if err := policy.Replay(books, r); err != nil {
			t.Errorf("%s: %v\n%s", name, err, former)
		}
	}
}

// A journal that an earlier version has written is replayed: Evaluable was told there.
func TestReplayOfBefore(t *testing.T) {
	const recorded = `{"kind":"judge","evidence":{"metric":"m","before":0.5,"after":0.1,"limit":0.2,"firing":true,"told":true,"since":600000000000,"settle":3000000000,"horizon":300000000000},` +
		`"verdict":{"state":"inconclusive","why":"m went from 0.5 to 0.1, limit 0.2; the metric is within its limit, but the alert's expression still holds"}}`
	var r policy.Record
	if err := json.Unmarshal([]byte(recorded), &r); err != nil {
		t.Fatal(err)
	}
	if err := policy.Replay(nil, r); err != nil || !r.Evidence.Evaluable {
		t.Errorf("%v; evaluable %v", err, r.Evidence.Evaluable)
	}
	text, err := json.Marshal(r.Evidence)
	if err != nil || !strings.Contains(string(text), `"evaluable":true`) || strings.Contains(string(text), "told") {
		t.Errorf("it is written as %s (%v)", text, err)
	}
}

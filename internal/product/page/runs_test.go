package page_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/remediate"
)

// The way to the next part keeps what the list is filtered by, whatever is in it, and the way back only that.
func TestPartsOfRuns(t *testing.T) {
	t.Parallel()
	visibletest.Names(t, func(name string) {
		if len(name) > 2000 {
			return
		}
		query := url.Values{page.KeyText: {name}, page.KeyState: {page.StateActive}, page.KeyBefore: {"90"}}
		o := read(t, write(t, frameOf(""), page.Runs{At: at(), Query: query, Next: 40}.Nodes()...))
		var got []url.Values
		for _, lead := range o.leads {
			if path, text, has := strings.Cut(lead, "?"); has && path == page.RunsPath {
				q, err := url.ParseQuery(text)
				if err != nil {
					t.Fatalf("%q: %v", lead, err)
				}
				got = append(got, q)
			}
		}
		if len(got) != 2 || got[0].Get(page.KeyBefore) != "" || got[1].Get(page.KeyBefore) != "40" {
			t.Fatalf("%q: the parts are at %v", name, got)
		}
		for _, q := range got {
			if q.Get(page.KeyText) != name || q.Get(page.KeyState) != page.StateActive || len(q) > 3 {
				t.Errorf("%q: a part is at %v", name, q)
			}
		}
		if query.Get(page.KeyBefore) != "90" {
			t.Error("the query was changed")
		}
	})
}

// A part of the list says why it is empty, offers only the ways that lead somewhere, and keeps a choice that is gone.
func TestListOfRuns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		runs     page.Runs
		has, not []string
	}{
		"nothing": {page.Runs{}, []string{"No run matches."}, []string{"Older runs", "The newest", "among those"}},
		"nothing among these": {page.Runs{Next: 4}, []string{"No run matches among those that were looked at.",
			"Look among older runs"}, []string{"Older runs", "The newest"}},
		"the last part": {page.Runs{Query: url.Values{page.KeyBefore: {"9"}}, Runs: make([]page.Listed, 1)},
			[]string{"The newest"}, []string{"Older runs"}},
		"what is wrong": {page.Runs{Wrong: "since: no time"}, []string{"since: no time"}, nil},
		"a policy that is gone": {page.Runs{Query: url.Values{page.KeyPolicy: {"gone"}},
			Names: page.Names{Policies: []string{"there"}}}, []string{"anytheregone"}, nil},
		"a policy that is there": {page.Runs{Query: url.Values{page.KeyPolicy: {"there"}},
			Names: page.Names{Policies: []string{"there"}}}, []string{"anythere"}, []string{"therethere"}},
		"who asked": {page.Runs{Runs: []page.Listed{{Run: remediate.Run{Request: remediate.Request{By: "user/ann"}}}}},
			[]string{"user/ann"}, nil},
		"which policy asked": {page.Runs{Runs: []page.Listed{{Run: remediate.Run{Request: remediate.Request{
			By: "alert/A", Policy: "p"}}}}}, []string{"policy p"}, []string{"alert/A"}},
		"no value": {page.Runs{Runs: []page.Listed{{Lowers: "m_ratio"}}}, []string{"– → –"}, nil},
		"values": {page.Runs{Runs: []page.Listed{{Lowers: "m_ratio", Run: remediate.Run{Before: new(0.5),
			After: new(0.0)}}}},
			[]string{"50 % → 0 %"}, nil},
	} {
		o := read(t, write(t, frameOf(""), c.runs.Nodes()...))
		for _, text := range c.has {
			if !strings.Contains(o.text, text) {
				t.Errorf("%s: not %q in %s", name, text, o.text)
			}
		}
		for _, text := range c.not {
			if strings.Contains(o.text, text) {
				t.Errorf("%s: %q in %s", name, text, o.text)
			}
		}
	}
	names := page.Names{Policies: []string{"a"}}
	page.Runs{Query: url.Values{page.KeyPolicy: {"b"}}, Names: names}.Nodes()
	if !slices.Equal(names.Policies, []string{"a"}) {
		t.Errorf("the names were changed: %q", names.Policies)
	}
}

// findings are some of a server and a harm.
func findings(n int, server string, harm look.Harm, severity string) (all []look.Finding) {
	for range n {
		all = append(all, look.Finding{Server: server, Harm: harm, Severity: severity, Title: "found-" + server})
	}
	return all
}

// The heading of a look never says that all is well where something is not known or not read yet.
func TestHeadingOfLook(t *testing.T) {
	t.Parallel()
	unread := []look.Unknown{{What: "a"}}
	for _, c := range []struct {
		report look.Report
		want   string
	}{
		{look.Report{Complete: true}, "Nothing is wrong in what was looked at"},
		{look.Report{}, "Nothing is wrong in what was looked at, not everything has been read yet: load the page again"},
		{look.Report{Complete: true, Unknown: unread}, "1 question without an answer"},
		{look.Report{Unknown: unread, Findings: findings(2, "a", look.Data, "critical")},
			"2 critical findings, 1 question without an answer, not everything has been read yet: load the page again"},
		{look.Report{Complete: true, Findings: slices.Concat(findings(1, "a", look.Data, "critical"),
			findings(1, "a", look.Space, "warning"), findings(3, "a", look.Care, "info"))},
			"1 critical finding, 1 warning, 3 hints"},
	} {
		text := write(t, frameOf(""), page.Look{Report: c.report}.Nodes()...)
		if !strings.Contains(text, "<h1>"+c.want+"</h1>") {
			t.Errorf("the heading is not %q: %.600s", c.want, text)
		}
	}
}

// A look shows the first hundred findings of the server and the harm that are chosen, and says how many are left out.
func TestChoiceOfLook(t *testing.T) {
	t.Parallel()
	report := look.Report{At: at(), Findings: slices.Concat(findings(120, "a", look.Data, "warning"),
		findings(3, "b", look.Data, "warning"), findings(2, "b", look.Space, "warning"))}
	for _, c := range []struct {
		server, harm string
		a, b         int
		says         string
	}{
		{"", "", 100, 0, "25 more findings"},
		{"a", "", 100, 0, "20 more findings"},
		{"b", "", 0, 5, ""},
		{"b", "space", 0, 2, ""},
		{"a", "space", 0, 0, "Nothing of that kind."},
		{"", "space", 0, 2, ""},
		{"gone", "", 0, 0, "Nothing of that kind."},
		{"", "nonsense", 0, 0, "Nothing of that kind."},
	} {
		o := read(t, write(t, frameOf(""), page.Look{Report: report, Server: c.server, Harm: c.harm}.Nodes()...))
		a, b := strings.Count(o.text, "found-a"), strings.Count(o.text, "found-b")
		if a != c.a || b != c.b || !strings.Contains(o.text, c.says) {
			t.Errorf("server %q, harm %q: %d and %d findings, want %d, %d and %q", c.server, c.harm, a, b, c.a, c.b,
				c.says)
		}
	}
}

// The form that asks for a plan is for who may operate alone, and a candidate has none.
func TestFormsOfLook(t *testing.T) {
	t.Parallel()
	plan := &look.Plan{Action: "postgres/vacuum", Subject: map[string]string{"server": "a"}}
	for _, operate := range []bool{false, true} {
		for name, f := range map[string]look.Finding{"a plan": {Plan: plan},
			"a candidate": {Candidate: &look.Candidate{}},
			"by hand":     {ByHand: "Look."}, "nothing": {}} {
			o := read(t, write(t, frameOf(""), page.Look{May: page.May{Operate: operate},
				Report: look.Report{Findings: []look.Finding{f}}}.Nodes()...))
			if got, want := slices.Contains(o.forms, page.PlanPath), operate && f.Plan != nil; got != want ||
				len(o.forms) > 1 {
				t.Errorf("%s, operate %t: forms %q", name, operate, o.forms)
			}
			if candidate := strings.Contains(o.text, "nothing is planned"); candidate != (f.Candidate != nil) {
				t.Errorf("%s: it is called a candidate: %t", name, candidate)
			}
		}
	}
}

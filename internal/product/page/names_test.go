package page_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	. "maragu.dev/gomponents"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/remediate"
)

// at is when the pages are made.
func at() time.Time { return time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC) }

// both are labels with a name in the place of a label, and in that of a value.
func both(name string) map[string]string {
	return map[string]string{"k" + name: "v", "table": name, "server": "s" + name}
}

// runOf is a run whose every text is a name.
func runOf(name string, id int64, state remediate.State) remediate.Run {
	return remediate.Run{ID: id, State: state, Why: "why " + name, Reason: "reason " + name,
		Request: remediate.Request{Action: "act " + name, Subject: both(name), Params: both(name), By: "by " + name,
			Policy: "policy " + name, Mode: remediate.Mode("mode " + name), Limit: new(0.5)},
		Plan: remediate.Plan{Facts: []string{"fact " + name}, Needs: []string{"need " + name},
			Steps: []remediate.Step{{Do: "do " + name, Undo: "undo " + name}, {Do: "do " + name,
				Left: "left " + name}}},
		Before: new(0.75), After: new(0.25), Begun: 2, Done: 1, Created: at().Add(-time.Hour), Changed: at(),
		Due: at().Add(time.Hour)}
}

func incidentOf(name string) remediate.Incident {
	return remediate.Incident{ID: 3, Opened: at().Add(-time.Hour), Closed: at(), Why: "closed " + name,
		Alert: remediate.Alert{Labels: map[string]string{"alertname": "A" + name, "severity": name, "k" + name: name},
			Annotations: map[string]string{"summary": "s" + name, "a" + name: name}, Expr: "expr " + name}}
}

// everyPage is each page with a name wherever others have named something.
func everyPage(name string) map[string][]Node {
	may := page.May{Operate: true, Approve: true}
	book := page.Runbook{At: "https://docs.example/x", Host: "docs.example"}
	since := at().Add(-time.Hour)
	plan := &look.Plan{Action: "act " + name, Subject: both(name), Params: both(name), Command: "upkeep plan " + name}
	finding := look.Finding{Kind: "kind " + name, Severity: "warning", Harm: look.Harm("harm " + name),
		Server:  "s" + name,
		Subject: both(name), Title: "title " + name, Cost: "cost " + name, Bytes: 5, ByHand: "hand " + name + " .",
		Evidence: []look.Evidence{{What: "what " + name, Value: "value " + name, From: "from " + name, At: since,
			Since: &since, Note: "note " + name}}, Plan: plan, Candidate: &look.Candidate{Why: "young " + name}}
	working := runOf(name, 1, remediate.Allowed)
	return map[string][]Node{
		"now": page.Now{At: at(), May: may, Open: map[remediate.Severity]int64{remediate.Critical: 1}, First: true,
			Firing: []page.Firing{{Incident: incidentOf(name), Runbook: book, Quiet: "quiet " + name, Does: page.Care{
				Policy: "policy " + name, Run: &working, Class: "busy", Text: "does " + name}}},
			Awaiting: []page.Asking{{Run: runOf(name, 2, remediate.AwaitingApproval), Lowers: "m_ratio"}},
			Working:  []remediate.Run{working}, Waiting: 2,
			Stuck: []page.Stuck{{Run: runOf(name, 4, remediate.Waiting), Why: "stuck " + name}},
			Pauses: []page.Pause{{Pause: remediate.Pause{Scope: "scope " + name, Reason: "reason " + name,
				By:    "by " + name,
				Since: since, Until: at()}, Unknown: "unknown " + name}},
			Scopes: []string{"scope " + name}, PendingCount: 3,
			Pending: []page.Pending{{Labels: map[string]string{"alertname": "A" + name, "k" + name: name},
				Since: since}},
			Targets:  []page.TargetState{{Name: "target " + name, Down: "down " + name, Failing: []string{"f" + name}}},
			Problems: []page.Problem{{Text: "problem " + name, Where: []string{"where " + name}}}}.Nodes(),
		"runs": page.Runs{At: at(), Wrong: "wrong " + name,
			Query: map[string][]string{page.KeyPolicy: {"policy " + name},
				page.KeyText: {"text " + name}, page.KeyBefore: {"9"}}, Actions: []string{"act " + name}, Next: 7,
			Names: page.Names{Policies: []string{"other " + name}, Targets: []string{"target " + name}},
			Runs:  []page.Listed{{Run: runOf(name, 5, remediate.Resolved), Lowers: "m_bytes"}}}.Nodes(),
		"run": page.Run{At: at(), May: may, Run: runOf(name, 6, remediate.Allowed), Lowers: "m" + name,
			Entries: []remediate.Entry{{Seq: 1, At: since, To: remediate.StateRefused, Reason: "r" + name,
				By:  "by " + name,
				Why: "why " + name}, {Seq: 2, At: since, Note: remediate.Note("note " + name)}},
			Incident: new(incidentOf(name)), Runbook: book, Stopping: "stopping " + name, Doc: "doc " + name,
			Guards: []page.Answer{{Guard: "g" + name, Doc: "doc " + name, Class: "busy", Said: "said " + name},
				{Guard: "h" + name, Doc: "doc " + name, Said: "said " + name}},
			Chart: &page.Chart{Metric: "m" + name, From: since, To: at(), Limit: new(1.5),
				Lines: [][]page.Point{{{At: since, Value: 1}, {At: at(), Value: 2}}}}}.Nodes(),
		"asked": page.Run{At: at(), May: may, Run: runOf(name, 8, remediate.AwaitingApproval),
			Needs: "needs " + name, Lowers: "m_ratio", Chart: &page.Chart{Missing: "missing " + name}}.Nodes(),
		"look": page.Look{May: may, Report: look.Report{At: at(), Findings: []look.Finding{finding},
			Targets: []look.Seen{{Server: "s" + name, Kind: "kind " + name, Pending: []string{"p" + name}}},
			Left:    []look.Left{{Server: "s" + name, Kind: "kind " + name, Count: 2, Bytes: 3}},
			Unknown: []look.Unknown{{Server: "s" + name, What: "what " + name, Why: "why " + name, SQL: "sql " + name}},
		}}.Nodes(),
		"plan": page.Plan{Action: "act " + name, Subject: both(name), Params: both(name), Lowers: "m" + name,
			Plan: runOf(name, 1, remediate.Planned).Plan, Risk: "risk " + name, Command: "run " + name,
			Refusals: []*remediate.Refusal{{Reason: "r" + name, Detail: "detail " + name}}}.Nodes(),
		"say": {page.Say("bad", "title "+name, "text "+name, "/"), page.Heading("heading " + name)},
	}
}

// frameOf is a frame with a name wherever others have named something.
func frameOf(name string) page.Frame {
	return page.Frame{Title: "title " + name, Version: "v" + name, Now: at(), Identity: "user/" + name, Login: "/login",
		Path: "/runs", Links: []page.Entry{{Name: "entry " + name,
			Path: "/runs"}}, Events: "/events", Again: time.Minute}
}

// Whatever others have named, a page has the same elements with the same attributes, its links lead to the same
// places or to the same path with another query, and its text has the whole name in each place, made visible.
func TestNamesChangeNoPage(t *testing.T) {
	t.Parallel()
	const mark = "§"
	plain := make(map[string]outline)
	for kind, nodes := range everyPage(mark) {
		o := read(t, write(t, frameOf(mark), nodes...))
		o.sound(t)
		o.text = unhashed(o.text)
		plain[kind] = o
	}
	n := 0
	visibletest.Names(t, func(name string) {
		if n++; len(name) > 300 || n > 140 && n%5 > 0 { // every part, and some of what is made of several
			return
		}
		for kind, nodes := range everyPage(name) {
			o, want := read(t, write(t, frameOf(name), nodes...)), plain[kind]
			o.sound(t)
			if diff := cmp.Diff(want.elements, o.elements); diff != "" {
				t.Errorf("%s: %q makes other elements (-want +got):\n%s", kind, name, diff)
			}
			if diff := cmp.Diff(paths(want.leads), paths(o.leads)); diff != "" {
				t.Errorf("%s: %q leads elsewhere (-want +got):\n%s", kind, name, diff)
			}
			if !slices.Equal(keyless(want.ids), keyless(o.ids)) || !slices.Equal(want.classes, o.classes) {
				t.Errorf("%s: %q makes other ids or classes", kind, name)
			}
			shown := visible.Lines(strings.ReplaceAll(name, "\x00", "\ufffd")) // which HTML does not have
			if diff := cmp.Diff(strings.ReplaceAll(want.text, mark, shown), unhashed(o.text)); diff != "" {
				t.Errorf("%s: %q is shown as something else (-want +got):\n%s", kind, name, diff)
			}
		}
	})
}

// unhashed is a text without the hashes of plans.
func unhashed(text string) string {
	return regexp.MustCompile(`Plan [0-9a-f]{16}`).ReplaceAllString(text, "Plan ")
}

// keyless are ids without the keys of findings, which are numbers made of their names.
func keyless(ids []string) []string {
	cut := slices.Clone(ids)
	for i, id := range cut {
		cut[i] = regexp.MustCompile(`^([fp]-)[0-9a-z]{1,13}$`).ReplaceAllString(id, "$1")
	}
	return cut
}

// paths are links without their query.
func paths(all []string) []string {
	cut := slices.Clone(all)
	for i, lead := range cut {
		cut[i], _, _ = strings.Cut(lead, "?")
	}
	return cut
}

// No page leads anywhere but to itself, to another page of upkeep, or to the runbook of its rule, which says so.
func TestPagesLeadToTheirOwn(t *testing.T) {
	t.Parallel()
	for kind, nodes := range everyPage("x") {
		away := 0
		for _, lead := range read(t, write(t, frameOf("x"), nodes...)).leads {
			switch {
			case lead == "https://docs.example/x":
				away++
			case strings.HasPrefix(lead, "//") || !strings.HasPrefix(lead, "/") && !strings.HasPrefix(lead, "#"):
				t.Errorf("%s: leads to %s", kind, lead)
			}
		}
		if want := map[string]int{"now": 1, "run": 1}[kind]; away != want {
			t.Errorf("%s: %d links to runbooks elsewhere, want %d", kind, away, want)
		}
	}
}

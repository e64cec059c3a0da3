package page

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// PolicyPath is where the page of a policy is.
func PolicyPath(name string) string { return PoliciesPath + "/" + url.PathEscape(name) }

// The spans of time in which the runs of a policy are counted.
const (
	ShortDays, LongDays = 28, 90
)

// Policies are the policies in the order in which they are tried.
type Policies struct {
	At  time.Time
	All []PolicyLine
}

// PolicyLine is a policy with its state and what came of its runs.
type PolicyLine struct {
	Name  string
	Match []string // all must match the labels of an alert
	Steps []PolicyStep

	Paused   []remediate.Pause // that hold its runs
	Demoted  time.Time         // zero where it is not
	Why      string            // it is demoted
	Breaker  string            // why its breaker stops its runs; "" where it does not
	Acts     bool              // a step has the mode auto
	Resolved int               // of the last Judged runs, for good
	Judged   int
	Promised float64 // least share of them; 0: none

	Short, Long journal.Tally
	Last        *remediate.Run // that acted and ended
}

// PolicyStep is an action of a policy's chain.
type PolicyStep struct {
	Action string
	Mode   remediate.Mode
	Asks   bool // the action never acts unasked
	On     map[string]string
	With   map[string]string
	Limit  string // its own, where it only clears the way for the next
	Terms  string
}

// Nodes are the parts of the page.
func (p Policies) Nodes() []Node {
	return []Node{
		Section(ID("head"), H1(Text("Policies")), P(Class("soft"), Text("The first one that matches an alert decides "+
			"about it. Its actions are tried in their order, until one has resolved the alert."))),
		Section(ID("policies"), p.table()),
	}
}

func (p Policies) table() Node {
	if len(p.All) == 0 {
		return P(Class("soft"), Text("The configuration has no policy: upkeep changes nothing by itself."))
	}
	columns := []string{"Policy", "Mode", "Matches", "Does", "State", strconv.Itoa(ShortDays) + " days",
		strconv.Itoa(LongDays) + " days", "Last run"}
	cell := func(n int, content ...Node) Node { return Td(Class("word"), Data("name", columns[n]), Group(content)) }
	return Table(Class("wide"), heads(columns...), TBody(Map(p.All, func(one PolicyLine) Node {
		return Tr(cell(0, A(Href(PolicyPath(one.Name)), Text(one.Name))), cell(1, one.mode()), cell(2, one.matches()),
			cell(3, one.chain()), cell(4, one.state()), cell(5, tally(one.Short)), cell(6, tally(one.Long)),
			cell(7, one.last(p.At)))
	})))
}

// mode names the modes of the steps, each once.
func (p PolicyLine) mode() Node {
	var modes []string
	for _, s := range p.Steps {
		if m := string(s.Mode); !slices.Contains(modes, m) {
			modes = append(modes, m)
		}
	}
	return Text(strings.Join(modes, ", "))
}

func (p PolicyLine) matches() Node { return Code(Class("word"), Text(strings.Join(p.Match, ", "))) }

func (p PolicyLine) chain() Node {
	var names []string
	for _, s := range p.Steps {
		names = append(names, s.Action)
	}
	return Text(strings.Join(names, ", then "))
}

// state says what keeps its runs from acting by themselves.
func (p PolicyLine) state() Node {
	var all Group
	if len(p.Paused) > 0 {
		all = append(all, pill("busy", "paused"), Text(" "))
	}
	if p.Breaker != "" {
		all = append(all, pill("bad", "stopped by its breaker"), Text(" "))
	}
	if !p.Demoted.IsZero() {
		all = append(all, pill("ask", "demoted"), Text(" "), Small(Text(p.Why)))
	}
	if len(all) == 0 {
		return Text("in force")
	}
	return all
}

func (p PolicyLine) last(now time.Time) Node {
	if p.Last == nil {
		return Text("–")
	}
	return Group{runLink(p.Last.ID), Text(" "), pill(class(p.Last.State), string(p.Last.State)), Text(" "),
		Small(since(now, p.Last.Changed))}
}

// tally writes in one line what came of runs.
func tally(t journal.Tally) Node {
	if t.All() == 0 {
		return Span(Class("soft"), Text("none acted"))
	}
	var all Group
	for _, r := range results(t) {
		if r.runs == 0 {
			continue
		}
		if len(all) > 0 {
			all = append(all, Text(", "))
		}
		all = append(all, Span(Class(r.class), Text(strconv.Itoa(r.runs)+" "+r.name)))
	}
	return all
}

type result struct {
	name, class string
	runs        int
}

// results are the numbers of a tally. Those that came back are among those that are resolved.
func results(t journal.Tally) []result {
	return []result{{"resolved", "good", t.Resolved}, {"came back within a day", "busy", t.CameBack},
		{"unresolved", "bad", t.Unresolved}, {"inconclusive", "busy", t.Inconclusive}, {"failed", "bad", t.Failed},
		{"stopped", "", t.Stopped}}
}

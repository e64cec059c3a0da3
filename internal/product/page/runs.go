package page

import (
	"net/url"
	"strconv"
	"time"

	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/remediate"
)

// RunsPath is where the list of runs is.
const RunsPath = "/runs"

// Runs is a part of the list of runs.
type Runs struct {
	At    time.Time
	Query url.Values // as it was asked for; what is in it filters
	Wrong string     // what of it could not be understood

	Runs    []Listed
	Next    int64 // the part before begins before this run; 0: this is the last
	Actions []string
	Names   Names
}

// Names are what can be filtered by.
type Names struct{ Policies, Targets []string }

// Listed is a run with the metric that it lowers.
type Listed struct {
	remediate.Run
	Lowers string
}

// The keys of the query. An address with them shows the same list to everyone.
const (
	KeyState, KeyAction, KeyPolicy, KeyTarget = "state", "action", "policy", "target"
	KeySince, KeyUntil, KeyText, KeyAll       = "since", "until", "q", "all"

	// StateActive selects runs that have not ended.
	StateActive = "active"
)

// Nodes are the parts of the page.
func (r Runs) Nodes() []Node {
	return []Node{
		Section(ID("filter"), H1(Text("Runs")), r.form(),
			If(r.Wrong != "", P(Class("bad"), Role("alert"), Text(r.Wrong)))),
		Section(ID("runs"), r.table(), r.pages()),
	}
}

func (r Runs) form() Node {
	states := []string{StateActive}
	for _, s := range remediate.States() {
		states = append(states, string(s))
	}
	return Form(Class("filter"), Method("get"), Action(RunsPath), Role("search"),
		choice(r.Query, "State", KeyState, states), choice(r.Query, "Action", KeyAction, r.Actions),
		choice(r.Query, "Policy", KeyPolicy, r.Names.Policies), choice(r.Query, "Target", KeyTarget, r.Names.Targets),
		field(r.Query, "From (UTC)", KeySince, "datetime-local"),
		field(r.Query, "Until (UTC)", KeyUntil, "datetime-local"), field(r.Query, "Text", KeyText, "search"),
		Label(Class("check"), Input(Type("checkbox"), Name(KeyAll), Value("1"),
			If(r.Query.Get(KeyAll) != "", Checked())), Text("also those that did nothing")),
		Button(Type("submit"), Text("Filter")), A(Href(RunsPath), Text("Clear")))
}

func (r Runs) table() Node {
	if len(r.Runs) == 0 {
		text := "No run matches."
		if r.Next > 0 {
			text = "No run matches among those that were looked at."
		}
		return P(Class("soft"), Text(text))
	}
	columns := []string{"Run", "State", "Action", "On", "Before → after", "Why", "Changed"}
	return Table(Class("wide"), heads(columns...),
		TBody(Map(r.Runs, func(l Listed) Node {
			return Tr(
				Td(Class("num"), Data("name", "Run"), A(Href(RunPath+strconv.FormatInt(l.ID, 10)),
					Text(strconv.FormatInt(l.ID, 10)))),
				Td(Data("name", "State"), pill(class(l.State), string(l.State))),
				Td(Data("name", "Action"), Span(Class("num"), Text(l.Request.Action)), Text(" "), Small(Text(l.by()))),
				Td(Data("name", "On"), Text(subject(l.Request))),
				Td(Class("num"), Data("name", "Before → after"), Text(Quantity(l.Lowers, l.Before)+" → "+
					Quantity(l.Lowers, l.After))),
				Td(Data("name", "Why"), Text(l.Why)),
				Td(Class("num"), Data("name", "Changed"), since(r.At, l.Changed)),
			)
		})))
}

// by says who asked for a run.
func (l Listed) by() string {
	if l.Request.Policy != "" {
		return "policy " + l.Request.Policy
	}
	return l.Request.By
}

func (r Runs) pages() Node {
	older := "Older runs"
	if len(r.Runs) == 0 {
		older = "Look among older runs"
	}
	return parts(RunsPath, r.Query, r.Next, older)
}

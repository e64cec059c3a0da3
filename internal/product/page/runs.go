package page

import (
	"maps"
	"net/url"
	"slices"
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
	KeyBefore                                 = "before"

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
		r.choice("State", KeyState, states), r.choice("Action", KeyAction, r.Actions),
		r.choice("Policy", KeyPolicy, r.Names.Policies), r.choice("Target", KeyTarget, r.Names.Targets),
		r.field("From (UTC)", KeySince, "datetime-local"), r.field("Until (UTC)", KeyUntil, "datetime-local"),
		r.field("Text", KeyText, "search"),
		Label(Class("check"), Input(Type("checkbox"), Name(KeyAll), Value("1"),
			If(r.Query.Get(KeyAll) != "", Checked())), Text("also those that did nothing")),
		Button(Type("submit"), Text("Filter")), A(Href(RunsPath), Text("Clear")))
}

func (r Runs) choice(text, key string, all []string) Node {
	chosen := r.Query.Get(key)
	if chosen != "" && !slices.Contains(all, chosen) { // a policy that is gone has runs still
		all = append(slices.Clone(all), chosen)
	}
	return Label(Text(text), Select(Name(key), Option(Value(""), Text("any")), Map(all, func(s string) Node {
		return Option(Value(s), If(s == chosen, Selected()), Text(s))
	})))
}

func (r Runs) field(text, key, kind string) Node {
	return Label(Text(text), Input(Type(kind), Name(key), Value(r.Query.Get(key)), AutoComplete("off")))
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

// pages lead to the newest part and to the one before.
func (r Runs) pages() Node {
	at := func(before int64) string {
		query := make(url.Values)
		maps.Copy(query, r.Query)
		query.Del(KeyBefore)
		if before > 0 {
			query.Set(KeyBefore, strconv.FormatInt(before, 10))
		}
		return link(RunsPath, query)
	}
	older := "Older runs"
	if len(r.Runs) == 0 {
		older = "Look among older runs"
	}
	return Nav(Class("pages"), Aria("label", "Parts of the list"),
		If(r.Query.Get(KeyBefore) != "", A(Href(at(0)), Text("The newest"))),
		If(r.Next > 0, A(Href(at(r.Next)), Rel("next"), Text(older))))
}

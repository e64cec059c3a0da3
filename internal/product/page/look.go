package page

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Where what is wrong with the targets is shown, and the plan of what mends it.
const (
	LookPath = "/look"
	PlanPath = "/look/plan"
)

// The keys of the query, and the fields of the form with which a plan is asked for.
const (
	KeyServer, KeyHarm                    = "server", "harm"
	FieldAction, FieldSubject, FieldParam = "action", "subject.", "with."
)

// findingsShown is how many findings a page has. A server or a harm shows the rest.
const findingsShown = 100

// Look is what is wrong with the targets.
type Look struct {
	Report       look.Report
	May          May
	Server, Harm string // which are shown; "": all
}

// Nodes are the parts of the page.
func (l Look) Nodes() []Node {
	return []Node{
		Section(ID("sums"), H1(Text(l.heading())), l.sums(), l.choices()),
		l.findings(), l.left(), l.unknown(), l.targets(),
	}
}

// heading says in one line what matters most. What is not known is never fine.
func (l Look) heading() string {
	n := l.counts()
	var parts []string
	for _, one := range []struct {
		count     int64
		one, many string
	}{{n[remediate.Critical], "critical finding", "critical findings"}, {n[remediate.Warning], "warning", "warnings"},
		{n[remediate.Info], "hint", "hints"}} {
		if one.count > 0 {
			parts = append(parts, plural(one.count, one.one, one.many))
		}
	}
	if k := int64(len(l.Report.Unknown)); k > 0 {
		parts = append(parts, plural(k, "question", "questions")+" without an answer")
	}
	if len(parts) == 0 {
		parts = []string{"Nothing is wrong in what was looked at"}
	}
	if !l.Report.Complete {
		parts = append(parts, "not everything has been read yet: load the page again")
	}
	return strings.Join(parts, ", ")
}

func (l Look) counts() map[remediate.Severity]int64 {
	n := make(map[remediate.Severity]int64)
	for _, f := range l.Report.Findings {
		n[remediate.SeverityOf(f.Severity)]++
	}
	return n
}

func (l Look) sums() Node {
	n := l.counts()
	sum := func(class string, count int64, text, to string) Node {
		if count == 0 {
			class = ""
		}
		return Li(Class(class), B(Text(strconv.FormatInt(count, 10))), A(Href(to), Text(text)))
	}
	return Ul(Class("sums"), sum("bad", n[remediate.Critical], "critical", "#findings"),
		sum("busy", n[remediate.Warning], "warnings", "#findings"), sum("", n[remediate.Info], "hints", "#findings"),
		sum("ask", int64(len(l.Report.Unknown)), "not known", "#unknown"),
		sum("", int64(len(l.Report.Targets)), "targets", "#targets"))
}

// choices lead to the findings of one server or one harm.
func (l Look) choices() Node {
	at := func(server, harm string) string {
		query := url.Values{}
		for key, value := range map[string]string{KeyServer: server, KeyHarm: harm} {
			if value != "" {
				query.Set(key, value)
			}
		}
		return link(LookPath, query)
	}
	servers := make(map[string]bool)
	for _, f := range l.Report.Findings {
		servers[f.Server] = true
	}
	if len(servers) == 0 {
		return nil
	}
	choice := func(text, to string, chosen bool) Node {
		return A(Href(to), If(chosen, Aria("current", "true")), Text(text))
	}
	return Group{
		Nav(Class("pages"), Aria("label", "Servers"), choice("every server", at("", l.Harm), l.Server == ""),
			Map(slices.Sorted(maps.Keys(servers)), func(s string) Node {
				return choice(s, at(s, l.Harm), s == l.Server)
			})),
		Nav(Class("pages"), Aria("label", "What is at risk"), choice("every harm", at(l.Server, ""), l.Harm == ""),
			Map(look.Harms(), func(h look.Harm) Node {
				return choice(string(h), at(l.Server, string(h)), string(h) == l.Harm)
			})),
	}
}

// chosen are the findings that are asked for.
func (l Look) chosen() (all []look.Finding) {
	for _, f := range l.Report.Findings {
		if (l.Server == "" || f.Server == l.Server) && (l.Harm == "" || string(f.Harm) == l.Harm) {
			all = append(all, f)
		}
	}
	return all
}

func (l Look) findings() Node {
	all := l.chosen()
	shown := all[:min(len(all), findingsShown)]
	return Section(ID("findings"), H2(Text("What was found")),
		If(len(all) == 0, P(Class("soft"), Text("Nothing of that kind."))),
		Ul(Class("list"), Map(shown, l.finding)),
		If(len(all) > len(shown), P(Class("soft"), Text(plural(int64(len(all)-len(shown)), "more finding",
			"more findings")+": choose a server or a harm above."))))
}

func (l Look) finding(f look.Finding) Node {
	severity := remediate.SeverityOf(f.Severity)
	amount := ""
	switch {
	case f.Bytes > 0:
		amount = remediate.Quantity("_bytes", f.Bytes)
	case f.Seconds > 0:
		amount = remediate.Quantity("_seconds", f.Seconds)
	}
	return Li(ID("f-"+f.Key()), Class(entryClass(rating(severity))),
		Div(Class("row"), pill(rating(severity), f.Severity), pill("", string(f.Harm)), Strong(Text(f.Title)),
			If(amount != "", Span(Class("end num"), Text(amount)))),
		labels(f.Subject),
		P(Text("Cost: "+f.Cost+".")),
		Ul(Class("evidence"), Map(f.Evidence, func(e look.Evidence) Node { return l.evidence(e) })),
		l.does(f))
}

// entryClass is the class of a list's entry.
func entryClass(rated string) string {
	if rated == "" {
		return "info"
	}
	return rated
}

func (l Look) evidence(e look.Evidence) Node {
	return Li(Small(Code(Text(e.What)), Text(" = "), B(Text(e.Value)), Text(" – "+e.From+", "),
		since(l.Report.At, e.At), Iff(e.Since != nil, func() Node {
			return Group{Text("; counted since "), moment(*e.Since)}
		}), If(e.Note != "", Text("; "+e.Note))))
}

// does says what mends a finding: an action, with the way to its plan, or a person.
func (l Look) does(f look.Finding) Node {
	var content Group
	if c := f.Candidate; c != nil {
		content = append(content, P(pill("ask", "candidate"), Text(" Evidence since "), moment(c.Since),
			Text(", enough on "), moment(c.Enough), If(c.Why != "", Text("; "+c.Why)),
			Text(". Until then nothing is planned.")))
	}
	if p := f.Plan; p != nil {
		content = append(content, P(Strong(Text(p.Action)),
			Text(" mends it. Nothing is done before its plan was seen.")),
			If(p.Command != "", Pre(Text(p.Command))), If(l.May.Operate, planForm(*p, "p-"+f.Key())))
	}
	if f.ByHand != "" {
		sql := strings.HasSuffix(f.ByHand, ";")
		content = append(content, If(sql, Pre(Text(f.ByHand))), If(!sql, P(Text(f.ByHand))))
	}
	if len(content) == 0 {
		return nil
	}
	return Div(Class("does"), content)
}

// planForm asks for the plan of an action. The id, if any, is that of its button.
func planForm(p look.Plan, id string) Node {
	field := func(prefix string, all map[string]string) Node {
		return Map(slices.Sorted(maps.Keys(all)), func(name string) Node {
			return Input(Type("hidden"), Name(prefix+name), Value(all[name]))
		})
	}
	return Form(Class("line"), Method("post"), Action(PlanPath),
		Input(Type("hidden"), Name(FieldAction), Value(p.Action)), field(FieldSubject, p.Subject),
		field(FieldParam, p.Params), Button(If(id != "", ID(id)), Type("submit"), Text("Show the plan of "+p.Action)))
}

func (l Look) left() Node {
	if len(l.Report.Left) == 0 {
		return nil
	}
	return Section(ID("left"), H2(Text("More of the same")), Ul(Class("list"), Map(l.Report.Left,
		func(r look.Left) Node {
			text := fmt.Sprintf("%d more of %s on %s", r.Count, r.Kind, r.Server)
			if r.Bytes > 0 {
				text += ", " + remediate.Quantity("_bytes", r.Bytes) + " together"
			}
			return Li(Class("info"), Text(text+": each as large as those above at most."))
		})))
}

func (l Look) unknown() Node {
	if len(l.Report.Unknown) == 0 {
		return nil
	}
	return Section(ID("unknown"), H2(Text("Not known")),
		P(Class("soft"), Text("What cannot be read is not fine. These questions have no answer.")),
		Ul(Class("list"), Map(l.Report.Unknown, func(u look.Unknown) Node {
			return Li(Class("ask"), Strong(Text(u.Server+", "+u.What)), P(Text("Not known, because "+u.Why)),
				If(u.SQL != "", Pre(Text(u.SQL))))
		})))
}

func (l Look) targets() Node {
	if len(l.Report.Targets) == 0 {
		return P(Class("soft"), Text("The configuration has no targets."))
	}
	return Section(ID("targets"), H2(Text("What was looked at")), Table(Class("wide"),
		heads("Target", "Kind", "Findings", "Not read yet"),
		TBody(Map(l.Report.Targets, func(s look.Seen) Node {
			pending := "–"
			if len(s.Pending) > 0 {
				pending = strings.Join(s.Pending, ", ")
			}
			return Tr(Td(Data("name", "Target"), Text(s.Server)), Td(Data("name", "Kind"), Text(s.Kind)),
				Td(Class("num"), Data("name", "Findings"), Text(strconv.Itoa(s.Findings))),
				Td(Data("name", "Not read yet"), Text(pending)))
		}))))
}

// Plan is what an action would do now.
type Plan struct {
	Action          string
	Subject, Params map[string]string
	Plan            remediate.Plan
	Lowers, Risk    string
	Before, Limit   *float64
	Refusals        []*remediate.Refusal
	Command         string // that runs it; "" where a name cannot be typed
}

// Nodes are the parts of the page.
func (p Plan) Nodes() []Node {
	row := func(name, value string) Node { return Tr(Th(Attr("scope", "row"), Text(name)), Td(Text(value))) }
	return []Node{
		Section(ID("head"), H1(Text("Plan of "+p.Action)), labels(p.Subject), labels(p.Params),
			P(Class("soft"), Text("This is what it would do now. Nothing was done, and nothing was requested."))),
		p.held(),
		Section(ID("plan"), H2(Text("Steps")), p.steps()),
		Section(ID("effect"), H2(Text("What it lowers")), Table(Class("facts"), TBody(row("Metric", p.Lowers),
			row("Now", Quantity(p.Lowers, p.Before)), row("Limit", Quantity(p.Lowers, p.Limit)), row("Risk", p.Risk)))),
		Iff(len(p.Plan.Facts) > 0, func() Node {
			return Section(ID("facts"), H2(Text("What was seen")), Div(Class("card"), Ul(Map(p.Plan.Facts,
				func(f string) Node { return Li(Text(f)) }))))
		}),
		Section(ID("run"), H2(Text("To run it")),
			If(p.Command != "", Pre(Text(p.Command))),
			P(Text("Or name the action in a policy. What always needs approval asks for it.")),
			P(A(Href(LookPath), Text("Back to Look")))),
	}
}

// held says what keeps the action from running now.
func (p Plan) held() Node {
	if len(p.Refusals) == 0 && len(p.Plan.Needs) == 0 {
		return nil
	}
	return Section(ID("held"), H2(Text("It would not run now")), Ul(Class("list"),
		Map(p.Refusals, func(r *remediate.Refusal) Node {
			return Li(Class("busy"), Strong(Text(r.Reason+": ")), Text(r.Detail))
		}),
		Map(p.Plan.Needs, func(need string) Node { return Li(Class("bad"), Strong(Text("It needs: ")), Text(need)) })))
}

func (p Plan) steps() Node {
	if len(p.Plan.Steps) == 0 {
		return P(Class("soft"), Text("There is nothing to do."))
	}
	return Div(Class("card"), Ol(Class("steps"), Map(p.Plan.Steps, func(s remediate.Step) Node {
		return Li(Pre(Text(s.Do)), If(s.Undo != "", P(Small(Text("Undo: ")), Code(Text(s.Undo)))),
			If(s.Undo == "", P(Small(Text("Cannot be undone.")))))
	})))
}

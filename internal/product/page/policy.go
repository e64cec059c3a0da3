package page

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/remediate"
)

// PolicyView is one policy with everything that is known of it.
type PolicyView struct {
	PolicyLine
	At    time.Time
	May   May
	Hold  time.Duration // how long an alert must fire before the first step
	Limit string        // of the alerts, in place of that of their rule; "" where the rule's holds
	Expr  string        // in the same way
	Runs  []Listed      // the last ones
	Asked []Answer      // the guards that its runs meet
}

// Nodes are the parts of the page.
func (p PolicyView) Nodes() []Node {
	return []Node{p.head(), p.changes(), p.steps(), p.effect(), p.guards(), p.runs()}
}

func (p PolicyView) head() Node {
	row := func(name string, value Node) Node { return Tr(Th(Attr("scope", "row"), Text(name)), Td(value)) }
	return Section(ID("head"), H1(Text("Policy "+p.Name)), p.holds(p.At),
		Table(Class("facts"), TBody(row("Matches", p.matches()), row("Mode", p.mode()), row("Does", p.chain()),
			If(p.Hold > 0, row("Waits first", Text(model.Duration(p.Hold).String()))),
			If(p.Limit != "", row("Limit", Text(p.Limit))), If(p.Expr != "", row("Expression", Code(Text(p.Expr)))))),
		P(A(Href(PolicyPath(p.Name)+"/dry-run"), Text("Dry run: what it would decide about the alerts of the last 24 "+
			"hours"))))
}

// holds says what keeps the runs of a policy from acting by themselves.
func (p PolicyLine) holds(now time.Time) Node {
	var all Group
	for _, pause := range p.Paused {
		all = append(all, Li(Class("busy"), Div(Class("row"), pill("busy", "paused"), Strong(Text(pause.Scope)),
			Span(Text(pause.Reason)), Span(Class("end"), Text("by "+pause.By+", since "), since(now, pause.Since),
				If(!pause.Until.IsZero(), Group{Text(", until "), since(now, pause.Until)})))))
	}
	if p.Breaker != "" {
		all = append(all, Li(Class("bad"),
			Div(Class("row"), pill("bad", "stopped by its breaker"), Span(Text(p.Breaker)))))
	}
	if !p.Demoted.IsZero() {
		all = append(all, Li(Class("ask"), Div(Class("row"), pill("ask", "demoted"),
			Strong(Text("its runs need approval")), Span(Text(p.Why)),
			Span(Class("end"), Text("since "), since(now, p.Demoted)))))
	}
	if len(all) == 0 {
		return nil
	}
	return Ul(Class("list"), all)
}

// changes has the forms for what a person may say to the policy now.
func (p PolicyView) changes() Node {
	var forms Group
	if p.May.Approve {
		if !p.Demoted.IsZero() {
			forms = append(forms, p.form("promote", "Promote…", "Why it may act without approval again", "good",
				"Promote", "It acts without approval again, and its breaker is closed. Runs before do not count for "+
					"its effect any more."))
		}
		if p.Breaker != "" {
			forms = append(forms, p.form("close", "Close the breaker…", "Why its runs may try again", "good",
				"Close the breaker", "Its runs that wait go on. What failed still counts for its effect."))
		}
		if p.Demoted.IsZero() && p.Acts {
			forms = append(forms, p.form("demote", "Demote…", "Why its runs are to need approval", "bad", "Demote",
				"Its runs need approval, until a person promotes it. A run that acts already stops: at once, or "+
					"after its statement where cancelling that would leave something behind."))
		}
	}
	if p.May.Operate {
		forms = append(forms, p.pausing())
	}
	if len(forms) == 0 {
		return Section(ID("changes"), P(Class("soft"), Text("To pause it needs the role operate, to promote or "+
			"demote it the role approve.")))
	}
	return Section(ID("changes"), forms)
}

// own is a pause of the policy itself.
func (p PolicyLine) own() bool {
	for _, pause := range p.Paused {
		if pause.Scope == "policy/"+p.Name {
			return true
		}
	}
	return false
}

// pausing is the form that pauses it, or that resumes it.
func (p PolicyView) pausing() Node {
	hidden := Group{Input(Type("hidden"), Name("scope"), Value("policy/"+p.Name)),
		Input(Type("hidden"), Name("next"), Value(PolicyPath(p.Name)))}
	if p.own() {
		return Details(ID("to-resume"), Summary(Text("Resume…")), Form(Class("line"), Method("post"), Action("/resume"),
			hidden, reason("why-resume", "Why it may go on"), Button(Type("submit"), Class("good"), Text("Resume"))))
	}
	return Details(ID("to-pause"), Summary(Text("Pause…")),
		P(Text("Its runs wait, and one that acts stops, until the pause ends.")),
		Form(Class("line"), Method("post"), Action("/pause"), hidden, Label(For("hours"),
			Text("For how many hours; empty: until it is ended"), Input(ID("hours"), Type("number"), Name("hours"),
				Min("0.1"), Step("any"))),
			reason("why-pause", "Reason, for the journal"), Button(Type("submit"), Class("bad"), Text("Pause"))))
}

// form asks for the reason of a change of the policy's state.
func (p PolicyView) form(verb, summary, asks, class, button, means string) Node {
	return Details(ID("to-"+verb), Summary(Text(summary)), P(Text(means)),
		Form(Class("line"), Method("post"), Action(PolicyPath(p.Name)+"/"+verb), reason("why-"+verb, asks),
			Button(Type("submit"), Class(class), Text(button))))
}

func (p PolicyView) steps() Node {
	return Section(ID("steps"), H2(Text("Chain "), Small(Text(plural(int64(len(p.Steps)), "action", "actions")))),
		Div(Class("card"), Ol(Class("steps"), Map(p.Steps, func(s PolicyStep) Node {
			mode := "mode " + string(s.Mode)
			if s.Asks && s.Mode != remediate.Observe {
				mode += "; the action always needs approval"
			}
			return Li(Strong(Text(s.Action)), Text(", "+mode), labels(s.On), labels(s.With),
				If(s.Limit != "", P(Text("It clears the way for the next step, up to "+s.Limit+" of its own metric."))),
				If(s.Terms != "", P(Small(Text(s.Terms)))))
		}))))
}

func (p PolicyView) effect() Node {
	columns := []string{"Runs that acted", "Last " + strconv.Itoa(ShortDays) + " days",
		"Last " + strconv.Itoa(LongDays) + " days"}
	long := results(p.Long)
	n := -1
	return Section(ID("effect"), H2(Text("Effect")),
		Iff(p.Judged > 0, func() Node {
			text := fmt.Sprintf("Of the last %s with a verdict %d resolved the alert for good",
				plural(int64(p.Judged), "run", "runs"), p.Resolved)
			if p.Promised > 0 {
				text += fmt.Sprintf("; it is demoted when that promises less than %g %%", p.Promised*100)
			}
			return P(Text(text + "."))
		}),
		Table(heads(columns...), TBody(Map(results(p.Short), func(r result) Node {
			n++
			return Tr(Th(Attr("scope", "row"), Text(r.name)), Td(Class("num"), Text(strconv.Itoa(r.runs))),
				Td(Class("num"), Text(strconv.Itoa(long[n].runs))))
		}))),
		Iff(!p.Long.Since.IsZero(), func() Node {
			return P(Class("soft"), Text("More runs acted than are counted: those since "), moment(p.Long.Since),
				Text("."))
		}),
		P(Class("soft"), Text("Last run that acted: "), p.last(p.At)))
}

func (p PolicyView) guards() Node {
	if len(p.Asked) == 0 {
		return nil
	}
	return Section(ID("guards"), H2(Text("Guards")), Details(ID("what-guards-ask"),
		Summary(Text(plural(int64(len(p.Asked)), "guard is", "guards are")+" asked before a run of it acts")),
		Ul(Map(p.Asked, func(a Answer) Node { return Li(Strong(Text(a.Guard)), Text(": "+a.Doc)) }))))
}

func (p PolicyView) runs() Node {
	if len(p.Runs) == 0 {
		return Section(ID("runs"), H2(Text("Last runs")), P(Class("soft"), Text("It has made no run yet.")))
	}
	return Section(ID("runs"), H2(Text("Last runs")), Runs{At: p.At, Runs: p.Runs}.table(),
		P(A(Href(link(RunsPath, map[string][]string{KeyPolicy: {p.Name}, KeyAll: {"1"}})), Text("All its runs"))))
}

// DryRun is what a policy would decide about alerts.
type DryRun struct {
	PolicyLine
	At     time.Time
	May    May
	Since  time.Time // alerts that fire, or closed since then
	Looked int       // how many of them were looked at
	More   bool      // there are more
	Trials []Trial
}

// Trial is what the policy would decide about one alert.
type Trial struct {
	Incident remediate.Incident
	Class    string
	Does     string // in a word or two
	Why      string
	Plan     *look.Plan // of what it would ask for; nil where it asks for nothing
}

// Nodes are the parts of the page.
func (d DryRun) Nodes() []Node {
	most := ""
	if d.More {
		most = ", the newest"
	}
	return []Node{
		Section(ID("head"), H1(Text("Dry run of policy "+d.Name)), d.holds(d.At),
			P(Class("soft"), Text("What it would decide now about the alerts that fire, and would have decided about "+
				"those that closed since "), moment(d.Since), Text(" if nothing had been done about them. Nothing is "+
				"done, and nothing is journalled. "+plural(int64(d.Looked), "alert", "alerts")+most+": it matches "+
				strconv.Itoa(len(d.Trials))+" of them."))),
		Section(ID("trials"), d.table()),
		P(A(Href(PolicyPath(d.Name)), Text("Back to the policy"))),
	}
}

func (d DryRun) table() Node {
	if len(d.Trials) == 0 {
		return P(Class("soft"), Text("It matches none of these alerts."))
	}
	columns := []string{"Alert", "Fires", "Decision", "Why"}
	return Table(Class("wide"), heads(columns...), TBody(Map(d.Trials, func(t Trial) Node {
		fires := Group{Text("since "), since(d.At, t.Incident.Opened)}
		if !t.Incident.Closed.IsZero() {
			fires = Group{Text("closed "), since(d.At, t.Incident.Closed)}
		}
		return Tr(Td(Data("name", columns[0]), Strong(Text(t.Incident.Name())),
			labels(t.Incident.Alert.Labels, "alertname", "severity", "job", "instance")),
			Td(Data("name", columns[1]), fires), Td(Data("name", columns[2]), pill(t.Class, t.Does)),
			Td(Data("name", columns[3]), Text(strings.TrimSpace(t.Why)),
				Iff(t.Plan != nil && d.May.Operate, func() Node { return planForm(*t.Plan, "") })))
	})))
}

package page

import (
	"strconv"
	"strings"
	"time"

	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Now is what goes on at a moment.
type Now struct {
	At  time.Time
	May May

	Open    map[remediate.Severity]int64 // incidents
	Firing  []Firing                     // a part of them, the worst first
	First   bool                         // it is the first part
	Further string                       // where the next part is; "" where this is the last

	Awaiting []Asking
	Working  []remediate.Run // those that act or are verified, or are planned
	Waiting  int64           // runs that a guard holds
	Stuck    []Stuck
	Pauses   []Pause
	Scopes   []string // what can be paused

	Pending      []Pending
	PendingCount int64

	Targets  []TargetState
	Problems []Problem // what could not be read, each once
}

// May says what who looks may do.
type May struct{ Operate, Approve bool }

// Runbook is where people read what to do about an alert.
type Runbook struct {
	At   string // "": it has no runbook
	Host string // of a page that is not ours, as the delivery has it
}

func (r Runbook) link() Node {
	switch {
	case r.At == "":
		return nil
	case r.Host == "":
		return Span(Class("end"), A(Href(r.At), Text("runbook")))
	}
	return Span(Class("end"), A(Href(r.At), Rel("noopener noreferrer"), Text("runbook at "+r.Host)))
}

// Firing is an alert that fires, with what is done about it.
type Firing struct {
	remediate.Incident
	Runbook Runbook
	Does    Care
	Quiet   string // why no notification of it is sent: silenced or muted; "" where it is
}

// Care is what is done about an incident.
type Care struct {
	Policy string
	Run    *remediate.Run // the last one
	Class  string
	Text   string
}

// Asking is a run that awaits approval.
type Asking struct {
	remediate.Run
	Lowers string
}

// Stuck is a run that does not move, and why that is seen.
type Stuck struct {
	Run remediate.Run
	Why string
}

// Pause is a pause; Unknown says so where nothing has the name of its scope any more.
type Pause struct {
	remediate.Pause
	Unknown string
}

// Pending is an alert whose expression holds, and not yet for as long as its rule says.
type Pending struct {
	Labels map[string]string
	Since  time.Time
}

// TargetState is a target with its state.
type TargetState struct {
	Name       string
	Down       string // why it does not answer; "" where it answers
	Asked      bool   // some collector has answered, or failed
	Worst      remediate.Severity
	Open       int64 // incidents about it
	Collectors int
	Failing    []string // collectors that fail
	Last       time.Time
	Since      time.Time // since when it is down, partly read or well
}

// Problem is an error that several may have.
type Problem struct {
	Text  string
	Where []string
}

// Nodes are the parts of the page.
func (n Now) Nodes() []Node {
	return []Node{
		Section(ID("sums"), H1(Text(n.heading())), n.sums()),
		n.stuck(), n.asks(), n.firing(), n.working(), n.pauses(), n.problems(), n.pending(), n.targets(),
	}
}

// Title is what the tab says: how many are to be looked at.
func (n Now) Title() string {
	if open := n.open(); open > 0 {
		return "(" + strconv.FormatInt(open, 10) + ") Now"
	}
	return "Now"
}

func (n Now) open() (all int64) {
	for _, count := range n.Open {
		all += count
	}
	return all
}

// heading says in one line what matters most.
func (n Now) heading() string {
	down := 0
	for _, t := range n.Targets {
		if t.Down != "" {
			down++
		}
	}
	var parts []string
	if c := n.Open[remediate.Critical]; c > 0 {
		parts = append(parts, plural(c, "critical alert", "critical alerts"))
	}
	if down > 0 {
		parts = append(parts, plural(int64(down), "target does not answer", "targets do not answer"))
	}
	if len(n.Awaiting) > 0 {
		parts = append(parts, plural(int64(len(n.Awaiting)), "plan awaits approval", "plans await approval"))
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, ", ")
	case n.open() > 0:
		return plural(n.open(), "alert fires", "alerts fire") + ", none of them critical"
	}
	return "Nothing fires"
}

func (n Now) sums() Node {
	sum := func(class string, count int64, text, to string) Node {
		if count == 0 {
			class = ""
		}
		return Li(Class(class), B(Text(strconv.FormatInt(count, 10))), A(Href(to), Text(text)))
	}
	down, sick := int64(0), int64(0)
	for _, t := range n.Targets {
		switch t.class() {
		case "bad":
			down++
		case "busy":
			sick++
		}
	}
	targets, count := "busy", sick
	text := "targets to look at"
	if down > 0 {
		targets, count, text = "bad", down, "targets down"
	}
	return Ul(Class("sums"),
		sum("bad", n.Open[remediate.Critical], "critical", "#firing"),
		sum("busy", n.Open[remediate.Warning], "warning", "#firing"),
		sum("", n.Open[remediate.Info]+n.Open[remediate.Unrated], "info", "#firing"),
		sum("ask", int64(len(n.Awaiting)), "to approve", "#asks"),
		sum("busy", int64(len(n.Working)), "at work", "#working"),
		sum("busy", int64(len(n.Pauses)), "paused", "#pauses"),
		sum(targets, count, text, "#targets"),
	)
}

func (n Now) problems() Node {
	if len(n.Problems) == 0 {
		return nil
	}
	return Section(ID("problems"), H2(Text("Errors")), Ul(Class("list"), Map(n.Problems, func(p Problem) Node {
		where := p.Where
		if len(where) > 4 {
			where = append(where[:3:3], strconv.Itoa(len(p.Where)-3)+" more")
		}
		return Li(Class("bad"), Strong(Text(strings.Join(where, ", "))), Text(": "+p.Text))
	})))
}

func (n Now) stuck() Node {
	if len(n.Stuck) == 0 {
		return nil
	}
	return Section(ID("stuck"), H2(Text("Does not move")), Ul(Class("list"), Map(n.Stuck, func(s Stuck) Node {
		return Li(Class("bad"), runLink(s.Run.ID), Text(" "+s.Run.Request.Action+" of "+subject(s.Run.Request)+", "),
			pill(class(s.Run.State), string(s.Run.State)), P(Text(s.Why)))
	})))
}

func (n Now) pauses() Node {
	may := n.May.Operate && len(n.Scopes) > 0
	if len(n.Pauses) == 0 && !may {
		return nil
	}
	nth := 0
	return Section(ID("pauses"), H2(Text("Paused")),
		If(len(n.Pauses) == 0, P(Class("soft"), Text("Nothing is paused."))),
		Ul(Class("list"), Map(n.Pauses, func(p Pause) Node {
			nth++
			return n.paused(p, "resume-"+strconv.Itoa(nth))
		})),
		If(may, n.pause()))
}

func (n Now) paused(p Pause, id string) Node {
	return Li(Class("busy"),
		Div(Class("row"), Strong(Text(p.Scope)), Span(Text(p.Reason)), Span(Class("end"), Text("by "+p.By+", since "),
			since(n.At, p.Since), If(!p.Until.IsZero(), Group{Text(", until "), since(n.At, p.Until)}))),
		If(p.Unknown != "", P(Class("bad"), Text(p.Unknown))),
		If(n.May.Operate, Details(ID("of-"+id), Summary(Text("Resume…")),
			Form(Class("line"), Method("post"), Action("/resume"),
				Input(Type("hidden"), Name("scope"), Value(p.Scope)), reason(id, "Why it may go on"),
				Button(Type("submit"), Text("Resume"))))),
	)
}

// pause is the form for a new pause.
func (n Now) pause() Node {
	option := func(s string) Node { return Option(Value(s), Text(s)) }
	return Details(ID("new-pause"), Summary(Text("Pause…")),
		Form(Class("line"), Method("post"), Action("/pause"),
			Label(Text("What"), Select(Name("scope"), Map(n.Scopes, option))),
			Label(Text("For how many hours; empty: until it is ended"), Input(Type("number"), Name("hours"),
				Min("0.1"), Step("any"))),
			reason("why-pause", "Reason, for the journal"), Button(Type("submit"), Class("bad"), Text("Pause"))))
}

// ReasonLimit is how many letters a reason has at most.
const ReasonLimit = 500

// reason is the field that every change asks for.
func reason(id, text string) Node {
	return Label(For(id), Text(text), Input(ID(id), Name("why"), Required(), MaxLength(strconv.Itoa(ReasonLimit)),
		AutoComplete("off")))
}

// stepsShown is how many steps of a plan are on this page; the page of the run has all.
const stepsShown = 10

func (n Now) asks() Node {
	if len(n.Awaiting) == 0 {
		return nil
	}
	return Section(ID("asks"), H2(Text("To decide")), Ul(Class("list"), Map(n.Awaiting, func(a Asking) Node {
		return Li(Class("ask"), ID("ask-"+strconv.FormatInt(a.ID, 10)),
			Div(Class("row"), Strong(runLink(a.ID), Text(": "+a.Request.Action+" of "+subject(a.Request))),
				Span(Class("end"), Text("asked "), since(n.At, a.Changed), Text(", until "), since(n.At, a.Due))),
			P(Text(a.Why)),
			P(Class("soft"), Text(value(a.Run, a.Lowers))),
			Details(ID("plan-"+strconv.FormatInt(a.ID, 10)), Summary(Text("What it would do: "+
				plural(int64(len(a.Plan.Steps)), "step", "steps"))),
				Ol(Class("steps"), Map(a.Plan.Steps[:min(len(a.Plan.Steps), stepsShown)],
					func(s remediate.Step) Node { return Li(Pre(Text(s.Do))) }))),
			answers(a.Run, n.May, "/"),
		)
	})))
}

// value says of a run what its metric is and should be.
func value(r remediate.Run, lowers string) string {
	if lowers == "" || r.Before == nil {
		return "by " + r.Request.By
	}
	text := lowers + " is " + Quantity(lowers, r.Before)
	if r.Request.Limit != nil {
		text += ", its limit is " + Quantity(lowers, r.Request.Limit)
	}
	return text + "; by " + r.Request.By
}

// answers are the buttons for a run that awaits approval.
func answers(r remediate.Run, may May, next string) Node {
	if !may.Approve {
		return P(Class("soft"), Text("Approving it needs the role approve."))
	}
	id := strconv.FormatInt(r.ID, 10)
	return Form(Class("line"), Method("post"), Action(RunPath+id+"/answer"),
		Input(Type("hidden"), Name("plan"), Value(r.Plan.Question())), Input(Type("hidden"), Name("next"), Value(next)),
		Button(Type("submit"), Disabled(), Attr("hidden")), // Enter in the field answers nothing
		reason("why-"+id, "Reason, for the journal"),
		Button(Type("submit"), Class("good"), Name("answer"), Value("approve"), Text("Approve")),
		Button(Type("submit"), Class("bad"), Name("answer"), Value("reject"), Text("Reject")))
}

func (n Now) firing() Node {
	var content Node
	switch {
	case len(n.Firing) > 0:
		content = Ul(Class("list"), Map(n.Firing, n.fires))
	case n.First:
		content = P(Class("good"), Text("No alert fires."))
	default:
		content = P(Class("soft"), Text("No further alerts."))
	}
	return Section(ID("firing"), H2(Text("Firing")), content, Div(Class("pages"),
		If(!n.First, A(Href("/#firing"), Text("The first alerts"))),
		If(n.Further != "", A(Href(n.Further), Text("Further alerts")))))
}

func (n Now) fires(f Firing) Node {
	severity := f.Severity()
	class := rating(severity)
	if class == "" {
		class = "info"
	}
	summary := f.Alert.Annotations["summary"]
	return Li(Class(class),
		Div(Class("row"), pill(rating(severity), severity.String()), Strong(Text(f.Name())),
			If(summary != "", Span(Text(summary))),
			Span(Class("end"), Text("since "), since(n.At, f.Opened))),
		labels(f.Alert.Labels, "alertname", "severity", "job", "instance"),
		Div(Class("does row"),
			If(f.Does.Policy != "", Span(Class("soft"), Text("policy "+f.Does.Policy))),
			Iff(f.Does.Run != nil, func() Node {
				return Group{runLink(f.Does.Run.ID), Text(f.Does.Run.Request.Action),
					pill(f.Does.Class, string(f.Does.Run.State))}
			}),
			Span(Class(f.Does.Class), Text(f.Does.Text)),
			If(f.Quiet != "", Span(Class("busy"), Text(f.Quiet))),
			f.Runbook.link()),
	)
}

func (n Now) working() Node {
	if len(n.Working) == 0 && n.Waiting == 0 {
		return nil
	}
	return Section(ID("working"), H2(Text("At work")), Ul(Class("list"), Map(n.Working, func(r remediate.Run) Node {
		return Li(Class("busy"), Div(Class("row"), Strong(runLink(r.ID), Text(": "+r.Request.Action)),
			Span(Text(subject(r.Request))), pill(class(r.State), string(r.State)), Span(Text(Doing(r))),
			Span(Class("end"), Text("since "), since(n.At, r.Changed))))
	})), If(n.Waiting > 0, P(A(Href("/runs?state=waiting"), Text(plural(n.Waiting, "run waits", "runs wait"))),
		Text(" for a window, another run or a pause."))))
}

// Doing says how far a run is.
func Doing(r remediate.Run) string {
	switch {
	case r.State == remediate.Allowed && len(r.Plan.Steps) > 0:
		return "step " + strconv.Itoa(min(r.Done+1, len(r.Plan.Steps))) + " of " + strconv.Itoa(len(r.Plan.Steps))
	case r.State == remediate.Applied:
		return "all steps are done; it is being verified"
	case r.State == remediate.Received:
		return "its plan is being made"
	}
	return r.Why
}

func (n Now) pending() Node {
	if n.PendingCount == 0 {
		return nil
	}
	more := n.PendingCount - int64(len(n.Pending))
	return Section(ID("pending"), H2(Text("Pending: fires if it goes on")), Ul(Class("list"), Map(n.Pending,
		func(p Pending) Node {
			return Li(Div(Class("row"), Strong(Text(p.Labels["alertname"])), Span(Class("end"), Text("since "),
				since(n.At, p.Since))), labels(p.Labels, "alertname", "severity", "job", "instance", "__name__"))
		})), If(more > 0, P(Class("soft"), Text("and "+strconv.FormatInt(more, 10)+" more"))))
}

func (t TargetState) class() string {
	switch {
	case t.Down != "" || t.Worst == remediate.Critical && t.Open > 0:
		return "bad"
	case len(t.Failing) > 0 || t.Worst == remediate.Warning && t.Open > 0:
		return "busy"
	case !t.Asked:
		return ""
	}
	return "good"
}

// Rank is how far a target is from well: those that are worse are shown first.
func (t TargetState) Rank() int {
	return map[string]int{"bad": 3, "busy": 2, "": 1}[t.class()]
}

func (t TargetState) state() string {
	switch {
	case t.Down != "":
		return "down"
	case t.Open > 0 && t.Worst >= remediate.Warning:
		return t.Worst.String()
	case len(t.Failing) > 0:
		return "partly read"
	case !t.Asked:
		return "not read yet"
	}
	return "well"
}

func (n Now) targets() Node {
	if len(n.Targets) == 0 {
		return Section(ID("targets"), H2(Text("Targets")), P(Class("soft"), Text("None is configured.")))
	}
	return Section(ID("targets"), H2(Text("Targets")), Ul(Class("targets list"), Map(n.Targets, n.target)))
}

func (n Now) target(t TargetState) Node {
	return Li(Class(t.class()),
		Div(Class("row"), H3(Text(t.Name)), pill(t.class(), t.state()),
			If(t.Open > 0, Span(Class("end"), A(Href("#firing"), Text(plural(t.Open, "alert", "alerts")))))),
		If(t.Down != "", P(Class("bad"), Text(t.Down))),
		P(Class("soft"), Text(plural(int64(t.Collectors), "collector", "collectors")+", read "), since(n.At, t.Last),
			If(len(t.Failing) > 0, Span(Class("busy"), Text("; failing: "+strings.Join(some(t.Failing, 4), ", "))))))
}

// some returns the first of a list, and how many more there are.
func some(all []string, n int) []string {
	if len(all) <= n {
		return all
	}
	return append(all[:n:n], "and "+strconv.Itoa(len(all)-n)+" more")
}

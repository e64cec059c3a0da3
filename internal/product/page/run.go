package page

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Run is one run with everything that is known of it.
type Run struct {
	At       time.Time
	May      May
	Run      remediate.Run
	Lowers   string
	Entries  []remediate.Entry
	Incident *remediate.Incident
	Runbook  Runbook
	Guards   []Answer
	Chart    *Chart // nil where there is no metric, or no Prometheus

	// Stopping says why a run that a person has cancelled has not ended yet.
	Stopping string
	// Doc says what the action does; "" where no target takes it any more.
	Doc string
	// Needs says why who looks may not approve it though the role would do; "" where nothing is in the way.
	Needs string
}

// Answer is what a guard said to a run.
type Answer struct {
	Guard string
	Doc   string
	Class string
	Said  string
}

// entriesShown is how many entries of the journal a page has: a run that waits for days has hundreds.
const entriesShown = 100

// Nodes are the parts of the page.
func (r Run) Nodes() []Node {
	return []Node{r.head(), r.decide(), r.steps(), r.effect(), r.evidence(), r.journal(), r.again()}
}

func (r Run) head() Node {
	q := r.Run.Request
	running := ""
	if r.Run.State.Acting() {
		running = " running"
	}
	return Section(ID("head"),
		H1(Text("Run "+strconv.FormatInt(r.Run.ID, 10)+": "+q.Action+" of "+subject(q))),
		Div(Class("card "+class(r.Run.State)),
			Div(Class("row"), Role("status"), pill(class(r.Run.State)+running, r.Run.State.Named(r.Run.Reason)),
				Strong(Text(Doing(r.Run))), Span(Class("end"), Text("since "), since(r.At, r.Run.Changed))),
			If(r.Run.Why != Doing(r.Run), P(Text(r.Run.Why))),
			If(r.Stopping != "", P(Class("busy"), Text(r.Stopping))),
			If(r.Run.State == remediate.Waiting && r.Run.Due.After(r.At), P(Class("soft"),
				Text("It is looked at again at "), since(r.At, r.Run.Due))),
			labels(q.Subject), labels(q.Params),
			P(Class("soft"), Text("By "+q.By+r.origin()+", mode "+string(q.Mode)+", created "),
				since(r.At, r.Run.Created)),
		))
}

func (r Run) origin() string {
	switch q := r.Run.Request; {
	case q.Policy != "":
		return ", policy " + q.Policy + ", step " + strconv.Itoa(q.Step+1) + " of its chain"
	case q.Schedule != "":
		return ", schedule " + q.Schedule
	}
	return ""
}

// decide has the forms for what may be said to the run now.
func (r Run) decide() Node {
	id := strconv.FormatInt(r.Run.ID, 10)
	var content Group
	if r.Run.State == remediate.AwaitingApproval && r.Run.Cancel == "" {
		content = append(content, H2(Text("To decide")), Div(Class("card ask"),
			P(Strong(Text("May it do this? ")), Text("The answer is for the plan below. If it has changed when the "+
				"run acts, it asks again. It expires "), since(r.At, r.Run.Due), Text(".")),
			r.amount(),
			If(r.Needs != "", P(Class("busy"), Text(r.Needs))),
			If(r.Needs == "", answers(r.Run, r.May, RunPath+id))))
	}
	if !r.Run.State.Ended() && r.Run.State != remediate.AwaitingApproval && r.Run.State != remediate.Applied &&
		r.Run.Cancel == "" && r.May.Operate {
		content = append(content, Form(Class("line"), Method("post"), Action(RunPath+id+"/cancel"),
			reason("cancel-"+id, "Reason to cancel it"), Button(Type("submit"), Class("bad"), Text("Cancel the run"))))
	}
	if len(content) == 0 {
		return nil
	}
	return Section(ID("decide"), content)
}

// amount says how much an approval is for.
func (r Run) amount() Node {
	a := r.Run.Plan.Amount
	if a == nil {
		return nil
	}
	return P(Text("It removes " + a.String() + ". The approval covers up to " + a.Tolerated().String() +
		"; for more it asks again."))
}

func (r Run) steps() Node {
	if len(r.Run.Plan.Steps) == 0 {
		return nil
	}
	n := 0
	return Section(ID("plan"), H2(Text("Plan "), Small(Text(r.Run.Plan.Question()))),
		Iff(len(r.Run.Plan.Needs) > 0, func() Node {
			return P(Class("bad"), Text("Before it may act it needs: "+strings.Join(r.Run.Plan.Needs, "; ")))
		}),
		Div(Class("card"), Ol(Class("steps"), Map(r.Run.Plan.Steps, func(s remediate.Step) Node {
			n++
			state, now := r.step(n)
			return Li(If(now, Class("now")), state, Pre(Text(s.Do)),
				If(s.Undo != "", P(Small(Text("Undo: ")), Code(Text(s.Undo)))),
				If(s.Undo == "", P(Small(Text("Cannot be undone.")))),
				If(s.Left != "" && n == r.Run.Begun && n > r.Run.Done, P(Class("busy"), Text(s.Left))))
		}))))
}

// step says how far the nth step is.
func (r Run) step(n int) (state Node, now bool) {
	switch {
	case n <= r.Run.Done:
		return pill("good", "done"), false
	case n <= r.Run.Begun && r.Run.State == remediate.Allowed:
		return pill("busy running", "running"), true
	case n <= r.Run.Begun:
		return pill("bad", "begun"), false
	}
	return pill("", "not begun"), false
}

func (r Run) effect() Node {
	if r.Lowers == "" {
		return nil
	}
	row := func(name string, value Node) Node { return Tr(Th(Attr("scope", "row"), Text(name)), Td(value)) }
	after := Text(Quantity(r.Lowers, r.Run.After))
	if r.Run.After == nil && !r.Run.State.Ended() {
		after = Text("measured when all steps are done")
	}
	return Section(ID("effect"), H2(Text("Before → after")), Div(Class("two"),
		Table(Class("facts"), TBody(row("Metric", Code(Text(r.Lowers))),
			row("Before", Text(Quantity(r.Lowers, r.Run.Before))), row("After", after),
			row("Limit", Text(Quantity(r.Lowers, r.Run.Request.Limit))))),
		Iff(r.Chart != nil, func() Node {
			if r.Chart.Missing != "" {
				return P(Class("soft"), Text("No chart: "+r.Chart.Missing))
			}
			return Div(Class("card"), r.Chart.svg(), P(Small(Text(
				"The run acts in the coloured time. Dashed: the limit."))))
		})))
}

func (r Run) evidence() Node {
	return Section(ID("evidence"), Div(Class("two"),
		r.guards(),
		Div(Iff(len(r.Run.Plan.Facts) > 0, func() Node {
			return Group{H2(Text("What was seen")), Div(Class("card"), Ul(Map(r.Run.Plan.Facts,
				func(f string) Node { return Li(Text(f)) })))}
		}), r.alert(), If(r.Doc != "", Group{H2(Text("The action")), P(Text(r.Doc))}))))
}

// guards has those first that do not pass, and what each asks in a part that can be opened.
func (r Run) guards() Node {
	if len(r.Guards) == 0 {
		return nil
	}
	var held, others Group
	for _, a := range r.Guards {
		if a.Class == "busy" {
			held = append(held, Li(Strong(Text(a.Guard+": ")), Span(Class(a.Class), Text(a.Said))))
			continue
		}
		others = append(others, Li(Span(Class(a.Class), Text(a.Guard+": ")), Text(a.Said)))
	}
	return Div(H2(Text("Guards")), Div(Class("card"),
		If(len(held) > 0, Ul(held)), If(len(others) > 0, Ul(Class("guards"), others)),
		Details(ID("what-guards-ask"), Summary(Text("What they ask")), Ul(Map(r.Guards, func(a Answer) Node {
			return Li(Strong(Text(a.Guard)), Text(": "+a.Doc))
		})))))
}

func (r Run) alert() Node {
	if r.Incident == nil {
		return nil
	}
	e := *r.Incident
	open := Group{Text("fires since "), since(r.At, e.Opened)}
	if !e.Closed.IsZero() {
		open = Group{Text("fired from "), moment(e.Opened), Text(" to "), moment(e.Closed), Text(": " + e.Why)}
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(e.Alert.Annotations)), func(n string) bool {
		return n == "runbook_url" || n == "limit" || n == "action" || n == "decay"
	})
	return Group{H2(Text("The alert")), Div(Class("card"),
		Div(Class("row"), pill(rating(e.Severity()), e.Severity().String()), Strong(Text(e.Name())),
			r.Runbook.link()),
		P(open), labels(e.Alert.Labels, "alertname", "severity", "job", "instance"),
		Map(names, func(n string) Node { return P(Small(Text(n+": ")), Text(e.Alert.Annotations[n])) }),
		If(e.Alert.Expr != "", Pre(Text(e.Alert.Expr))))}
}

func (r Run) journal() Node {
	shown, left := r.Entries, len(r.Entries)-entriesShown
	if left > 0 {
		shown = shown[left:]
	}
	columns := []string{"Entry", "At", "What", "By", "Why"}
	return Section(ID("journal"), H2(Text("Journal")),
		If(left > 0, P(Class("soft"), Text(strconv.Itoa(left)+" earlier entries are left out."))),
		Table(Class("wide"), heads(columns...),
			TBody(Map(shown, func(e remediate.Entry) Node {
				return Tr(Td(Class("num"), Data("name", "Entry"), Text(strconv.FormatInt(e.Seq, 10))),
					Td(Class("num"), Data("name", "At"), moment(e.At)), Td(Data("name", "What"), happened(e)),
					Td(Data("name", "By"), Text(e.By)), Td(Data("name", "Why"), Text(e.Why)))
			}))))
}

// happened says what an entry is.
func happened(e remediate.Entry) Node {
	switch {
	case e.Step > 0 && e.Done:
		return pill("good", "step "+strconv.Itoa(e.Step)+" done")
	case e.Step > 0:
		return pill("busy", "step "+strconv.Itoa(e.Step)+" begun")
	case e.Note != "":
		return pill("ask", string(e.Note))
	case e.To == "":
		return Text("note")
	}
	return pill(class(e.To), e.To.Named(e.Reason))
}

// again is the form for a run that has ended.
func (r Run) again() Node {
	if !r.Run.State.Ended() || !r.May.Operate || r.Run.State == remediate.Observed {
		return nil
	}
	if r.Run.Request.Mode == remediate.Ask && !r.May.Approve {
		return Section(ID("again"), P(Class("soft"),
			Text("To run it once more needs the role approve, as it needed approval.")))
	}
	id := strconv.FormatInt(r.Run.ID, 10)
	return Section(ID("again"), H2(Text("Once more")),
		P(Class("soft"), Text("A new run of the same action on the same subject, by hand: it plans anew and asks the "+
			"guards that hold for what a person requests.")),
		Form(Class("line"), Method("post"), Action(RunPath+id+"/retry"),
			reason("retry-"+id, "Reason, for the journal"), Button(Type("submit"), Text("Retry"))))
}

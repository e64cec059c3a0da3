package page

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

// DeadLetterPath is where the page of a dead letter is, before its number.
const DeadLetterPath = InboxPath + "/dead_letters/"

// Inbox is what came in and is left to people: alerts, deliveries that could not be read, and silences.
type Inbox struct {
	At  time.Time
	May May

	Open    int64  // incidents
	Left    []Left // of those that were looked at, the worst first
	Looked  int    // how many incidents this part has looked at
	First   bool   // it is the first part
	Further string // where the next part is; "" where this is the last

	Letters []remediate.DeadLetter // the newest first, without their bodies
	Before  bool                   // they are not the newest
	Older   int64                  // the part before begins before this one; 0: this is the last

	Silences     []inbox.Silence
	More         int    // silences that are not listed
	Unknown      string // why they are not known
	Alertmanager bool   // one is asked
}

// KeyLetters is the key of the address for the part of the dead letters.
const KeyLetters = "letters"

// Left is an alert about which nothing is done.
type Left struct {
	remediate.Incident
	Runbook Runbook
	Does    Care
	Paged   bool   // people are notified of it
	Quiet   string // why no notification of it is sent; "" where it is
}

// Nodes are the parts of the page.
func (b Inbox) Nodes() []Node {
	return []Node{
		Section(ID("head"), H1(Text("Inbox")), P(Class("soft"), Text("What came in and is left to people. What upkeep "+
			"works on is in "), A(Href("/"), Text("Now")), Text("."))),
		b.left(), b.letters(), b.silences(),
	}
}

func (b Inbox) left() Node {
	var content Node
	switch {
	case len(b.Left) > 0:
		content = Ul(Class("list"), Map(b.Left, b.leftOne))
	case b.Open == 0:
		content = P(Class("good"), Text("No alert fires."))
	default:
		content = P(Class("soft"), Text("None of the "+plural(int64(b.Looked), "alert", "alerts")+
			" that were looked at is left to people."))
	}
	return Section(ID("left"), H2(Text("Left to people "), Small(Text(plural(b.Open, "alert fires", "alerts fire")))),
		content, Nav(Class("pages"), Aria("label", "Parts of the alerts"),
			If(!b.First, A(Href(InboxPath), Text("The first alerts"))),
			If(b.Further != "", A(Href(b.Further), Rel("next"), Text("Look among further alerts")))))
}

func (b Inbox) leftOne(l Left) Node {
	severity := l.Severity()
	summary := l.Alert.Annotations["summary"]
	return Li(Class(entryClass(rating(severity))),
		Div(Class("row"), pill(rating(severity), severity.String()), Strong(Text(l.Name())),
			If(summary != "", Span(Text(summary))), Span(Class("end"), Text("since "), since(b.At, l.Opened))),
		labels(l.Alert.Labels, "alertname", "severity", "job", "instance"),
		Div(Class("does row"),
			If(l.Does.Policy != "", Span(A(Href(PolicyPath(l.Does.Policy)), Text("policy "+l.Does.Policy)))),
			Iff(l.Does.Run != nil, func() Node {
				return Group{runLink(l.Does.Run.ID), Text(l.Does.Run.Request.Action),
					pill(class(l.Does.Run.State), string(l.Does.Run.State))}
			}),
			If(l.Paged, pill("ask", "people are notified")), Span(Class(l.Does.Class), Text(l.Does.Text)),
			If(l.Quiet != "", Span(Class("busy"), Text(l.Quiet))), l.Runbook.link()),
	)
}

func (b Inbox) letters() Node {
	title := H2(Text("Dead letters"))
	switch {
	case !b.May.Operate:
		return Section(ID("letters"), title, P(Class("soft"), Text("Deliveries that could not be read may have "+
			"secrets in them: to list them needs the role operate.")))
	case len(b.Letters) == 0 && !b.Before:
		return Section(ID("letters"), title, P(Class("good"), Text("Every delivery could be read.")))
	}
	columns := []string{"Number", "Received", "Sender", "Source", "Answered", "Size", "Why it could not be read"}
	cell := func(n int, content ...Node) Node { return Td(Class("word"), Data("name", columns[n]), Group(content)) }
	at := func(before int64) string {
		query := url.Values{}
		if before > 0 {
			query.Set(KeyLetters, strconv.FormatInt(before, 10))
		}
		return link(InboxPath, query) + "#letters"
	}
	return Section(ID("letters"), title, P(Class("soft"), Text("Deliveries that could not be read. Their senders were "+
		"answered with an error.")), Table(Class("wide"), heads(columns...), TBody(Map(b.Letters,
		func(l remediate.DeadLetter) Node {
			id := strconv.FormatInt(l.ID, 10)
			return Tr(cell(0, A(Href(DeadLetterPath+id), Text(id))), cell(1, since(b.At, l.Received)),
				cell(2, Text(l.Remote)), cell(3, Text(l.Source)), cell(4, Text(strconv.Itoa(l.Status))),
				cell(5, Text(remediate.Quantity("_bytes", float64(l.Size)))),
				Td(Data("name", columns[6]), Text(l.Error)))
		}))),
		Nav(Class("pages"), Aria("label", "Parts of the dead letters"),
			If(b.Before, A(Href(at(0)), Text("The newest"))),
			If(b.Older > 0, A(Href(at(b.Older)), Rel("next"), Text("Older dead letters")))))
}

func (b Inbox) silences() Node {
	var content Node
	switch {
	case !b.Alertmanager:
		content = P(Class("soft"), Text("No Alertmanager is asked: the configuration has none."))
	case b.Unknown != "":
		content = P(Class("bad"), Text("Which silences there are is not known: "+b.Unknown))
	case len(b.Silences) == 0:
		content = P(Class("soft"), Text("Nothing is silenced."))
	default:
		content = Group{Ul(Class("list"), Map(b.Silences, b.silence)),
			If(b.More > 0, P(Class("soft"), Text("and "+strconv.Itoa(b.More)+" more, which end later")))}
	}
	return Section(ID("silences"), H2(Text("Silences "), Small(Text("in Alertmanager"))), content)
}

func (b Inbox) silence(s inbox.Silence) Node {
	var matchers []string
	for _, m := range s.Matchers {
		matchers = append(matchers, m.String())
	}
	class, from := "busy", Group(nil)
	if s.State == prom.SilencePending {
		class, from = "info", Group{Text("from "), since(b.At, s.StartsAt), Text(" ")}
	}
	return Li(Class(class), Div(Class("row"), Code(Text(strings.Join(matchers, ", "))),
		If(s.Run != 0, Span(pill("ask", "by upkeep"), Text(" for "), runLink(s.Run))),
		If(s.Run == 0, Span(Text("by "+s.CreatedBy+": "+s.Comment))),
		Span(Class("end"), from, Text("until "), since(b.At, s.EndsAt))))
}

// DeadLetter is one with its body.
type DeadLetter struct {
	At time.Time
	remediate.DeadLetter
}

// Nodes are the parts of the page.
func (l DeadLetter) Nodes() []Node {
	row := func(name string, value Node) Node { return Tr(Th(Attr("scope", "row"), Text(name)), Td(value)) }
	kept := P(Class("soft"), Text("The body is whole."))
	if int64(len(l.Body)) < l.Size {
		kept = P(Class("soft"), Text("The first "+remediate.Quantity("_bytes", float64(len(l.Body)))+" were kept."))
	}
	return []Node{
		Section(ID("head"), H1(Text("Dead letter "+strconv.FormatInt(l.ID, 10))), P(Class("bad"), Text(l.Error)),
			Table(Class("facts"), TBody(row("Received", since(l.At, l.Received)), row("Sender", Text(l.Remote)),
				row("Source", Text(l.Source)), row("Answered", Text(strconv.Itoa(l.Status))),
				row("Size", Text(remediate.Quantity("_bytes", float64(l.Size))))))),
		Section(ID("body"), H2(Text("Body")), kept,
			Pre(Class("card"), Text(strings.ToValidUTF8(string(l.Body), "\uFFFD")))),
		P(A(Href(InboxPath+"#letters"), Text("Back to the inbox"))),
	}
}

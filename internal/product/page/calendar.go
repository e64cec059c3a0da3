package page

import (
	"strconv"
	"strings"
	"time"

	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// Calendar is when schedules act and windows are open.
type Calendar struct {
	At       time.Time
	From, To time.Time
	First    bool // it is the first part
	Days     []Day
	Often    []schedule.Frequent // not listed each time
	More     time.Time           // where the next part begins; zero where this is the last

	Schedules []ScheduleLine
	Left      int // schedules that are not listed
}

// KeyFrom is the key of the address for where a part of the calendar begins.
const KeyFrom = "from"

// Day is one day, as the clocks of its schedules and windows show it.
type Day struct {
	Date    time.Time
	Windows []WindowSpan // that open on it
	Entries []Occurs
}

// WindowSpan is a time in which a window is open, in the zone of the window.
type WindowSpan struct {
	Name string
	schedule.Span
	Already bool // it was open before
}

// Occurs is an occurrence that is to come.
type Occurs struct {
	schedule.Coming
	Again  []time.Time // on the same day, with the same to say
	Window string      // which is open, or when one opens; "" where it needs none
	Waits  bool        // none is open
	Paused string      // who paused it and why, as far as is known; "" where it is not
}

// ScheduleLine is a schedule with what became of its last occurrences.
type ScheduleLine struct {
	schedule.Coming
	Frequent schedule.Frequent // PerDay is 0 where it comes seldom
	Last     []Happened
}

// Happened is an occurrence that has come, with some of the runs that it made.
type Happened struct {
	schedule.Occurrence
	Made []Made
}

// Made is a run of an occurrence; State is empty where the run is not kept any more.
type Made struct {
	ID    int64
	State remediate.State
}

// Nodes are the parts of the page.
func (c Calendar) Nodes() []Node {
	return []Node{
		Section(ID("head"), H1(Text("Calendar")), P(Class("soft"), Text("Each time is that of the zone of its "+
			"schedule or window. A schedule whose window is closed waits for it."))),
		c.schedules(),
		Section(ID("days"),
			H2(Text("From "+c.From.UTC().Format(time.DateOnly)+" to "+c.To.UTC().Format(time.DateOnly))),
			c.often(), c.days(), c.parts()),
	}
}

func (c Calendar) often() Node {
	if len(c.Often) == 0 {
		return nil
	}
	var all []string
	for _, f := range c.Often {
		all = append(all, f.Schedule+" ("+frequency(f)+")")
	}
	return P(Class("card"), Text("Not listed each time: "+strings.Join(some(all, 20), "; ")+"."))
}

// frequency writes how often a schedule comes.
func frequency(f schedule.Frequent) string {
	day := thousands(f.PerDay) + " a day"
	switch f.Every {
	case 0:
		return day
	case time.Minute:
		return "every minute, " + day
	case time.Hour:
		return "every hour, " + day
	}
	return "every " + strconv.Itoa(int(f.Every.Minutes())) + " minutes, " + day
}

// thousands writes a number with commas.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func (c Calendar) days() Node {
	if len(c.Days) == 0 {
		return P(Class("soft"), Text("No schedule comes, and no window opens."))
	}
	return Group{Map(c.Days, func(d Day) Node {
		return Div(Class("card"), H3(Text(d.Date.Format("Monday, 2 January 2006"))),
			If(len(d.Windows) > 0, P(Class("soft"), Text("Open: "+strings.Join(some(spans(d.Windows), 12), "; ")))),
			If(len(d.Entries) > 0, Ul(Class("plain-list"), Map(d.Entries, c.occurs))))
	})}
}

// spans write when windows are open.
func spans(windows []WindowSpan) (all []string) {
	for _, w := range windows {
		text := w.Name + " from " + w.From.Format("15:04")
		switch {
		case w.Already && w.To.IsZero():
			text = w.Name + ", always"
		case w.Already:
			text = w.Name + " already, to " + w.To.Format("2 January 15:04 MST")
		case w.To.IsZero():
			text += " " + w.From.Format("MST") + " on"
		case w.To.Sub(w.From) < 24*time.Hour:
			text += " to " + w.To.Format("15:04 MST")
		default:
			text += " " + w.From.Format("MST") + " to " + w.To.Format("2 January 15:04 MST")
		}
		all = append(all, text)
	}
	return all
}

// wall is a moment as the clock of its zone shows it, with UTC beside it.
func wall(at time.Time) Node {
	text := Text(at.Format("15:04 MST"))
	if _, offset := at.Zone(); offset == 0 {
		return Time(DateTime(at.UTC().Format(time.RFC3339)), text)
	}
	utc := at.UTC().Format("15:04 UTC")
	if at.UTC().Day() != at.Day() {
		utc = at.UTC().Format("2 January 15:04 UTC")
	}
	return Time(DateTime(at.UTC().Format(time.RFC3339)), text, Small(Text(" ("+utc+")")))
}

func (c Calendar) occurs(o Occurs) Node {
	return Li(Div(Class("row"), Strong(wall(o.At), Map(o.Again, func(at time.Time) Node {
		return Group{Text(", "), wall(at)}
	})), Strong(Text(o.Schedule)), Span(Text(o.Action)),
		Span(Class("soft"), Text("on "+on(o.Coming))), If(o.Mode != remediate.Auto, pill("", string(o.Mode))),
		If(o.Window != "" && !o.Waits, Span(Class("good"), Text(o.Window))),
		If(o.Waits, Span(Class("busy"), Text(o.Window))), If(o.Paused != "", Span(Class("busy"), Text(o.Paused)))))
}

// on says what a schedule works on: its subject, or what its query returns.
func on(c schedule.Coming) string {
	text := subject(remediate.Request{Subject: c.Subject})
	if text = strings.TrimSuffix(text, " on "); c.Query == "" {
		return text
	}
	if text != "" {
		text += ", "
	}
	return text + "each series of " + c.Query
}

func (c Calendar) parts() Node {
	return Nav(Class("pages"), Aria("label", "Parts of the calendar"),
		If(!c.First, A(Href(CalendarPath), Text("From now"))),
		Iff(!c.More.IsZero(), func() Node {
			from := map[string][]string{KeyFrom: {c.More.UTC().Format(time.RFC3339)}}
			return A(Href(link(CalendarPath, from)), Rel("next"),
				Text("From "+c.More.Format("2 January 15:04 MST")))
		}))
}

func (c Calendar) schedules() Node {
	if len(c.Schedules) == 0 {
		return Section(ID("schedules"), H2(Text("Schedules")), P(Class("soft"),
			Text("The configuration has no schedule.")))
	}
	columns := []string{"Schedule", "When", "Does", "On", "Windows", "Next", "Last"}
	cell := func(n int, content ...Node) Node { return Td(Data("name", columns[n]), Group(content)) }
	return Section(ID("schedules"), H2(Text("Schedules")), Table(Class("wide"), heads(columns...),
		TBody(Map(c.Schedules, func(s ScheduleLine) Node {
			return Tr(cell(0, Strong(Text(s.Schedule))), cell(1, s.when()),
				cell(2, Text(s.Action+", mode "+string(s.Mode))), cell(3, Text(on(s.Coming))),
				cell(4, Text(orDash(strings.Join(s.Windows, ", ")))), cell(5, since(c.At, s.At)), cell(6, s.last(c.At)))
		}))), If(c.Left > 0, P(Class("soft"), Text("and "+strconv.Itoa(c.Left)+" more schedules"))))
}

func orDash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

func (s ScheduleLine) when() Node {
	return Group{Code(Text(s.Cron)), Text(" " + s.Zone),
		If(s.Frequent.PerDay > 0, Small(Text(" "+frequency(s.Frequent))))}
}

func (s ScheduleLine) last(now time.Time) Node {
	if len(s.Last) == 0 {
		return Text("none yet")
	}
	return Ul(Class("plain-list"), Map(s.Last, func(h Happened) Node {
		left := len(h.Runs) - len(h.Made)
		outcome := map[schedule.Outcome]string{schedule.Punctual: "in time", schedule.MadeLate: "made late"}[h.Outcome]
		if outcome == "" {
			outcome = string(h.Outcome)
		}
		return Li(Text(outcome+" "), since(now, h.At), If(h.Why != "", Text(": "+h.Why)),
			Map(h.Made, func(m Made) Node {
				return Group{Text(" "), runLink(m.ID), Text(" "),
					If(m.State != "", pill(class(m.State), string(m.State))),
					If(m.State == "", Small(Text("not kept any more")))}
			}), If(left > 0, Text(" and "+plural(int64(left), "more run", "more runs"))))
	}))
}

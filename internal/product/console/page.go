package console

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// pageRuns is how many runs the page shows.
const pageRuns = 25

// A view is what the page shows. Every text in it is escaped when it is written.
type view struct {
	Status
	now      time.Time
	identity string // who looks
	targets  []targetView
	runs     []Line

	after, before int64 // the parts of incidents and of runs that are shown
}

// A targetView is one target with the collectors that ask it.
type targetView struct {
	Name       string
	Collectors []scrape.Status
	Failing    int
}

func (c *Console) page(g *gin.Context) {
	id, _ := web.Identity(g)
	v := view{now: time.Now(), identity: id.String()}
	var err error
	for name, into := range map[string]*int64{"after": &v.after, "before": &v.before} {
		if *into, err = strconv.ParseInt(cmp.Or(g.Query(name), "0"), 10, 64); err != nil || *into < 0 {
			http.Error(g.Writer, name+": want a number", http.StatusBadRequest)
			return
		}
	}
	if v.Status, err = c.now(g.Request.Context(), v.after); err == nil {
		v.runs, err = c.lines(g.Request.Context(), v.before, pageRuns)
	}
	if err != nil {
		c.Logger.Error("page broke", "err", err)
		http.Error(g.Writer, "upkeep cannot read its store: "+err.Error(), http.StatusInternalServerError)
		return
	}
	v.targets = targets(v.Collectors)
	web.PageHeaders(g)
	if err := render(g.Writer, v.document()); err != nil {
		c.Logger.Debug("page not delivered", "err", err)
	}
}

func (v view) document() Node {
	title := "upkeep"
	if v.Open > 0 {
		title += " (" + strconv.FormatInt(v.Open, 10) + ")"
	}
	return Doctype(HTML(Lang("en"),
		Head(
			Meta(Charset("utf-8")),
			Meta(Name("viewport"), Content("width=device-width, initial-scale=1")),
			Meta(Attr("http-equiv", "refresh"), Content("5")),
			TitleEl(Text(title)),
			styleLink(),
		),
		Body(
			Header(
				H1(Text("upkeep")),
				Small(Text(v.Version+" · "+v.now.UTC().Format(time.DateTime)+" UTC")),
				Nav(A(Href(scrape.Path), Text("metrics")), A(Href(Prefix+"/runs"), Text("runs (JSON)")),
					A(Href(LoginPath), Text(cmp.Or(v.identity, "log in")))),
			),
			Map(v.Stuck, v.stuck),
			Map(v.Pauses, v.pause),
			Map(v.Awaiting, v.ask),
			H2(Text("What fires")), v.fires(),
			H2(Text("Runs and their effect")), v.effects(),
			H2(Text("Targets")), v.looks(),
		),
	))
}

// stuck shows a run that does not move.
func (v view) stuck(s engine.Stuck) Node {
	id := strconv.FormatInt(s.Run.ID, 10)
	return Div(Class("box"),
		Strong(Class("bad"), Text("Run "+id+" does not move: "+s.Run.Request.Action+", "+string(s.Run.State))),
		Text(" on "), Code(Text(journal.Subject(s.Run.Request.Subject))), Text(": "+s.Why+". Stop it with "),
		Code(Text("upkeep cancel "+id+" --why …")),
	)
}

func (v view) pause(p PauseLine) Node {
	return Div(Class("box"),
		Strong(Class("busy"), Text("Paused: "+p.Scope)),
		Text(" by "+p.By+", "+ago(v.now, p.Since)+": "+p.Reason),
		If(!p.Until.IsZero(), Span(Class("soft"), Text(" (until "+p.Until.UTC().Format(time.DateTime)+" UTC)"))),
		If(p.Unknown != "", Strong(Class("bad"), Text(" – "+p.Unknown))),
	)
}

// ask shows a run that waits for a person, with what it would do and how to answer.
func (v view) ask(r remediate.Run) Node {
	id := strconv.FormatInt(r.ID, 10)
	return Div(Class("box"),
		Strong(Class("busy"), Text("Run "+id+" asks: may it do "+r.Request.Action+"?")),
		Text(" on "), Code(Text(journal.Subject(r.Request.Subject))), Text(", "+ago(v.now, r.Changed)+": "+r.Why),
		Ol(Map(r.Plan.Steps, func(s remediate.Step) Node { return Li(Code(Text(s.Do))) })),
		Text("Answer with "), Code(Text("upkeep approve "+id+" --plan "+r.Plan.Question())), Text(" or "),
		Code(Text("upkeep reject "+id+" --why …")),
		Span(Class("soft"), Text(" (until "+r.Due.UTC().Format(time.DateTime)+" UTC)")),
	)
}

func (v view) fires() Node {
	if len(v.Incidents) == 0 && v.after == 0 {
		return P(Class("good"), Text("Nothing. All is well."))
	}
	shown := strconv.Itoa(len(v.Incidents)) + " of " + strconv.FormatInt(v.Open, 10) + " open incidents are shown. "
	return Group{If(v.after > 0 || v.Open > int64(len(v.Incidents)), P(Class("soft"), Text(shown), v.parts())),
		v.firing()}
}

// parts leads to the other parts of the incidents.
func (v view) parts() Node {
	var links Group
	if v.after > 0 {
		links = append(links, A(Href("/"), Text("the first")), Text(" "))
	}
	if len(v.Incidents) == maxFiring {
		links = append(links, A(Href("/?after="+strconv.FormatInt(v.Incidents[maxFiring-1].ID, 10)), Text("the next")))
	}
	return links
}

func (v view) firing() Node {
	return table([]string{"alert", "severity", "on", "summary", "since"},
		Map(v.Incidents, func(e remediate.Incident) Node {
			name := Group{Strong(Class("bad"), Text(e.Name()))}
			switch at, host := runbookOf(e); {
			case host != "": // a delivery chooses both: the name hides no address
				name = append(name, Br(), Small(A(Href(at), Rel("noopener noreferrer"), Text("runbook at "+host))))
			case at != "":
				name = Group{A(Href(at), name)}
			}
			return Tr(
				Td(name),
				Td(Text(e.Alert.Labels["severity"])),
				Td(Code(Text(labels(e)))),
				Td(Text(e.Alert.Annotations["summary"])),
				Td(Class("num"), Text(ago(v.now, e.Opened))),
			)
		}))
}

func (v view) effects() Node {
	if len(v.runs) == 0 {
		return P(Class("soft"), Text("None yet."))
	}
	var links Group
	if v.before > 0 {
		links = append(links, A(Href("/"), Text("the newest")), Text(" "))
	}
	if len(v.runs) == pageRuns {
		links = append(links, A(Href("/?before="+strconv.FormatInt(v.runs[pageRuns-1].ID, 10)), Text("older ones")))
	}
	return Group{v.outcomes(), P(links)}
}

func (v view) outcomes() Node {
	return table([]string{"run", "action", "on", "state", "before → after", "why", "changed"},
		Map(v.runs, func(r Line) Node {
			return Tr(
				Td(Class("num"), A(Href(Prefix+"/runs/"+strconv.FormatInt(r.ID, 10)),
					Text(strconv.FormatInt(r.ID, 10)))),
				Td(Class("num"), Text(r.Request.Action), Br(), Small(Text(r.Request.By))),
				Td(Code(Text(journal.Subject(r.Request.Subject)))),
				Td(Class(colour(r.State)), Text(string(r.State))),
				Td(Class("num"), Text(quantity(r.Lowers, r.Before)+" → "+quantity(r.Lowers, r.After)),
					If(r.Request.Limit != nil,
						Group{Br(), Small(Text("limit " + quantity(r.Lowers, r.Request.Limit)))})),
				Td(Text(r.Why)),
				Td(Class("num"), Text(ago(v.now, r.Changed))),
			)
		}))
}

func (v view) looks() Node {
	if len(v.targets) == 0 {
		return P(Class("soft"), Text("None configured."))
	}
	return Div(Class("targets"), Map(v.targets, func(t targetView) Node {
		state := Span(Class("good"), Text("answers"))
		if t.Failing > 0 {
			state = Span(Class("bad"),
				Text(strconv.Itoa(t.Failing)+" of "+strconv.Itoa(len(t.Collectors))+" collectors fail"))
		}
		return Div(Class("target"), Strong(Text(t.Name)), Text(" "), state, Ul(Map(t.Collectors, v.look)))
	}))
}

func (v view) look(s scrape.Status) Node {
	last := "not asked yet"
	if !s.At.IsZero() {
		last = strconv.Itoa(s.Samples) + " samples, " + ago(v.now, s.At)
	}
	return Li(Span(Text(s.Collector)), If(s.Err != "", Span(Class("bad"), Text(s.Err))),
		If(s.Down != "", Span(Class("bad"), Text("does not answer: "+s.Down))),
		Span(Class("soft"), Text(last)))
}

func table(columns []string, rows Node) Node {
	return Div(Class("scroll"), Table(Tr(Map(columns, func(c string) Node { return Th(Text(c)) })), rows))
}

// colour returns the style class of a run's state.
func colour(s remediate.State) string {
	switch {
	case s == remediate.Resolved:
		return "good"
	case s.Useless():
		return "bad"
	case !s.Ended():
		return "busy"
	}
	return ""
}

func targets(all []scrape.Status) []targetView {
	byName := make(map[string]*targetView)
	for _, s := range all {
		t := byName[s.Server]
		if t == nil {
			t = &targetView{Name: s.Server}
			byName[s.Server] = t
		}
		t.Collectors = append(t.Collectors, s)
		if s.Err != "" || s.Down != "" {
			t.Failing++
		}
	}
	var sorted []targetView
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		sorted = append(sorted, *byName[name])
	}
	return sorted
}

func ago(now, at time.Time) string {
	d := now.Sub(at)
	switch {
	case at.IsZero():
		return "never"
	case d < 0:
		return "in " + (-d).Round(time.Second).String()
	case d < time.Minute:
		return d.Round(time.Second).String() + " ago"
	case d < 24*time.Hour:
		return d.Round(time.Minute).String() + " ago"
	}
	return at.Format(time.DateTime)
}

func quantity(metric string, v *float64) string {
	if v == nil {
		return "–"
	}
	return remediate.Quantity(metric, *v)
}

// labels writes those labels of an alert that say on what it is.
func labels(e remediate.Incident) string {
	rest := maps.Clone(e.Alert.Labels)
	for _, name := range []string{"alertname", "severity", "job", "instance"} {
		delete(rest, name)
	}
	return journal.Subject(rest)
}

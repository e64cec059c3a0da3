package console

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

const (
	// runsShown is how many runs a part of the list has.
	runsShown = 50

	// textLimit is how many letters are searched for.
	textLimit = 100

	// aroundRun is how much of the time before and after a run its chart has.
	aroundRun = 30 * time.Minute

	// chartPoints is how many values a line of a chart has, and chartLines how many lines are drawn.
	chartPoints, chartLines = 240, 3

	// leastStep is the least distance between two values: targets are read no more often.
	leastStep = 15 * time.Second
)

func (c *Console) runsPage(g *gin.Context) {
	r := page.Runs{At: time.Now(), Query: g.Request.URL.Query()}
	events := c.heardFrom(g.Request.Context())
	filter, err := filterOf(r.Query)
	status := http.StatusOK
	if err != nil {
		r.Wrong, status = err.Error(), http.StatusBadRequest
	} else {
		part, err := c.Journal.List(g.Request.Context(), filter, runsShown)
		if err != nil {
			c.Fail(g, fmt.Errorf("the store cannot be read: %w", err), page.RunsPath)
			return
		}
		for _, run := range part.Runs {
			r.Runs = append(r.Runs, page.Listed{Run: run, Lowers: c.lowers(run.Request)})
		}
		if part.More {
			r.Next = part.Next
		}
	}
	if c.Names != nil {
		n := c.Names()
		r.Actions = slices.Sorted(slices.Values(n.Actions))
		r.Names = page.Names{Policies: n.Policies, Targets: slices.Sorted(slices.Values(n.Targets))}
	}
	f := c.Frame(g, "Runs", page.RunsPath)
	if r.Query.Get(page.KeyBefore) == "" {
		f.Events = events
	}
	c.Write(g, status, f, r.Nodes()...)
}

// run answers with one run; progress=1 asks for the progress of the statement under way too.
func (c *Console) run(g *gin.Context) {
	id, err := strconv.ParseInt(g.Param("id"), 10, 64)
	if err != nil {
		c.Answer(g, 0, nil, portal.BadRequest(fmt.Sprintf("run %q: want a number", g.Param("id"))))
		return
	}
	s, err := c.details(g.Request.Context(), id)
	if err == nil && s.Run.State == remediate.Allowed && g.Query("progress") != "" {
		s.Progress = c.progress(g.Request.Context(), s.Run)
	}
	c.Answer(g, http.StatusOK, s, err)
}

// progress reads how far the maintenance of the subject of a run is; nothing where that is not known.
func (c *Console) progress(ctx context.Context, run remediate.Run) (all []StatementProgress) {
	p := c.metrics()
	if p == nil || run.Request.Subject["table"] == "" {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, fmt.Errorf("no answer within %s", askTime))
	defer cancel()
	samples, err := p.Query(ctx, about("upkeep_postgres_progress_ratio", run.Request.Subject), time.Time{})
	if err != nil {
		return nil
	}
	for _, s := range samples {
		all = append(all, StatementProgress{s.Labels["command"], s.Labels["phase"], s.Value})
	}
	return all
}

// A Line is one run in a list.
type Line struct {
	remediate.Run
	Lowers string `json:"lowers,omitempty"` // the metric that Before and After are of
}

// runs lists runs without their plans. All are listed but where all=0 leaves out those that did nothing, as the
// page does. A header Link leads to the next part, which there may be though this one has few runs.
func (c *Console) runs(g *gin.Context) {
	_, n, ok := c.part(g, page.KeyBefore)
	if !ok {
		return
	}
	query := g.Request.URL.Query()
	if query.Get(page.KeyBefore) == "0" {
		query.Del(page.KeyBefore)
	}
	all := query.Get(page.KeyAll) != "0"
	query.Del(page.KeyAll)
	filter, err := filterOf(query)
	if err != nil {
		c.Answer(g, 0, nil, portal.BadRequest(err.Error()))
		return
	}
	filter.All = filter.All || all
	part, err := c.Journal.List(g.Request.Context(), filter, n)
	lines := make([]Line, len(part.Runs))
	for i, run := range part.Runs {
		lines[i] = Line{run, c.lowers(run.Request)}
	}
	if part.More {
		next := g.Request.URL.Query()
		next.Set(page.KeyBefore, strconv.FormatInt(part.Next, 10))
		g.Header("Link", "<"+Prefix+"/runs?"+next.Encode()+`>; rel="next"`)
	}
	c.Answer(g, http.StatusOK, lines, err)
}

// filterOf reads what an address filters by.
func filterOf(q url.Values) (f journal.Filter, err error) {
	f = journal.Filter{Action: q.Get(page.KeyAction), Policy: q.Get(page.KeyPolicy), Target: q.Get(page.KeyTarget),
		Text: portal.Line(q.Get(page.KeyText), textLimit), All: q.Get(page.KeyAll) != ""}
	switch state := q.Get(page.KeyState); {
	case state == page.StateActive:
		f.Active = true
	case state == "" || slices.Contains(remediate.States(), remediate.State(state)):
		f.State = remediate.State(state)
		f.All = f.All || state != "" // who asks for a state sees all runs in it
	default:
		return f, fmt.Errorf("state %q: unknown", state)
	}
	for key, into := range map[string]*time.Time{page.KeySince: &f.Since, page.KeyUntil: &f.Until} {
		if *into, err = moments(q.Get(key)); err != nil {
			return f, fmt.Errorf("%s: %w", key, err)
		}
	}
	if before := q.Get(page.KeyBefore); before != "" {
		if f.Before, err = strconv.ParseInt(before, 10, 64); err != nil || f.Before < 1 {
			return f, fmt.Errorf("before %q: want the number of a run", before)
		}
	}
	return f, nil
}

// moments reads a moment of UTC as a browser sends it, or as RFC 3339 has it.
func moments(text string) (at time.Time, err error) {
	if text == "" {
		return at, nil
	}
	for _, form := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339, time.DateOnly} {
		if at, err = time.Parse(form, text); err == nil {
			return at.UTC(), nil
		}
	}
	return at, fmt.Errorf("%q: want a time like 2026-11-30T03:00, in UTC", text)
}

func (c *Console) runPage(g *gin.Context) {
	id, err := strconv.ParseInt(g.Param("id"), 10, 64)
	if err != nil {
		c.Fail(g, portal.BadRequest(fmt.Sprintf("run %q: want a number", g.Param("id"))), page.RunsPath)
		return
	}
	events := c.heardFrom(g.Request.Context())
	s, err := c.details(g.Request.Context(), id)
	if err != nil {
		c.Fail(g, err, page.RunsPath)
		return
	}
	r := page.Run{At: time.Now(), May: portal.May(g), Run: s.Run, Lowers: s.Lowers, Entries: s.Entries,
		Incident: s.Incident}
	if s.Incident != nil {
		r.Runbook = portal.RunbookOf(*s.Incident)
	}
	action := c.action(s.Run.Request)
	r.Doc, _, _ = strings.Cut(action.Doc, "\n")
	r.Guards = guards(s.Run, action, s.Entries)
	r.Chart = c.chart(g.Request.Context(), s)
	if s.Run.Cancel != "" && !s.Run.State.Ended() {
		r.Stopping = c.Engine.Stopping(s.Run)
	}
	if err := c.otherPerson(s.Run, portal.By(g, "")); err != nil && r.May.Approve {
		r.Needs = err.Error()
	}
	f := c.Frame(g, fmt.Sprintf("Run %d %s", id, s.Run.State), page.RunsPath)
	f.Events = events
	c.Write(g, http.StatusOK, f, r.Nodes()...)
}

// clock is a time of a day; the journal of the run has the day.
func clock(at time.Time) string { return at.UTC().Format(time.TimeOnly) + " UTC" }

// guards says what each guard has said to a run. They are asked in their order up to the first that
// refuses, and the journal has which one that was.
func guards(run remediate.Run, action remediate.Action, entries []remediate.Entry) (all []page.Answer) {
	var passed, refused *remediate.Entry
	for i, e := range entries {
		switch {
		case e.To == remediate.Allowed && e.From != remediate.Allowed:
			passed, refused = &entries[i], nil
		case e.Reason != "" && slices.Contains(remediate.Guards(), e.Reason):
			refused = &entries[i]
		}
	}
	proposal := remediate.Proposal{Run: run, Action: action}
	before := refused != nil
	for _, g := range guard.All(guard.Config{}) {
		if !guard.Holds(g, proposal) {
			continue
		}
		a := page.Answer{Guard: g.Name, Doc: firstSentence(g.Doc), Said: "not asked yet"}
		switch {
		case refused != nil && refused.Reason == g.Name:
			a.Class, a.Said, before = "busy", refused.Why, false
		case passed != nil:
			a.Class, a.Said = "good", "passed, "+clock(passed.At)
		case before && (g.Early || refused.From != remediate.Received):
			a.Class, a.Said = "good", "passed, "+clock(refused.At)
		case run.State.Ended():
			a.Said = "not asked"
		}
		all = append(all, a)
	}
	return all
}

// firstSentence is the summary of a doc.
func firstSentence(doc string) string {
	first, _, _ := strings.Cut(doc, ". ")
	return strings.TrimSuffix(first, ".") + "."
}

// chart reads the metric of a run from Prometheus; nil where it has none.
func (c *Console) chart(ctx context.Context, s RunDetails) *page.Chart {
	p := c.metrics()
	if p == nil || s.Lowers == "" {
		return nil
	}
	now := time.Now()
	k := &page.Chart{Metric: s.Lowers, Limit: s.Run.Request.Limit, From: s.Run.Created.Add(-aroundRun), To: now}
	if s.Run.State.Ended() && s.Run.Changed.Add(aroundRun).Before(now) {
		k.To = s.Run.Changed.Add(aroundRun)
	}
	for _, e := range s.Entries {
		if e.Step > 0 && !e.Done && k.Acted.IsZero() {
			k.Acted = e.At
		}
		if e.Step > 0 && e.Done {
			k.Done = e.At
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, fmt.Errorf("no answer within %s", askTime))
	defer cancel()
	all, err := p.Range(ctx, about(s.Lowers, s.Run.Request.Subject), k.From, k.To,
		max(leastStep, k.To.Sub(k.From)/chartPoints))
	for _, series := range all[:min(len(all), chartLines)] {
		var drawn []page.Point
		for _, at := range series.Points {
			drawn = append(drawn, page.Point{At: at.At, Value: at.Value})
		}
		k.Lines = append(k.Lines, drawn)
	}
	k.Trim(s.Run.Created)
	switch {
	case err != nil:
		k.Missing = short(err.Error())
	case len(k.Lines) == 0:
		k.Missing = "Prometheus has no value of this metric for that time."
	}
	return k
}

// about selects the series of a metric that are about a subject. A metric need not have all its labels.
func about(metric string, subject map[string]string) string {
	var matchers []string
	for _, name := range slices.Sorted(maps.Keys(subject)) {
		matchers = append(matchers, fmt.Sprintf("%s=~%s", name, strconv.Quote("|"+regexp.QuoteMeta(subject[name]))))
	}
	return metric + "{" + strings.Join(matchers, ",") + "}"
}

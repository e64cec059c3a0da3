package console

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

// maxFiring is how many incidents the status lists: it costs about the same with ten of them and with
// thousands.
const maxFiring = 12

// A Status is what is seen and what is going on now.
type Status struct {
	Version    string               `json:"version"`
	Stuck      []engine.Stuck       `json:"stuck"`   // runs that have not moved for longer than their step may take
	Targets    []TargetLine         `json:"targets"` // those that need attention first
	Collectors []scrape.Status      `json:"collectors"`
	Open       int64                `json:"open"`      // incidents
	Firing     map[string]int64     `json:"firing"`    // open incidents by severity
	Incidents  []remediate.Incident `json:"incidents"` // some of them, the worst first
	Pauses     []PauseLine          `json:"pauses"`
	Awaiting   []remediate.Run      `json:"awaiting_approval"`
}

// A Build is what a binary was built from.
type Build struct {
	Version   string `json:"version"`
	Go        string `json:"go"`
	OS        string `json:"os"`
	Arch      string `json:"arch"`
	Commit    string `json:"commit,omitempty"`
	Committed string `json:"committed,omitempty"`
}

// A TargetLine is a target with its state.
type TargetLine struct {
	Name       string    `json:"name"`
	Kinds      []string  `json:"kinds"` // postgres, redis …: a backup has the name of its server
	State      string    `json:"state"` // down, failing (some collectors), up, or unknown (not yet asked)
	Why        string    `json:"why,omitempty"`
	Collectors int       `json:"collectors"`
	Failing    []string  `json:"failing"`            // collectors
	Open       int64     `json:"open"`               // incidents about it
	Severity   string    `json:"severity,omitempty"` // of the worst of them
	Answered   time.Time `json:"answered,omitzero"`  // when a collector last did
	Since      time.Time `json:"since,omitzero"`     // since when it is in this state
}

// lineOf says what is known of a target. errs are the errors of its collectors.
func lineOf(t page.TargetState, kinds, errs []string) TargetLine {
	l := TargetLine{Name: t.Name, Kinds: kinds, State: "up", Collectors: t.Collectors, Failing: t.Failing, Open: t.Open,
		Answered: t.Last, Since: t.Since}
	if t.Open > 0 {
		l.Severity = t.Worst.String()
	}
	switch {
	case t.Down != "":
		l.State, l.Why = "down", t.Down
	case len(t.Failing) > 0:
		l.State, l.Why = "failing", strings.Join(errs, "; ")
	case !t.Asked:
		l.State = "unknown"
	}
	return l
}

// targetLines are the targets, those that need attention first.
func (c *Console) targetLines(ctx context.Context) ([]TargetLine, error) {
	var all []scrape.Status
	if c.Scraper != nil {
		all = c.Scraper.Status()
	}
	rated, err := c.Inbox.ByServer(ctx, servers(all))
	if err != nil {
		return nil, err
	}
	var names Names
	if c.Names != nil {
		names = c.Names()
	}
	errs := make(map[string][]string)
	for _, s := range all {
		if text := short(s.Err); text != "" && !slices.Contains(errs[s.Server], text) {
			errs[s.Server] = append(errs[s.Server], text)
		}
	}
	lines := []TargetLine{}
	for _, t := range targets(all, rated) {
		lines = append(lines, lineOf(t, names.Kinds[t.Name], errs[t.Name]))
	}
	return lines, nil
}

func (c *Console) targets(g *gin.Context) {
	lines, err := c.targetLines(g.Request.Context())
	c.Answer(g, http.StatusOK, lines, err)
}

func (c *Console) actions(g *gin.Context) {
	c.Answer(g, http.StatusOK, actionLines(c.Engine.Actions()), nil)
}

func (c *Console) now(ctx context.Context) (s Status, err error) {
	s.Version, s.Collectors, s.Firing = c.Version, c.Scraper.Status(), make(map[string]int64)
	if s.Open, err = c.Inbox.Open(ctx); err == nil {
		s.Incidents, err = c.Inbox.Firing(ctx, inbox.Place{}, maxFiring)
	}
	var firing map[remediate.Severity]int64
	if err == nil {
		firing, err = c.Inbox.BySeverity(ctx)
	}
	for severity, n := range firing {
		s.Firing[severity.String()] = n
	}
	if err == nil {
		s.Targets, err = c.targetLines(ctx)
	}
	if err == nil {
		s.Pauses, err = c.paused(ctx)
	}
	if err == nil {
		s.Awaiting, err = c.Journal.In(ctx, remediate.AwaitingApproval, maxAwaiting)
	}
	if err == nil {
		s.Stuck, err = c.Engine.Stuck(ctx)
	}
	return s, err
}

func (c *Console) status(g *gin.Context) {
	s, err := c.now(g.Request.Context())
	c.Answer(g, http.StatusOK, s, err)
}

func (c *Console) lookJSON(g *gin.Context) {
	r, err := c.Look(g.Request.Context())
	c.Answer(g, http.StatusOK, r, err)
}

func (c *Console) lookPage(g *gin.Context) {
	events := c.heardFrom(g.Request.Context())
	r, err := c.Look(g.Request.Context())
	if err != nil {
		c.Fail(g, fmt.Errorf("the targets cannot be looked at: %w", err), "/")
		return
	}
	if err := known(r, g.Query(page.KeyServer), g.Query(page.KeyHarm)); err != nil {
		c.Fail(g, err, page.LookPath)
		return
	}
	l := page.Look{Report: r, May: portal.May(g), Server: g.Query(page.KeyServer), Harm: g.Query(page.KeyHarm)}
	f := c.Frame(g, "Look", page.LookPath)
	f.Events = events + "&" + lookKey + "=" + r.Edition()
	if !r.Complete { // the first look of a start
		f.Again = lookAgain
	}
	c.Write(g, http.StatusOK, f, l.Nodes()...)
}

// known refuses a server and a harm that do not exist: their empty lists would look as if all were well.
func known(r look.Report, server, harm string) error {
	if server != "" && !slices.ContainsFunc(r.Targets, func(s look.Seen) bool { return s.Server == server }) {
		return portal.BadRequest(fmt.Sprintf("no target has the name %q", server))
	}
	if harm != "" && !slices.Contains(look.Harms(), look.Harm(harm)) {
		return portal.BadRequest(fmt.Sprintf("harm %q: want one of %v", harm, look.Harms()))
	}
	return nil
}

// lookAgain is when a look is shown again that has not everything yet.
const lookAgain = 5 * time.Second

// formPlan shows what an action would do that mends a finding. It changes nothing and journals nothing.
func (c *Console) formPlan(g *gin.Context) {
	if err := g.Request.ParseForm(); err != nil {
		c.Fail(g, portal.BadRequest("the form could not be read: "+err.Error()), page.LookPath)
		return
	}
	ask := Ask{Action: g.Request.PostForm.Get(page.FieldAction), Subject: make(map[string]string),
		Params: make(map[string]string)}
	for name, values := range g.Request.PostForm {
		if label, ok := strings.CutPrefix(name, page.FieldSubject); ok {
			ask.Subject[label] = values[0]
		}
		if param, ok := strings.CutPrefix(name, page.FieldParam); ok {
			ask.Params[param] = values[0]
		}
	}
	if err := ask.bounded(); err != nil {
		c.Fail(g, err, page.LookPath)
		return
	}
	request := c.wanted(g, ask)
	p, err := c.Engine.Preview(g.Request.Context(), request)
	if err != nil {
		c.Fail(g, err, page.LookPath)
		return
	}
	shown := page.Plan{Action: ask.Action, Subject: ask.Subject, Params: ask.Params, Plan: p.Plan, Lowers: p.Lowers,
		Risk: p.Risk, Before: p.Before, Limit: p.Limit, Refusals: p.Refusals,
		Command: look.Command("run", ask.Action, c.action(request).Subject, ask.Subject, ask.Params)}
	c.Write(g, http.StatusOK, c.Frame(g, "Plan", page.LookPath), shown.Nodes()...)
}

package console

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
)

const (
	// maxAwaiting is how many runs that await approval are listed at once.
	maxAwaiting = 12

	// maxFiring is how many incidents the page and the status list: both cost about the same with ten
	// of them and with thousands.
	maxFiring = 12
)

// A Status is what is seen and what is going on now.
type Status struct {
	Version    string               `json:"version"`
	Stuck      []engine.Stuck       `json:"stuck"` // runs that have not moved for longer than their step may take
	Collectors []scrape.Status      `json:"collectors"`
	Open       int64                `json:"open"`      // incidents
	Incidents  []remediate.Incident `json:"incidents"` // the first of them, or those after the number that was asked for
	Pauses     []PauseLine          `json:"pauses"`
	Awaiting   []remediate.Run      `json:"awaiting_approval"`
}

func (c *Console) now(ctx context.Context, after int64) (s Status, err error) {
	s.Version, s.Collectors = c.Version, c.Scraper.Status()
	if s.Open, err = c.Inbox.Open(ctx); err == nil {
		s.Incidents, err = c.Inbox.Incidents(ctx, after, maxFiring)
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
	s, err := c.now(g.Request.Context(), 0)
	c.answer(g, http.StatusOK, s, err)
}

func (c *Console) lookJSON(g *gin.Context) {
	r, err := c.Look(g.Request.Context())
	c.answer(g, http.StatusOK, r, err)
}

func (c *Console) lookPage(g *gin.Context) {
	r, err := c.Look(g.Request.Context())
	if err != nil {
		c.fail(g, fmt.Errorf("the targets cannot be looked at: %w", err), "/")
		return
	}
	l := page.Look{Report: r, May: may(g), Server: g.Query(page.KeyServer), Harm: g.Query(page.KeyHarm)}
	f := c.frame(g, "Look", page.LookPath)
	if !r.Complete { // the first look of a start
		f.Again = lookAgain
	}
	c.write(g, http.StatusOK, f, l.Nodes()...)
}

// lookAgain is when a look is shown again that has not everything yet.
const lookAgain = 5 * time.Second

// formPlan shows what an action would do that mends a finding. It changes nothing and journals nothing.
func (c *Console) formPlan(g *gin.Context) {
	if err := g.Request.ParseForm(); err != nil {
		c.fail(g, badRequest("the form could not be read: "+err.Error()), page.LookPath)
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
		c.fail(g, err, page.LookPath)
		return
	}
	request := c.wanted(g, ask)
	p, err := c.Engine.Preview(g.Request.Context(), request)
	if err != nil {
		c.fail(g, err, page.LookPath)
		return
	}
	shown := page.Plan{Action: ask.Action, Subject: ask.Subject, Params: ask.Params, Plan: p.Plan, Lowers: p.Lowers,
		Risk: p.Risk, Before: p.Before, Limit: p.Limit, Refusals: p.Refusals,
		Command: look.Command("run", ask.Action, c.action(request).Subject, ask.Subject, ask.Params)}
	c.write(g, http.StatusOK, c.frame(g, "Plan", page.LookPath), shown.Nodes()...)
}

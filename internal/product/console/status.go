package console

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/collectors/scrape"
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

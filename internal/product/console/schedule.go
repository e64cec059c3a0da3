package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// A Calendar is what comes next of the schedules, and what became of what came last.
type Calendar struct {
	Next []schedule.Coming `json:"next"` // the soonest first
	Last []Happened        `json:"last"` // the newest first
}

// Happened is an occurrence of a schedule with the runs that it made.
type Happened struct {
	schedule.Occurrence
	Runs []Made `json:"runs"`
}

// Made is a run of an occurrence.
type Made struct {
	ID    int64           `json:"id"`
	State remediate.State `json:"state,omitempty"` // empty where the run is not kept any more
	Why   string          `json:"why,omitempty"`
}

func (c *Console) schedules(g *gin.Context) {
	n, err := strconv.Atoi(cmp.Or(g.Query("limit"), "10"))
	if err != nil || n < 1 || n > 1000 {
		c.Answer(g, 0, nil, portal.BadRequest("limit: want a number from 1 to 1000"))
		return
	}
	calendar, err := c.calendar(g.Request.Context(), n)
	c.Answer(g, http.StatusOK, calendar, err)
}

func (c *Console) calendar(ctx context.Context, n int) (Calendar, error) {
	calendar := Calendar{Next: c.Scheduler.Coming(n), Last: []Happened{}}
	if calendar.Next == nil {
		calendar.Next = []schedule.Coming{} // a list in JSON too
	}
	last, err := c.Scheduler.Last(ctx, n)
	if err != nil {
		return calendar, err
	}
	for _, o := range last {
		h := Happened{Occurrence: o, Runs: []Made{}}
		for _, id := range o.Runs {
			run, err := c.Journal.Get(ctx, id)
			if err != nil && !errors.Is(err, journal.ErrNoRun) {
				return calendar, err
			}
			h.Runs = append(h.Runs, Made{id, run.State, run.Why})
		}
		calendar.Last = append(calendar.Last, h)
	}
	return calendar, nil
}

package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// An Answer is what a person says to a run or a policy.
type Answer struct {
	By   string `json:"by"` // the name that the request claims; the journal has who was authenticated beside it
	Why  string `json:"why,omitempty"`
	Plan string `json:"plan,omitempty"` // the plan that the person saw, with its amount: Plan.Question; any where empty
}

// answered reads the number of the run and the answer, and lets say act on them.
func (c *Console) answered(g *gin.Context, needsWhy bool, say func(ctx context.Context, run int64, a Answer) error) {
	id, a, ok := c.saidTo(g, needsWhy)
	if !ok {
		return
	}
	var run remediate.Run
	err := say(g.Request.Context(), id, a)
	if err == nil {
		c.Logger.Info("a person answered", "run", id, "by", a.By, "path", g.Request.URL.Path)
		c.Engine.Wake()
		run, err = c.Journal.Get(g.Request.Context(), id)
	}
	c.Answer(g, http.StatusOK, run, stale(err))
}

// saidTo reads the number of a run and what a person says to it. Where it returns false, the request is answered.
func (c *Console) saidTo(g *gin.Context, needsWhy bool) (run int64, a Answer, ok bool) {
	run, err := strconv.ParseInt(g.Param("id"), 10, 64)
	if err != nil {
		c.Answer(g, 0, nil, portal.BadRequest(fmt.Sprintf("run %q: want a number", g.Param("id"))))
		return 0, a, false
	}
	a, ok = c.said(g, needsWhy)
	return run, a, ok
}

func (c *Console) said(g *gin.Context, needsWhy bool) (a Answer, ok bool) {
	if !c.Read(g, &a) {
		return a, false
	}
	a.By = portal.By(g, a.By)
	var err error
	if a.Why, err = reason(a.Why); err != nil {
		c.Answer(g, 0, nil, err)
		return a, false
	}
	if needsWhy && a.Why == "" {
		c.Answer(g, 0, nil, portal.BadRequest("missing --why: give a reason; it is recorded in the journal"))
		return a, false
	}
	return a, true
}

// stale gives an answer that comes too late its status.
func stale(err error) error {
	if s, ok := errors.AsType[*journal.StaleError](err); ok {
		return portal.ErrorWith(http.StatusConflict, s.Text)
	}
	return err
}

func (c *Console) approve(g *gin.Context) {
	c.answered(g, false, c.approved)
}

// approved keeps an approval, unless another person has to give it or the configuration does not allow the
// run any more.
func (c *Console) approved(ctx context.Context, id int64, a Answer) error {
	run, err := c.Journal.Get(ctx, id)
	if err != nil {
		return err
	}
	if err := c.otherPerson(run, a.By); err != nil {
		return err
	}
	if err := c.stillAllowed(ctx, run); err != nil {
		return err
	}
	return c.Journal.Approve(ctx, id, cmp.Or(a.Plan, run.Plan.Question()), a.By, a.Why,
		time.Now().Add(run.Request.Terms.ApprovalTime()))
}

// otherPerson refuses the approval of a run by who asked for it, where approvals.other_person
// is set.
func (c *Console) otherPerson(run remediate.Run, by string) error {
	if c.OtherPerson && access.Authenticated(run.Request.By) == access.Authenticated(by) {
		return portal.ErrorWith(http.StatusForbidden, fmt.Sprintf("run %d was requested by %s, who must not approve "+
			"it (approvals.other_person): another person has to", run.ID, access.Authenticated(by)))
	}
	return nil
}

// stillAllowed refuses the approval of a run that the current configuration no longer allows.
// The run ends or waits with the same reason as soon as it is looked at.
func (c *Console) stillAllowed(ctx context.Context, run remediate.Run) error {
	if run.State != remediate.AwaitingApproval {
		return nil // the journal says so
	}
	err := c.Engine.StillAllowed(ctx, run)
	if r, refused := remediate.Refused(err); refused {
		return &journal.StaleError{Text: fmt.Sprintf("run %d cannot be approved: %s (%s)", run.ID, r.Detail, r.Reason)}
	}
	return err
}

func (c *Console) reject(g *gin.Context) {
	c.answered(g, true, func(ctx context.Context, id int64, a Answer) error {
		return c.Journal.Reject(ctx, id, a.Plan, a.By, a.Why)
	})
}

// A Stopped is a run that a person wants to stop, and why it has not ended yet.
type Stopped struct {
	remediate.Run
	Waits string `json:"waits,omitempty"` // "" where it has ended
}

// stopsIn is how long the answer to a cancel waits for the run's end: a statement that is
// cancelled ends within a second on a server that is well.
const stopsIn = 3 * time.Second

func (c *Console) cancel(g *gin.Context) {
	id, a, ok := c.saidTo(g, true)
	if !ok {
		return
	}
	if err := c.Journal.Cancel(g.Request.Context(), id, a.By, a.Why); err != nil {
		c.Answer(g, 0, nil, stale(err))
		return
	}
	c.Logger.Info("a person answered", "run", id, "by", a.By, "path", g.Request.URL.Path)
	c.Engine.Wake()
	s, err := c.stopped(g.Request.Context(), id)
	c.Answer(g, http.StatusOK, s, err)
}

// stopped waits a moment for the end of a run.
func (c *Console) stopped(ctx context.Context, id int64) (s Stopped, err error) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(stopsIn); ; {
		if s.Run, err = c.Journal.Get(ctx, id); err != nil || s.State.Ended() {
			return s, err
		}
		if time.Now().After(end) {
			s.Waits = c.Engine.Stopping(s.Run)
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-again.C:
		}
	}
}

// retry makes a run of what an ended one was asked for.
func (c *Console) retry(g *gin.Context) {
	id, a, ok := c.saidTo(g, true)
	if !ok {
		return
	}
	run, err := c.retried(g, id, a)
	if err == nil {
		c.Logger.Info("a person answered", "run", id, "by", a.By, "path", g.Request.URL.Path)
	}
	c.Answer(g, http.StatusAccepted, run, stale(err))
}

// retried makes the run, unless the one before is not to be run once more by who asks.
func (c *Console) retried(g *gin.Context, id int64, a Answer) (made remediate.Run, err error) {
	run, err := c.Journal.Get(g.Request.Context(), id)
	if err != nil {
		return made, err
	}
	if run.State == remediate.Observed {
		return made, portal.ErrorWith(http.StatusConflict,
			"an observed run is not run once more: its policy only observes")
	}
	if run.Request.Mode == remediate.Ask && !portal.May(g).Approve { // a rejection is not for others to undo
		return made, portal.ErrorWith(http.StatusForbidden, fmt.Sprintf("run %d needed approval: to run it once more "+
			"needs the role approve", id))
	}
	return c.Engine.Retry(g.Request.Context(), run, a.By, a.Why)
}

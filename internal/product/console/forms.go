package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// filled reads a form of a page: who sends it, and the reason that every change needs.
func (c *Console) filled(g *gin.Context) (form url.Values, a Answer, ok bool) {
	if err := g.Request.ParseForm(); err != nil {
		c.Fail(g, portal.BadRequest("the form could not be read: "+err.Error()), "/")
		return nil, a, false
	}
	form = g.Request.PostForm
	a = Answer{By: portal.By(g, ""), Why: portal.Line(form.Get("why"), page.ReasonLimit), Plan: form.Get("plan")}
	if a.Why == "" {
		c.Fail(g, portal.BadRequest("Give a reason: it is recorded in the journal."), portal.Local(g.Request.Referer()))
		return form, a, false
	}
	return form, a, true
}

// onRun lets a form act on a run, and leads to its page or back.
func (c *Console) onRun(g *gin.Context, act func(ctx context.Context, id int64, form url.Values, a Answer) error) {
	id, err := strconv.ParseInt(g.Param("id"), 10, 64)
	if err != nil {
		c.Fail(g, portal.BadRequest(fmt.Sprintf("run %q: want a number", g.Param("id"))), page.RunsPath)
		return
	}
	form, a, ok := c.filled(g)
	if !ok {
		return
	}
	own := page.RunPath + strconv.FormatInt(id, 10)
	if err := act(g.Request.Context(), id, form, a); err != nil {
		c.Fail(g, stale(err), own)
		return
	}
	c.Logger.Info("a person answered", "run", id, "by", a.By, "path", g.Request.URL.Path)
	c.Engine.Wake()
	g.Redirect(http.StatusSeeOther, next(form, own))
}

func (c *Console) formAnswer(g *gin.Context) {
	c.onRun(g, func(ctx context.Context, id int64, form url.Values, a Answer) error {
		switch form.Get("answer") {
		case "approve":
			if a.Plan == "" {
				return portal.BadRequest("the form does not say which plan was seen")
			}
			return c.approved(ctx, id, a)
		case "reject":
			return c.Journal.Reject(ctx, id, a.Plan, a.By, a.Why)
		}
		return portal.BadRequest("press one of the buttons: nothing was answered")
	})
}

func (c *Console) formCancel(g *gin.Context) {
	c.onRun(g, func(ctx context.Context, id int64, _ url.Values, a Answer) error {
		if err := c.Journal.Cancel(ctx, id, a.By, a.Why); err != nil {
			return err
		}
		c.Engine.Wake()
		_, err := c.stopped(ctx, id)
		return err
	})
}

func (c *Console) formRetry(g *gin.Context) {
	c.onRun(g, func(_ context.Context, id int64, form url.Values, a Answer) error {
		made, err := c.retried(g, id, a)
		form.Set("next", page.RunPath+strconv.FormatInt(made.ID, 10))
		return err
	})
}

func (c *Console) formPause(g *gin.Context) {
	form, a, ok := c.filled(g)
	if !ok {
		return
	}
	p := remediate.Pause{Scope: strings.TrimSpace(form.Get("scope")), Reason: a.Why, By: a.By}
	if hours := form.Get("hours"); hours != "" {
		n, err := strconv.ParseFloat(hours, 64)
		if err != nil || !(n > 0 && n <= 24*366) {
			c.Fail(g, portal.BadRequest(fmt.Sprintf("hours %q: want a number", hours)), next(form, "/"))
			return
		}
		p.Until = time.Now().Add(time.Duration(n * float64(time.Hour)))
	}
	err := journal.CheckPause(p)
	if err == nil {
		err = c.check(p.Scope)
	}
	if err != nil {
		c.Fail(g, portal.BadRequest(err.Error()), next(form, "/"))
		return
	}
	if err := c.Journal.SetPause(g.Request.Context(), p); err != nil {
		c.Fail(g, err, next(form, "/"))
		return
	}
	c.Logger.Info("paused", "scope", p.Scope, "by", p.By, "why", p.Reason)
	g.Redirect(http.StatusSeeOther, next(form, "/#pauses"))
}

func (c *Console) formResume(g *gin.Context) {
	form, a, ok := c.filled(g)
	if !ok {
		return
	}
	scope := form.Get("scope")
	was, err := c.Journal.EndPause(g.Request.Context(), scope, a.By, a.Why)
	if err == nil && !was {
		err = c.unpaused(g.Request.Context(), scope)
	}
	if err != nil {
		c.Fail(g, err, next(form, "/"))
		return
	}
	c.Logger.Info("resumed", "scope", scope)
	c.Engine.Wake()
	g.Redirect(http.StatusSeeOther, next(form, "/"))
}

// next is where a form leads to: where it says, on this site, or else to a page.
func next(form url.Values, page string) string {
	if to := form.Get("next"); to != "" {
		return portal.Local(to)
	}
	return page
}

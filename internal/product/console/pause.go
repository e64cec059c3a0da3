package console

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// check is Check by the names of now. Where they are not known any scope is taken.
func (c *Console) check(scope string) error {
	if c.Names == nil {
		return nil
	}
	return c.Names().Check(scope)
}

// A PauseLine is a pause that holds.
type PauseLine struct {
	remediate.Pause
	Unknown string `json:"unknown,omitempty"` // says so where nothing has the name of its scope any more
}

// paused returns the pauses that hold.
func (c *Console) paused(ctx context.Context) ([]PauseLine, error) {
	all, err := c.Journal.Pauses(ctx)
	lines := make([]PauseLine, len(all))
	for i, p := range all {
		lines[i].Pause = p
		if c.check(p.Scope) != nil {
			kind, _, _ := strings.Cut(p.Scope, "/")
			lines[i].Unknown = "the configuration has no such " + kind + " any more"
		}
	}
	return lines, err
}

func (c *Console) pauses(g *gin.Context) {
	all, err := c.paused(g.Request.Context())
	c.Answer(g, http.StatusOK, all, err)
}

func (c *Console) pause(g *gin.Context) {
	var p remediate.Pause
	if !c.Read(g, &p) {
		return
	}
	p.By = portal.By(g, p.By)
	var err error
	if p.Reason, err = reason(p.Reason); err != nil {
		c.Answer(g, 0, nil, err)
		return
	}
	if err = journal.CheckPause(p); err == nil {
		err = c.check(p.Scope)
	}
	switch {
	case err != nil:
		err = portal.BadRequest(err.Error())
	case !p.Until.IsZero() && p.Until.Before(time.Now()):
		err = portal.BadRequest("until is over already")
	default:
		if err = c.Journal.SetPause(g.Request.Context(), p); err == nil {
			p, err = c.kept(g.Request.Context(), p)
		}
	}
	if err == nil {
		c.Logger.Info("paused", "scope", p.Scope, "by", p.By, "why", p.Reason)
	}
	c.Answer(g, http.StatusOK, p, err)
}

// kept returns a pause as the journal has it: since when.
func (c *Console) kept(ctx context.Context, p remediate.Pause) (remediate.Pause, error) {
	all, err := c.Journal.Pauses(ctx)
	for _, one := range all {
		if one.Scope == p.Scope {
			return one, err
		}
	}
	return p, err // it was ended meanwhile
}

func (c *Console) resume(g *gin.Context) {
	scope := g.Query("scope")
	was, err := c.Journal.EndPause(g.Request.Context(), scope, portal.By(g, g.Query("by")), g.Query("why"))
	if err == nil && !was {
		err = c.unpaused(g.Request.Context(), scope)
	}
	if err == nil {
		c.Logger.Info("resumed", "scope", scope)
		c.Engine.Wake()
	}
	c.Answer(g, http.StatusOK, portal.Values{"scope": scope}, err)
}

// unpaused says that a scope is not paused, and what is.
func (c *Console) unpaused(ctx context.Context, scope string) error {
	all, err := c.Journal.Pauses(ctx)
	if err != nil {
		return err
	}
	what := "nothing is"
	var scopes []string
	for _, p := range all {
		scopes = append(scopes, p.Scope)
	}
	if len(scopes) > 0 {
		what = "paused: " + strings.Join(scopes, ", ")
	}
	return portal.ErrorWith(http.StatusNotFound, fmt.Sprintf("%q is not paused; %s", scope, what))
}

package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

// An InboxList is what upkeep inbox lists.
type InboxList struct {
	Incidents   []remediate.Incident   `json:"incidents"`
	DeadLetters []remediate.DeadLetter `json:"dead_letters"`
}

func (c *Console) incidents(g *gin.Context) {
	after, n, ok := c.part(g, "after")
	if !ok {
		return
	}
	all, err := c.Inbox.Incidents(g.Request.Context(), after, n)
	c.Answer(g, http.StatusOK, all, err)
}

func (c *Console) deadLetters(g *gin.Context) {
	before, n, ok := c.part(g, "before")
	if !ok {
		return
	}
	all, err := c.Inbox.DeadLetters(g.Request.Context(), before, n)
	if all == nil {
		all = []remediate.DeadLetter{} // a list in JSON too
	}
	c.Answer(g, http.StatusOK, all, err)
}

func (c *Console) deadLetter(g *gin.Context) {
	id, err := strconv.ParseInt(g.Param("id"), 10, 64)
	if err != nil {
		c.Answer(g, 0, nil, portal.BadRequest(fmt.Sprintf("dead letter %q: want a number", g.Param("id"))))
		return
	}
	l, err := c.Inbox.DeadLetter(g.Request.Context(), id)
	if errors.Is(err, inbox.ErrNoDeadLetter) {
		err = portal.ErrorWith(http.StatusNotFound, err.Error())
	}
	c.Answer(g, http.StatusOK, l, err)
}

const (
	// leftLooked is how many alerts that fire a part of the inbox looks at.
	leftLooked = 60

	// lettersShown is how many dead letters a part lists.
	lettersShown = 25

	// silencesShown is how many silences are listed.
	silencesShown = 100
)

func (c *Console) inboxPage(g *gin.Context) {
	after, err := place(g.Query("after"))
	var before int64
	if text := g.Query(page.KeyLetters); err == nil && text != "" {
		if before, err = strconv.ParseInt(text, 10, 64); err != nil || before < 1 {
			err = fmt.Errorf("%s %q: want what a link of the page has", page.KeyLetters, portal.Line(text, wrongShown))
		}
	}
	if err != nil {
		c.Fail(g, portal.BadRequest(err.Error()), page.InboxPath)
		return
	}
	events := c.heardFrom(g.Request.Context())
	b := page.Inbox{At: time.Now(), May: portal.May(g), First: after.ID == 0, Before: before != 0}
	if err = c.leftToPeople(g.Request.Context(), &b, after); err == nil && b.May.Operate {
		b.Letters, err = c.Inbox.DeadLetters(g.Request.Context(), before, lettersShown)
	}
	if err != nil {
		c.Fail(g, fmt.Errorf("the store cannot be read: %w", err), page.InboxPath)
		return
	}
	for i := range b.Letters {
		b.Letters[i].Error = short(b.Letters[i].Error)
	}
	if len(b.Letters) == lettersShown {
		b.Older = b.Letters[lettersShown-1].ID
	}
	c.silenced(g.Request.Context(), &b)
	f := c.Frame(g, "Inbox", page.InboxPath)
	if b.First && !b.Before {
		f.Events = events
	}
	c.Write(g, http.StatusOK, f, b.Nodes()...)
}

// leftToPeople reads a part of the alerts that fire, and keeps those that nothing is done about.
func (c *Console) leftToPeople(ctx context.Context, b *page.Inbox, after inbox.Place) (err error) {
	if b.Open, err = c.Inbox.Open(ctx); err != nil {
		return err
	}
	all, err := c.Inbox.Firing(ctx, after, leftLooked)
	if err != nil {
		return err
	}
	ids := make([]int64, len(all))
	for i, e := range all {
		ids[i] = e.ID
	}
	histories, err := c.Journal.Histories(ctx, ids)
	if err != nil {
		return err
	}
	var left []remediate.Incident
	for i, o := range c.Engine.Outlooks(ctx, all, histories) {
		if e := all[i]; isLeft(o, histories[e.ID]) {
			left = append(left, e)
			b.Left = append(b.Left, page.Left{Incident: e, Runbook: portal.RunbookOf(e), Paged: o.Page,
				Does: care(e, o, histories[e.ID])})
		}
	}
	if c.Quiet != nil && len(left) > 0 { // that it is not known is said at the silences
		if quiet, err := c.Quiet.Quiet(ctx, left); err == nil {
			for i := range b.Left {
				b.Left[i].Quiet = quiet[b.Left[i].ID]
			}
		}
	}
	if b.Looked = len(all); len(all) == leftLooked {
		last := all[len(all)-1]
		b.Further = fmt.Sprintf("%s?after=%d.%d#left", page.InboxPath, last.Severity(), last.ID)
	}
	return nil
}

// isLeft reports whether nothing is done about an alert, nor will be: no policy wants it, people are notified, or
// the last run has ended and no other follows. One that was resolved is about to end.
func isLeft(o engine.Outlook, history []remediate.Run) bool {
	if len(history) > 0 {
		switch last := history[len(history)-1]; {
		case !last.State.Ended():
			return false
		case last.State == remediate.Resolved && !o.Page:
			return false
		}
	}
	return o.Page || !o.Acts && o.Wait.IsZero()
}

// silenced reads the silences. That they cannot be read is said on the page.
func (c *Console) silenced(ctx context.Context, b *page.Inbox) {
	if c.Silences == nil {
		return
	}
	b.Alertmanager = true
	all, err := c.Silences(ctx)
	if err != nil {
		b.Unknown = short(err.Error())
		return
	}
	b.Silences = all[:min(len(all), silencesShown)]
	b.More = len(all) - len(b.Silences)
	for i := range b.Silences {
		b.Silences[i].Comment = short(b.Silences[i].Comment)
	}
}

func (c *Console) deadLetterPage(g *gin.Context) {
	id, err := strconv.ParseInt(g.Param("id"), 10, 64)
	if err != nil {
		wrong := portal.Line(g.Param("id"), wrongShown)
		c.Fail(g, portal.BadRequest(fmt.Sprintf("dead letter %q: want a number", wrong)), page.InboxPath)
		return
	}
	l, err := c.Inbox.DeadLetter(g.Request.Context(), id)
	if errors.Is(err, inbox.ErrNoDeadLetter) {
		err = portal.ErrorWith(http.StatusNotFound, err.Error())
	}
	if err != nil {
		c.Fail(g, err, page.InboxPath)
		return
	}
	v := page.DeadLetter{At: time.Now(), DeadLetter: l}
	c.Write(g, http.StatusOK, c.Frame(g, fmt.Sprintf("Dead letter %d", id), page.InboxPath), v.Nodes()...)
}

package console

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
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

package console

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

func (c *Console) deadLetters(g *gin.Context) {
	n, err := strconv.Atoi(cmp.Or(g.Query("limit"), "50"))
	if err != nil || n < 1 || n > 1000 {
		c.answer(g, 0, nil, badRequest("limit: want a number from 1 to 1000"))
		return
	}
	all, err := c.Inbox.DeadLetters(g.Request.Context(), n)
	if all == nil {
		all = []remediate.DeadLetter{} // a list in JSON too
	}
	c.answer(g, http.StatusOK, all, err)
}

func (c *Console) deadLetter(g *gin.Context) {
	id, err := strconv.ParseInt(g.Param("id"), 10, 64)
	if err != nil {
		c.answer(g, 0, nil, badRequest(fmt.Sprintf("dead letter %q: want a number", g.Param("id"))))
		return
	}
	l, err := c.Inbox.DeadLetter(g.Request.Context(), id)
	if errors.Is(err, inbox.ErrNoDeadLetter) {
		err = &statusError{http.StatusNotFound, err.Error()}
	}
	c.answer(g, http.StatusOK, l, err)
}

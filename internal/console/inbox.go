package console

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

// mountInbox adds the deliveries that could not be read. Whoever may change
// something may read them: nobody knows what is in such a body.
func (c *Console) mountInbox(r *http.ServeMux) {
	r.Handle("GET "+Prefix+"/letters", c.Gate.Guarded(http.HandlerFunc(c.letters)))
	r.Handle("GET "+Prefix+"/letters/{id}", c.Gate.Guarded(http.HandlerFunc(c.letter)))
}

func (c *Console) letters(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(cmp.Or(r.URL.Query().Get("limit"), "50"))
	if err != nil || n < 1 || n > 1000 {
		c.answer(w, r, 0, nil, badRequest("limit: want a number from 1 to 1000"))
		return
	}
	all, err := c.Inbox.Letters(r.Context(), n)
	if all == nil {
		all = []remediate.Letter{} // a list in JSON too
	}
	c.answer(w, r, http.StatusOK, all, err)
}

func (c *Console) letter(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		c.answer(w, r, 0, nil, badRequest(fmt.Sprintf("letter %q: want a number", r.PathValue("id"))))
		return
	}
	l, err := c.Inbox.Letter(r.Context(), id)
	if errors.Is(err, inbox.ErrNoLetter) {
		err = &statusError{http.StatusNotFound, err.Error()}
	}
	c.answer(w, r, http.StatusOK, l, err)
}

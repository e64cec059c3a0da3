package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/product/look"
)

// EventsPath is where an open page hears that something has happened.
const EventsPath = "/events"

const (
	// lookEvery is how often the store is asked whether something has happened, while any page is open: once,
	// however many are.
	lookEvery = 300 * time.Millisecond

	// beatEvery is how often a page hears something, so that what is between knows that it is there.
	beatEvery = 20 * time.Second

	// sightEvery is how often a page that shows what is wrong with the targets has them looked at.
	sightEvery = 5 * time.Second

	// sendTime is how long a browser may take to take an event.
	sendTime = 10 * time.Second
)

// Farewell ends the streams of open pages: the process is about to end.
func (c *Console) Farewell() {
	c.feed.mu.Lock()
	defer c.feed.mu.Unlock()
	select {
	case <-c.feed.over:
	default:
		close(c.feed.over)
	}
}

// afterKey has in an address what the page was made after.
const afterKey = "after"

// lookKey has in an address which look the page shows. Pages that show none ask no target anything.
const lookKey = "look"

// A sight says when a look at the targets shows something else. Its channels are nil where none is asked for.
type sight struct {
	shown string // which look the page shows
	every *time.Ticker
	due   <-chan time.Time
	found chan string // one more look
	busy  bool
}

func newSight(shown string) *sight {
	if shown == "" {
		return new(sight)
	}
	every := time.NewTicker(sightEvery)
	return &sight{shown: shown, every: every, due: every.C, found: make(chan string, 1)}
}

func (s *sight) stop() {
	if s.every != nil {
		s.every.Stop()
	}
}

// look has the targets looked at, unless the last look goes on.
func (s *sight) look(ctx context.Context, look func(context.Context) (look.Report, error)) {
	if s.busy {
		return
	}
	s.busy = true
	go func() {
		r, err := look(ctx)
		if err != nil {
			s.found <- "" // it is tried again
			return
		}
		s.found <- r.Edition()
	}()
}

// changed reports whether a look has found something else than the page shows.
func (s *sight) changed(found string) bool {
	s.busy = false
	if found == "" || found == s.shown {
		return false
	}
	s.shown = found
	return true
}

// heardFrom is where a page that is made now hears of what happens after it is made.
func (c *Console) heardFrom(ctx context.Context) string {
	return EventsPath + "?" + afterKey + "=" + url.QueryEscape(c.edition(ctx, ""))
}

// listen returns a channel of editions; the first is the one of now.
func (c *Console) listen(ctx context.Context) (editions chan string, leave func()) {
	f := &c.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	editions = make(chan string, 1)
	if len(f.heard) == 0 {
		looking, stop := context.WithCancel(context.WithoutCancel(ctx))
		f.stop, f.edition = stop, c.edition(ctx, "")
		go c.look(looking)
	}
	f.heard[editions] = struct{}{}
	editions <- f.edition
	return editions, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.heard, editions)
		if len(f.heard) == 0 {
			f.stop()
		}
	}
}

// edition reads what changes when something happens; was where the store does not answer.
func (c *Console) edition(ctx context.Context, was string) string {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	entry, err := c.Journal.Last(ctx)
	if err != nil {
		return was
	}
	incidents, err := c.Inbox.Edition(ctx)
	if err != nil {
		return was
	}
	return fmt.Sprintf("%d.%s", entry, incidents)
}

// look asks the store until no one listens.
func (c *Console) look(ctx context.Context) {
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	f := &c.feed
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		is := c.edition(ctx, f.current())
		f.mu.Lock()
		if ctx.Err() == nil && is != f.edition {
			f.edition = is
			for editions := range f.heard {
				select {
				case <-editions: // what was not taken is old
				default:
				}
				editions <- is
			}
		}
		f.mu.Unlock()
	}
}

// events sends an event when something has happened. A browser that comes back says which one it had
// last: what has happened meanwhile is one more.
func (c *Console) events(g *gin.Context) {
	ctx := g.Request.Context()
	h := g.Writer.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no") // nginx passes it on at once
	g.Status(http.StatusOK)
	if g.Request.Method == http.MethodHead {
		return
	}
	editions, leave := c.listen(ctx)
	defer leave()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	seen := newSight(g.Query(lookKey))
	defer seen.stop()
	conn := http.NewResponseController(g.Writer)
	last := cmp.Or(g.GetHeader("Last-Event-ID"), g.Query(afterKey))
	for {
		text := ": still here\n\n"
		select {
		case <-ctx.Done():
			return
		case <-c.feed.over:
			return
		case is := <-editions:
			event := "change"
			if last == "" || last == is {
				event = "hello" // a page that was just made is not made again
			}
			last, text = is, fmt.Sprintf("event: %s\nid: %s\ndata: %s\n\n", event, is, is)
		case <-seen.due:
			seen.look(ctx, c.Look)
			continue
		case found := <-seen.found:
			if !seen.changed(found) {
				continue
			}
			text = "event: change\ndata: look\n\n" // the id stays: it is of what happens here
		case <-beat.C:
		}
		_ = conn.SetWriteDeadline(time.Now().Add(sendTime)) // not every connection has deadlines
		if _, err := g.Writer.WriteString(text); err != nil {
			return
		}
		if err := conn.Flush(); err != nil {
			return
		}
	}
}

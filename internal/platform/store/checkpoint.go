package store

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// quiet is how long no write has to end before SQLite's log is copied into its file:
	// nothing waits for the disk then.
	quiet = 50 * time.Millisecond

	// worthQuiet and worthBusy are how many writes are worth a copy, in a quiet moment and
	// beside other writes.
	worthQuiet, worthBusy = 64, 512

	// logPages is the length of the log, 64 MB, at which a commit copies what is left of it: where writes never pause,
	// no copy beside them reaches its end. All who wait for that commit wait for the copy, 40 to 100 ms: with 4,000
	// pages a flood met one in each quarter of a second, and the slowest hundredth of its deliveries was made of them.
	logPages = 16000
)

// A checkpointer copies SQLite's log into its file. SQLite does so within a commit, and all
// who share that commit, and all who wait for the next one, wait for it; the
// checkpointer does it in quiet moments, and beside the writes where these do not pause.
type checkpointer struct {
	wrote  chan struct{} // a commit has ended
	writes atomic.Int64  // since the last copy
	stop   context.CancelFunc
	ended  chan struct{}
}

// newCheckpointer starts one. The copy must not wait for a write.
func newCheckpointer(checkpoint func()) *checkpointer {
	ctx, stop := context.WithCancel(context.Background())
	c := &checkpointer{wrote: make(chan struct{}, 1), stop: stop, ended: make(chan struct{})}
	go c.run(ctx, checkpoint)
	return c
}

// note counts the writes of a commit. It never waits.
func (c *checkpointer) note(writes int) {
	if c == nil {
		return
	}
	c.writes.Add(int64(writes))
	select {
	case c.wrote <- struct{}{}:
	default: // it has not looked since the commit before
	}
}

func (c *checkpointer) run(ctx context.Context, checkpoint func()) {
	defer close(c.ended)
	calm := time.NewTimer(quiet)
	for {
		worth := int64(worthQuiet)
		select {
		case <-ctx.Done():
			return
		case <-c.wrote:
			calm.Reset(quiet)
			worth = worthBusy
		case <-calm.C:
		}
		if c.writes.Load() >= worth {
			c.writes.Store(0)
			checkpoint()
		}
	}
}

// close stops it and waits until no copy is at work. It may be called again.
func (c *checkpointer) close() {
	if c == nil {
		return
	}
	c.stop()
	<-c.ended
}

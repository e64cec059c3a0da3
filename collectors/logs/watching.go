package logs

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/logs/follow"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

const (
	// tick is how often the logs are looked at that grow quickly, or whose folder is not watched.
	tick = time.Second

	// growth is what a log grows by before it is read between two collections: much less than it
	// can hold before it is rotated.
	growth = 256 << 10

	// patience is how long a reading between two collections takes, after which a collection is
	// let in.
	patience = 10 * time.Second

	// strangers is how many new containers are followed of which the engine has said nothing yet.
	strangers = 1000
)

// start begins to follow the logs, until the target is closed.
func (c *following) start() {
	if c.running || c.gone() {
		return
	}
	c.running = true
	ctx, cancel := context.WithCancel(context.Background())
	if w, err := follow.NewWatcher(); err == nil { // without one, each tick looks at all
		c.watcher = w
		go c.hear(ctx, w)
	}
	go func() {
		defer cancel()
		clock := time.NewTicker(tick)
		defer clock.Stop()
		for {
			select {
			case <-c.closed:
				c.stop()
				return
			case <-clock.C:
				c.use(ctx, c.tick)
			}
		}
	}()
}

// use calls do while nothing else uses the logs.
func (c *following) use(ctx context.Context, do func(context.Context)) {
	if write := c.used(ctx, do); write != nil {
		_ = write() // the next collection says why not
	}
}

func (c *following) used(ctx context.Context, do func(context.Context)) (write func() error) {
	c.lock <- struct{}{}
	defer func() { <-c.lock }()
	if !c.running || c.gone() {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	do(limited)
	return c.saveChanges()
}

// counting calls count while nothing else uses the logs, and then saves what was counted: reading goes on meanwhile.
func (c *following) counting(ctx context.Context, count func() (save func() error, fault error)) error {
	select {
	case c.lock <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	save, err := func() (func() error, error) {
		defer func() { <-c.lock }() // also where it panics
		return count()
	}()
	return errors.Join(err, save())
}

func (c *following) stop() {
	c.lock <- struct{}{}
	defer func() { <-c.lock }()
	c.running = false
	if c.watcher != nil {
		c.watcher.Close()
		c.watcher = nil
	}
	for _, l := range c.logs {
		l.files.Close()
	}
	clear(c.logs)
	c.restored = false
}

// saveChanges saves what was read between two collections: it may be gone soon, and could not be
// read again. It does so once a second at most, since each time is a write to the disk, and at once for the
// log of a container that was removed.
func (c *following) saveChanges() (write func() error) {
	n := int64(0)
	for _, l := range c.logs {
		n += l.files.Bytes
	}
	if n == c.saved || !c.removed && time.Since(c.at) < tick {
		return nil
	}
	c.saved, c.at, c.removed = n, time.Now(), false
	return c.save()
}

// hear reads what the kernel has notified.
func (c *following) hear(ctx context.Context, w *follow.Watcher) {
	for {
		keys, folders, err := w.Wait()
		if err != nil {
			return // it was closed
		}
		c.use(ctx, func(ctx context.Context) {
			for _, id := range folders {
				c.arrive(id)
			}
			for _, id := range keys {
				if l := c.logs[id]; l != nil {
					_ = c.look(ctx, l) // the next collection reports it
				} else {
					c.stirred = true
				}
			}
		})
	}
}

// tick looks at the logs that grow quickly, and at all without notifications.
func (c *following) tick(ctx context.Context) {
	if c.discover != nil && c.stirred {
		c.stirred = false
		_ = c.discover(ctx) // the next collection reports it
	}
	for id, l := range c.logs {
		if l.counter.tally == nil {
			c.askWhose(ctx, l)
		}
		if c.watcher == nil || !c.watcher.Watches(id) || l.files.Restless(growth) {
			_ = c.look(ctx, l) // the next collection reports it
		}
	}
}

// arrive follows the log of a container that was just created. It may be gone before the engine
// has said whose it is.
func (c *following) arrive(id string) {
	if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" || c.logs[id] != nil {
		return
	}
	n := 0
	for _, l := range c.logs {
		if l.counter.tally == nil {
			n++
		}
	}
	if n >= strangers {
		return
	}
	l := c.newLog(c.parent.Beside(id))
	c.watchLog(l)
	_ = l.files.Hold() // there need not be a log yet
	c.askWhose(context.Background(), l)
}

// askWhose asks the engine which service a log belongs to, beside everything else.
func (c *following) askWhose(ctx context.Context, l *log) {
	if l.asked {
		return
	}
	l.asked = true
	id := l.container.ID
	go func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		k, err := c.engine.Container(limited, id)
		c.use(context.WithoutCancel(ctx), func(ctx context.Context) { c.learn(ctx, id, k, err) })
	}()
}

// learn takes the engine's answer. A container that is gone, and whose service is not known, is
// counted with others.
func (c *following) learn(ctx context.Context, id string, k target.Container, err error) {
	l := c.logs[id]
	if l == nil || l.counter.tally != nil {
		return
	}
	l.asked = false
	switch {
	case err == nil && k.LogDriver != "json-file":
		c.forget(l)
	case err == nil:
		c.own(l, k.Service)
		_ = c.look(ctx, l) // the next collection reports it
	case target.Gone(err) && errors.Is(l.files.Hold(), fs.ErrNotExist):
		if l.files.Empty() {
			c.forget(l)
			return
		}
		c.own(l, collectors.Other)
		_ = c.look(ctx, l) // its folder is gone
	}
}

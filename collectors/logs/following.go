package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/logs/follow"
	"github.com/ai-micro-service/upkeep/collectors/logs/keep"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

const (
	// filesHeld is how many files of an engine's logs are held open at most. Of a log whose file is
	// not, what is removed or rotated away quickly is missed.
	filesHeld = 512
)

// A source is where the lines of a target are.
type source struct {
	name   string // the server label
	fields target.LogFields
	state  string // the file that remembers how far they were read; "": none does
	closed <-chan struct{}

	open func(target.Container) (*target.LogFolder, error) // the folder of a log
	raw  bool                                              // the files have the lines as they were written
}

// following is the logs of a target with what was counted in them.
type following struct {
	source
	engine *target.Docker // nil where the logs are no containers'

	lock     chan struct{} // is full while one uses what follows
	restored bool          // what was saved was read
	begun    bool          // there was a look before, or what one saved
	services map[string]*tally
	logs     map[string]*log // by the id of the container
	limit    int
	budget   follow.Budget
	buf      []byte

	patterns []string                    // of files that were looked at, in this process or before
	unread   []string                    // folders that could not be, at the last time
	discover func(context.Context) error // looks for new logs; nil: the engine says of them
	stirred  bool                        // something was created where there may be new logs

	place *place // in a journal; nil: there was no look yet

	watcher *follow.Watcher // nil: there are no notifications
	parent  target.Container
	running bool
	saved   int64     // bytes of all logs, when their state was saved
	at      time.Time // when it was
	removed bool      // the folder of a log is gone since then
	keeper  keep.Keeper
}

func newFollowing(s source) following {
	return following{source: s, services: make(map[string]*tally), logs: make(map[string]*log),
		budget: follow.Budget{Free: filesHeld}, lock: make(chan struct{}, 1)}
}

// A log is the log of a container.
type log struct {
	container target.Container
	service   string
	counter   counter // without a tally until it is known whose log it is
	files     follow.Log
	idle      bool  // nothing was written since the time before: a trace has ended
	bytes     int64 // that were read at the last time
	skip      bool  // what is there is to be passed over
	asked     bool  // the engine is being asked whose log it is
}

// restore reads once what was saved.
func (c *following) restore() error {
	if c.restored {
		return nil
	}
	c.restored = true
	s, err := load(c.state)
	if s == nil {
		return err
	}
	c.begun, c.patterns, c.unread, c.place = true, s.Patterns, s.Unread, s.Journal
	for name, t := range s.Services {
		c.services[name] = t.tally(c.slowest())
	}
	for id, l := range s.Logs {
		if c.services[l.Service] == nil {
			continue
		}
		fresh := c.newLog(target.Container{ID: id, Name: id, LogDriver: "json-file", LogPath: l.Path})
		if fresh.idle, fresh.skip = l.Idle, l.Skip; !l.Skip {
			fresh.files.Restore(l.Files, !l.Idle)
		}
		c.own(fresh, l.Service)
	}
	return nil
}

func (c *following) slowest() float64 { return c.fields.Slow.Seconds() * 1000 }

// newLog returns the log of a container, of which nothing was read.
func (c *following) newLog(k target.Container) *log {
	l := &log{container: k, bytes: -1}
	l.counter.reader.fields, l.counter.reader.raw = FieldsOf(c.fields), c.raw
	l.files = follow.Log{Open: func() (*target.LogFolder, error) { return c.open(l.container) },
		Plain: c.raw, Sink: &l.counter, Budget: &c.budget, Created: func() (uint64, bool) { return c.created(k.ID) }}
	c.logs[k.ID] = l
	return l
}

// own says which service a log belongs to.
func (c *following) own(l *log, service string) {
	if c.services[service] == nil && c.limit > 0 && len(c.services) >= c.limit {
		service = collectors.Other
	}
	t := c.services[service]
	if t == nil {
		t = newTally(c.slowest())
		c.services[service] = t
	}
	l.service, l.counter.tally = service, t
}

// read counts what was written to a log since the last time. What was written before does not count of
// one that is to be skipped: it was there when upkeep looked for the first time.
func (c *following) read(ctx context.Context, k target.Container, skip bool) error {
	l := c.logs[k.ID]
	if l == nil {
		l = c.newLog(k)
	}
	l.container = k
	c.watchParent(k)
	c.watchLog(l)
	if l.counter.tally == nil {
		c.own(l, k.Service)
		l.skip = skip
	}
	if l.skip {
		err := l.files.Skip()
		l.skip = err != nil && !errors.Is(err, fs.ErrNotExist)
		return permission(err)
	}
	err := c.look(ctx, l)
	if l.idle = l.bytes == l.files.Bytes; l.idle && err == nil {
		l.counter.finish()
	}
	l.bytes = l.files.Bytes
	return permission(err)
}

// look reads a log. The buffer is shared by those that are read one after the other.
func (c *following) look(ctx context.Context, l *log) error {
	if l.counter.tally == nil || l.skip {
		return l.files.Hold()
	}
	l.counter.buf = c.buf
	missed := l.files.Missed
	err := l.files.Look(ctx)
	l.counter.tally.missed += l.files.Missed - missed
	c.removed = c.removed || errors.Is(err, fs.ErrNotExist)
	if c.buf, l.counter.buf = l.counter.buf, nil; len(c.buf) > lineMost/4 {
		c.buf = nil
	}
	return err
}

// part reads the rest of the logs whose containers are gone, and forgets them.
func (c *following) part(ctx context.Context, there map[string]bool) {
	for id, l := range c.logs {
		if there[id] || l.counter.tally == nil {
			continue
		}
		if err := c.look(ctx, l); err != nil && !errors.Is(err, fs.ErrNotExist) || !l.files.Ended() {
			continue // it is being removed
		}
		l.counter.finish()
		c.forget(l)
	}
}

func (c *following) forget(l *log) {
	l.files.Close()
	c.unwatch(l.container.ID)
	delete(c.logs, l.container.ID)
}

func permission(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // nothing was written yet, or the container is going away
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: run as root, or let upkeep's user read the file", err)
	}
	return err
}

// save takes the state and returns what writes it. That takes as long as the disk likes, so it is
// called where the logs may be used by others again.
func (c *following) save() func() error {
	path := c.state
	if path == "" {
		return func() error { return nil }
	}
	s := saved{Services: make(map[string]*savedTally), Logs: make(map[string]savedLog), Patterns: c.patterns,
		Unread: c.unread, Journal: c.place}
	for id, l := range c.logs {
		if l.counter.tally != nil {
			s.Logs[id] = savedLog{Service: l.service, Path: l.container.LogPath, Skip: l.skip,
				Idle:  l.idle && l.bytes == l.files.Bytes && !l.counter.reader.joining(),
				Files: l.files.State()}
		}
	}
	for name, t := range c.services {
		s.Services[name] = t.saved()
	}
	number := c.keeper.Taken.Add(1)
	text, err := json.Marshal(s)
	if err != nil {
		return func() error { return fmt.Errorf("stored state of logs: %w", err) }
	}
	return func() error {
		if c.gone() {
			return nil
		}
		return c.keeper.Write(path, text, number)
	}
}

// gone reports whether the target is not used any more: another collector may follow the logs now.
func (c *following) gone() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// watchLog asks for notifications of a log.
func (c *following) watchLog(l *log) {
	if c.watcher == nil || c.watcher.Watches(l.container.ID) {
		return
	}
	folder, err := c.open(l.container)
	if err != nil {
		return // reading it says so
	}
	defer folder.Close()
	dir, err := folder.Dir()
	if err != nil {
		return
	}
	defer func() { _ = dir.Close() }()                    // was not read
	_ = c.watcher.Add(dir, l.container.ID, folder.Name()) // without, each tick looks at it
}

// watchParent asks for notifications of new containers.
func (c *following) watchParent(k target.Container) {
	if c.engine == nil || c.watcher == nil || c.watcher.Watches("") {
		return
	}
	dir, err := c.engine.OpenLogs(k)
	if err != nil {
		return
	}
	defer func() { _ = dir.Close() }() // was not read
	if c.watcher.Add(dir, "", "") == nil {
		c.parent = k
	}
}

func (c *following) unwatch(id string) {
	if c.watcher != nil {
		c.watcher.Remove(id)
	}
}

// created returns how often a log was created while its folder was watched.
func (c *following) created(id string) (uint64, bool) {
	if c.watcher == nil {
		return 0, false
	}
	return c.watcher.Created(id)
}

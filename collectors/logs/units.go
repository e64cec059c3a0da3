package logs

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/logs/journal"
	"github.com/ai-micro-service/upkeep/collectors/logs/words"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// again is how long it takes until journalctl is started again when it has ended.
const again = 5 * time.Second

// Journal reports what the journal of systemd says of the units that a machine's configuration names.
func Journal(t *target.Host) collectors.Collector {
	c := &journalLines{families: newFamilies(), journal: journal.Journal{Folder: t.Logs.Folder, Units: t.Logs.Units},
		counters: make(map[string]*counter), following: newFollowing(source{name: t.Name, fields: t.Logs.Fields,
			closed: t.Closed(), raw: true})}
	if t.Logs.State != "" {
		c.state = filepath.Join(t.Logs.State, "journal.json")
	}
	return collectors.Collector{
		Name:   "logs/journal",
		Target: t.Name,
		Doc: `Journal reports what systemd's journal has of units: as logs/lines, with the same metrics.

Reads the entries of the units that logs.journal of the host names, by journalctl --follow, from where they were left,
also after a restart of upkeep. The label service is the name of the unit, such as nginx.service. Each line of a
message is a line; where the first one says no level, PRIORITY is its level. What systemd writes about a unit, such as
that it has failed, is the unit's too. What was written before the configuration named the journal is not counted. Where
the journal was cut before upkeep had read it, upkeep_logs_missed_files_total of each unit grows by one. Rights: the group
systemd-journal. Cost: a process of journalctl, and as logs/lines; no message is kept. How far the journal was read is in
data_dir/logs, with the counts.`,
		Metrics: c.metrics(),
		Every:   15 * time.Second,
		Timeout: time.Minute,
		Limit:   100,
		Collect: c.collect,
	}
}

type journalLines struct {
	families
	following

	journal  journal.Journal
	counters map[string]*counter // by the unit
	fault    error               // why journalctl has ended; nil: it runs, or is started again
	read     uint64              // entries
	idle     uint64              // entries at the time before
}

func (c *journalLines) collect(ctx context.Context, w *collectors.Writer) error {
	if len(c.journal.Units) == 0 || ctx.Err() != nil {
		return context.Cause(ctx) // there is nothing to read
	}
	return c.counting(ctx, func() (func() error, error) { return c.count(ctx, w) })
}

// count writes what was counted. What it returns is to be saved before that is exported.
func (c *journalLines) count(ctx context.Context, w *collectors.Writer) (save func() error, fault error) {
	faults := []error{c.restore()}
	c.limit = w.Limit()
	if !c.running && !c.gone() {
		faults = append(faults, c.begin(ctx))
	}
	if c.idle == c.read {
		for _, one := range c.counters {
			one.finish()
		}
	}
	if c.idle = c.read; c.running && c.fault == nil {
		c.place.At = time.Now()
	}
	c.write(w, c.name, c.services)
	return c.save(), errors.Join(append(faults, c.fault)...)
}

// begin begins to follow the journal: where it was left, or behind what is there at the first time.
func (c *journalLines) begin(ctx context.Context) error {
	if c.place == nil {
		cursor, err := c.journal.Last(ctx)
		if err != nil {
			return err
		}
		c.place = &place{Cursor: cursor, At: time.Now()}
	}
	oldest, err := c.journal.Oldest(ctx)
	if err != nil {
		return err
	}
	for unit := range c.services {
		if !slices.Contains(c.journal.Units, unit) && unit != collectors.Other {
			delete(c.services, unit)
		}
	}
	for _, unit := range c.journal.Units {
		var l log
		c.own(&l, unit)
		l.counter.reader.fields, l.counter.reader.raw = FieldsOf(c.fields), true
		c.counters[unit] = &l.counter
		if oldest.After(c.place.At) {
			l.counter.tally.missed++
		}
	}
	c.running = true
	go c.follow()
	return nil
}

// follow reads the journal until the target is closed.
func (c *journalLines) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-c.closed
		cancel()
	}()
	for ctx.Err() == nil {
		c.lock <- struct{}{}
		cursor := c.place.Cursor
		c.fault = nil
		<-c.lock
		err := c.journal.Follow(ctx, cursor, func(e journal.Entry) { c.take(ctx, e) })
		c.lock <- struct{}{}
		c.fault = err
		<-c.lock
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// take counts an entry.
func (c *journalLines) take(ctx context.Context, e journal.Entry) {
	select {
	case c.lock <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-c.lock }()
	if one := c.counters[e.Unit]; one != nil {
		one.entry(e)
	}
	c.place.Cursor = e.Cursor
	c.read++
}

// entry counts the lines of an entry.
func (c *counter) entry(e journal.Entry) {
	c.reader.otherwise = words.Unleveled
	if e.Priority != journal.NoPriority {
		c.reader.otherwise = words.SyslogLevel(e.Priority)
	}
	for _, line := range bytes.Split(bytes.TrimRight(e.Message, "\n"), []byte{'\n'}) {
		if c.reader.line(line, &c.rec) {
			c.tally.add(&c.rec)
		}
		c.reader.otherwise = words.Unleveled // what follows belongs to it
	}
}

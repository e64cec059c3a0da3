package redis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// slowlogLength is how many entries a server keeps by default.
const slowlogLength = 128

// Slowlog reports the commands that took longer than the server's limit.
func Slowlog(t *target.Redis) collectors.Collector {
	c := &slowlog{
		target: t,
		length: gauge("slowlog_length",
			"Number of entries that the slow log holds now.").WithoutPanel(collectors.AdHoc),
		entries: counter("slowlog_entries_total",
			"Commands that took longer than slowlog-log-slower-than, by the command without its arguments. Those "+
				"that were gone from the log before they were read are under other.", "command"),
		seconds: counter("slowlog_seconds_total", "Time that these commands took.",
			"command"),
		last:   -1,
		shapes: make(map[string]*shape),
	}
	return collectors.Collector{
		Name:   "redis/slowlog",
		Target: t.Name,
		Doc: `Slowlog reports how many commands took longer than the server's limit, and which, without their arguments.

Reads the entries of SLOWLOG that are new. Rights: +slowlog|get and
+slowlog|len; a server that renamed SLOWLOG has no such metrics. Cost: two questions; the answer has 128 entries at most. The
counts begin with what the log holds when upkeep starts.`,
		Metrics: []*collectors.Metric{c.length, c.entries, c.seconds},
		Every:   every,
		Timeout: timeout,
		Limit:   50,
		Collect: c.collect,
	}
}

type slowlog struct {
	target                   *target.Redis
	length, entries, seconds *collectors.Metric

	last   int64 // number of the newest entry that was counted; -1 before the first
	shapes map[string]*shape
	missed float64

	unknown time.Time // when the server last had no such command
}

// A shape is a command without its arguments.
type shape struct {
	name  string
	count float64
	took  time.Duration
}

func (c *slowlog) collect(ctx context.Context, w *collectors.Writer) error {
	if time.Since(c.unknown) < askAgain {
		return nil
	}
	length, err := c.target.Client.Do(ctx, "slowlog", "len").Int64()
	if unknown(err) {
		c.unknown = time.Now()
		return nil // the command has another name: there is nothing to be mended
	}
	if err != nil {
		return fmt.Errorf("slowlog len: %w", err)
	}
	entries, err := c.target.Client.SlowLogGet(ctx, slowlogLength).Result()
	if err != nil {
		return fmt.Errorf("slowlog get: %w", err)
	}
	c.count(entries)
	w.Set(c.length, float64(length), c.target.Name)
	all := make([]*shape, 0, len(c.shapes))
	others, took := c.missed, time.Duration(0)
	for _, s := range c.shapes {
		if s.name == collectors.Other {
			others, took = others+s.count, took+s.took
		} else {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *shape) int { return strings.Compare(a.name, b.name) })
	kept, rest := collectors.Largest(all, w.Limit(), func(s *shape) float64 { return s.took.Seconds() })
	for _, s := range rest {
		others, took = others+s.count, took+s.took
	}
	w.Cut(len(rest))
	for _, s := range kept {
		w.Set(c.entries, s.count, c.target.Name, s.name)
		w.Set(c.seconds, s.took.Seconds(), c.target.Name, s.name)
	}
	if others > 0 {
		w.Set(c.entries, others, c.target.Name, collectors.Other)
		w.Set(c.seconds, took.Seconds(), c.target.Name, collectors.Other)
	}
	return nil
}

// count adds what is new. The numbers of the entries go up by one; they begin
// anew with the server.
func (c *slowlog) count(entries []redis.SlowLog) {
	if len(entries) == 0 {
		return
	}
	newest, oldest := entries[0].ID, entries[len(entries)-1].ID
	if newest < c.last {
		c.last = -1
	}
	if c.last >= 0 && oldest > c.last+1 {
		c.missed += float64(oldest - c.last - 1)
	}
	for _, e := range entries {
		if e.ID <= c.last {
			break
		}
		name := command(e.Args)
		s := c.shapes[name]
		if s == nil {
			s = &shape{name: name}
			c.shapes[name] = s
		}
		s.count++
		s.took += e.Duration
	}
	c.last = newest
}

// containers are the commands whose first argument is a word of the command.
const containers = " acl client cluster command config debug function latency memory module object pubsub script " +
	"slowlog xgroup xinfo "

// command returns the name of a command without its arguments. What is no name
// of a command is not exported: it may be anything.
func command(args []string) string {
	if len(args) == 0 {
		return collectors.Other
	}
	name := strings.ToLower(args[0])
	if len(args) > 1 && strings.Contains(containers, " "+name+" ") {
		name += "|" + strings.ToLower(args[1])
	}
	if len(name) > 40 || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') &&
			!strings.ContainsRune("0123456789|.-_", r)
	}) {
		return collectors.Other
	}
	return name
}

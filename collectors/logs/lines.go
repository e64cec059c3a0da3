// Package logs reads what services write: the log files of Docker's json-file
// driver, each once and where it was left, and counts errors, requests and their
// durations in bounded memory.
package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

const (
	// So many templates and endpoints of a service are exported one by one, and at most twice as
	// many while what is the most frequent changes.
	errorsExported   = 20
	requestsExported = 50
)

// Lines reports what the services' log lines say.
func Lines(t *target.Docker) collectors.Collector {
	counter := func(name, help string, labels ...string) *collectors.Metric {
		return &collectors.Metric{Name: "upkeep_logs_" + name, Type: collectors.Counter, Help: help,
			Labels: append([]string{"server", "service"}, labels...)}
	}
	c := &lines{
		target: t,
		all:    counter("lines_total", "Lines that the service wrote."),
		errors: counter("errors_total", "Lines at the level of an error or above."),
		plain:  counter("plain_lines_total", "Lines that are no JSON object."),
		templates: counter("error_messages_total",
			"Errors by their message, in which ids, numbers and addresses are folded; those that are not among the "+
				"most frequent are under other.", "template"),
		requests: counter("requests_total",
			"Requests by their path, in which ids are folded; those that are not among the most frequent are under "+
				"other.", "endpoint"),
		slow: counter("slow_requests_total", "Requests slower than the configured limit."),
		duration: &collectors.Metric{Name: "upkeep_logs_request_duration_seconds", Type: collectors.Histogram,
			Help: "Request latency, from the service's log lines.", Labels: []string{"server", "service"}},
		services: make(map[string]*tally),
		files:    make(map[string]*follower),
	}
	return collectors.Collector{
		Name:   "logs/lines",
		Target: t.Name,
		Doc: `Lines reports what the lines of each service say: errors by message, requests by endpoint, how long they take.

Reads the log file of each container that has the driver json-file, from where it
was left, across rotation and truncation. What was written before upkeep started is
not counted; "upkeep logs top" reads that. Rights: GET on the engine's socket, and
to read the log files, which only root may: run as root, or mount
/var/lib/docker/containers for reading. Cost: about a second of one core for each
gigabyte that is written; the engine is asked for the list of containers. Messages
and paths are folded to templates and only the most frequent of a service are exported, so
neither memory nor the number of series grows with what is written. The names of
the fields are in the target's configuration, and those that common loggers use are
known. Of lines that are no JSON, the first word for a level counts; a traceback or panic
is one error, with its type and place as message, unless it belongs to a line with a
level; lines of access logs of nginx, Apache and Caddy are requests.`,
		Metrics: []*collectors.Metric{c.all, c.errors, c.plain, c.templates, c.requests, c.slow, c.duration},
		Every:   15 * time.Second,
		Timeout: time.Minute,
		Limit:   100,
		Collect: c.collect,
	}
}

type lines struct {
	target                                                  *target.Docker
	all, errors, plain, templates, requests, slow, duration *collectors.Metric

	begun    bool
	services map[string]*tally
	files    map[string]*follower // by the id of the container
	buf      []byte
}

func (c *lines) collect(ctx context.Context, w *collectors.Writer) error {
	containers, err := c.target.Containers(ctx)
	if err != nil && containers == nil {
		return err
	}
	faults := []error{err}
	there := make(map[string]bool)
	for _, k := range containers {
		if k.LogPath == "" || k.LogDriver != "json-file" {
			continue
		}
		there[k.ID] = true
		if err := c.read(ctx, k, w.Limit()); err != nil {
			faults = append(faults, fmt.Errorf("container %s: %w", k.Name, err))
		}
		if ctx.Err() != nil {
			return errors.Join(faults...)
		}
	}
	for id := range c.files {
		if !there[id] {
			c.files[id].counter.finish()
			delete(c.files, id)
		}
	}
	c.begun = true
	c.write(w)
	return errors.Join(faults...)
}

// read counts what a container wrote since the last time. Of those that are there
// when upkeep starts, what they wrote before does not count.
func (c *lines) read(ctx context.Context, k target.Container, limit int) error {
	f := c.files[k.ID]
	if f == nil {
		service := k.Service
		if c.services[service] == nil && limit > 0 && len(c.services) >= limit {
			service = collectors.Other
		}
		t := c.services[service]
		if t == nil {
			t = newTally(c.target.Logs.Slow.Seconds() * 1000)
			c.services[service] = t
		}
		fields := Fields{c.target.Logs.Level, c.target.Logs.Message, c.target.Logs.Path, c.target.Logs.Duration,
			c.target.Logs.DurationUnit}
		var err error
		at := func() (*target.LogFolder, error) { return c.target.OpenLog(k) }
		if f, err = follow(at, fields, t, !c.begun); err != nil {
			return permission(err)
		}
		c.files[k.ID] = f
	}
	return permission(f.catchUp(ctx, &c.buf))
}

func permission(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // nothing was written yet, or the container is going away
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: run as root, or let upkeep read the file", err)
	}
	return err
}

func (c *lines) write(w *collectors.Writer) {
	names := make([]string, 0, len(c.services))
	for name := range c.services {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		t := c.services[name]
		w.Set(c.all, float64(t.lines), c.target.Name, name)
		w.Set(c.errors, float64(t.errors), c.target.Name, name)
		w.Set(c.plain, float64(t.broken), c.target.Name, name)
		w.Set(c.slow, float64(t.slow), c.target.Name, name)
		c.export(w, c.templates, name, t.templates, errorsExported)
		c.export(w, c.requests, name, t.endpoints, requestsExported)
		w.SetHistogram(c.duration, Bounds(), t.counts[:], t.sum, c.target.Name, name)
	}
}

// export exports the n most frequent and the rest. A template that was exported stays
// exported while it is among the 2 n most frequent, so that its series continues. What was
// counted before it was exported stays in the rest, which never decreases.
func (c *lines) export(w *collectors.Writer, m *collectors.Metric, service string, t *top, n int) {
	all := t.sorted()
	for i, e := range all {
		if e.exported = i < n || e.exported && i < 2*n; e.exported {
			if e.Name == "" || strings.EqualFold(e.Name, collectors.Other) {
				e.exported = false
				continue
			}
			w.Set(m, float64(e.sure()), c.target.Name, service, e.Name)
		}
	}
	if len(all) > 0 {
		w.Set(m, float64(t.rest), c.target.Name, service, collectors.Other)
	}
}

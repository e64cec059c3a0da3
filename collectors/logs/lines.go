// Package logs reads what services write: the log files of Docker's json-file
// driver, each once and where it was left, and counts errors, requests and their
// durations in bounded memory.
package logs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/logs/latency"
	"github.com/ai-micro-service/upkeep/collectors/logs/top"
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
	c := &lines{families: newFamilies(), following: newFollowing(source{name: t.Name, fields: t.Logs, state: t.LogState,
		closed: t.Closed(), open: t.OpenLog})}
	c.engine = t
	return collectors.Collector{
		Name:   "logs/lines",
		Target: t.Name,
		Doc: `Lines reports what the lines of each service say: errors by message, requests by endpoint, how long they take.

Reads the log file of each container that has the driver json-file, from where it
was left, across rotation, compression, copying with truncation, and restarts of upkeep. The kernel
notifies it of each rotation and of each new container, and the files are held open (512 at most), so
that what is rotated away or removed is read too. What could not be read is counted in
upkeep_logs_missed_files_total; where there are no notifications, upkeep looks each second. What was
written before upkeep ran for the first time is
not counted; "upkeep logs top" reads that. Rights: GET on the engine's socket, and
to read the log files, which only root may: run as root, or mount
/var/lib/docker/containers for reading. Cost: about a second of one core for each
gigabyte that is written; the engine is asked for the list of containers. How far each log was
read is in data_dir/logs, with the counts. Messages
and paths are folded to templates and only the most frequent of a service are exported, so
neither memory nor the number of series grows with what is written. The names of
the fields are in the target's configuration, and those that common loggers use are
known. Of lines that are no JSON, the first word for a level counts; a traceback or panic
is one error, with its type and place as message, unless it belongs to a line with a
level; lines of access logs of nginx, Apache and Caddy are requests.`,
		Metrics: c.metrics(),
		Every:   15 * time.Second,
		Timeout: time.Minute,
		Limit:   100,
		Collect: c.collect,
	}
}

// counted is a counter of services.
func counted(name, help string, labels ...string) *collectors.Metric {
	return &collectors.Metric{Name: "upkeep_logs_" + name, Type: collectors.Counter, Help: help,
		Labels: append([]string{"server", "service"}, labels...)}
}

// families are the metrics of services, wherever their lines are.
type families struct {
	all, errors, plain, templates, requests, slow, missed, duration *collectors.Metric
}

func newFamilies() families {
	return families{
		all:    counted("lines_total", "Lines that the service wrote."),
		errors: counted("errors_total", "Lines at the level of an error or above."),
		plain:  counted("plain_lines_total", "Lines that are no JSON object."),
		templates: counted("error_messages_total",
			"Errors by their message, in which ids, numbers and addresses are folded; those that are not among the "+
				"most frequent are under other.", "template"),
		requests: counted("requests_total",
			"Requests by their path, in which ids are folded; those that are not among the most frequent are under "+
				"other.", "endpoint"),
		slow: counted("slow_requests_total", "Requests slower than the configured limit."),
		missed: counted("missed_files_total",
			"Log files, or ends of them, that were gone before they were read; their lines are counted nowhere."),
		duration: &collectors.Metric{Name: "upkeep_logs_request_duration_seconds", Type: collectors.Histogram,
			Help: "Request latency, from the service's log lines.", Labels: []string{"server", "service"}},
	}
}

func (f families) metrics() []*collectors.Metric {
	return []*collectors.Metric{f.all, f.errors, f.plain, f.templates, f.requests, f.slow, f.missed, f.duration}
}

type lines struct {
	families
	following
}

func (c *lines) collect(ctx context.Context, w *collectors.Writer) error {
	containers, err := c.engine.Containers(ctx)
	if err != nil && containers == nil {
		return err
	}
	return c.counting(ctx, func() (func() error, error) { return c.count(ctx, containers, err, w) })
}

// count reads the logs and writes what was counted. What it returns is to be saved before that is
// exported. The containers are not all where there is an error.
func (c *lines) count(ctx context.Context, containers []target.Container, err error, w *collectors.Writer) (
	save func() error, fault error) {
	faults := []error{err, c.restore()}
	c.limit = w.Limit()
	c.start()
	there := make(map[string]bool)
	for _, k := range containers {
		if k.LogPath == "" || k.LogDriver != "json-file" {
			continue
		}
		there[k.ID] = true
		if err := c.read(ctx, k, !c.begun); err != nil {
			faults = append(faults, fmt.Errorf("container %s: %w", k.Name, err))
		}
		if ctx.Err() != nil {
			return c.save(), errors.Join(faults...)
		}
	}
	if err == nil {
		c.part(ctx, there)
	}
	c.begun = true
	c.write(w, c.name, c.services)
	return c.save(), errors.Join(faults...)
}

// write writes what was counted of the services of a server.
func (f families) write(w *collectors.Writer, server string, services map[string]*tally) {
	for _, name := range slices.Sorted(maps.Keys(services)) {
		t := services[name]
		w.Set(f.all, float64(t.lines), server, name)
		w.Set(f.errors, float64(t.errors), server, name)
		w.Set(f.plain, float64(t.broken), server, name)
		w.Set(f.slow, float64(t.slow), server, name)
		w.Set(f.missed, float64(t.missed), server, name)
		export(w, f.templates, server, name, t.templates, errorsExported)
		export(w, f.requests, server, name, t.endpoints, requestsExported)
		w.SetHistogram(f.duration, latency.Bounds(), t.durations.Counts[:], t.durations.Sum, server, name)
	}
}

// export exports the n most frequent and the rest. A template that was exported stays
// exported while it is among the 2 n most frequent, so that its series continues. What was
// counted before it was exported stays in the rest, which never decreases.
func export(w *collectors.Writer, m *collectors.Metric, server, service string, t *top.List, n int) {
	all := t.Sorted()
	for i, e := range all {
		if e.Exported = i < n || e.Exported && i < 2*n; e.Exported {
			if e.Name == "" || strings.EqualFold(e.Name, collectors.Other) {
				e.Exported = false
				continue
			}
			w.Set(m, float64(e.Sure()), server, service, e.Name)
		}
	}
	if len(all) > 0 {
		w.Set(m, float64(t.Rest()), server, service, collectors.Other)
	}
}

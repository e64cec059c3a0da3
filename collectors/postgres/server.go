package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Server reports whether the server answers.
func Server(t *target.Postgres) collectors.Collector {
	c := server{
		target: t,
		up: &collectors.Metric{Name: "upkeep_postgres_up", Type: collectors.Gauge,
			Help: "1 when the server answers a question, 0 when it does not.", Labels: []string{"server"}},
		down: gauge("down", "1, with the reason why the server does not answer, or cannot be asked by its pooler; "+
			"absent while it can.", "reason").
			WithoutPanel("the reason of upkeep_postgres_up, for the text of its alert"),
		info: &collectors.Metric{Name: "upkeep_postgres_info", Type: collectors.Gauge,
			Help: "1, with the version of the server as a label.", Labels: []string{"server", "version"}},
		start: &collectors.Metric{Name: "upkeep_postgres_start_timestamp_seconds", Type: collectors.Gauge,
			Help:   "When the server was started. Its cumulative statistics are not older after a crash.",
			Labels: []string{"server"}},
	}
	return collectors.Collector{
		Name:   "postgres/server",
		Target: t.Name,
		Doc: `Server reports whether the server answers, its version and its start time.

Reads version settings and the start time. Rights: CONNECT on the database that
the target names. Cost: one question of less than a millisecond, two more where the
target has databases or exclude. A server that
does not answer is the answer 0 of upkeep_postgres_up, not a failed collection; the
reason is a label of upkeep_postgres_down: authentication, connection_refused,
connections (there are as many as it takes), database (it is not there),
name_resolution, starting (or shutting down), timeout, tls, or other. Behind a PgBouncer
that pools by statement no question is asked: the reason is pool_mode, and up is 1. A name
in databases that no database has, or none that the role may connect to, is an error of
this collector; one in exclude is in the log and in upkeep status.`,
		Metrics: []*collectors.Metric{c.up, c.down, c.info, c.start},
		Every:   15 * time.Second,
		Timeout: 10 * time.Second,
		Collect: c.collect,
	}
}

type server struct {
	target                *target.Postgres
	up, down, info, start *collectors.Metric
}

func (c server) collect(ctx context.Context, w *collectors.Writer) error {
	version, start, err := c.ask(ctx)
	if ctx.Err() != nil && context.Cause(ctx) == context.Canceled { //nolint:errorlint // stopped by us: nothing is known of the server
		return ctx.Err()
	}
	if err != nil {
		answers := 0.0
		if errors.Is(err, target.ErrPoolMode) {
			answers = 1
		}
		w.Set(c.up, answers, c.target.Name)
		w.Set(c.down, 1, c.target.Name, target.Reason(err))
		w.Down(err)
		return nil
	}
	w.Set(c.up, 1, c.target.Name)
	w.Set(c.info, 1, c.target.Name, version)
	w.Set(c.start, float64(start.UnixMilli())/1000, c.target.Name)
	return c.scope(ctx, w)
}

// scope says which names in the target's lists of databases are of no database that can be read: what is not
// read there is missing without any other error. A name to exclude may be there for another server.
func (c server) scope(ctx context.Context, w *collectors.Writer) error {
	s, err := c.target.Scope(ctx)
	if err != nil {
		return fmt.Errorf("databases: %w", err)
	}
	for _, name := range s.Unused {
		w.Note(fmt.Errorf("exclude names %q, and the server has no such database; names are compared without patterns",
			name))
	}
	var faults []error
	fault := func(name, why string) {
		faults = append(faults, &collectors.PartError{Label: "database", Value: name, Err: errors.New(why)})
	}
	for _, name := range s.Absent {
		fault(name, "databases names it, and the server has no such database; names are compared without patterns")
	}
	for _, name := range s.Closed {
		fault(name, "databases names it, and upkeep's role may not connect to it, or it is a template")
	}
	if len(s.All) > 0 && s.Left == 0 {
		faults = append(faults, errors.New("no database is read: databases and exclude leave none of the server's"))
	}
	return errors.Join(faults...)
}

func (c server) ask(ctx context.Context) (version string, start time.Time, err error) {
	server, err := c.target.Server()
	if err != nil {
		return "", start, err
	}
	err = server.QueryRow(ctx,
		"select current_setting('server_version'), pg_catalog.pg_postmaster_start_time()").Scan(&version, &start)
	if err != nil {
		return "", start, fmt.Errorf("version: %w", err)
	}
	return version, start, nil
}

package target

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// yielded returns an error while the database is to be left alone.
func (d *Database) yielded() error {
	if time.Now().UnixNano() < d.away.Load() {
		return fmt.Errorf("database %s is being dropped, renamed or copied: it is asked again afterwards", d.name)
	}
	return nil
}

// poolMode returns what an error says of the way in which a pooler works.
func poolMode(err error) error {
	said, ok := errors.AsType[*pgconn.PgError](err)
	if ok && strings.Contains(said.Message, "in statement pooling mode") {
		return ErrPoolMode
	}
	return err
}

// settings are the statements that make a session one for reading. A table that
// is being rewritten is not waited for: it is asked another time. A question to a
// large catalog looks so dear to the planner that it would compile it, which takes
// longer than to answer it. How values are written is set, because a role, a database or
// the client before in the same session of a pooler may want them otherwise. The time zone is
// the role's or the database's: a plan compares times without a zone as its steps do. The name is set
// here and not in the startup packet: a pooler would give it to the session of the server,
// and so to its next client.
func settings(set, limit string) []string {
	return []string{set + "statement_timeout = '" + limit + "'", set + "lock_timeout = '1s'",
		set + "search_path = pg_catalog", set + "jit = off", set + "application_name = 'upkeep'",
		set + "max_parallel_workers_per_gather = 0", set + "datestyle = 'ISO, YMD'", set + "intervalstyle = postgres",
		set + "extra_float_digits = 1", set + "bytea_output = hex",
		set + "standard_conforming_strings = on"}
}

func (d *Database) connect(ctx context.Context) error {
	if d.conn != nil {
		return nil
	}
	if err := d.yielded(); err != nil {
		return err
	}
	if err := d.slot(ctx); err != nil {
		return err
	}
	err := d.dial(ctx)
	d.note(ctx, err)
	if err != nil && d.slots != nil {
		<-d.slots
	}
	return err
}

// note remembers whether a connection could be made. One that we gave up says nothing about the database, and of
// what is wrong with the server as a whole the server's own connection tells.
func (d *Database) note(ctx context.Context, err error) {
	if err == nil {
		d.down.Store(nil)
		return
	}
	switch reason := Reason(err); {
	case errors.Is(context.Cause(ctx), context.Canceled):
	case reason == ReasonRefused, reason == ReasonStarting, reason == ReasonName, reason == ReasonTLS:
		d.down.Store(nil)
	default:
		d.down.Store(&reason)
	}
}

// slot waits until one more connection may be opened.
func (d *Database) slot(ctx context.Context) error {
	if d.slots == nil {
		return nil
	}
	for {
		select {
		case d.slots <- struct{}{}:
			return nil
		default:
		}
		d.postgres.evict()
		select {
		case d.slots <- struct{}{}:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond): // one may have become idle
		}
	}
}

func (d *Database) dial(ctx context.Context) error {
	d.postgres.mu.Lock()
	closed := d.postgres.closed
	d.postgres.mu.Unlock()
	if closed {
		return errors.New("target: the server is no longer a target")
	}
	config, err := d.postgres.session(d.name)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	// Behind a pooler the next question may meet another session of the server,
	// which knows neither our settings nor the statements that this one prepared.
	if d.pooled, err = isPooled(ctx, conn); err != nil {
		hangUp(conn)
		return err
	}
	if d.pooled {
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
		hangUp(conn)
		d.conn, err = pgx.ConnectConfig(ctx, config)
		return err
	}
	d.limit = within(ctx)
	if _,
		err := conn.Exec(ctx,
		"set default_transaction_read_only = on; "+strings.Join(settings("set ", d.limit), "; ")+"; select "+
			inUTF8(false)); err != nil {
		hangUp(conn)
		return err
	}
	d.conn = conn
	return nil
}

// disconnect gives the connection up, if there is one. Only who has the turn may.
func (d *Database) disconnect() {
	if d.conn == nil {
		return
	}
	hangUp(d.conn)
	d.conn = nil
	if d.slots != nil {
		<-d.slots
	}
}

// evict closes the idle connection of a database that was asked longest ago, so that another can
// have its slot. Collectors walk through the databases together, in one order: one that is behind
// finds the connections of those before it still open.
func (p *Postgres) evict() {
	p.mu.Lock()
	defer p.mu.Unlock()
	var oldest *Database
	for _, d := range p.databases {
		select {
		case d.turn <- struct{}{}:
		default:
			continue
		}
		if d.conn == nil || oldest != nil && !d.asked.Before(oldest.asked) {
			<-d.turn
			continue
		}
		if oldest != nil {
			<-oldest.turn
		}
		oldest = d
	}
	if oldest != nil {
		oldest.disconnect()
		<-oldest.turn
	}
}

// within returns the statement_timeout for a question, so that a query without a waiting caller
// ends on the server too. There are few of them: each is a statement of its
// own for pg_stat_statements, where it would drive others out.
func within(ctx context.Context) string {
	end, ok := ctx.Deadline()
	if !ok {
		return "60s"
	}
	left := time.Until(end)
	for _, step := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
		30 * time.Second, time.Minute} {
		if left <= step {
			return strconv.Itoa(int(step/time.Second)) + "s"
		}
	}
	return "300s"
}

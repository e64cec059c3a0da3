package target

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Name returns the name of the database.
func (d *Database) Name() string { return d.name }

// Query asks one question. No other query can run on the connection before the rows are
// closed, which reading them to the end does.
func (d *Database) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := d.begin(ctx); err != nil {
		<-d.turn
		return nil, err
	}
	inner, err := d.conn.Query(ctx, sql, args...)
	r := &rows{Rows: inner, database: d}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// QueryRow asks a question that has one row for an answer.
func (d *Database) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	r, err := d.Query(ctx, sql, args...)
	return row{r, err}
}

// Version returns the server's version as a number: 150004 is 15.4.
func (d *Database) Version(ctx context.Context) (version int, err error) {
	err = d.QueryRow(ctx, "select pg_catalog.current_setting('server_version_num')::int").Scan(&version)
	return version, err
}

// Pooled reports whether a pooler is between us and the server. It asks each time:
// who answers may be another since the last question.
func (d *Database) Pooled(ctx context.Context) (bool, error) {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	defer func() { <-d.turn }()
	if d.conn != nil {
		pooled, err := isPooled(ctx, d.conn)
		if err == nil && pooled == d.pooled {
			return pooled, nil
		}
		d.disconnect()
	}
	err := d.connect(ctx)
	return d.pooled, err
}

// begin connects where there is no connection, and says what holds for the
// question. A connection that was lost since the last question is replaced once.
func (d *Database) begin(ctx context.Context) error {
	reused := d.conn != nil
	if err := d.connect(ctx); err != nil {
		return err
	}
	limit := within(ctx)
	var sql string
	switch {
	case d.pooled:
		sql = "begin read only; " + strings.Join(settings("set local ", limit), "; ")
	case limit != d.limit || reused && time.Since(d.asked) > silence:
		sql = "set statement_timeout = '" + limit + "'"
	}
	if sql == "" {
		return nil
	}
	_, err := d.conn.Exec(ctx, sql)
	if err == nil {
		d.limit = limit
		return nil
	}
	d.disconnect()
	if reused && ctx.Err() == nil {
		return d.begin(ctx)
	}
	return err
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

// settings are the statements that make a session one for reading. A table that
// is being rewritten is not waited for: it is asked another time. A question to a
// large catalog looks so dear to the planner that it would compile it, which takes
// longer than to answer it. The name is set here and not in the startup packet: a
// pooler would give it to the session of the server, and so to its next client.
func settings(set, limit string) []string {
	return []string{set + "statement_timeout = '" + limit + "'", set + "lock_timeout = '1s'",
		set + "search_path = pg_catalog", set + "jit = off", set + "application_name = 'upkeep'",
		set + "max_parallel_workers_per_gather = 0"}
}

func (d *Database) connect(ctx context.Context) error {
	if d.conn != nil {
		return nil
	}
	if err := d.slot(ctx); err != nil {
		return err
	}
	err := d.dial(ctx)
	if err != nil && d.slots != nil {
		<-d.slots
	}
	return err
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
		"set default_transaction_read_only = on; set standard_conforming_strings = on; "+strings.Join(settings("set ",
			d.limit), "; ")+"; select "+inUTF8); err != nil {
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

// end ends the transaction, where there is one, and the turn.
func (d *Database) end() {
	d.asked = time.Now()
	if d.conn.IsClosed() {
		d.disconnect()
	} else if d.pooled {
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		if _, err := d.conn.Exec(ctx, "rollback"); err != nil { // nothing was written
			d.disconnect()
		}
		cancel()
	}
	<-d.turn
}

// rows end the question when they are closed.
type rows struct {
	pgx.Rows
	database *Database
	ended    bool
}

// Next implements pgx.Rows.
func (r *rows) Next() bool {
	more := r.Rows.Next()
	if !more {
		r.Close()
	}
	return more
}

// Close implements pgx.Rows.
func (r *rows) Close() {
	r.Rows.Close()
	if !r.ended {
		r.ended = true
		r.database.end()
	}
}

// row is an answer of one row.
type row struct {
	rows pgx.Rows
	err  error
}

// Scan implements pgx.Row.
func (r row) Scan(into ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(into...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}

// databasesSQL lists the databases that can be asked. A limit of -2 marks one
// whose DROP DATABASE was interrupted.
const databasesSQL = `
select datname
  from pg_catalog.pg_database
 where datallowconn and not datistemplate and datconnlimit <> -2
   and pg_catalog.has_database_privilege(oid, 'CONNECT')
 order by datname`

// Databases returns the names of the server's databases, found anew at each call.
func (p *Postgres) Databases(ctx context.Context) ([]string, error) {
	server, err := p.Server()
	if err != nil {
		return nil, err
	}
	rows, err := server.Query(ctx, databasesSQL)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(p.Exclude, name) }), err
}

// Server returns where questions about the whole server are asked. Its
// connection is its own, so that they do not wait for a slow question to a
// database.
func (p *Postgres) Server() (*Database, error) {
	if p.config == nil {
		return nil, errors.New("target: a server without a configuration")
	}
	return p.server, nil
}

// Database returns a database for reading. It connects at the first question.
func (p *Postgres) Database(name string) (*Database, error) {
	if p.config == nil {
		return nil, errors.New("target: a server without a configuration")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d, ok := p.databases[name]
	if !ok {
		d = p.database(name)
		d.slots = p.slots
		p.databases[name] = d
	}
	return d, nil
}

// Close closes every connection to the server. A question that is under way is
// answered before.
func (p *Postgres) Close() {
	p.mu.Lock()
	p.closed = true
	all := []*Database{p.server}
	for _, d := range p.databases {
		all = append(all, d)
	}
	p.mu.Unlock()
	for _, d := range all {
		if d != nil {
			d.turn <- struct{}{}
			d.disconnect()
			<-d.turn
		}
	}
}

// evict closes an idle connection of a database, so
// that another can have its slot. Which one is left to chance: who walks through
// more databases than there are slots would otherwise never find one open.
func (p *Postgres) evict() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.databases { // in no order
		select {
		case d.turn <- struct{}{}:
			had := d.conn != nil
			d.disconnect()
			<-d.turn
			if had {
				return
			}
		default:
		}
	}
}

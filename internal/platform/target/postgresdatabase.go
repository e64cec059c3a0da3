package target

import (
	"context"
	"errors"
	"slices"
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
	d.postgres.watch.Do(func() { go d.postgres.yields() })
	reused := d.conn != nil
	if err := d.connect(ctx); err != nil {
		return err
	}
	limit := within(ctx)
	var sql string
	switch {
	case d.pooled:
		sql = "begin read only; " + strings.Join(settings("set local ", limit), "; ") + "; select " + inUTF8(true)
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
	return poolMode(err)
}

// end ends the transaction, where there is one, and the turn.
func (d *Database) end() {
	d.asked = time.Now()
	if d.conn.IsClosed() || d.yielded() != nil {
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
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, p.LeavesAlone)
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, d := range p.databases {
		if !slices.Contains(names, name) { // it is no longer asked, so it is not known whether it could be
			d.down.Store(nil)
		}
	}
	return names, nil
}

// Down returns the databases to which the last connection could not be made, with the reason. It connects to none.
func (p *Postgres) Down() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]string)
	for name, d := range p.databases {
		if reason := d.down.Load(); reason != nil {
			all[name] = *reason
		}
	}
	return all
}

// LeavesAlone reports whether upkeep neither reads nor changes a database.
func (p *Postgres) LeavesAlone(database string) bool {
	return slices.Contains(p.Exclude, database) || len(p.Only) > 0 && !slices.Contains(p.Only, database)
}

// A Scope is what the lists of databases in the configuration of a server match there. Names are compared as
// they are, without patterns.
type Scope struct {
	All    []string // every database of the server
	Left   int      // how many upkeep reads
	Absent []string // of the only ones, those that the server does not have
	Closed []string // of the only ones, those that the role may not connect to, and templates
	Unused []string // of the excluded ones, those that the server does not have
}

// Scope compares the lists of databases in the configuration with the server. Without lists it asks nothing.
func (p *Postgres) Scope(ctx context.Context) (s Scope, err error) {
	if len(p.Only) == 0 && len(p.Exclude) == 0 {
		return s, nil
	}
	server, err := p.Server()
	if err != nil {
		return s, err
	}
	rows, err := server.Query(ctx, "select datname from pg_catalog.pg_database order by datname")
	if err != nil {
		return s, err
	}
	if s.All, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return s, err
	}
	left, err := p.Databases(ctx)
	s.Left = len(left)
	for _, name := range p.Only {
		switch {
		case !slices.Contains(s.All, name):
			s.Absent = append(s.Absent, name)
		case !slices.Contains(left, name) && !slices.Contains(p.Exclude, name):
			s.Closed = append(s.Closed, name)
		}
	}
	for _, name := range p.Exclude {
		if !slices.Contains(s.All, name) {
			s.Unused = append(s.Unused, name)
		}
	}
	return s, err
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
	if !p.closed {
		p.closed = true
		if p.ended != nil {
			close(p.ended)
		}
	}
	p.mu.Unlock()
	for _, d := range p.all() {
		if d != nil {
			d.turn <- struct{}{}
			d.disconnect()
			<-d.turn
		}
	}
}

// A Querier runs one query. A connection, a pool and a transaction are Queriers.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Rows returns the rows of an answer, whose columns are the fields of T in their order.
func Rows[T any](ctx context.Context, q Querier, sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

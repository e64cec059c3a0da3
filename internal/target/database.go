package target

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// questionTimeout is for questions without a deadline.
	questionTimeout = time.Minute

	// farewell is how long the end of a session may take.
	farewell = time.Second
)

// A Database is one database of a server, for reading. One question is asked at
// a time, over one connection, which is kept. Each is a transaction that the
// server holds to be read-only.
type Database struct {
	postgres *Postgres
	name     string
	turn     chan struct{} // held by who asks
	slots    chan struct{} // of the server; nil where the connection does not count
	conn     *pgx.Conn     // nil when there is none
}

func (p *Postgres) database(name string) *Database {
	return &Database{postgres: p, name: name, turn: make(chan struct{}, 1)}
}

// Name returns the name of the database.
func (d *Database) Name() string { return d.name }

// Query asks one question. Nobody else can ask the database before the rows are
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

// begin connects where there is no connection, and begins the transaction. A
// connection that was lost since the last question is replaced once.
func (d *Database) begin(ctx context.Context) error {
	reused := d.conn != nil
	if err := d.connect(ctx); err != nil {
		return err
	}
	left := questionTimeout
	if end, ok := ctx.Deadline(); ok {
		left = max(time.Until(end), time.Millisecond)
	}
	_, err := d.conn.Exec(ctx, "begin read only; set local statement_timeout = "+strconv.FormatInt(left.Milliseconds(), 10)+settings)
	if err == nil {
		return nil
	}
	d.disconnect()
	if reused && ctx.Err() == nil {
		return d.begin(ctx)
	}
	return err
}

// settings hold for each question. The planner's guess at what a question to a
// large catalog costs makes it compile the question, which takes longer than to
// answer it.
//
// A table that is being rewritten is not waited for: it is asked another time.
const settings = "; set local lock_timeout = '1s'; set local search_path = pg_catalog; set local jit = off; set local max_parallel_workers_per_gather = 0"

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
		return errors.New("target: the server is not looked after any more")
	}
	config, err := d.postgres.session(d.name, "upkeep")
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	// Behind a pooler the next question may meet another session of the server,
	// which does not know the statements that this one has prepared.
	var pid uint32
	if err := conn.QueryRow(ctx, "select pg_catalog.pg_backend_pid()", pgx.QueryExecModeExec).Scan(&pid); err != nil {
		hangUp(conn)
		return err
	}
	if pid != conn.PgConn().PID() {
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
		hangUp(conn)
		if conn, err = pgx.ConnectConfig(ctx, config); err != nil {
			return err
		}
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

func hangUp(c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	_ = c.Close(ctx) // nothing was written
}

// end ends the transaction and the turn.
func (d *Database) end() {
	if d.conn.IsClosed() {
		d.disconnect()
	} else {
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

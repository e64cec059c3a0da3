package store

import (
	"context"
	"database/sql/driver"
)

// keptLimit is how many statements a connection keeps. The product has about a
// hundred; a test that makes up its own must not fill the memory.
const keptLimit = 256

// A keeper makes connections to SQLite that keep their statements. To parse and
// plan a statement takes longer than to carry it out.
type keeper struct{ driver.Connector }

// Connect makes a connection.
func (k keeper) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := k.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &keptConn{sqliteConn: c.(sqliteConn), kept: make(map[string]*keptStatement)}, nil //nolint:forcetypeassert // what the driver documents
}

// A sqliteConn is what the driver's connections can do beyond the least.
type sqliteConn interface {
	driver.Conn
	driver.ConnPrepareContext
	session
}

type session interface {
	driver.SessionResetter
	driver.Validator
	driver.Pinger
}

// A keptConn is a connection with its statements, by their text.
type keptConn struct {
	sqliteConn

	kept map[string]*keptStatement
}

type keptStatement struct {
	statement

	busy bool // rows of it are being read
}

// A statement is what the driver's statements can do.
type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// statement returns a prepared statement. One that is not kept is closed by done.
func (c *keptConn) statement(ctx context.Context, query string) (s statement, done func() error, err error) {
	k := c.kept[query]
	if k == nil || k.busy {
		made, err := c.PrepareContext(ctx, query)
		if err != nil {
			return nil, nil, err
		}
		s := made.(statement) //nolint:forcetypeassert // what the driver documents
		if k != nil || len(c.kept) >= keptLimit {
			return s, s.Close, nil
		}
		k = &keptStatement{statement: s}
		c.kept[query] = k
	}
	k.busy = true
	return k, func() error { k.busy = false; return nil }, nil
}

// ExecContext carries out a statement that is kept.
func (c *keptConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, done, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	res, err := s.ExecContext(ctx, args)
	if closed := done(); err == nil && closed != nil {
		return nil, closed
	}
	return res, err
}

// QueryContext asks a statement that is kept.
func (c *keptConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, done, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		_ = done() // the question has failed already
		return nil, err
	}
	return &keptRows{Rows: rows, done: done}, nil
}

// Close gives the statements back, and then the connection.
func (c *keptConn) Close() error {
	for _, k := range c.kept {
		_ = k.Close() // the connection goes with all it has
	}
	return c.sqliteConn.Close()
}

// keptRows give their statement back when they are closed.
type keptRows struct {
	driver.Rows

	done func() error
}

// Close closes the rows.
func (r *keptRows) Close() error {
	err := r.Rows.Close()
	if closed := r.done(); err == nil {
		err = closed
	}
	return err
}

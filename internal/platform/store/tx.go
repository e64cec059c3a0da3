package store

import (
	"database/sql"
	"fmt"
	"time"
)

// Exec runs a statement that returns no rows.
func (t *Tx) Exec(query string, args ...any) (sql.Result, error) {
	return t.conn.ExecContext(t.ctx, t.store.text(query), clean(args)...)
}

// Query runs a statement that returns rows. They are to be closed before the
// next statement.
func (t *Tx) Query(query string, args ...any) (*sql.Rows, error) {
	return t.conn.QueryContext(t.ctx, t.store.text(query), clean(args)...)
}

// QueryRow runs a statement that returns one row at most.
func (t *Tx) QueryRow(query string, args ...any) *sql.Row {
	return t.conn.QueryRowContext(t.ctx, t.store.text(query), clean(args)...)
}

// Now returns the time of the clock that all who share the store share.
func (t *Tx) Now() (time.Time, error) {
	if !t.store.dialect.shared {
		return t.store.clock(), nil
	}
	var now time.Time
	if err := t.QueryRow(serverTime).Scan(&now); err != nil {
		return now, fmt.Errorf("store: the server's time: %w", err)
	}
	return now.UTC(), nil
}

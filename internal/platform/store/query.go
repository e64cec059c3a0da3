package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Query reads. What it sees is what was committed when it began. In memory the
// rows hold the only connection: close them before the next call.
func (s *Store) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := errors.Join(s.opened(ctx), s.questioned()); err != nil {
		return nil, err
	}
	limited := ctx
	if s.dialect.memory {
		limited = context.Background() // an answer of microseconds is not watched over
	}
	if limit := s.dialect.limit; limit > 0 {
		// What is read long before then is not watched over by anybody else.
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeoutCause(ctx, limit, errSlow)
		context.AfterFunc(limited, cancel)
	}
	query, args = s.text(query), clean(args)
	for tries := 0; ; tries++ {
		rows, err := s.db.QueryContext(limited, query, args...)
		switch {
		case err == nil:
			return rows, nil //nolint:sqlclosecheck,rowserrcheck // the caller's
		case s.dialect.lost(err) && tries < connections && limited.Err() == nil:
		case ctx.Err() != nil:
			return nil, err // the caller's own time is over
		default:
			return nil, s.judged(err)
		}
	}
}

// List returns what scan makes of each row of a query.
func List[T any](ctx context.Context, s *Store, scan func(*sql.Rows) (T, error), query string,
	args ...any) (all []T, err error) {
	rows, err := s.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// Finds reports whether a query has a row.
func (s *Store) Finds(ctx context.Context, query string, args ...any) (found bool, err error) {
	rows, err := s.Query(ctx, query, args...)
	if err != nil {
		return false, err
	}
	found = rows.Next()
	return found, errors.Join(rows.Err(), rows.Close())
}

// Now returns the time of the clock that all who share the store share.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if !s.dialect.shared {
		return s.clock(), nil
	}
	rows, err := s.Query(ctx, serverTime)
	if err != nil {
		return time.Time{}, fmt.Errorf("store: the server's time: %w", err)
	}
	return readTime(rows)
}

func readTime(rows *sql.Rows) (now time.Time, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := rows.Scan(&now); err != nil {
			return now, err
		}
	}
	return now.UTC(), rows.Err()
}

// Write runs do in a transaction and returns when it is durable, or what went
// wrong; then nothing of it was kept, unless the error is ErrUnknown. It may be
// called by many at once: one of them commits for all waiting ones, so no caller waits
// for a timer. do may run in a transaction with others' writes, but is undone
// alone. It is not tried again by itself: a connection that was lost is made
// anew for the next write.
func (s *Store) Write(ctx context.Context, do func(tx *Tx) error) error {
	if err := s.opened(ctx); err != nil {
		return err
	}
	err := s.write(ctx, do)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err // the caller's own time is over
	}
	return s.judged(err)
}

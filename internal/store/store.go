// Package store opens the database that inbox and journal write to, and brings
// it to its newest form. A write is on disk when Write returns nil; writes that
// arrive together share one commit.
package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver
)

//go:embed schema.sql
var schema string

//go:embed schema2.sql
var schema2 string

// version is the form of the database that this binary knows.
const version = 2

const (
	queueLimit = 4096 // writes that may wait for the commit before theirs
	batchLimit = 512  // writes that share one commit
)

// ErrFull says that more writes wait than the store takes on. Nothing was
// written; the caller may try again.
var ErrFull = errors.New("store: too many writes are waiting")

// ErrClosed says that the store was closed. Nothing was written.
var ErrClosed = errors.New("store: closed")

// A Store is the database of one upkeep.
type Store struct {
	db   *sql.DB
	lock *os.File

	lead chan struct{} // held by the caller that commits for all who wait

	mu      sync.Mutex
	waiting []*write
	closed  bool
}

// A write is one caller's part of a commit.
type write struct {
	ctx  context.Context //nolint:containedctx // lives as long as the call of Write that waits for it
	do   func(*Tx) error
	err  error
	done chan struct{}
}

// Open opens the store in dir, which it makes where it is missing. A second
// process on the same folder is refused: two owners would do the same work twice.
func Open(ctx context.Context, dir string) (*Store, error) {
	dir, err := filepath.Abs(dir) // in a file URL a relative path would be the name of a host
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	lock, err := takeLock(filepath.Join(dir, "upkeep.lock"))
	if err != nil {
		return nil, err
	}
	s := &Store{lock: lock, lead: make(chan struct{}, 1)}
	s.db, err = sql.Open("sqlite", dsn(filepath.Join(dir, "upkeep.db")))
	if err == nil {
		err = s.migrate(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", dir, err), s.Close())
	}
	return s, nil
}

func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("store: %s is in use by another upkeep; stop that one, or give this one a data_dir of its own", filepath.Dir(path))
	}
	return f, nil
}

// dsn asks for a commit that survives a power cut (synchronous=FULL) and for
// readers that never wait for the writer (WAL).
func dsn(path string) string {
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(5000)", "foreign_keys(ON)"}, "_txlock": {"immediate"}}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

func (s *Store) migrate(ctx context.Context) error {
	var have int
	if err := s.db.QueryRowContext(ctx, "pragma user_version").Scan(&have); err != nil {
		return err
	}
	switch {
	case have == version:
		return nil
	case have > version:
		return fmt.Errorf("it was written by a newer upkeep (version %d, this one knows %d)", have, version)
	}
	return s.Write(ctx, func(tx *Tx) error {
		if have < 1 {
			if _, err := tx.Exec(schema); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(schema2); err != nil {
			return err
		}
		_, err := tx.Exec(fmt.Sprintf("pragma user_version = %d", version))
		return err
	})
}

// Write runs do in a transaction and returns when it is durable, or what went
// wrong; then nothing of it was kept. It may be called by many at once: one of
// them commits for all who wait, so nobody waits for a timer. do may run in a
// transaction with others' writes, but is undone alone.
func (s *Store) Write(ctx context.Context, do func(tx *Tx) error) error {
	w := &write{ctx: ctx, do: do, done: make(chan struct{})}
	if err := s.enqueue(w); err != nil {
		return err
	}
	select {
	case <-w.done: // another caller committed it
	case s.lead <- struct{}{}:
		for !w.finished() {
			s.commit(s.take())
		}
		<-s.lead
	}
	return w.err
}

func (s *Store) enqueue(w *write) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case len(s.waiting) >= queueLimit:
		return ErrFull
	}
	s.waiting = append(s.waiting, w)
	return nil
}

func (s *Store) take() []*write {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.waiting), batchLimit)
	batch := s.waiting[:n:n]
	s.waiting = s.waiting[n:]
	return batch
}

func (w *write) finished() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// commit writes a batch in one transaction. Each write has a savepoint, so one
// that fails takes no other with it.
func (s *Store) commit(batch []*write) {
	err := s.transact(batch)
	for _, w := range batch {
		w.err = errors.Join(w.err, err)
		close(w.done)
	}
}

func (s *Store) transact(batch []*write) error {
	// The batch is not one caller's: nobody's cancelled context may end it.
	tx, err := s.db.BeginTx(context.Background(), nil)
	if err != nil {
		return fmt.Errorf("store: begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing to undo after the commit
	for _, w := range batch {
		if w.err = w.ctx.Err(); w.err != nil {
			continue
		}
		if err := part(tx, w); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("store: commit: %w", err)
	}
	return nil
}

// part runs one write. It returns an error when the transaction is broken.
func part(tx *sql.Tx, w *write) error {
	if _, err := tx.Exec("savepoint w"); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	end := "release w"
	if w.err = w.do(&Tx{tx: tx}); w.err != nil {
		end = "rollback to w; release w"
	}
	if _, err := tx.Exec(end); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// A Tx is a part of a transaction. Statements are written with ? for parameters,
// whatever the database is.
type Tx struct{ tx *sql.Tx }

// Exec runs a statement that returns no rows.
func (t *Tx) Exec(query string, args ...any) (sql.Result, error) { return t.tx.Exec(query, args...) }

// Query runs a statement that returns rows.
func (t *Tx) Query(query string, args ...any) (*sql.Rows, error) { return t.tx.Query(query, args...) }

// QueryRow runs a statement that returns one row at most.
func (t *Tx) QueryRow(query string, args ...any) *sql.Row { return t.tx.QueryRow(query, args...) }

// Query reads. What it sees is what was committed when it began.
func (s *Store) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return s.db.QueryContext(ctx, query, args...)
}

// Ping reports whether the store can be read and takes writes.
func (s *Store) Ping(ctx context.Context) error {
	s.mu.Lock()
	closed, waiting := s.closed, len(s.waiting)
	s.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case waiting >= queueLimit:
		return ErrFull
	}
	return s.db.PingContext(ctx)
}

// Close refuses further writes, waits for those that are being committed and
// gives the folder back.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.lead <- struct{}{}
	for batch := s.take(); len(batch) > 0; batch = s.take() {
		s.commit(batch)
	}
	<-s.lead
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	return errors.Join(err, s.lock.Close())
}

// Millis is how the store keeps a time: milliseconds since 1970, 0 for none.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Time turns Millis back.
func Time(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

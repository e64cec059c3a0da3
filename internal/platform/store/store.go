// Package store opens the database that inbox and journal write to, and brings
// it to its newest form. It is a SQLite file of one process, or a PostgreSQL
// database that several processes share. A write is on disk when Write returns
// nil; writes that arrive together share one commit.
//
// Statements are the same for both databases. So an upsert names the column of
// the table (fences.last + 1), JSON is read in Go, a new number comes back by
// returning, rows are read to their end or closed before the next statement of
// the same transaction, and text sorts by its bytes. Numbers that the database
// gives grow, and may leave some out.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	queueLimit = 4096 // writes that may wait for the commit before theirs

	// connections is how many the store has with a database that can have more
	// than one: one writes, the others read.
	connections = 4
)

var (
	// ErrFull says that more writes wait than the store takes on. Nothing was
	// written; the caller may try again.
	ErrFull = errors.New("store: too many writes are waiting")

	// ErrClosed says that the store was closed. Nothing was written.
	ErrClosed = errors.New("store: closed")

	// ErrUnknown says that the connection broke during the commit: the write was
	// kept as a whole or not at all, and it is unknown which. After any other
	// error of Write nothing was kept. A write that may come twice, or that looks
	// first at what is there, can be tried again in both cases.
	ErrUnknown = errors.New("store: the result of the write is unknown")
)

// Options say which database a Store is.
type Options struct {
	Dir string // the folder of the SQLite file, made where it is missing

	Postgres string                 // postgres://user@host/database; "" for SQLite
	Password func() (string, error) // asked whenever a connection is made; may be nil

	Memory bool // SQLite without a file, for tests and simulations

	// Late lets Open return a store that cannot be had yet, because its disk is full or
	// its server does not answer. Whatever is asked of it tries again to open it.
	Late bool

	Now func() time.Time // the clock of a store that is not shared; time.Now where nil
}

// A Store is the database of one upkeep.
type Store struct {
	db      *sql.DB
	name    string // for errors: where it is
	dialect dialect
	texts   sync.Map         // from statements with ? to those of the dialect; there are finitely many
	clock   func() time.Time // of a store that is not shared
	opening opening
	proof   proof

	lead chan struct{} // held by the caller that commits for all who wait

	mu        sync.Mutex
	waiting   []*write
	closed    bool
	intercept func(before bool) error
	question  func() error
}

// A dialect is what sets one database apart from the other.
type dialect struct {
	shared  bool          // other processes write too
	memory  bool          // the only connection is the database
	grouped int           // writes that share one commit at most
	limit   time.Duration // how long a commit with its writes may take; 0 for any time
	begin   []string      // opens a transaction that is alone in writing
	joined  bool          // several statements travel as one text

	text   func(query string) string // parameters as the database wants them
	schema func(text string) string  // types as the database wants them

	version    func(*Tx) (int, error) // of the schema; 0 before the first
	setVersion func(*Tx, int) error

	aborted func(*sql.Conn) bool // a statement of the transaction has failed, and no other will pass
	lost    func(error) bool     // the connection is gone
	unknown func(error) bool     // the commit that failed so may have been carried out
	away    func(error) bool     // the database cannot be had at the moment
}

// Open opens or creates the store, and migrates it to its
// newest form.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{clock: o.Now, lead: make(chan struct{}, 1)}
	if s.clock == nil {
		s.clock = time.Now
	}
	var err error
	switch {
	case o.Postgres != "":
		err = s.openPostgres(o.Postgres, o.Password)
	case o.Memory:
		err = s.openMemory()
	default:
		err = s.openFolder(o.Dir)
	}
	if err == nil {
		err = s.opened(ctx)
	}
	if err != nil && (!o.Late || !Away(err)) {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Shared reports whether other processes may write to the store too.
func (s *Store) Shared() bool { return s.dialect.shared }

// Intercept sets a function that is called before each commit, where its error
// lets the writes fail with nothing kept, and after it, where its error is
// returned though the writes were kept. It is how tests and the simulator crash
// at the boundary of what is durable. It may be nil.
func (s *Store) Intercept(f func(before bool) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

func (s *Store) intercepted(before bool) error {
	s.mu.Lock()
	f := s.intercept
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	if err := f(before); err != nil {
		return &AwayError{err}
	}
	return nil
}

// InterceptQueries sets a function that is called before each question, which its error
// answers in the place of the database. It may be nil.
func (s *Store) InterceptQueries(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.question = f
}

func (s *Store) questioned() error {
	s.mu.Lock()
	f := s.question
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	if err := f(); err != nil {
		return &AwayError{err}
	}
	return nil
}

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
	return errors.Join(err, s.opening.close())
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

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
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
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
	copies  *checkpointer // of SQLite's log; nil without a file

	writes atomic.Int64  // that have ended
	wrote  chan struct{} // one has

	lead   chan struct{} // held by the caller that commits for all who wait
	noting chan struct{} // held by the caller that changes a note

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

// An opening is how a store comes to be usable: its folder is made and locked, and its
// form is the newest.
type opening struct {
	dir  string      // of the SQLite file, or ""
	file os.FileInfo // the SQLite file that was opened; set before done
	done atomic.Bool

	mu   sync.Mutex // held while it is tried
	lock *os.File   // of the folder, or nil

	last struct {
		sync.Mutex
		err error
		at  time.Time
	}
}

// A write is one caller's part of a commit.
type write struct {
	ctx  context.Context //nolint:containedctx // lives as long as the call of Write that waits for it
	do   func(*Tx) error
	err  error
	done chan struct{}

	panicked any // what it panicked with, for its caller alone
}

// An AwayError says that the database cannot be had at the moment: it does not answer,
// its disk is full, or it takes no writes. Nothing is wrong with what was asked of it.
type AwayError struct{ Err error }

func (e *AwayError) Error() string { return e.Err.Error() }

// Unwrap returns what the database or the system said.
func (e *AwayError) Unwrap() error { return e.Err }

const (
	// serverTime is not now(), which is constant within a transaction:
	// that may be before it waited for the others.
	serverTime = "select clock_timestamp()"

	// writeLock is the advisory lock of the writer: "upkeepwr" as a
	// number. The locks of actions are made of hashes, in the targets' databases.
	writeLock = "select pg_advisory_xact_lock(8462381783066900338)"

	// connectTimeout is how long the server may take to let us in.
	connectTimeout = 5 * time.Second
)

// A proof is what the last writes say of the store.
type proof struct {
	mu     sync.Mutex
	begun  time.Time // of the active commit, or zero
	kept   time.Time // when a write was kept last
	failed error     // why the last write could not be kept; nil where it was

	asked singleflight.Group // of writes that only show whether they are kept
}

// A Tx is a part of a transaction. Statements are written with ? for parameters,
// whatever the database is. A statement that fails ends the write: its error is
// to be returned.
type Tx struct {
	store     *Store
	ctx       context.Context //nolint:containedctx // lives as long as the transaction
	conn      *sql.Conn
	committed bool
}

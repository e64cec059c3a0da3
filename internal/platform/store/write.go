package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// errWentOn is what a write gets that swallowed the error of a statement. One
// database would keep the rest of it, the other one nothing.
var errWentOn = errors.New("store: a statement of the write failed, and the write continued")

func (s *Store) write(ctx context.Context, do func(tx *Tx) error) error {
	w := &write{ctx: ctx, do: do, done: make(chan struct{})}
	if err := s.enqueue(w); err != nil {
		return err
	}
	select {
	case <-w.done: // another caller committed it
		return w.result()
	case <-ctx.Done():
		if s.withdraw(w) {
			return ctx.Err()
		}
		<-w.done // it is being committed
		return w.result()
	case s.lead <- struct{}{}:
	}
	defer func() { <-s.lead }()
	for !w.finished() {
		s.commit(s.take())
	}
	return w.result()
}

// run carries out a write. If it panics, it is undone as one that fails: the callers of the other writes of its commit
// wait for it.
func (w *write) run(tx *Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w.panicked = fmt.Sprintf("%v, in a write of the store:\n%s", p, debug.Stack())
			err = errors.New("store: the write panicked")
		}
	}()
	return w.do(tx)
}

// result is what the caller of a write gets: its error, or its own panic.
func (w *write) result() error {
	if w.panicked != nil {
		panic(w.panicked)
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

// withdraw removes a write whose commit has not begun.
func (s *Store) withdraw(w *write) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, w)
	if i < 0 {
		return false
	}
	s.waiting = slices.Concat(s.waiting[:i], s.waiting[i+1:]) // a batch may share the old one
	return true
}

func (s *Store) take() []*write {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.waiting), s.dialect.grouped)
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
// that fails takes no other with it. What a slow database has not got to goes back to
// those that wait.
func (s *Store) commit(batch []*write) {
	// the batch has several callers: the context of one must not cancel it
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if limit := s.dialect.limit; limit > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("store: no answer within %s", limit))
	}
	defer cancel()
	s.proof.begin()
	n, err := s.transact(ctx, batch)
	s.putBack(batch[n:])
	s.writes.Add(int64(n))
	select {
	case s.wrote <- struct{}{}:
	default: // who waits for it has not looked since the one before
	}
	var away error
	for _, w := range batch[:n] {
		if w.err == nil {
			w.err = err
		}
		if away == nil && w.err != nil && Away(s.judged(w.err)) {
			away = w.err
		}
		close(w.done)
	}
	s.proof.end(away)
	s.copies.note(n)
}

// Writes counts the writes of this process that have ended, and those that failed. As long as it
// stays the same, what this process wrote stays too.
func (s *Store) Writes() int64 { return s.writes.Load() }

// Wrote receives after a write of this process has ended; where one waits to be received, others are not
// repeated. It is for one that waits.
func (s *Store) Wrote() <-chan struct{} { return s.wrote }

// putBack lets writes wait again, before all others.
func (s *Store) putBack(batch []*write) {
	if len(batch) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.Concat(batch, s.waiting)
}

// transact runs the writes of a batch whose callers still want them, and returns how
// many it has got to. What lies between two of them is sent together with what comes
// next. A part of the time that a commit may take is left for the commit itself.
func (s *Store) transact(ctx context.Context, batch []*write) (n int, err error) {
	tx := Tx{store: s, ctx: ctx}
	defer tx.end()
	mark, keep, undo := []string{"savepoint w"}, []string{"release w"}, []string{"rollback to w", "release w"}
	if len(batch) == 1 && !s.dialect.joined {
		mark, keep, undo = nil, nil, nil // a write alone is the transaction
	}
	var next []string // what is still to be sent for the write before
	began, kept := time.Now(), 0
	for i, w := range batch {
		if limit := s.dialect.limit; i > 0 && limit > 0 && time.Since(began) > limit/3 {
			batch = batch[:i]
			break
		}
		if w.err = w.ctx.Err(); w.err != nil {
			continue
		}
		if err := tx.proceed(next, mark); err != nil {
			return len(batch), err
		}
		if w.err = w.run(&tx); w.err == nil && s.dialect.aborted(tx.conn) {
			w.err = errWentOn
		}
		if next = undo; w.err == nil {
			next = keep
			kept++
		}
	}
	if kept == 0 {
		return len(batch), nil
	}
	return len(batch), tx.commit(next)
}

// proceed ends the write before and marks where the next one begins.
func (t *Tx) proceed(next, mark []string) error {
	if t.conn == nil {
		return t.begin(mark)
	}
	return t.run(slices.Concat(next, mark))
}

// begin opens the transaction. A connection that was lost since it was last used
// is replaced: nothing has happened on it yet.
func (t *Tx) begin(mark []string) (err error) {
	for tries := 0; ; tries++ {
		if t.conn, err = t.store.db.Conn(t.ctx); err != nil {
			return fmt.Errorf("store: connect: %w", err)
		}
		err = t.run(slices.Concat(t.store.dialect.begin, mark))
		if err == nil || tries == connections || !t.store.dialect.lost(err) {
			return err
		}
		t.end()
	}
}

func (t *Tx) commit(keep []string) error {
	if err := t.store.intercepted(true); err != nil {
		return err
	}
	if err := t.run(append(keep, "commit")); err != nil {
		if t.store.dialect.unknown(err) {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		return err
	}
	t.committed = true
	t.store.proof.keep()
	return t.store.intercepted(false)
}

// run sends statements of the transaction itself.
func (t *Tx) run(statements []string) error {
	if t.store.dialect.joined && len(statements) > 1 {
		statements = []string{strings.Join(statements, "; ")}
	}
	for _, text := range statements {
		if _, err := t.conn.ExecContext(t.ctx, text); err != nil {
			return fmt.Errorf("store: %s: %w", text, err)
		}
	}
	return nil
}

// end gives the connection back.
func (t *Tx) end() {
	if t.conn == nil {
		return
	}
	if !t.committed {
		_, _ = t.conn.ExecContext(t.ctx, "rollback") // what a lost connection had begun is undone without it
	}
	_ = t.conn.Close() // it only goes back to the others
	t.conn = nil
}

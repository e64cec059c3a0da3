package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/internal/platform/files"
)

// openAgain is how soon it is tried again to open a store that could not be had.
const openAgain = 250 * time.Millisecond

// opened opens the store where that is not done yet. While one caller tries, and for a
// moment after, the others get the error of the last try.
func (s *Store) opened(ctx context.Context) error {
	o := &s.opening
	if o.done.Load() {
		return o.stays()
	}
	if !o.mu.TryLock() {
		return o.failed(errors.New("it is being opened"), s.name)
	}
	defer o.mu.Unlock()
	if o.done.Load() {
		return nil
	}
	o.last.Lock()
	err, at := o.last.err, o.last.at
	o.last.Unlock()
	if err != nil && time.Since(at) < openAgain {
		return err
	}
	if err = s.judged(s.prepare(context.WithoutCancel(ctx))); err == nil && o.dir != "" {
		o.file, err = os.Stat(filepath.Join(o.dir, database))
	}
	if err == nil {
		o.done.Store(true)
		return nil
	}
	o.last.Lock()
	defer o.last.Unlock()
	o.last.err, o.last.at = err, time.Now()
	return err
}

// stays refuses where the SQLite file is not where it was opened: SQLite would go on with
// the one that somebody has moved, removed or replaced, and a restart would not find what
// was written to it; a further connection would make an empty one.
func (o *opening) stays() error {
	if o.file == nil {
		return nil
	}
	path := filepath.Join(o.dir, database)
	is, err := os.Stat(path)
	switch {
	case err != nil:
		return &AwayError{fmt.Errorf("store: the open database file was moved or removed; put it back or restart "+
			"upkeep: %w", err)}
	case !os.SameFile(is, o.file):
		return &AwayError{fmt.Errorf("store: %s is not the database file that is open; put that one back or restart "+
			"upkeep", path)}
	}
	return nil
}

// failed is why the last try did not open the store.
func (o *opening) failed(none error, name string) error {
	o.last.Lock()
	defer o.last.Unlock()
	if o.last.err != nil {
		return o.last.err
	}
	return &AwayError{fmt.Errorf("store %s: %w", name, none)}
}

// prepare makes and locks the folder, and brings the store to its newest form.
func (s *Store) prepare(ctx context.Context) error {
	if o := &s.opening; o.dir != "" && o.lock == nil {
		if err := os.MkdirAll(o.dir, 0o700); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		// The key that signs approval links is in it.
		if err := files.Folder(o.dir); err != nil {
			return fmt.Errorf("store: data_dir: %w", err)
		}
		lock, err := takeLock(filepath.Join(o.dir, "upkeep.lock"))
		if err != nil {
			return err
		}
		o.lock = lock
		if err := private(filepath.Join(o.dir, database)); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	if err := s.migrate(ctx); err != nil {
		return fmt.Errorf("store %s: %w%s", s.name, err, room(s.opening.dir))
	}
	if err := s.incremental(ctx); err != nil {
		return fmt.Errorf("store %s: write it anew: %w%s", s.name, err, room(s.opening.dir))
	}
	return nil
}

// room says so where the file system of a folder is full: SQLite calls that an I/O error
// where it makes its files.
func room(dir string) string {
	const little = 1 << 20
	var fs unix.Statfs_t
	if dir == "" || unix.Statfs(dir, &fs) != nil {
		return ""
	}
	if left := fs.Bavail * uint64(fs.Bsize); left < little {
		return fmt.Sprintf(" (the disk is full: %d bytes are left)", left)
	}
	return ""
}

// close gives the folder back.
func (o *opening) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lock == nil {
		return nil
	}
	return o.lock.Close()
}

// Open opens or creates the store, and migrates it to its
// newest form.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{clock: o.Now, lead: make(chan struct{}, 1), noting: make(chan struct{}, 1),
		wrote: make(chan struct{}, 1)}
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
		if err = s.openFolder(o.Dir); err == nil {
			s.copies = newCheckpointer(s.checkpoint)
		}
	}
	if err == nil {
		err = s.opened(ctx)
	}
	if err != nil && (!o.Late || !Away(err)) {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// checkpoint copies what no reader needs in the log, and waits for no one. What it cannot
// copy, or the disk refuses, stays in the log, which is as durable, for the next time.
func (s *Store) checkpoint() {
	if !s.opening.done.Load() || s.opening.stays() != nil {
		return
	}
	var busy, pages, copied int
	_ = s.db.QueryRowContext(context.Background(), "pragma wal_checkpoint(passive)").Scan(&busy, &pages, &copied)
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
	s.copies.close()
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	return errors.Join(err, s.opening.close())
}

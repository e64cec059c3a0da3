package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// noteLife is how long a note is kept that is not changed any more: longer than any
	// of them counts, so that what is left of a dropped database goes.
	noteLife = 90 * 24 * time.Hour

	// noteTries is how often a note is changed anew because another process was faster.
	noteTries = 20

	// notePause is the longest pause before the second try; it doubles with each try up to
	// 2⁶ of it, so that processes that met once part.
	notePause = 5 * time.Millisecond
)

// Change replaces a note by what change makes of it: nil is given where there is no
// note, and a nil result leaves everything as it is. Change is called again where
// another process has changed the note in between.
func (s *Store) Change(ctx context.Context, name string, change func(old []byte) ([]byte, error)) error {
	select { // those of this process take turns
	case s.noting <- struct{}{}:
		defer func() { <-s.noting }()
	case <-ctx.Done():
		return fmt.Errorf("note %s: %w", name, context.Cause(ctx))
	}
	for try := range noteTries {
		old, edition, err := s.note(ctx, name)
		if err != nil {
			return fmt.Errorf("note %s: %w", name, err)
		}
		fresh, err := change(old)
		if err != nil || fresh == nil {
			return err
		}
		kept, err := s.replace(ctx, name, string(fresh), edition)
		if err != nil {
			return fmt.Errorf("note %s: %w", name, err)
		}
		if kept {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("note %s: %w", name, context.Cause(ctx))
		case <-time.After(rand.N(notePause << min(try, 6))):
		}
	}
	return fmt.Errorf("note %s: other processes change it all the time", name)
}

func (s *Store) note(ctx context.Context, name string) (value []byte, edition int64, err error) {
	rows, err := s.Query(ctx, "select value, edition from notes where name = ?", name)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text, &edition); err != nil {
			return nil, 0, err
		}
		value = []byte(text)
	}
	return value, edition, rows.Err()
}

// replace writes a note unless another has written it since that edition.
func (s *Store) replace(ctx context.Context, name, value string, edition int64) (kept bool, err error) {
	err = s.Write(ctx, func(tx *Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		query, args := "insert into notes (name, value, edition, changed) values (?, ?, 1, ?) on conflict (name) do "+
			"nothing", []any{name, value, Millis(now)}
		if edition > 0 {
			query, args = "update notes set value = ?, edition = edition + 1, changed = ? where name = ? and edition "+
				"= ?", []any{value, Millis(now), name, edition}
		}
		res, err := tx.Exec(query, args...)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		kept = n == 1
		if err == nil {
			_, err = tx.Exec("delete from notes where changed < ?", Millis(now.Add(-noteLife)))
		}
		return err
	})
	return kept, err
}

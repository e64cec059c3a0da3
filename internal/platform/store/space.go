package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// pagesAtOnce is how many pages of SQLite, of 4 KiB, are given back in one write: a
// delivery waits no longer for it than for another delivery.
const pagesAtOnce = 256

// Size returns how many bytes the store has on its disk.
func (s *Store) Size(ctx context.Context) (bytes int64, err error) {
	if dir := s.opening.dir; dir != "" {
		for _, name := range []string{database, database + "-wal", database + "-shm"} {
			is, err := os.Stat(filepath.Join(dir, name))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return 0, fmt.Errorf("size of the store: %w", err)
			}
			if err == nil {
				bytes += is.Size()
			}
		}
		return bytes, nil
	}
	query := "select page_count * page_size from pragma_page_count(), pragma_page_size()"
	if s.dialect.shared {
		query = "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c join pg_namespace n " +
			"on n.oid = c.relnamespace where n.nspname = 'upkeep' and c.relkind = 'r'"
	}
	if bytes, err = s.number(ctx, query); err != nil {
		return 0, fmt.Errorf("size of the store: %w", err)
	}
	return bytes, nil
}

// GiveBack returns room that was freed by deletions to the file system, in parts, and reports
// whether there is more. PostgreSQL does it by itself: autovacuum lets the room be used again.
func (s *Store) GiveBack(ctx context.Context) (more bool, err error) {
	if s.dialect.shared || s.dialect.memory {
		return false, nil
	}
	free, err := s.number(ctx, "pragma freelist_count")
	if err != nil || free == 0 {
		return false, s.truncate(ctx, err)
	}
	err = s.Write(ctx, func(tx *Tx) error {
		rows, err := tx.Query(fmt.Sprintf("pragma incremental_vacuum(%d)", pagesAtOnce))
		if err != nil {
			return err
		}
		for rows.Next() { // each step frees a page
		}
		return errors.Join(rows.Err(), rows.Close())
	})
	if err != nil {
		return false, fmt.Errorf("give room back: %w", err)
	}
	left, err := s.number(ctx, "pragma freelist_count")
	if more = left > 0 && left < free; more || err != nil {
		return more, err
	}
	return false, s.truncate(ctx, nil)
}

// truncate lets SQLite write its log into the file, which is only then as small as it has
// become. Readers that are at it keep it from being done now, and are no fault.
func (s *Store) truncate(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	if _, err := s.number(ctx, "pragma wal_checkpoint(truncate)"); err != nil && !Away(err) {
		return fmt.Errorf("truncate the log of the store: %w", err)
	}
	return nil
}

// number reads one number.
func (s *Store) number(ctx context.Context, query string) (n int64, err error) {
	rows, err := s.Query(ctx, query)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return 0, rows.Err()
	}
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	into := []any{&n}
	for range columns[1:] {
		into = append(into, new(any))
	}
	if err := rows.Scan(into...); err != nil {
		return 0, err
	}
	for rows.Next() {
	}
	return n, rows.Err()
}

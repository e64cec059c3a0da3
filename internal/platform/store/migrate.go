package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
)

// The versions of the store: schema1.sql, schema2.sql and so on, each of which
// makes its version of the one before. They are written for SQLite with the types
// integer, real, text and blob, and avoid the words that PostgreSQL keeps for
// itself (analyze, end, limit, order, user, window).
//
//go:embed schema*.sql
var schemas embed.FS

// versions returns the schemas in their order.
func versions() (all []string, err error) {
	for {
		text, err := schemas.ReadFile(fmt.Sprintf("schema%d.sql", len(all)+1))
		if errors.Is(err, fs.ErrNotExist) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, string(text))
	}
}

// migrate brings the store to its newest version, one transaction for each. The
// version is read in the same transaction, so of two processes that begin at
// once one migrates and the other finds it done.
func (s *Store) migrate(ctx context.Context) error {
	all, err := versions()
	if err != nil {
		return err
	}
	for have := -1; have < len(all); {
		err := s.write(ctx, func(tx *Tx) (err error) {
			if have, err = s.dialect.version(tx); err != nil {
				return fmt.Errorf("its version: %w", err)
			}
			switch {
			case have > len(all):
				return fmt.Errorf("it was written by a newer version of upkeep (schema %d, this one knows %d); start "+
					"that version", have, len(all))
			case have == len(all):
				return nil
			}
			if _, err := tx.conn.ExecContext(ctx, s.dialect.schema(all[have])); err != nil {
				return fmt.Errorf("version %d: %w", have+1, err)
			}
			have++
			return s.dialect.setVersion(tx, have)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

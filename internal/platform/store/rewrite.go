package store

import (
	"context"

	"golang.org/x/sys/unix"
)

// incremental lets a file that an earlier version has made give room back in parts too: it is
// written anew once. Where the disk has no room for that it stays as it is, and the room of what
// is deleted is used again.
func (s *Store) incremental(ctx context.Context) error {
	if s.opening.dir == "" {
		return nil
	}
	c, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // it only goes back to the others
	var mode, bytes int64
	if err := c.QueryRowContext(ctx, "pragma auto_vacuum").Scan(&mode); err != nil || mode != 0 {
		return err
	}
	if err := c.QueryRowContext(ctx, "select page_count * page_size from pragma_page_count(), pragma_page_size()").
		Scan(&bytes); err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.opening.dir, &fs); err != nil {
		return err
	}
	const copies = 3 // the new file and its log, beside the old one
	if fs.Bavail*uint64(fs.Bsize) < uint64(copies*bytes) {
		return nil
	}
	for _, text := range []string{"pragma auto_vacuum = incremental", "vacuum"} {
		if _, err := c.ExecContext(ctx, text); err != nil && !sqliteAway(err) {
			return err
		}
	}
	return nil
}

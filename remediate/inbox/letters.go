package inbox

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ai-micro-service/upkeep/internal/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	maxLetters = 1000     // that are kept; the oldest go
	maxLetter  = 64 << 10 // bytes that are kept of a body: whoever reads it sees what it was
	maxError   = 1 << 10  // bytes that are kept of an error, which may quote the body
)

// ErrNoLetter says that there is no such letter, or no more.
var ErrNoLetter = errors.New("there is no such letter; the oldest make room for new ones")

// Keep puts a delivery that could not be read where people find it. Its number,
// and the moment at which it was received, are given here.
func (i *Inbox) Keep(ctx context.Context, l remediate.Letter) error {
	now := i.now()
	err := i.store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("insert into letters (received, remote, source, status, error, body, size) values (?, ?, ?, ?, ?, ?, ?)",
			store.Millis(now), text(l.Remote), text(l.Source), l.Status, text(l.Error), append([]byte{}, l.Body[:min(len(l.Body), maxLetter)]...), max(l.Size, int64(len(l.Body))))
		if err == nil {
			_, err = tx.Exec("delete from letters where id <= (select max(id) from letters) - ?", maxLetters)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("letter: %w", err)
	}
	return nil
}

// text makes what somebody sent fit for every database.
func text(s string) string {
	s = s[:min(len(s), maxError)]
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

// Letters returns the newest n letters, the newest first, without their bodies.
func (i *Inbox) Letters(ctx context.Context, n int) ([]remediate.Letter, error) {
	return i.letters(ctx, "select id, received, remote, source, status, error, '', size from letters order by id desc limit ?", n)
}

// Letter returns one letter, whole.
func (i *Inbox) Letter(ctx context.Context, id int64) (remediate.Letter, error) {
	all, err := i.letters(ctx, "select id, received, remote, source, status, error, body, size from letters where id = ?", id)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("letter %d: %w", id, ErrNoLetter)
	}
	if err != nil {
		return remediate.Letter{}, err
	}
	return all[0], nil
}

func (i *Inbox) letters(ctx context.Context, query string, args ...any) (all []remediate.Letter, err error) {
	rows, err := i.store.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("letters: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var l remediate.Letter
		var received int64
		if err := rows.Scan(&l.ID, &received, &l.Remote, &l.Source, &l.Status, &l.Error, &l.Body, &l.Size); err != nil {
			return nil, fmt.Errorf("letters: %w", err)
		}
		l.Received = store.Time(received)
		all = append(all, l)
	}
	return all, rows.Err()
}

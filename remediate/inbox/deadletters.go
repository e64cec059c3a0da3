package inbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// ErrNoDeadLetter says that the dead letter does not exist, or no longer.
var ErrNoDeadLetter = errors.New("no such dead letter; the oldest are deleted when there are more than the limit")

// Keep puts a delivery that could not be read where people find it. Its number,
// and the moment at which it was received, are given here. One that is sent again takes
// the place of the one before: Alertmanager repeats a group, and what is wrong with it,
// every few minutes.
func (i *Inbox) Keep(ctx context.Context, l remediate.DeadLetter) error {
	now := i.now()
	sum := digest(l)
	var id int64
	err := i.store.Write(ctx, func(tx *store.Tx) error {
		if before, known := i.recent.get(sum); known {
			if _, err := tx.Exec("delete from dead_letters where id = ? and error = ?", before,
				text(l.Error)); err != nil {
				return err
			}
		}
		from := sender(l)
		_, err := tx.Exec("insert into dead_letters (received, remote, source, status, error, body, size, sender) "+
			"values (?, ?, ?, ?, ?, ?, ?, ?)",
			store.Millis(now), text(l.Remote), text(l.Source), l.Status, text(l.Error),
			append([]byte{}, l.Body[:min(len(l.Body), maxDeadLetter)]...), max(l.Size, int64(len(l.Body))), from)
		if err == nil {
			err = makeRoom(tx, from)
		}
		if err == nil {
			id, err = newest(tx)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("dead letter: %w", err)
	}
	i.recent.put(sum, id)
	i.kept.WithLabelValues().Inc()
	return nil
}

// makeRoom deletes the oldest dead letters of a sender that has too many, and where there are
// too many in all, the oldest of the sender that has the most: one sender pushes out only its own.
func makeRoom(tx *store.Tx, from string) error {
	if _, err := tx.Exec("delete from dead_letters where sender = ? and id <= (select coalesce(max(id), 0) from "+
		"(select id from dead_letters where sender = ? order by id desc limit 1 offset ?) as old)", from, from,
		maxOfSender); err != nil {
		return err
	}
	_, err := tx.Exec("delete from dead_letters where (select count(*) from dead_letters) > ? and id = (select "+
		"min(id) from dead_letters where sender = (select sender from dead_letters group by sender order by count(*) "+
		"desc, min(id) limit 1))", maxDeadLetters)
	return err
}

// newest returns the number of the dead letter that was written last.
func newest(tx *store.Tx) (id int64, err error) {
	rows, err := tx.Query("select max(id) from dead_letters")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := rows.Scan(&id); err != nil {
			return 0, err
		}
	}
	return id, rows.Err()
}

// DeadLetters returns the newest n dead letters, the newest first, without their bodies: those
// before a number, or of all where it is 0.
func (i *Inbox) DeadLetters(ctx context.Context, before int64, n int) ([]remediate.DeadLetter, error) {
	return i.deadLetters(ctx, "select id, received, remote, source, status, error, '', size from dead_letters "+
		"where id < ? order by id desc limit ?", cmp.Or(before, math.MaxInt64), n)
}

// DeadLetter returns one dead letter, whole.
func (i *Inbox) DeadLetter(ctx context.Context, id int64) (remediate.DeadLetter, error) {
	all, err := i.deadLetters(ctx,
		"select id, received, remote, source, status, error, body, size from dead_letters where id = ?", id)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("dead letter %d: %w", id, ErrNoDeadLetter)
	}
	if err != nil {
		return remediate.DeadLetter{}, err
	}
	return all[0], nil
}

func (i *Inbox) deadLetters(ctx context.Context, query string, args ...any) (all []remediate.DeadLetter, err error) {
	rows, err := i.store.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var l remediate.DeadLetter
		var received int64
		if err := rows.Scan(&l.ID, &received, &l.Remote, &l.Source, &l.Status, &l.Error, &l.Body, &l.Size); err != nil {
			return nil, fmt.Errorf("dead letters: %w", err)
		}
		l.Received = store.Time(received)
		all = append(all, l)
	}
	return all, rows.Err()
}

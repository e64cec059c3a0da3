package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ai-micro-service/upkeep/internal/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A BusyError says that another run works on the subject.
type BusyError struct {
	Run int64 // the one that does
}

func (e *BusyError) Error() string { return fmt.Sprintf("run %d works on the same subject", e.Run) }

// Lease gives a run the right to act on a subject, or returns a *BusyError. The
// same run may ask again, after a crash for instance: its earlier fence is void
// then. The lease ends with the run.
//
// One process owns the store (it holds the folder's lock), so a lease needs no
// expiry: its run ends or is resumed by whoever opens the store next.
func (j *Journal) Lease(ctx context.Context, subject string, run int64) (f remediate.Fence, err error) {
	err = j.store.Write(ctx, func(tx *store.Tx) error {
		var holder int64
		err := tx.QueryRow("select run, fence from leases where subject = ?", subject).Scan(&holder, &f.Token)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if holder != 0 && holder != run {
			return &BusyError{Run: holder}
		}
		f.Token++
		_, err = tx.Exec(`insert into leases (subject, run, fence) values (?, ?, ?)
			on conflict (subject) do update set run = excluded.run, fence = excluded.fence`, subject, run, f.Token)
		return err
	})
	token := f.Token
	f.Held = func(ctx context.Context) error {
		rows, err := j.store.Query(ctx, "select 1 from leases where run = ? and fence = ?", run, token)
		if err != nil {
			return fmt.Errorf("lease: %w", err)
		}
		defer func() { _ = rows.Close() }() // read only
		if !rows.Next() {
			return errors.Join(rows.Err(), remediate.ErrFenced)
		}
		return rows.Err()
	}
	return f, err
}

// held refuses a write under a fence that has passed on.
func held(tx *store.Tx, run, fence int64) error {
	var n int
	if err := tx.QueryRow("select count(*) from leases where run = ? and fence = ?", run, fence).Scan(&n); err != nil {
		return err
	}
	if n != 1 {
		return remediate.ErrFenced
	}
	return nil
}

// Holder returns the run that works on a subject, 0 when none does.
func (j *Journal) Holder(ctx context.Context, subject string) (run int64, err error) {
	rows, err := j.store.Query(ctx, "select run from leases where subject = ?", subject)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := rows.Scan(&run); err != nil {
			return 0, err
		}
	}
	return run, rows.Err()
}

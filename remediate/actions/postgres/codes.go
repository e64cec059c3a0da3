package postgres

import (
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// unlocked tells whether a lock was not got within its time.
func unlocked(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.Code == codeLock
}

// The error codes that a batch may end with.
const (
	codeLock       = "55P03"
	codeCancelled  = "57014"
	codeDeadlock   = "40P01"
	codeConflict   = "40001"
	codeForeignKey = "23503"
	codeUnique     = "23505"
	codeExclusion  = "23P01"
	codeDivision   = "22012"
)

// undone reports whether the server said of a commit that nothing was done. Without
// its answer the commit counts as done.
func undone(err error) bool {
	_, said := errors.AsType[*pgconn.PgError](err)
	return said || errors.Is(err, pgx.ErrTxCommitRollback)
}

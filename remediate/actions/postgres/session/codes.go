package session

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// LockTimedOut reports whether a lock was not got within its time.
func LockTimedOut(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.Code == CodeLock
}

// TimedOut reports whether a statement was not done within its time. The server says so in
// the text alone: who cancels a statement gives the same code. In other languages than
// English it counts as cancelled.
func TimedOut(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.Code == CodeCancelled && strings.Contains(refused.Message, "statement timeout")
}

// The error codes that a batch may end with.
const (
	CodeLock       = "55P03"
	CodeCancelled  = "57014"
	CodeDeadlock   = "40P01"
	CodeConflict   = "40001"
	CodeForeignKey = "23503"
	CodeUnique     = "23505"
	CodeExclusion  = "23P01"
	CodeDivision   = "22012"
)

// RolledBack reports whether the server said of a commit that nothing was done. Without
// its answer the commit counts as done.
func RolledBack(err error) bool {
	_, said := errors.AsType[*pgconn.PgError](err)
	return said || errors.Is(err, pgx.ErrTxCommitRollback)
}

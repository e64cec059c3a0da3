package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"io/fs"
	"net"
	"slices"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Away reports whether an error is of a store that cannot be had at the moment. What
// failed so is tried again without being counted as a fault of its own.
func Away(err error) bool {
	_, ok := errors.AsType[*AwayError](err)
	return ok
}

var errSlow = errors.New("store: no answer within the time that a statement may take")

// judged marks the error of a database that cannot be had.
func (s *Store) judged(err error) error {
	switch {
	case err == nil || Away(err):
		return err
	case errors.Is(err, ErrUnknown), errors.Is(err, ErrFull), errors.Is(err, errSlow), s.dialect.away(err):
		return &AwayError{err}
	}
	return err
}

// noRoom are what a file system says that is full, or that nothing can be written to.
func noRoom(err error) bool {
	return slices.ContainsFunc([]error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EFBIG},
		func(e error) bool { return errors.Is(err, e) })
}

// sqliteAway reports whether the file cannot be read or written at the moment.
func sqliteAway(err error) bool {
	if said, ok := errors.AsType[*sqlite.Error](err); ok {
		const primary = 0xff // what follows says more of it
		switch said.Code() & primary {
		case lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN, lib.SQLITE_READONLY, lib.SQLITE_BUSY,
			lib.SQLITE_LOCKED, lib.SQLITE_NOMEM, lib.SQLITE_PROTOCOL:
			return true
		}
		return false
	}
	return noRoom(err) && !errors.Is(err, fs.ErrPermission)
}

// postgresAway reports whether the server cannot be reached, is starting or stopping,
// is out of a resource, or accepts no writes. An unknown role or database, or
// a missing right, is for a person to fix.
func postgresAway(err error) bool {
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch said.Code[:min(2, len(said.Code))] {
		case "08", "40", "53", "57", "58": // connection, conflict, resources, the operator, the system
			return true
		}
		return slices.Contains([]string{"25006", "25P03", "55P03"}, said.Code) || fatal(said) &&
			said.Code[:min(2, len(said.Code))] == "XX"
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok { // deadlines too: within a write they are the store's own
		return true
	}
	for _, broken := range []error{driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		context.DeadlineExceeded} {
		if errors.Is(err, broken) {
			return true
		}
	}
	return false
}

func fatal(said *pgconn.PgError) bool {
	return said.SeverityUnlocalized == "FATAL" || said.SeverityUnlocalized == "PANIC"
}

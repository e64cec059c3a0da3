package target

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// The reasons for which a server does not answer, as the values of a label.
const (
	ReasonAuthentication = "authentication"     // the user or its password was refused
	ReasonRefused        = "connection_refused" // no process listens there
	ReasonConnections    = "connections"        // the server has as many as it takes
	ReasonDatabase       = "database"           // the database that the URL names is not there
	ReasonName           = "name_resolution"
	ReasonPoolMode       = "pool_mode" // a pooler answers that takes no transactions
	ReasonStarting       = "starting"  // or it is shutting down
	ReasonTimeout        = "timeout"
	ReasonTLS            = "tls"
	ReasonOther          = "other"
)

// ErrPoolMode says that PgBouncer hands out a session for one statement alone: whether that one is read-only, and what
// else holds for it, cannot be said there.
var ErrPoolMode = errors.New("PgBouncer pools by statement, where upkeep cannot hold its questions to be read-only: " +
	"let the URL lead to the server itself, or to a pool with pool_mode = transaction or session")

// Reason returns why a connection could not be made or used. What a PostgreSQL server says
// itself counts more than how far the network let us.
func Reason(err error) string {
	if errors.Is(err, ErrPoolMode) {
		return ReasonPoolMode
	}
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		return reasonOf(said.Code)
	}
	_, dns := errors.AsType[*net.DNSError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	network, ok := errors.AsType[net.Error](err)
	switch {
	case dns:
		return ReasonName
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT): // a socket that is gone
		return ReasonRefused
	case record, alert, verification, authority, host, strings.Contains(err.Error(), "server refused TLS connection"):
		return ReasonTLS
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), ok && network.Timeout():
		return ReasonTimeout
	case noEngine(err):
		return ReasonRefused
	}
	return ReasonOther
}

// reasonOf returns what an error code of PostgreSQL means for who wants to connect.
func reasonOf(code string) string {
	switch {
	case strings.HasPrefix(code, "28"):
		return ReasonAuthentication
	case code == "3D000", code == "57P04": // it is not there, or was dropped
		return ReasonDatabase
	case code == "53300":
		return ReasonConnections
	case code == "57P01", code == "57P02", code == "57P03":
		return ReasonStarting
	}
	return ReasonOther
}

package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
)

// The phases of a probe, in their order. They and the reasons are labels, so there are few of each.
const (
	phaseDNS      = "dns"
	phaseConnect  = "connect"
	phaseTLS      = "tls"
	phaseResponse = "response" // from the request to the headers of its answer
	phaseRedirect = "redirect"
	phaseStatus   = "status"
	phaseHeader   = "header"
	phaseBody     = "body"
)

// The reasons for which a phase fails.
const (
	timedOut    = "timeout"
	notFound    = "not_found" // the name is not in DNS
	dnsFailed   = "dns_failed"
	refused     = "refused"
	unreachable = "unreachable"
	reset       = "reset"
	closed      = "closed" // before all was said
	noTLS       = "no_tls"
	untrusted   = "untrusted"
	wrongName   = "wrong_name" // the certificate is of another host
	expired     = "expired"
	notYetValid = "not_yet_valid"
	badCert     = "invalid_certificate"
	alerted     = "tls_alert"
	protocol    = "protocol" // what was answered is not HTTP
	tooMany     = "too_many"
	unexpected  = "unexpected"
	missing     = "missing"
	noMatch     = "no_match"
	forbidden   = "forbidden" // it has what it must not have
	otherwise   = "other"
)

// A failure is why a service counts as unhealthy.
type failure struct {
	phase, reason string
	err           error
}

func (f *failure) Error() string { return fmt.Sprintf("%s (%s): %v", f.phase, f.reason, f.err) }

func (f *failure) Unwrap() error { return f.err }

// Advice says what to do about a probe that failed, by the failure in words: an error of HTTP's Down.
func Advice(why string) string {
	said := regexp.MustCompile(`^(\w+) \((\w+)\): `).FindStringSubmatch(why)
	if said == nil {
		return "look at the service"
	}
	switch phase, reason := said[1], said[2]; {
	case phase == phaseDNS:
		return "check the host in the url of the probe, and the name server of this machine"
	case phase == phaseConnect && reason == refused:
		return "start the service, or correct the port in the url of the probe"
	case phase == phaseConnect:
		return "check the network and the firewalls between this machine and the service, and the url of the probe"
	case reason == untrusted:
		return "name the CA of its certificate in ca_file of the probe"
	case reason == wrongName:
		return "use a host in the url of the probe that its certificate is for"
	case reason == expired || reason == notYetValid || reason == badCert:
		return "renew its certificate"
	case reason == noTLS:
		return "the port has no TLS: use http or tcp in the url of the probe, or correct the port"
	case phase == phaseTLS:
		return "look at the TLS settings of the service; a probe has no client certificate"
	case phase == phaseRedirect:
		return "look at where the service redirects; redirects: none makes the redirect the answer"
	case phase == phaseStatus || phase == phaseHeader || reason == noMatch || reason == forbidden:
		return "look at the service's log; what the probe expects is in status, headers, body and body_without"
	}
	return "the service accepts connections and does not answer as it should: look at its load and its log"
}

// redirectsMost is how many redirects are followed.
const redirectsMost = 5

// The errors of redirects.
var (
	errRedirects = errors.New("the service redirected more than five times")
	errScheme    = errors.New("that is no address of http or https")
	errLocation  = errors.New("the service redirects to what is no address")
)

// location reports whether a redirect names no address: its error would show what it names.
func location(err error) bool {
	return strings.Contains(err.Error(), "failed to parse Location header")
}

// after says that a redirect led to where a probe failed: its scheme and its host. What is behind them, and a user,
// may be a secret.
func (f *failure) after(led *url.URL) *failure {
	if f == nil || led == nil || errors.Is(f.err, errRedirects) {
		return f
	}
	to := led.Scheme + "://" + led.Host
	if led.Host == "" {
		to += "…"
	}
	return &failure{f.phase, f.reason, fmt.Errorf("redirected to %.300s: %w", visible.Text(to), f.err)}
}

// failed returns the failure of an error in a phase, without the address: a token may be in it.
func failed(phase string, err error) *failure {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	f := &failure{phase, reasonOf(err), err}
	switch {
	case f.reason == alerted: // also where it comes when the handshake of TLS 1.3 is over
		f.phase = phaseTLS
	case errors.Is(err, errRedirects):
		f.phase, f.reason = phaseRedirect, tooMany
	case errors.Is(err, errScheme), errors.Is(err, errLocation):
		f.phase, f.reason = phaseRedirect, unexpected
	case f.reason == otherwise && phase == phaseResponse:
		f.reason = protocol
	}
	return f
}

func reasonOf(err error) string {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		switch {
		case invalid.Reason != x509.Expired:
			return badCert
		case invalid.Cert != nil && time.Now().Before(invalid.Cert.NotBefore):
			return notYetValid
		}
		return expired
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok && !name.IsTimeout {
		if name.IsNotFound {
			return notFound
		}
		return dnsFailed
	}
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return timedOut
	}
	for _, kind := range []struct {
		reason string
		is     func(error) bool
	}{
		{untrusted, as[x509.UnknownAuthorityError]},
		{wrongName, as[x509.HostnameError]},
		{alerted, alert},
		{noTLS, as[tls.RecordHeaderError]},
		{noTLS, oneOf(http.ErrSchemeMismatch)},
		{refused, oneOf(syscall.ECONNREFUSED)},
		{unreachable, oneOf(syscall.EHOSTUNREACH, syscall.ENETUNREACH)},
		{reset, oneOf(syscall.ECONNRESET, syscall.EPIPE)},
		{closed, oneOf(io.EOF, io.ErrUnexpectedEOF)},
	} {
		if kind.is(err) {
			return kind.reason
		}
	}
	return otherwise
}

// alert reports whether the service ended a handshake by an alert, whose type package tls keeps to itself.
func alert(err error) bool {
	remote, ok := errors.AsType[*net.OpError](err)
	return ok && remote.Op == "remote error"
}

func as[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func oneOf(errs ...error) func(error) bool {
	return func(err error) bool {
		for _, e := range errs {
			if errors.Is(err, e) {
				return true
			}
		}
		return false
	}
}

// unverified returns the chain of a service whose certificate was refused.
func unverified(err error) []*x509.Certificate {
	if refused, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return refused.UnverifiedCertificates
	}
	return nil
}

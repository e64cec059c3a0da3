// Package probe asks services how they are. Each file asks in one way.
package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// HTTP reports whether a service answers, how soon, why not, and how long its certificate holds.
func HTTP(t *target.Probe) collectors.Collector {
	gauge := func(name, help string, labels ...string) *collectors.Metric {
		return &collectors.Metric{Name: "upkeep_probe_" + name, Type: collectors.Gauge, Help: help,
			Labels: append([]string{"server"}, labels...)}
	}
	c := probe{
		target: t,
		healthy: gauge("healthy", "1 when the service answered as expected, 0 when it did not "+
			"or did not answer."),
		failure: gauge("failure",
			"1, with the phase in which the probe failed and the reason; absent while the service is healthy.",
			"phase", "reason"),
		status: gauge("http_status",
			"HTTP status of the response; absent without a response."),
		duration: gauge("duration_seconds", "Response time to the last byte, or to the connection of a TCP or TLS "+
			"probe; absent when there was no response."),
		first: gauge("first_byte_seconds",
			"Response time to the first byte; absent when there was no response.").WithoutPanel(collectors.AdHoc),
		expiry: gauge("tls_expiry_timestamp_seconds",
			"Earliest expiry in the certificate chain of the service, trusted or not; absent without TLS."),
		redirects: gauge("redirects",
			"Number of redirects before the response; absent without a response.").WithoutPanel(collectors.AdHoc),
	}
	return collectors.Collector{
		Name:   "probe/http",
		Target: t.Name,
		Doc: `HTTP reports whether a service answers as expected, how soon, why not, and when its TLS certificate ends.

Asks the configured address with GET over a connection of its own each time, follows
five redirects at most, and reads one megabyte of the answer at most. A redirect is the
answer if redirects are not followed, or if its status is the expected one. An address
tcp:// or tls:// is connected to, and nothing is sent; body is then the service's
greeting. A service that refuses a client without a certificate fails in phase tls: a
probe has none. upkeep_probe_failure has the phase (dns, connect, tls, response, redirect,
status, header, body) and the reason (timeout, refused, untrusted, no_match,
…), and the log and upkeep status have the error. Rights: none.
Cost: one request. A service that does not answer is the answer 0 of
upkeep_probe_healthy, not a failed collection.`,
		Metrics: []*collectors.Metric{c.healthy, c.failure, c.status, c.duration, c.first, c.expiry, c.redirects},
		Every:   15 * time.Second,
		Timeout: 10 * time.Second,
		Collect: c.collect,
	}
}

// patience is how much sooner than the collection a request gives up, so that a
// service that hangs is one that is not healthy.
const patience = 500 * time.Millisecond

type probe struct {
	target *target.Probe

	healthy, failure, status, duration, first, expiry, redirects *collectors.Metric
}

func (c probe) collect(ctx context.Context, w *collectors.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e, err := expected(c.target)
	if err != nil {
		return err
	}
	u, err := url.Parse(c.target.URL)
	if err != nil {
		return err
	}
	config, err := c.trusted()
	if err != nil {
		return err
	}
	limited := ctx
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		limited, cancel = context.WithDeadline(ctx, end.Add(-min(patience, time.Until(end)/2)))
		defer cancel()
	}
	var r result
	if u.Scheme == target.SchemeTCP || u.Scheme == target.SchemeTLS {
		r = askSocket(limited, u, e, config)
	} else if r, err = askHTTP(limited, c.target, e, config); err != nil {
		return err
	}
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return ctx.Err() // stopped by us: nothing is known of the service
	}
	c.write(w, r)
	return nil
}

func (c probe) write(w *collectors.Writer, r result) {
	name := c.target.Name
	if f := r.failed; f != nil {
		w.Set(c.healthy, 0, name)
		w.Set(c.failure, 1, name, f.phase, f.reason)
		w.Down(f)
	} else {
		w.Set(c.healthy, 1, name)
	}
	if r.answered {
		w.Set(c.duration, r.took.Seconds(), name)
	}
	if r.first > 0 && r.answered {
		w.Set(c.first, r.first.Seconds(), name)
	}
	if r.status != 0 {
		w.Set(c.status, float64(r.status), name)
		w.Set(c.redirects, float64(r.redirects), name)
	}
	if len(r.chain) > 0 {
		w.Set(c.expiry, float64(firstEnd(r.chain).Unix()), name)
	}
}

// trusted returns what a certificate is verified by.
func (c probe) trusted() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.target.CAFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(c.target.CAFile)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: there is no certificate in it", c.target.CAFile)
	}
	config.RootCAs = roots
	return config, nil
}

// firstEnd returns when the first certificate of a chain ends.
func firstEnd(chain []*x509.Certificate) (at time.Time) {
	for i, c := range chain {
		if i == 0 || c.NotAfter.Before(at) {
			at = c.NotAfter
		}
	}
	return at
}

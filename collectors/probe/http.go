// Package probe asks services how they are. Each file asks in one way.
package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// HTTP reports whether a service answers, how soon, and how long its certificate holds.
func HTTP(t *target.Probe) collectors.Collector {
	gauge := func(name, help string) *collectors.Metric {
		return &collectors.Metric{Name: "upkeep_probe_" + name, Type: collectors.Gauge, Help: help,
			Labels: []string{"server"}}
	}
	c := probe{
		target: t,
		healthy: gauge("healthy", "1 when the service answered with the status that is expected, 0 when it did not "+
			"or did not answer."),
		status: gauge("http_status",
			"HTTP status of the response; absent without a response."),
		duration: gauge("duration_seconds", "Response time to the last byte; absent when there was no response."),
		first: gauge("first_byte_seconds",
			"Response time to the first byte; absent when there was no response.").WithoutPanel(collectors.AdHoc),
		expiry: gauge("tls_expiry_timestamp_seconds",
			"Earliest expiry in the certificate chain of the service; absent without TLS."),
		redirects: gauge("redirects",
			"Number of redirects before the response; absent without a response.").WithoutPanel(collectors.AdHoc),
	}
	return collectors.Collector{
		Name:   "probe/http",
		Target: t.Name,
		Doc: `HTTP reports whether a service answers with the status that is expected, how soon, and when its TLS certificate ends.

Asks the configured address with GET over a connection of its own each time, follows
five redirects at most, and reads one megabyte of the answer at most. Rights: none.
Cost: one request. A service that does not answer is the answer 0 of
upkeep_probe_healthy, not a failed collection.`,
		Metrics: []*collectors.Metric{c.healthy, c.status, c.duration, c.first, c.expiry, c.redirects},
		Every:   15 * time.Second,
		Timeout: 10 * time.Second,
		Collect: c.collect,
	}
}

// patience is how much sooner than the collection a request gives up, so that a
// service that hangs is one that is not healthy.
const patience = 500 * time.Millisecond

// most is what is read of an answer.
const most = 1 << 20

type probe struct {
	target                                              *target.Probe
	healthy, status, duration, first, expiry, redirects *collectors.Metric
}

func (c probe) collect(ctx context.Context, w *collectors.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	transport, err := c.transport()
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	limited := ctx
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		limited, cancel = context.WithDeadline(ctx, end.Add(-min(patience, time.Until(end)/2)))
		defer cancel()
	}
	var first time.Time
	limited = httptrace.WithClientTrace(limited,
		&httptrace.ClientTrace{GotFirstResponseByte: func() { first = time.Now() }})
	r, err := http.NewRequestWithContext(limited, http.MethodGet, c.target.URL, nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "upkeep")
	redirects := 0
	client := &http.Client{Transport: transport, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if redirects = len(via); redirects > 5 {
			return errors.New("it was sent elsewhere more than five times")
		}
		return nil
	}}
	began := time.Now()
	res, err := client.Do(r)
	if err == nil {
		defer func() { _ = res.Body.Close() }() // read only
		_, err = io.Copy(io.Discard, io.LimitReader(res.Body, most))
	}
	if err != nil {
		if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
			return ctx.Err() // stopped by us: nothing is known of the service
		}
		w.Set(c.healthy, 0, c.target.Name)
		w.Down(withoutURL(err))
		if at, known := expired(err); known {
			w.Set(c.expiry, float64(at.Unix()), c.target.Name)
		}
		return nil
	}
	took := time.Since(began)
	healthy := res.StatusCode/100 == 2
	if c.target.Status != 0 {
		healthy = res.StatusCode == c.target.Status
	}
	v := 1.0
	if !healthy {
		v = 0
		w.Down(fmt.Errorf("it answers with the HTTP status %s", res.Status))
	}
	w.Set(c.healthy, v, c.target.Name)
	w.Set(c.status, float64(res.StatusCode), c.target.Name)
	w.Set(c.duration, took.Seconds(), c.target.Name)
	w.Set(c.first, first.Sub(began).Seconds(), c.target.Name)
	w.Set(c.redirects, float64(redirects), c.target.Name)
	if res.TLS != nil {
		w.Set(c.expiry, float64(firstEnd(res.TLS.PeerCertificates).Unix()), c.target.Name)
	}
	return nil
}

func (c probe) transport() (*http.Transport, error) {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if c.target.CAFile == "" {
		return t, nil
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
	t.TLSClientConfig.RootCAs = roots
	return t, nil
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

// withoutURL leaves the address out of an error: a token may be in it.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// expired returns when the certificate ended for which the service was refused.
func expired(err error) (time.Time, bool) {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return invalid.Cert.NotAfter, true
	}
	return time.Time{}, false
}

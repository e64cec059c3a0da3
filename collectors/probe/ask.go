package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/platform/visible"
)

// most is what is read of an answer.
const most = 1 << 20

// A result is what a service answered, and why that is not what was expected.
type result struct {
	answered    bool // to the end: the times are known
	status      int  // 0 without HTTP
	redirects   int
	took, first time.Duration
	chain       []*x509.Certificate // nil without TLS
	failed      *failure            // nil where all is as expected
}

// Expectations are what an answer must and must not have.
type expectations struct {
	body, without *regexp.Regexp
	headers       map[string]*regexp.Regexp
}

func expected(t *target.Probe) (e expectations, err error) {
	compile := func(key, pattern string) (r *regexp.Regexp) {
		if pattern == "" {
			return nil
		}
		r, wrong := regexp.Compile(pattern)
		if wrong != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", key, wrong))
		}
		return r
	}
	e.body, e.without = compile("body", t.Body), compile("body_without", t.BodyWithout)
	e.headers = make(map[string]*regexp.Regexp)
	for name, pattern := range t.Headers {
		e.headers[name] = compile("headers: "+name, "(?:"+pattern+")")
	}
	return e, err
}

// check compares an answer with what is expected; code is its status, as the target's configuration has it.
func (e expectations) check(code int, res *http.Response, body []byte) *failure {
	if code == 0 && res.StatusCode/100 != 2 || code != 0 && res.StatusCode != code {
		return &failure{phaseStatus, unexpected, fmt.Errorf("the service answers with the HTTP status %s",
			visible.Text(res.Status))}
	}
	for _, name := range slices.Sorted(maps.Keys(e.headers)) {
		values := res.Header.Values(name)
		switch {
		case len(values) == 0:
			return &failure{phaseHeader, missing, fmt.Errorf("the answer has no header %s", visible.Text(name))}
		case !slices.ContainsFunc(values, e.headers[name].MatchString):
			return &failure{phaseHeader, noMatch, fmt.Errorf("the header %s does not match %q", visible.Text(name),
				e.headers[name])}
		}
	}
	return e.text(body)
}

func (e expectations) text(body []byte) *failure {
	switch {
	case e.body != nil && !e.body.Match(body):
		return &failure{phaseBody, noMatch, fmt.Errorf("the answer does not match %q", e.body)}
	case e.without != nil && e.without.Match(body):
		return &failure{phaseBody, forbidden, fmt.Errorf("the answer matches %q", e.without)}
	}
	return nil
}

// A course is how far a probe has come. Connections are made by goroutines of their own.
type course struct {
	mu    sync.Mutex
	phase string
	first time.Time
	chain []*x509.Certificate
}

func (c *course) at(phase string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = phase
}

func (c *course) now() (phase string, first time.Time, chain []*x509.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase, c.first, c.chain
}

func (c *course) secured(chain []*x509.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(chain) > 0 {
		c.chain = chain
	}
}

// follow returns a context in which the course is known.
func (c *course) follow(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:          func(httptrace.DNSStartInfo) { c.at(phaseDNS) },
		ConnectStart:      func(string, string) { c.at(phaseConnect) },
		TLSHandshakeStart: func() { c.at(phaseTLS) },
		TLSHandshakeDone:  func(s tls.ConnectionState, _ error) { c.secured(s.PeerCertificates) },
		GotConn:           func(httptrace.GotConnInfo) { c.at(phaseResponse) },
		GotFirstResponseByte: func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.first = time.Now()
		},
	})
}

// askHTTP asks with GET.
func askHTTP(ctx context.Context, t *target.Probe, e expectations, config *tls.Config) (r result, err error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	c := course{phase: phaseConnect}
	request, err := http.NewRequestWithContext(c.follow(ctx), http.MethodGet, t.URL, nil)
	if err != nil {
		return r, err
	}
	request.Header.Set("User-Agent", "upkeep")
	var led *url.URL // where the last redirect led
	client := &http.Client{Transport: transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		switch {
		case t.Redirects == target.RedirectsNone, next.Response.StatusCode == t.Status:
			return http.ErrUseLastResponse // the redirect is the answer
		case len(via) > redirectsMost:
			return errRedirects
		}
		r.redirects, led = len(via), next.URL
		if next.URL.Scheme != "http" && next.URL.Scheme != "https" {
			return errScheme
		}
		return nil
	}}
	began := time.Now()
	res, err := client.Do(request)
	var body []byte
	if err == nil {
		c.at(phaseBody)
		body, err = e.read(res.Body)
	}
	r.took = time.Since(began)
	phase, first, chain := c.now()
	r.chain = chain
	if err != nil {
		if location(err) {
			err = errLocation
		}
		r.failed = failed(phase, err).after(led)
		if refused := unverified(err); refused != nil {
			r.chain = refused
		}
		return r, nil
	}
	r.answered, r.status, r.first = true, res.StatusCode, first.Sub(began)
	r.failed = e.check(t.Status, res, body).after(led)
	return r, nil
}

// read reads the body of an answer to its end, and returns it where something is expected of it.
func (e expectations) read(from io.ReadCloser) (body []byte, err error) {
	defer func() { _ = from.Close() }() // read only
	if e.body == nil && e.without == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(from, most))
		return nil, err
	}
	return io.ReadAll(io.LimitReader(from, most))
}

// refusalWithin is how long a service may take to refuse a client without a certificate.
const refusalWithin = 3 * time.Second

// refusal returns the alert by which a service refuses a client that has no certificate. With TLS 1.3 the client's
// handshake is over by then: the alert is the first that it reads. We say that we send nothing, so that a service
// that takes us ends the connection.
func refusal(ctx context.Context, conn *tls.Conn) error {
	_ = conn.CloseWrite() // where it fails, what there is to read says why
	ctx, cancel := context.WithTimeout(ctx, refusalWithin)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) }) // a read then ends at once
	defer stop()
	if _, err := io.Copy(io.Discard, io.LimitReader(conn, most)); alert(err) {
		return err
	}
	return nil
}

// askSocket connects, with TLS where that is the scheme, and reads the greeting where one is expected.
func askSocket(ctx context.Context, u *url.URL, e expectations, config *tls.Config) (r result) {
	c := course{phase: phaseConnect}
	began := time.Now()
	fail := func(err error) result {
		phase, _, _ := c.now()
		r.failed, r.chain = failed(phase, err), unverified(err)
		return r
	}
	conn, err := new(net.Dialer).DialContext(c.follow(ctx), "tcp", u.Host)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = conn.Close() }() // nothing was written
	if u.Scheme == target.SchemeTLS {
		c.at(phaseTLS)
		config.ServerName = u.Hostname()
		asked := false
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return new(tls.Certificate), nil // none
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return fail(err)
		}
		conn, r.chain = secure, secure.ConnectionState().PeerCertificates
		if asked && e.body == nil {
			if err := refusal(ctx, secure); err != nil {
				r.failed = failed(phaseTLS, err)
				return r
			}
		}
	}
	r.took, r.answered = time.Since(began), true
	if e.body == nil {
		return r
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) }) // a read then ends at once
	defer stop()
	var greeting []byte
	part := make([]byte, 4096)
	for len(greeting) < most {
		n, err := conn.Read(part)
		greeting = append(greeting, part[:n]...)
		if r.first == 0 && n > 0 {
			r.first = time.Since(began)
		}
		switch {
		case e.body.Match(greeting):
			r.took = time.Since(began)
			return r
		case err != nil && len(greeting) == 0:
			r.answered, r.failed = false, failed(phaseBody, err)
			return r
		case err != nil && reasonOf(err) == timedOut:
			r.answered, r.failed = false, &failure{phaseBody, timedOut, fmt.Errorf("the %d bytes that arrived in time "+
				"do not match %q, and the service has not ended its greeting: %w", len(greeting), e.body, err)}
			return r
		case err != nil:
			r.answered, r.failed = false, e.text(greeting)
			return r
		}
	}
	r.answered, r.failed = false, e.text(greeting)
	return r
}

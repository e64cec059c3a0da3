// Package webhook takes alerts from Alertmanager and Grafana and answers once
// they are on disk: 200 means that nothing of the delivery can be lost any more,
// 503 that it should be sent again, 4xx that sending it again is of no use. What
// could not be read is kept for people, where its sender was known.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// maxBody is far above what is sent for one group: an alert takes about one
	// kilobyte.
	maxBody = 4 << 20

	// maxLetter is how much is kept of a body that could not be read.
	maxLetter = 64 << 10

	// bodyTimeout is how long a body may take to arrive.
	bodyTimeout = 5 * time.Second
)

// An Inbox makes alerts durable, and keeps what could not be read.
type Inbox interface {
	Accept(ctx context.Context, alerts []remediate.Alert) error
	Keep(ctx context.Context, l remediate.Letter) error
}

// Config is what a Handler is made of.
type Config struct {
	Inbox      Inbox
	Authorize  func(*http.Request) (status int, err error) // nil: everybody may
	Signature  Signature                                   // of Grafana's deliveries; asked instead of Authorize where it has a secret
	Truncated  func()                                      // called when a delivery left alerts out; may be nil
	Waiting    int                                         // deliveries that may wait for the store at once; 256 where 0
	Now        func() time.Time                            // time.Now where nil
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// A Handler takes deliveries. By itself it answers POST with Alertmanager's
// payload of version 4; Grafana returns the one for Grafana's.
type Handler struct {
	config   Config
	queue    *queue
	reading  chan struct{} // bodies that are being read
	log      *sparing
	requests *prometheus.CounterVec
	duration prometheus.Histogram
}

// New returns a Handler.
func New(c Config) *Handler {
	if c.Waiting == 0 {
		c.Waiting = 256 // at 5,000 a second the last of them waits for 50 ms
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	h := &Handler{
		config: c, queue: newQueue(c.Waiting), reading: make(chan struct{}, c.Waiting), log: &sparing{log: c.Logger, now: c.Now},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "upkeep_webhook_requests_total",
			Help: "Deliveries to the webhook, by whose they were and the status that was answered.",
		}, []string{"source", "code"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "upkeep_webhook_duration_seconds",
			Help:    "How long a delivery to the webhook took to be answered.",
			Buckets: []float64{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5},
		}),
	}
	c.Registerer.MustRegister(h.requests, h.duration)
	return h
}

// A sender is one kind of them.
type sender struct {
	source    string
	read      func(body []byte) (message, error)
	authorize func(*http.Request) (status int, err error)                // before the body is read; nil: it needs none
	verify    func(r *http.Request, body []byte) (status int, err error) // after it; nil: it needs none
}

// ServeHTTP takes one delivery of Alertmanager.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, sender{source: Alertmanager, read: readAlertmanager, authorize: h.config.Authorize})
}

// Grafana returns the handler for the deliveries of Grafana's contact points.
func (h *Handler) Grafana() http.Handler {
	from := sender{source: Grafana, read: readGrafana, authorize: h.config.Authorize}
	if s := h.config.Signature; s.Secret != nil {
		from.authorize = func(r *http.Request) (int, error) { return s.claim(r, h.config.Now()) }
		from.verify = s.verify
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, from) })
}

// Trusted returns the handler for Alertmanager's deliveries from within the
// process, which need no token.
func (h *Handler) Trusted() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.serve(w, r, sender{source: Alertmanager, read: readAlertmanager})
	})
}

// A fault is why a delivery was not taken.
type fault struct {
	status int
	err    error
	body   []byte // what is kept for people; nil: nothing is
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, from sender) {
	begun := time.Now()
	alerts, f := h.take(w, r, from)
	status := http.StatusOK
	if f != nil {
		status = f.status
		if f.body != nil {
			h.keep(r, from, *f)
		}
		h.log.warn(r.Context(), "delivery refused", slog.Int("status", status), slog.String("source", from.source), slog.String("remote", r.RemoteAddr), slog.Any("err", f.err))
		if status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		http.Error(w, f.err.Error(), status)
	} else {
		h.config.Logger.Debug("delivery accepted", "alerts", alerts, "source", from.source, "remote", r.RemoteAddr)
		w.WriteHeader(status)
	}
	h.duration.Observe(time.Since(begun).Seconds())
	h.requests.WithLabelValues(from.source, strconv.Itoa(status)).Inc()
}

func (h *Handler) take(w http.ResponseWriter, r *http.Request, from sender) (alerts int, f *fault) {
	if r.Method != http.MethodPost {
		return 0, &fault{status: http.StatusMethodNotAllowed, err: fmt.Errorf("method %.20q: want POST", r.Method)}
	}
	if from.authorize != nil {
		if status, err := from.authorize(r); err != nil {
			return 0, &fault{status: status, err: err}
		}
	}
	body, f := h.body(w, r, from)
	if f != nil {
		return 0, f
	}
	if from.verify != nil {
		if status, err := from.verify(r, body); err != nil {
			return 0, &fault{status: status, err: err}
		}
	}
	m, err := from.read(body)
	if err != nil {
		return 0, &fault{http.StatusBadRequest, err, body}
	}
	told := m.alerts(from.source)
	// A caller who hangs up has not undone what he sent.
	err = h.queue.do(context.WithoutCancel(r.Context()), func(ctx context.Context) error { return h.config.Inbox.Accept(ctx, told) })
	if err != nil {
		return 0, &fault{status: http.StatusServiceUnavailable, err: fmt.Errorf("inbox: %w", err)}
	}
	if m.Truncated > 0 && h.config.Truncated != nil {
		h.config.Truncated()
	}
	return len(told), nil
}

// body reads what was sent. Where it would wait in vain it is not read at all.
func (h *Handler) body(w http.ResponseWriter, r *http.Request, from sender) ([]byte, *fault) {
	busy := &fault{status: http.StatusServiceUnavailable, err: errBusy}
	if h.queue.full() {
		return nil, busy
	}
	select {
	case h.reading <- struct{}{}:
		defer func() { <-h.reading }()
	default:
		return nil, busy
	}
	// Not every connection has a deadline; the ones within the process need none.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		return body, nil
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		f := &fault{status: http.StatusRequestEntityTooLarge, err: fmt.Errorf("body is larger than %d bytes; set max_alerts in the receiver", large.Limit)}
		if from.verify == nil { // a part of a body proves nothing
			f.body = body
		}
		return nil, f
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, &fault{status: http.StatusServiceUnavailable, err: fmt.Errorf("the body did not arrive within %s", bodyTimeout)}
	}
	return nil, &fault{status: http.StatusBadRequest, err: fmt.Errorf("body: %w", err)}
}

// keep puts what could not be read where people find it. Nothing of the headers
// is kept: a token may be among them. Where it cannot be kept the log has to do,
// and the answer is the same.
func (h *Handler) keep(r *http.Request, from sender, f fault) {
	l := remediate.Letter{Remote: r.RemoteAddr, Source: from.source, Status: f.status, Error: f.err.Error(), Body: f.body[:min(len(f.body), maxLetter)], Size: max(r.ContentLength, int64(len(f.body)))}
	err := h.queue.do(context.WithoutCancel(r.Context()), func(ctx context.Context) error { return h.config.Inbox.Keep(ctx, l) })
	if err != nil {
		h.log.warn(r.Context(), "delivery could not be kept", slog.String("source", from.source), slog.String("remote", r.RemoteAddr), slog.Any("err", err))
	}
}

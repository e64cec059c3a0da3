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

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// usualBody is far above what is sent for most groups: an alert takes about one
	// kilobyte. Larger ones are read a few at a time, for they take memory.
	usualBody = 4 << 20

	// maxBody is what is read of a delivery; of a larger one its first part.
	maxBody = 16 << 20

	// large is how many deliveries beyond usualBody are taken at once.
	large = 2

	// unproven is how many bodies are read at once before their signature can be looked at: 4 MiB
	// each, and they keep no place from those who have proved who they are.
	unproven = 8

	// bodyTimeout is how long a body may take to arrive, and the rest of a large one
	// again.
	bodyTimeout = 5 * time.Second
)

// splits says how groups become smaller.
const splits = "split the group with group_by in Alertmanager's route, or limit it with max_alerts in the receiver"

// An Inbox makes alerts durable, and keeps what could not be read.
type Inbox interface {
	Accept(ctx context.Context, alerts []remediate.Alert) error
	Keep(ctx context.Context, l remediate.DeadLetter) error
}

// Config is what a Handler is made of.
type Config struct {
	Inbox     Inbox
	Authorize func(*http.Request) (status int, err error) // nil: everybody may
	// of deliveries, by source; one with a secret is asked instead of Authorize
	Signatures map[string]Signature
	Truncated  func() // called when a delivery left alerts out; may be nil
	// deliveries that may wait for the store at once; 256 where 0
	Waiting    int
	Now        func() time.Time // time.Now where nil
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// A Handler takes deliveries. By itself it takes those of Alertmanager; From returns the
// handler for another source.
type Handler struct {
	config   Config
	queue    *queue
	reading  chan struct{} // bodies that are being read
	large    chan struct{} // bodies beyond usualBody that are being read or taken
	unproven chan struct{} // bodies that are being read of senders who have proved nothing yet
	log      *sparing
	requests *prometheus.CounterVec
	duration prometheus.Observer
}

// Metrics returns the metrics of a Handler.
func Metrics() []*metric.Family { return []*metric.Family{requests(), duration()} }

func requests() *metric.Family {
	return metric.Counter("upkeep_webhook_requests_total",
		"Webhook deliveries, by source and HTTP status of the response.", "source", "code")
}

func duration() *metric.Family {
	return metric.Histogram("upkeep_webhook_duration_seconds", "Latency of webhook responses.")
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
		config: c, queue: newQueue(c.Waiting), reading: make(chan struct{}, c.Waiting),
		large: make(chan struct{}, large), unproven: make(chan struct{}, unproven),
		log:      &sparing{log: c.Logger, now: c.Now},
		requests: metric.NewCounter(c.Registerer, requests()),
		duration: metric.NewHistogram(c.Registerer, duration(), 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1,
			5).WithLabelValues(),
	}
	for _, source := range Names() {
		for _, status := range []int{http.StatusOK, http.StatusBadRequest, http.StatusRequestEntityTooLarge,
			http.StatusServiceUnavailable} {
			h.requests.WithLabelValues(source, strconv.Itoa(status)) // the first increase counts only from a zero
		}
	}
	return h
}

// A sender is a source with what its deliveries are held to.
type sender struct {
	Source
	authorize func(*http.Request) (status int, err error)                // before the body is read; nil: it needs none
	verify    func(r *http.Request, body []byte) (status int, err error) // after it; nil: it needs none
	proven    bool                                                       // it was authenticated otherwise before
}

// ServeHTTP takes one delivery of Alertmanager.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.From(Alertmanager()).ServeHTTP(w, r)
}

// From returns the handler for the deliveries of a source.
func (h *Handler) From(source Source) http.Handler {
	return h.from(sender{Source: source, authorize: h.config.Authorize})
}

// from completes a sender by the signature that its deliveries need.
func (h *Handler) from(from sender) http.Handler {
	if s := h.config.Signatures[from.Name]; s.Secret != nil {
		from.authorize = func(r *http.Request) (int, error) { return s.claim(r, h.config.Now()) }
		from.verify = s.verify
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, from) })
}

// Signed reports whether the deliveries of a source prove themselves by a signature.
func (h *Handler) Signed(source Source) bool { return h.config.Signatures[source.Name].Secret != nil }

// Proven returns the handler for the deliveries of a source whose sender was authenticated. A
// signature is asked for nevertheless where the source has one.
func (h *Handler) Proven(source Source) http.Handler {
	return h.from(sender{Source: source, proven: true})
}

// Refused counts and logs a delivery that was refused before it was read.
func (h *Handler) Refused(r *http.Request, source Source, status int, why error) {
	h.log.warn(r.Context(), "delivery refused", slog.Int("status", status), slog.String("source", source.Name),
		slog.String("remote", r.RemoteAddr), slog.Any("err", why))
	h.requests.WithLabelValues(source.Name, strconv.Itoa(status)).Inc()
}

// Trusted returns the handler for Alertmanager's deliveries from within the
// process, which need no token.
func (h *Handler) Trusted() http.Handler {
	return h.Proven(Alertmanager())
}

// A fault is why a delivery was not taken.
type fault struct {
	status int
	err    error
	body   []byte // what is kept for people; nil: nothing is
}

// answer is the text for the sender. A fault of ours may name a file, and who signs has not proved anything yet.
func (f *fault) answer() string {
	if f.status == http.StatusInternalServerError {
		return "the delivery could not be checked; the log of upkeep says why"
	}
	return f.err.Error()
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
		h.log.warn(r.Context(), "delivery refused", slog.Int("status", status), slog.String("source", from.Name),
			slog.String("remote", r.RemoteAddr), slog.Any("err", f.err))
		if status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		http.Error(w, f.answer(), status)
	} else {
		h.config.Logger.Debug("delivery accepted", "alerts", alerts, "source", from.Name, "remote", r.RemoteAddr)
		w.WriteHeader(status)
	}
	h.duration.Observe(time.Since(begun).Seconds())
	h.requests.WithLabelValues(from.Name, strconv.Itoa(status)).Inc()
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
	body, cut, f := h.body(w, r, from.verify != nil && !from.proven)
	if len(body) > usualBody {
		defer func() { <-h.large }()
	}
	switch {
	case f != nil:
		return 0, f
	case cut:
		return 0, h.takePart(r, from, body)
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
	return h.takeMessage(r, from, m, body)
}

// takeMessage takes the alerts of a message. What could not be read is kept for people,
// and the rest is taken; where nothing could be read the delivery is refused.
func (h *Handler) takeMessage(r *http.Request, from sender, m message, body []byte) (int, *fault) {
	taken, rest := m.alerts(from.Source)
	switch {
	case len(m.Alerts) == 0:
		return 0, &fault{http.StatusBadRequest, errors.New("no alerts in the body"), body}
	case len(taken) == 0:
		return 0, &fault{http.StatusBadRequest, errors.New(rest[0].text(len(m.Alerts))), body}
	}
	if err := h.accept(r, taken); err != nil {
		return 0, &fault{status: http.StatusServiceUnavailable, err: fmt.Errorf("inbox: %w", err)}
	}
	for _, u := range rest {
		why := u.text(len(m.Alerts)) + "; the others were taken"
		h.log.warn(r.Context(), "alerts could not be read", slog.String("source", from.Name),
			slog.String("remote", r.RemoteAddr), slog.String("err", why))
		h.keep(r, from, fault{http.StatusOK, errors.New(why), u.body()})
	}
	if m.Truncated > 0 {
		why := fmt.Sprintf("%d alerts of the group were left out by max_alerts of the receiver, and upkeep does not "+
			"know of them: raise max_alerts, or split the group with group_by in Alertmanager's route", m.Truncated)
		h.log.warn(r.Context(), "alerts were left out", slog.String("source", from.Name), slog.Any("group", m.GroupKey),
			slog.String("err", why))
		h.keep(r, from, fault{http.StatusOK, errors.New(why), fmt.Appendf(nil, "%v", m.GroupKey)})
		if h.config.Truncated != nil {
			h.config.Truncated()
		}
	}
	return len(taken), nil
}

// takePart takes the complete alerts in the first part of a body that is too large, and
// refuses the rest. A part of a signed body proves nothing.
func (h *Handler) takePart(r *http.Request, from sender, body []byte) *fault {
	tooLarge := fmt.Sprintf("body is larger than %d MiB", maxBody>>20)
	if from.verify != nil {
		return &fault{status: http.StatusRequestEntityTooLarge,
			err: errors.New(tooLarge + " and nothing of it was taken: " + splits)}
	}
	taken, _ := salvage(body).alerts(from.Source)
	if len(taken) > 0 {
		if err := h.accept(r, taken); err != nil {
			return &fault{status: http.StatusServiceUnavailable, err: fmt.Errorf("inbox: %w", err)}
		}
	}
	return &fault{http.StatusRequestEntityTooLarge,
		fmt.Errorf("%s; its first %d alerts were taken, and upkeep does not know of the others: %s", tooLarge,
			len(taken), splits), body}
}

// accept makes alerts durable. A caller who hangs up has not undone what he sent.
func (h *Handler) accept(r *http.Request, taken []remediate.Alert) error {
	return h.queue.do(context.WithoutCancel(r.Context()), len(taken),
		func(ctx context.Context) error { return h.config.Inbox.Accept(ctx, taken) })
}

// body reads what was sent, and says whether more was sent than is read. Where it would
// only wait it is not read at all. A body beyond usualBody holds a place in h.large.
// One of a sender who has proved nothing yet has a place among few.
func (h *Handler) body(w http.ResponseWriter, r *http.Request, unproven bool) (body []byte, cut bool, f *fault) {
	busy := &fault{status: http.StatusServiceUnavailable, err: errBusy}
	if h.queue.full() {
		return nil, false, busy
	}
	places := h.reading
	if unproven {
		places = h.unproven
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	default:
		return nil, false, busy
	}
	// Not every connection has a deadline; the ones within the process need none.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	limited := http.MaxBytesReader(w, r.Body, maxBody)
	body, err := io.ReadAll(io.LimitReader(limited, usualBody+1))
	if err == nil && len(body) > usualBody {
		select {
		case h.large <- struct{}{}:
		default:
			return nil, false, busy
		}
		_ = conn.SetReadDeadline(time.Now().Add(bodyTimeout))
		var rest []byte
		rest, err = io.ReadAll(limited)
		body = append(body, rest...)
	}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil || tooLarge:
		return body, tooLarge, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return body, false, &fault{status: http.StatusServiceUnavailable,
			err: fmt.Errorf("the body did not arrive within %s", bodyTimeout)}
	default:
		return body, false, &fault{status: http.StatusBadRequest, err: fmt.Errorf("body: %w", err)}
	}
}

// keep puts what could not be read where people find it. Nothing of the headers
// is kept: a token may be among them. Where it cannot be kept the log has to do,
// and the answer is the same.
func (h *Handler) keep(r *http.Request, from sender, f fault) {
	l := remediate.DeadLetter{Remote: r.RemoteAddr, Source: from.Name, Status: f.status, Error: f.err.Error(),
		Body: f.body[:min(len(f.body), maxDeadLetter)], Size: max(r.ContentLength, int64(len(f.body)))}
	err := h.queue.do(context.WithoutCancel(r.Context()), 1,
		func(ctx context.Context) error { return h.config.Inbox.Keep(ctx, l) })
	if err != nil {
		h.log.warn(r.Context(), "delivery could not be kept", slog.String("source", from.Name),
			slog.String("remote", r.RemoteAddr), slog.Any("err", err))
	}
}

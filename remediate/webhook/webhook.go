// Package webhook takes alerts from Alertmanager and answers once they are on
// disk: 200 means that nothing of the delivery can be lost any more, 503 that
// Alertmanager should send it again, 4xx that sending it again is of no use.
package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Source is the source of the alerts that this package takes in.
const Source = "alertmanager"

const (
	// maxBody is far above what Alertmanager sends for one group: an alert takes
	// about one kilobyte.
	maxBody = 4 << 20

	// patience is how long a commit may take. Alertmanager's peers send a second
	// copy when the first is not answered within 15 s.
	patience = 5 * time.Second
)

// An Inbox makes alerts durable.
type Inbox interface {
	Accept(ctx context.Context, alerts []remediate.Alert) error
}

// Config is what a Handler is made of.
type Config struct {
	Inbox      Inbox
	Authorize  func(*http.Request) (status int, err error) // nil: everybody may
	Truncated  func()                                      // called when a delivery left alerts out; may be nil
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// A Handler answers POST with Alertmanager's payload of version 4.
type Handler struct {
	config   Config
	requests *prometheus.CounterVec
}

// New returns a Handler.
func New(c Config) *Handler {
	h := &Handler{config: c, requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "upkeep_webhook_requests_total",
		Help: "Deliveries to the webhook, by the status that was answered.",
	}, []string{"code"})}
	c.Registerer.MustRegister(h.requests)
	return h
}

// A fault is why a delivery was not taken, with the status that says so.
type fault struct {
	status int
	err    error
}

// ServeHTTP takes one delivery.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, h.config.Authorize)
}

// Trusted returns the handler for deliveries from within the process, which
// need no token.
func (h *Handler) Trusted() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, nil) })
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, authorize func(*http.Request) (int, error)) {
	alerts, f := h.take(w, r, authorize)
	status := http.StatusOK
	if f != nil {
		status = f.status
		h.config.Logger.Warn("delivery refused", "status", status, "remote", r.RemoteAddr, "err", f.err)
		if status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		http.Error(w, f.err.Error(), status)
	} else {
		h.config.Logger.Debug("delivery accepted", "alerts", alerts, "remote", r.RemoteAddr)
		w.WriteHeader(status)
	}
	h.requests.WithLabelValues(strconv.Itoa(status)).Inc()
}

func (h *Handler) take(w http.ResponseWriter, r *http.Request, authorize func(*http.Request) (int, error)) (alerts int, f *fault) {
	if r.Method != http.MethodPost {
		return 0, &fault{http.StatusMethodNotAllowed, fmt.Errorf("method %s: want POST", r.Method)}
	}
	if authorize != nil {
		if status, err := authorize(r); err != nil {
			return 0, &fault{status, err}
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return 0, &fault{http.StatusRequestEntityTooLarge, fmt.Errorf("body is larger than %d bytes; set max_alerts in the receiver", large.Limit)}
	} else if err != nil {
		return 0, &fault{http.StatusBadRequest, fmt.Errorf("body: %w", err)}
	}
	m, err := parse(body)
	if err != nil {
		return 0, &fault{http.StatusBadRequest, err}
	}
	// A caller who hangs up has not undone what he sent.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(r.Context()), patience, errors.New("the store did not answer in time"))
	defer cancel()
	if err := h.config.Inbox.Accept(ctx, m.alerts()); err != nil {
		return 0, &fault{http.StatusServiceUnavailable, fmt.Errorf("inbox: %w", err)}
	}
	if m.Truncated > 0 && h.config.Truncated != nil {
		h.config.Truncated()
	}
	return len(m.Alerts), nil
}

// A message is what we read of Alertmanager's payload. Its own status is not
// read: it says nothing of the single alert.
type message struct {
	Version   string `json:"version"`
	Truncated uint64 `json:"truncatedAlerts"`
	Alerts    []struct {
		Status      string            `json:"status"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		StartsAt    time.Time         `json:"startsAt"`
	} `json:"alerts"`
}

func parse(body []byte) (m message, err error) {
	if err := json.Unmarshal(body, &m); err != nil {
		return m, fmt.Errorf("body is not Alertmanager's JSON: %w", err)
	}
	if m.Version != "4" {
		return m, fmt.Errorf("version %q: want Alertmanager's payload of version \"4\"", m.Version)
	}
	if len(m.Alerts) == 0 {
		return m, errors.New("no alerts in the body")
	}
	for i, a := range m.Alerts {
		switch {
		case a.Status != "firing" && a.Status != "resolved":
			return m, fmt.Errorf("alert %d: status %q: want firing or resolved", i+1, a.Status)
		case a.Labels["alertname"] == "":
			return m, fmt.Errorf("alert %d has no alertname", i+1)
		}
	}
	return m, nil
}

func (m message) alerts() []remediate.Alert {
	all := make([]remediate.Alert, len(m.Alerts))
	for i, a := range m.Alerts {
		all[i] = remediate.Alert{Source: Source, Labels: a.Labels, Annotations: a.Annotations, Firing: a.Status == "firing", StartsAt: a.StartsAt.UTC()}
	}
	return all
}

package embedded

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
)

// A Budget is what the queries of a role may use.
type Budget int

// The budgets.
const (
	// ViewBudget is enough for a dashboard: 30 days of 1,000 points of 700 series. A sample takes
	// 16 bytes, its text twice that, and what is collected later as much again.
	ViewBudget Budget = iota

	// OperateBudget is for who could do more harm in other ways.
	OperateBudget

	budgets
)

// QueryTimeout is the longest that any query may take.
const QueryTimeout = queryTimeout

// limits are the amounts of a budget.
type limits struct {
	samples int
	timeout time.Duration
	atOnce  int
	waiting int // for their turn
}

func (b Budget) limits() limits {
	if b == ViewBudget {
		return limits{samples: 1_000_000, timeout: 20 * time.Second, atOnce: 2, waiting: 16}
	}
	return limits{samples: 5_000_000, timeout: time.Minute, atOnce: 2, waiting: 16}
}

// budgeted is the stock API within a budget.
type budgeted struct {
	limits
	api    http.Handler
	places chan struct{} // of those that are answered or wait
	turns  chan struct{}
}

func (m *prom) budgeted(b Budget) *budgeted {
	l := b.limits()
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: m.config.Logger.With("part", "promql"), MaxSamples: l.samples, Timeout: l.timeout,
		LookbackDelta: lookback, EnableAtModifier: true, EnableNegativeOffset: true, Parser: promqlParser(),
	})
	return &budgeted{limits: l, api: m.newAPI(engine, prometheus.NewRegistry()),
		places: make(chan struct{}, l.atOnce+l.waiting), turns: make(chan struct{}, l.atOnce)}
}

// ServeHTTP answers a request when it is its turn. The turn lasts until the answer is written:
// its text takes more memory than the samples.
func (b *budgeted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case b.places <- struct{}{}:
		defer func() { <-b.places }()
	default:
		b.busy(w)
		return
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), b.timeout,
		fmt.Errorf("the query took longer than %s", b.timeout))
	defer cancel()
	select {
	case b.turns <- struct{}{}:
		defer func() { <-b.turns }()
	case <-ctx.Done():
		b.busy(w)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(b.timeout + lastWrite)) // within the process there is none
	b.api.ServeHTTP(w, r.WithContext(ctx))
}

// lastWrite is how long a client may take to read an answer.
const lastWrite = 10 * time.Second

// busy answers in the form of the stock API.
func (b *budgeted) busy(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "errorType": "unavailable", // the client hung up
		"error": fmt.Sprintf("more than %d queries wait for their turn, or one waited for longer than %s", b.waiting,
			b.timeout)})
}

// Budgeted answers the stock /api/v1 within a budget.
func (e *Embedded) Budgeted(b Budget) http.Handler {
	return e.once(func(p *parts) http.Handler { return p.prom.within[b] })
}

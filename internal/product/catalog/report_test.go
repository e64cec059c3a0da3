package catalog_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/product/report"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// A listener keeps what a report asks, and knows nothing.
type listener struct {
	mu    sync.Mutex
	exprs []string
}

func (l *listener) keep(expr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.exprs = append(l.exprs, expr)
}

func (l *listener) Query(_ context.Context, expr string, _ time.Time) ([]prom.Sample, error) {
	l.keep(expr)
	return nil, nil
}

func (l *listener) Range(_ context.Context, expr string, _, _ time.Time, _ time.Duration) ([]prom.Series, error) {
	l.keep(expr)
	return nil, nil
}

// Every metric and label that the monthly review reads is declared or recorded.
func TestReportReadsWhatIsDeclared(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	p, err := report.Month("", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var l listener
	_, err = report.Make(t.Context(), report.Config{Prometheus: &l, Journal: journal.New(journal.Config{Store: s}),
		Inbox: inbox.New(inbox.Config{Store: s})}, p)
	if !errors.Is(err, report.ErrNoData) {
		t.Fatal(err)
	}
	all := declared(t)
	_, recorded := exprs(t)
	if len(l.exprs) < 50 {
		t.Errorf("%d queries", len(l.exprs))
	}
	for _, e := range l.exprs {
		for name, labels := range selectors(t, e) {
			m, _ := family(all, name)
			if m == nil && !recorded[name] {
				t.Errorf("%s: no collector declares %s and no rule records it", e, name)
			}
			for _, label := range labels {
				if m != nil && !slices.Contains(m.Labels, label) {
					t.Errorf("%s: %s has no label %s", e, name, label)
				}
			}
		}
	}
}

// Package report makes the review of a month or a quarter from Prometheus and the journal: what
// was available, slow, growing, advised, repaired and repeated, beside the period before. Every figure
// carries its query and the share of the time that its data cover. What has no data is shown as
// such, never as zero.
//
// A section is a file that holds its queries; Make runs them and knows nothing of how they are
// shown. Page, Markdown and PDF write what Make has read.
package report

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// A Prometheus answers questions in PromQL, at a moment and over a time.
type Prometheus interface {
	Query(ctx context.Context, expr string, at time.Time) ([]prom.Sample, error)
	Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]prom.Series, error)
}

// An impatient Prometheus is not asked again once it has not answered: a report has many queries, and would wait
// for each. One that refuses a query, or has a part of an answer only, is asked for the others.
type impatient struct {
	next Prometheus
	away atomic.Pointer[error]
}

// Query implements Prometheus.
func (i *impatient) Query(ctx context.Context, expr string, at time.Time) (all []prom.Sample, err error) {
	err = i.ask(ctx, func() (err error) { all, err = i.next.Query(ctx, expr, at); return err })
	return all, err
}

// Range implements Prometheus.
func (i *impatient) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) (all []prom.Series,
	err error) {
	err = i.ask(ctx, func() (err error) { all, err = i.next.Range(ctx, expr, from, to, step); return err })
	return all, err
}

func (i *impatient) ask(ctx context.Context, ask func() error) error {
	if away := i.away.Load(); away != nil {
		return fmt.Errorf("not asked, since Prometheus did not answer before: %w", *away)
	}
	err := ask()
	if err != nil && !prom.Answered(err) && ctx.Err() == nil {
		i.away.Store(&err)
	}
	return err
}

// Config is what a report is made from.
type Config struct {
	Prometheus Prometheus // nil: none is configured
	Journal    *journal.Journal
	Inbox      *inbox.Inbox

	// Lowers returns the metric that a request is to lower; "" where that is unknown.
	Lowers func(remediate.Request) string

	Version string
	Now     func() time.Time // time.Now where nil
}

// A Report is the review of one period.
type Report struct {
	Name     string    `json:"name"` // 2026-10 or 2026-Q3
	Title    string    `json:"title"`
	Before   string    `json:"before,omitempty"` // with which days it is compared
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`    // not included
	Until    time.Time `json:"until"` // up to when data were read: To, or the last midnight where it is not over
	Made     time.Time `json:"made"`
	Version  string    `json:"version"`
	Sections []Section `json:"sections"`
}

// A Section is what belongs together.
type Section struct {
	Title   string   `json:"title"`
	Figures []Figure `json:"figures"`
}

// A Figure is one table, with a chart or without.
type Figure struct {
	Title   string  `json:"title"`
	About   string  `json:"about,omitempty"`
	Queries []Query `json:"queries"`
	Coverage
	Columns []Column `json:"columns"`
	Rows    [][]Cell `json:"rows"`
	Hidden  int      `json:"hidden,omitempty"` // rows that are left out
	Note    string   `json:"note,omitempty"`
	Fault   string   `json:"fault,omitempty"` // why it could not be read
	Charts  []Chart  `json:"charts,omitempty"`

	asOfNow bool // it says nothing of the period
}

// A Coverage says which part of the period the data of a figure cover.
type Coverage struct {
	Share *float64 `json:"coverage"` // from 0 to 1; nil where it is not known
	Gaps  []string `json:"days_without_data"`

	Before *float64 `json:"coverage_before,omitempty"` // of the period before, where a figure compares with it
}

// A Query is how a figure was read.
type Query struct {
	Language string    `json:"language"` // PromQL or SQL
	Text     string    `json:"text"`
	At       time.Time `json:"at,omitzero"`     // of an expression that is evaluated at one moment
	Step     string    `json:"step,omitempty"`  // of one that is evaluated at each step of the period
	About    string    `json:"about,omitempty"` // what it is for
}

// Unread returns how many figures could not be read, of how many, and why the first of them could not.
func (r Report) Unread() (unread, figures int, why string) {
	for _, s := range r.Sections {
		for _, f := range s.Figures {
			if figures++; f.Fault == "" {
				continue
			}
			if unread++; why == "" {
				why = f.Fault
			}
		}
	}
	return unread, figures, why
}

// empty reports whether no figure of the period has a row.
func (r Report) empty() bool {
	for _, s := range r.Sections {
		for _, f := range s.Figures {
			if len(f.Rows) > 0 && !f.asOfNow || f.Fault != "" {
				return false
			}
		}
	}
	return true
}

package report

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// sectionsAtOnce is how many sections are read at once: as many as a small machine has processors.
const sectionsAtOnce = 2

// Make reads the report of a period. A figure that cannot be read says why; the others are
// still there.
func Make(ctx context.Context, c Config, p Period) (r Report, err error) {
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	r = Report{Name: p.Name, Title: p.Title(), From: p.From, To: p.To, Made: now().UTC().Truncate(time.Second),
		Version: c.Version}
	if p, err = p.until(now()); err != nil {
		return r, err
	}
	r.Until = p.end
	if c.Prometheus != nil {
		c.Prometheus = &impatient{next: c.Prometheus}
	}
	b := &builder{Config: c, period: p, before: p.before()}
	r.Before = b.before.Part()
	if err := b.prepare(ctx); err != nil {
		return r, err
	}
	all := b.sections()
	r.Sections = make([]Section, len(all))
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(sectionsAtOnce)
	for i, s := range all {
		r.Sections[i].Title = s.title
		group.Go(func() error {
			for _, figure := range s.figures {
				f, err := figure(reading)
				if reading.Err() != nil {
					return context.Cause(reading)
				}
				if err != nil {
					f = f.unread(err)
				}
				r.Sections[i].Figures = append(r.Sections[i].Figures, f.shown())
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return r, fmt.Errorf("report: %w", err)
	}
	if r.empty() {
		return r, b.nothing(ctx)
	}
	return r, nil
}

// Known reports whether there is something of a period: without it Make answers with ErrNoData. An error says that
// Prometheus does not answer, and that the journal has nothing of it.
func Known(ctx context.Context, c Config, p Period) (bool, error) {
	runs, err := c.Journal.Review(ctx, p.From, p.To)
	if err != nil || len(runs.Outcomes) > 0 {
		return err == nil, err
	}
	fired, err := c.Inbox.Review(ctx, p.From, p.To)
	if err != nil || len(fired.Alerts) > 0 || c.Prometheus == nil {
		return err == nil && len(fired.Alerts) > 0, err
	}
	all, err := c.Prometheus.Query(ctx, over("count(count_over_time({__name__=~\"upkeep_build_info|"+
		"upkeep:capacity_used:day\"}[$range:1h]))", p), p.To)
	return len(all) > 0, err
}

// nothing says that a period has no data, and what to do.
func (b *builder) nothing(ctx context.Context) error {
	hint := "the journal is empty"
	if at, err := b.Journal.Oldest(ctx); err != nil {
		return err
	} else if !at.IsZero() {
		hint = "the oldest entry of the journal is of " + at.UTC().Format(time.DateOnly)
	}
	if b.Prometheus == nil {
		hint += ", and no Prometheus is configured (embedded.enabled or prometheus.url)"
	} else {
		hint += ", and Prometheus has no sample of that time"
	}
	return fmt.Errorf("%w of %s: %s; choose a later period", ErrNoData, b.period.Title(), hint)
}

// A section is a title with what reads its figures.
type section struct {
	title   string
	figures []func(context.Context) (Figure, error)
}

func (b *builder) sections() []section {
	return []section{
		{"Services", []func(context.Context) (Figure, error){b.availability, b.errorRate, b.latency}},
		{"PostgreSQL statements", []func(context.Context) (Figure, error){b.slowest, b.costliest, b.changed}},
		{"Redis", []func(context.Context) (Figure, error){b.hitRatio}},
		{"Growth and forecast", []func(context.Context) (Figure, error){b.growth}},
		{"Bloat and indexes", []func(context.Context) (Figure, error){b.tableBloat, b.indexBloat, b.advice}},
		{"Backups", []func(context.Context) (Figure, error){b.backups}},
		{"Updates and vulnerabilities", []func(context.Context) (Figure, error){b.updates, b.vulnerabilities}},
		{"What upkeep did", []func(context.Context) (Figure, error){b.outcomes, b.helped, b.acted}},
		{"Alerts", []func(context.Context) (Figure, error){b.alerts, b.offenders}},
		{"Decisions for people", []func(context.Context) (Figure, error){b.waiting, b.refused, b.byHand}},
	}
}

// prepare reads what several figures need.
func (b *builder) prepare(ctx context.Context) (err error) {
	if b.outcome, err = b.Journal.Review(ctx, b.period.From, b.period.end); err != nil {
		return err
	}
	if b.fired, err = b.Inbox.Review(ctx, b.period.From, b.period.end); err != nil {
		return err
	}
	b.ranBy = covers("upkeep_build_info")
	b.ran, err = b.covered(ctx, "upkeep_build_info")
	if err != nil {
		b.ran = Coverage{} // the figures of Prometheus say why
	}
	return nil
}

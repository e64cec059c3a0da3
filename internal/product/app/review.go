package app

import (
	"context"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/report"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// reviewHour is when on the first of a month the review of the month before is announced: the
	// daily values of its last day are stored by then.
	reviewHour = 6 * time.Hour

	// reviewLate is how late that is made up for: after it a new upkeep announces nothing old.
	reviewLate = 7 * 24 * time.Hour

	reviewEvery = time.Minute // how often the clock is looked at
)

// sendReviews announces the review of each month, where the configuration says so, until ctx is
// done. The key of the notification keeps it from being sent twice, by another process too.
func (a *App) sendReviews(ctx context.Context) error {
	tick := time.NewTicker(reviewEvery)
	defer tick.Stop()
	for done := ""; ; {
		now := time.Now
		if a.options.Now != nil {
			now = a.options.Now
		}
		n, p, ready := reviewOf(now(), a.externalURL())
		if ready && n.Key != done && a.reviewed() {
			switch err := a.announce(ctx, n, p); {
			case err == nil:
				done = n.Key
			case ctx.Err() == nil:
				a.log.Warn("review not announced; retrying", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// announce notifies of the review of the last month, unless there is nothing to review: upkeep is newer than that.
func (a *App) announce(ctx context.Context, n remediate.Notification, p report.Period) error {
	known, err := report.Known(ctx, report.Config{Prometheus: a.asker(), Journal: a.journal, Inbox: a.inbox}, p)
	if err != nil {
		return err
	}
	if !known {
		a.log.Info("review not announced: no data of that month", "month", p.Name)
		return nil
	}
	anew, err := a.journal.Notify(ctx, n)
	if anew {
		a.outbox.Wake()
	}
	return err
}

// reviewed reports whether reviews are announced under the configuration in force.
func (a *App) reviewed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config.Report.Monthly
}

// reviewOf returns the last month with its notification, and whether its time has come.
func reviewOf(now time.Time, external string) (n remediate.Notification, p report.Period, ready bool) {
	p, err := report.Month("", now)
	if err != nil || now.Before(p.To.Add(reviewHour)) || !now.Before(p.To.Add(reviewLate)) {
		return n, p, false
	}
	return remediate.Notification{Key: "report/" + p.Name, Kind: remediate.NotificationInfo, At: time.Now(),
		Title: "Review of " + p.Title(),
		Text: "The review of " + p.Title() + " is at " + external + console.ReportPath + p.Name +
			". As a file: upkeep report month --month " + p.Name}, p, true
}

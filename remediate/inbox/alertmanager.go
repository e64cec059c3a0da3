package inbox

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"sync"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/remediate"
)

// An Alertmanager is asked which alerts are still there, since what it delivers
// is not the whole truth: an alert that ends while it is silenced, or while we
// or Alertmanager itself are down, is never delivered as resolved.
type Alertmanager struct {
	URLs     []string     // where /api/v2 is, of each peer of one cluster
	Receiver string       // the name of the receiver that is us; "": every alert counts
	Source   string       // the source of its alerts in the inbox
	Client   *http.Client // http.DefaultClient where nil

	Every  time.Duration // how often it is asked
	Absent time.Duration // how long an alert may be gone before its incident is over

	Hurry  <-chan struct{} // asks at once; may be nil
	Logger *slog.Logger
}

// Watch reconciles the inbox with am until ctx is done. An alert is there when
// one of the peers holds it, and gone when all of them answered and none does.
func (i *Inbox) Watch(ctx context.Context, am Alertmanager) error {
	timer := time.NewTicker(am.Every)
	defer timer.Stop()
	answers := unbroken{most: 2*am.Every + prom.AskTimeout}
	for failing := false; ; {
		l := Listing{Source: am.Source, Asked: i.now()}
		var err error
		l.Alerts, err = am.alerts(ctx)
		if l.Whole = err == nil; l.Whole {
			l.Since = answers.at(i.now())
		}
		err = errors.Join(err, i.Reconcile(ctx, l, am.Absent))
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			am.Logger.Warn("cannot reconcile with alertmanager", "err", err)
		case failing:
			am.Logger.Info("reconciles with alertmanager again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-am.Hurry:
		case <-timer.C:
		}
	}
}

// alerts returns every alert that a peer holds for the receiver, silenced ones
// too, and what kept others from answering.
func (am Alertmanager) alerts(ctx context.Context) ([]remediate.Alert, error) {
	lists, errs := make([][]remediate.Alert, len(am.URLs)), make([]error, len(am.URLs))
	var peers sync.WaitGroup
	for n, peer := range am.URLs {
		peers.Go(func() { lists[n], errs[n] = am.ask(ctx, peer) })
	}
	peers.Wait()
	var all []remediate.Alert
	for _, list := range lists {
		all = append(all, list...)
	}
	return all, errors.Join(errs...)
}

// pattern returns the receiver as a regular expression, "" where none is named.
func (am Alertmanager) pattern() string { return regexp.QuoteMeta(am.Receiver) }

func (am Alertmanager) ask(ctx context.Context, peer string) ([]remediate.Alert, error) {
	held, err := prom.Alertmanager{URL: peer, Client: am.Client}.Alerts(ctx, am.pattern())
	if err != nil {
		return nil, err
	}
	all := make([]remediate.Alert, len(held))
	for i, a := range held {
		all[i] = remediate.Alert{
			Source: am.Source, Labels: a.Labels, Annotations: a.Annotations, Firing: !a.Suppressed,
			StartsAt: a.StartsAt, Expr: remediate.RuleExpr(a.GeneratorURL),
		}
	}
	return all, nil
}

package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// askTimeout is how long Alertmanager may take to list its alerts.
	askTimeout = 10 * time.Second

	// maxListing is far above what a hundred thousand alerts take.
	maxListing = 256 << 20
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
	Absent time.Duration // how long an alert may be gone before its episode is over

	Hurry  <-chan struct{} // asks at once; may be nil
	Logger *slog.Logger
}

// Watch reconciles the inbox with am until ctx is done. An alert is there when
// one of the peers holds it, and gone when all of them answered and none does.
func (i *Inbox) Watch(ctx context.Context, am Alertmanager) error {
	timer := time.NewTicker(am.Every)
	defer timer.Stop()
	answers := unbroken{most: 2*am.Every + askTimeout}
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
	for n, list := range lists {
		all = append(all, list...)
		if errs[n] != nil {
			errs[n] = fmt.Errorf("%s: %w", redacted(am.URLs[n]), errs[n])
		}
	}
	return all, errors.Join(errs...)
}

// redacted returns a URL without its password.
func redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "alertmanager"
	}
	return u.Redacted()
}

// pattern returns the receiver as a regular expression, "" where none is named.
func (am Alertmanager) pattern() string { return regexp.QuoteMeta(am.Receiver) }

func (am Alertmanager) ask(ctx context.Context, peer string) ([]remediate.Alert, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer within %s", askTimeout))
	defer cancel()
	query := url.Values{"active": {"true"}, "silenced": {"true"}, "inhibited": {"true"}, "unprocessed": {"true"}}
	if pattern := am.pattern(); pattern != "" {
		query.Set("receiver", pattern)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(peer, "/")+"/api/v2/alerts?"+query.Encode(), nil)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	client := am.Client
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(r)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the URL is said already, without its password
		}
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // read only
	if res.StatusCode != http.StatusOK {
		return nil, errors.New(res.Status)
	}
	var told []struct {
		Labels       map[string]string `json:"labels"`
		Annotations  map[string]string `json:"annotations"`
		StartsAt     time.Time         `json:"startsAt"`
		GeneratorURL string            `json:"generatorURL"`
		Status       struct {
			State string `json:"state"`
		} `json:"status"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxListing)).Decode(&told); err != nil {
		return nil, fmt.Errorf("list of alerts: %w", err)
	}
	all := make([]remediate.Alert, len(told))
	for i, a := range told {
		all[i] = remediate.Alert{
			Source: am.Source, Labels: a.Labels, Annotations: a.Annotations, Firing: a.Status.State != "suppressed",
			StartsAt: a.StartsAt.UTC(), Expr: remediate.RuleExpr(a.GeneratorURL),
		}
	}
	return all, nil
}

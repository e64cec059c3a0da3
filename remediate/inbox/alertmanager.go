package inbox

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// askTimeout is how long Alertmanager may take to list its alerts.
const askTimeout = 10 * time.Second

// An Alertmanager is asked which alerts are still there, since what it delivers
// is not the whole truth: an alert that ends while it is silenced, or while we
// or Alertmanager itself are down, is never delivered as resolved.
type Alertmanager struct {
	URL      string       // where /api/v2 is
	Receiver string       // the name of the receiver that is us
	Source   string       // the source of its alerts in the inbox
	Client   *http.Client // http.DefaultClient where nil

	Every  time.Duration // how often it is asked
	Absent time.Duration // how long an alert may be gone before its episode is over

	Hurry  <-chan struct{} // asks at once; may be nil
	Logger *slog.Logger
}

// Watch reconciles the inbox with am until ctx is done.
func (i *Inbox) Watch(ctx context.Context, am Alertmanager) error {
	timer := time.NewTicker(am.Every)
	defer timer.Stop()
	for failing := false; ; {
		alerts, err := am.alerts(ctx)
		if err == nil {
			err = i.Reconcile(ctx, am.Source, alerts, am.Absent)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			am.Logger.Warn("cannot reconcile with alertmanager", "url", am.URL, "err", err)
		case failing:
			am.Logger.Info("reconciles with alertmanager again", "url", am.URL)
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

// alerts returns every alert that am holds for the receiver, silenced ones too.
func (am Alertmanager) alerts(ctx context.Context) ([]remediate.Alert, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer within %s", askTimeout))
	defer cancel()
	query := url.Values{"receiver": {regexp.QuoteMeta(am.Receiver)}, "active": {"true"}, "silenced": {"true"}, "inhibited": {"true"}, "unprocessed": {"true"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(am.URL, "/")+"/api/v2/alerts?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	client := am.Client
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // read only
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", am.URL, res.Status)
	}
	var told []struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		StartsAt    time.Time         `json:"startsAt"`
		Status      struct {
			State string `json:"state"`
		} `json:"status"`
	}
	if err := json.NewDecoder(res.Body).Decode(&told); err != nil {
		return nil, fmt.Errorf("%s: %w", am.URL, err)
	}
	all := make([]remediate.Alert, len(told))
	for i, a := range told {
		all[i] = remediate.Alert{Source: am.Source, Labels: a.Labels, Annotations: a.Annotations, Firing: a.Status.State != "suppressed", StartsAt: a.StartsAt.UTC()}
	}
	return all, nil
}

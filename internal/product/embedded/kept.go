package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/common/model"
)

// openKept reads what was kept. A file that cannot be parsed is an error; it is written
// whole or not at all.
func openKept(path string) (*keptAlerts, error) {
	k := &keptAlerts{all: make(map[model.Fingerprint]keptAlert), back: make(map[model.Fingerprint]*alert.Alert)}
	k.file = &snapshotFile{path: path, snapshot: k.snapshot}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	var alerts []keptAlert
	if err == nil {
		err = json.Unmarshal(text, &alerts)
	}
	if err != nil {
		return nil, fmt.Errorf("kept alerts: %s: %w", path, err)
	}
	for _, a := range alerts {
		if a.Alert != nil {
			k.all[a.Alert.Fingerprint()] = a
		}
	}
	return k, nil
}

func (k *keptAlerts) snapshot(w io.Writer) (int64, error) {
	k.mu.Lock()
	alerts := slices.Collect(maps.Values(k.all))
	k.mu.Unlock()
	text, err := json.Marshal(alerts)
	if err != nil {
		return 0, err
	}
	n, err := w.Write(text)
	return int64(n), err
}

// keep notes alerts, and returns when they are on disk if one of them is new or has ended.
func (k *keptAlerts) keep(alerts []*alert.Alert) error {
	now, changed := time.Now(), false
	k.mu.Lock()
	for _, a := range alerts {
		fp := a.Fingerprint()
		delete(k.back, fp)
		ended := a.ResolvedAt(now)
		old, known := k.all[fp]
		changed = changed || !known || old.Ended != ended
		k.all[fp] = keptAlert{Alert: &a.Alert, Ended: ended}
	}
	for fp, a := range k.all {
		if a.Alert.EndsAt.Before(now.Add(-alertGC)) && k.back[fp] == nil {
			delete(k.all, fp)
		}
	}
	k.mu.Unlock()
	if !changed {
		return nil
	}
	return k.file.write()
}

// revived returns the alerts of before. Those that fired go on firing for as long as the
// rules need to say whether they still do.
func (k *keptAlerts) revived(linger time.Duration) (all []*alert.Alert) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for fp, a := range k.all {
		b := &alert.Alert{Alert: *a.Alert, UpdatedAt: now}
		if !a.Ended {
			b.EndsAt = now.Add(linger)
			k.back[fp] = b
		}
		all = append(all, b)
	}
	return all
}

// waiting returns the restored ones that no rule has sent since, and
// forgets those that none is about to.
func (k *keptAlerts) waiting(active map[model.Fingerprint]bool, linger time.Duration) (all []*alert.Alert) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for fp, a := range k.back {
		if !active[fp] {
			delete(k.back, fp)
			continue
		}
		b := *a
		b.EndsAt, b.UpdatedAt = now.Add(linger), now
		k.back[fp] = &b
		all = append(all, &b)
	}
	return all
}

// lingers is how many times the rules are evaluated, and their alerts sent, before an alert
// that no rule sends is resolved.
const lingers = 4

// linger is how long a restored alert fires without being sent again: as long as one of
// Prometheus' would.
func (a *alertmanager) linger() time.Duration {
	return lingers * max(a.config.ResendDelay, a.config.EvaluationInterval, a.config.ScrapeInterval)
}

// revive lets the alerts of before fire on whose rule waits for its time again, until
// none is left. The others end by themselves.
func (a *alertmanager) revive(ctx context.Context, active func() map[model.Fingerprint]bool) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(a.linger() * (lingers - 1) / lingers):
		}
		waiting := a.kept.waiting(active(), a.linger())
		if len(waiting) == 0 {
			return
		}
		if err := a.alerts.Put(ctx, waiting...); err != nil {
			a.log.Error("alerts of before", "err", err)
		}
	}
}

// Package silence keeps Alertmanager from telling people of an alert while a run
// works on it. A silence is a lease: it ends soon by itself, is renewed while the
// run works, and so is over when either side was killed.
package silence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	createdBy  = "upkeep"
	sweepEvery = time.Minute

	// DefaultLength is long enough for four renewals, each of which may be slow,
	// and short enough for people to be notified soon when no run works on it.
	DefaultLength = 2 * time.Minute

	// askTimeout is how long a run waits at most for all the Alertmanagers.
	askTimeout = 3 * time.Second

	// handLimit is how much later than its last change a silence may end that was
	// ended by hand. Alertmanager writes both from one clock; ours ends later by
	// its whole length.
	handLimit = time.Second
)

// An Alertmanager keeps silences. prom.Alertmanager is one.
type Alertmanager interface {
	Set(ctx context.Context, s prom.Silence) (id string, err error)
	Silences(ctx context.Context, filter ...prom.Matcher) ([]prom.Silence, error)
	Expire(ctx context.Context, id string) error
}

// A Keeper holds the silences of runs.
type Keeper struct {
	Store         *store.Store
	Alertmanagers []Alertmanager // of one cluster, which tell each other: the first that answers is asked
	Replicas      []string       // labels that differ between replicas of one Prometheus; they are left out
	Length        time.Duration  // how long a silence outlives its last renewal; DefaultLength where 0
	Logger        *slog.Logger
	Now           func() time.Time // time.Now where nil
}

// Hold makes the silence of a run's alert or renews it. It may be called again
// after any crash: a silence that was made and not noted is found by its comment,
// and one that Alertmanager has lost is made anew. One that a person has ended
// stays ended. What goes wrong is no reason to stop the run.
//
// The silence matches by each label of the alert, and so an alert that has the
// same labels and more is silenced too.
func (k *Keeper) Hold(ctx context.Context, run remediate.Run, alert remediate.Alert) error {
	if len(k.Alertmanagers) == 0 || alert.Source != remediate.SourceAlertmanager {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer within %s", askTimeout))
	defer cancel()
	over, err := k.over(ctx, run.ID)
	if err != nil {
		return fmt.Errorf("silence of run %d: %w", run.ID, err)
	}
	if over { // the renewal may be a moment late
		return k.Release(ctx, run.ID)
	}
	matchers := k.matchers(alert.Labels)
	if len(matchers) == 0 {
		return fmt.Errorf("silence of run %d: the alert has no labels, and a silence of everything is never made",
			run.ID)
	}
	noted, err := k.noted(ctx, run.ID)
	if err != nil {
		return fmt.Errorf("silence of run %d: %w", run.ID, err)
	}
	now := k.now()
	want := prom.Silence{ID: noted, Matchers: matchers, StartsAt: now, EndsAt: now.Add(k.length()),
		CreatedBy: createdBy, Comment: comment(run.ID)}
	var failed []error
	for _, am := range k.Alertmanagers {
		id, err := set(ctx, am, want)
		if err == nil {
			if id == noted || id == "" {
				return k.note(ctx, run.ID, noted, want.EndsAt)
			}
			k.Logger.Info("alert silenced", "run", run.ID, "silence", id, "until", want.EndsAt.UTC())
			return k.note(ctx, run.ID, id, want.EndsAt)
		}
		failed = append(failed, err)
	}
	return fmt.Errorf("silence of run %d: %w", run.ID, errors.Join(failed...))
}

// set renews what is there or makes a silence. It returns no ID where a person
// has ended the silence.
func set(ctx context.Context, am Alertmanager, want prom.Silence) (string, error) {
	there, err := ours(ctx, am, want)
	if err != nil {
		return "", err
	}
	if there == nil {
		want.ID = ""
		return am.Set(ctx, want)
	}
	if there.State == prom.SilenceExpired {
		if there.ID == want.ID && there.EndsAt.Sub(there.UpdatedAt) < handLimit {
			return "", nil
		}
		want.ID = "" // it has expired: it was not renewed in time
		return am.Set(ctx, want)
	}
	want.ID, want.StartsAt = there.ID, there.StartsAt // another beginning would make another silence
	id, err := am.Set(ctx, want)
	if prom.NotFound(err) { // it was lost between the two requests
		want.ID = ""
		return am.Set(ctx, want)
	}
	return id, err
}

// ours returns the silence that is noted or, where it is not there or has expired,
// one that still holds and was made for the same run; or nil.
func ours(ctx context.Context, am Alertmanager, want prom.Silence) (found *prom.Silence, err error) {
	all, err := am.Silences(ctx, want.Matchers...)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		// The filter has looked at each matcher; one with more is another's.
		mine := s.CreatedBy == want.CreatedBy && s.Comment == want.Comment && len(s.Matchers) == len(want.Matchers)
		switch {
		case mine && s.State != prom.SilenceExpired:
			return &s, nil
		case mine && s.ID == want.ID:
			found = &s
		}
	}
	return found, nil
}

// Release ends the silence of a run. What goes wrong is no reason to stop
// anything: the silence ends by itself, and Sweep tries again until then.
func (k *Keeper) Release(ctx context.Context, run int64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer within %s", askTimeout))
	defer cancel()
	id, err := k.noted(ctx, run)
	if err == nil && id != "" {
		err = k.expire(ctx, id)
	}
	if err == nil {
		err = k.forget(ctx, run)
	}
	if err != nil {
		return fmt.Errorf("end the silence of run %d: %w", run, err)
	}
	return nil
}

// expire ends a silence at the first Alertmanager that answers. One that is not
// known there has ended.
func (k *Keeper) expire(ctx context.Context, id string) error {
	var failed []error
	for _, am := range k.Alertmanagers {
		err := am.Expire(ctx, id)
		if err == nil || prom.NotFound(err) {
			return nil
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// Run sweeps at once and every minute until ctx is done.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := k.Sweep(ctx); err != nil && ctx.Err() == nil {
			k.Logger.Warn("silences not swept", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sweep ends the silences of runs that have ended, and forgets those that have
// ended by themselves, whether Alertmanager answers or not.
func (k *Keeper) Sweep(ctx context.Context) error {
	ended, err := k.ended(ctx)
	if err != nil {
		return fmt.Errorf("silences of runs that have ended: %w", err)
	}
	var failed []error
	for _, s := range ended {
		err := k.Release(ctx, s.run)
		if err != nil && k.now().After(s.until) {
			err = k.forget(ctx, s.run)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// A row is a line of the table silences.
type row struct {
	run   int64
	until time.Time
}

// final is the condition that a run has ended.
func final() string { return "r.state in " + remediate.States().Where(remediate.State.Ended).SQL() }

// over reports whether a run has ended.
func (k *Keeper) over(ctx context.Context, run int64) (over bool, err error) {
	rows, err := k.Store.Query(ctx, "select r.id from runs r where "+final()+" and r.id = ?", run)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	return rows.Next(), rows.Err()
}

func (k *Keeper) ended(ctx context.Context) (all []row, err error) {
	rows, err := k.Store.Query(ctx,
		"select s.run, s.until from silences s left join runs r on r.id = s.run where r.id is null or "+
			final()+" order by s.run")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r row
		var until int64
		if err := rows.Scan(&r.run, &until); err != nil {
			return nil, err
		}
		r.until = store.Time(until)
		all = append(all, r)
	}
	return all, rows.Err()
}

// noted returns the ID of a run's silence, or "".
func (k *Keeper) noted(ctx context.Context, run int64) (id string, err error) {
	rows, err := k.Store.Query(ctx, "select id from silences where run = ?", run)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if rows.Next() {
		err = rows.Scan(&id)
	}
	return id, errors.Join(err, rows.Err())
}

func (k *Keeper) note(ctx context.Context, run int64, id string, until time.Time) error {
	return k.Store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("insert into silences (run, id, until) values (?, ?, ?) on conflict (run) do update set id "+
			"= excluded.id, until = excluded.until",
			run, id, store.Millis(until))
		return err
	})
}

func (k *Keeper) forget(ctx context.Context, run int64) error {
	return k.Store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("delete from silences where run = ?", run)
		return err
	})
}

// matchers returns one matcher for each label, in a fixed order: Alertmanager
// compares them in theirs. A label without a value is no label.
func (k *Keeper) matchers(labels map[string]string) (all []prom.Matcher) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if labels[name] != "" && !slices.Contains(k.Replicas, name) {
			all = append(all, prom.Equal(name, labels[name]))
		}
	}
	return all
}

func comment(run int64) string { return fmt.Sprintf("upkeep run %d works on this", run) }

func (k *Keeper) length() time.Duration {
	if k.Length == 0 {
		return DefaultLength
	}
	return k.Length
}

func (k *Keeper) now() time.Time {
	if k.Now == nil {
		return time.Now()
	}
	return k.Now()
}

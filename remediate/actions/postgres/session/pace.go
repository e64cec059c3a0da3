package session

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/common/model"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// lookEvery is how often is looked whether others can follow.
	lookEvery = 500 * time.Millisecond

	// slotMost is how much more WAL a slot may keep than when the run began, and
	// slotLeast how much it must be able to keep still.
	slotMost, slotLeast = 4 << 30, 1 << 30
)

// A Pace keeps a run from writing faster than others can follow.
type Pace struct {
	lag time.Duration
	wal int64 // bytes in a second; 0: any

	// Ask is asked while a run pauses, whether it may go on at all; nil: nothing is.
	Ask func(ctx context.Context) error

	looked time.Time
	wrote  float64            // the position in the WAL at that time
	kept   map[string]float64 // what each slot kept when the run began
}

// Pacing says how hard a run may work.
type Pacing struct {
	Lag string `arg:"lag,omitempty"` // a duration; "": 10s
	WAL string `arg:"wal,omitempty"` // MiB in a second; "": any number
}

// PacingOf reads the parameters of a request.
func PacingOf(params map[string]string) Pacing { return Pacing{Lag: params["lag"], WAL: params["wal"]} }

// NewPace makes a pace of it.
func NewPace(p Pacing) (*Pace, error) {
	lag, err := model.ParseDuration(cmp.Or(p.Lag, "10s"))
	if err != nil {
		return nil, fmt.Errorf("the parameter lag is %q; a duration like 10s was expected", p.Lag)
	}
	wal, err := strconv.ParseInt(cmp.Or(p.WAL, "0"), 10, 32)
	if err != nil || wal < 0 {
		return nil, fmt.Errorf("the parameter wal is %q; a whole number of MiB in a second was expected", p.WAL)
	}
	return &Pace{lag: time.Duration(lag), wal: wal << 20, kept: make(map[string]float64)}, nil
}

// paceSQL reports how far the slowest connected replica is behind, in seconds, the
// position in the WAL, and what was written since the last checkpoint as a share of
// max_wal_size. A role without pg_monitor sees no lag. 13 and later.
const paceSQL = `
select coalesce((select extract(epoch from max(replay_lag)) from pg_stat_replication), 0)::float8,
       pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8,
       (pg_wal_lsn_diff(pg_current_wal_lsn(), k.redo_lsn) / (select setting::numeric * 1048576 from pg_settings
         where name = 'max_wal_size'))::float8
  from pg_control_checkpoint() k`

// slotsSQL reports what each slot keeps and what it may keep still.
const slotsSQL = `
select slot_name::text, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::float8, safe_wal_size::float8
  from pg_replication_slots
 where restart_lsn is not null`

// Look returns why a run must pause, "" where it need not.
func (p *Pace) Look(ctx context.Context, q read.Querier) (why string, err error) {
	type state struct{ Lag, Position, Checkpoint float64 }
	s, err := One(ctx, q, pgx.RowToStructByPos[state], paceSQL)
	if err != nil {
		return "", fmt.Errorf("how far others can follow: %w", err)
	}
	type slot struct {
		Name string
		Kept float64
		Left *float64
	}
	slots, err := Many[slot](ctx, q, slotsSQL)
	if err != nil {
		return "", fmt.Errorf("what slots keep: %w", err)
	}
	p.looked, p.wrote = time.Now(), s.Position
	switch {
	case s.Lag > p.lag.Seconds():
		return fmt.Sprintf("a replica is %.0f s behind, more than %s", s.Lag, p.lag), nil
	case s.Checkpoint > 2:
		return fmt.Sprintf("the last checkpoint was %.1f times max_wal_size ago", s.Checkpoint), nil
	}
	for _, o := range slots {
		if _, known := p.kept[o.Name]; !known {
			p.kept[o.Name] = o.Kept
		}
		switch {
		// a small limit that is far from reached is no reason
		case o.Left != nil && *o.Left < slotLeast && *o.Left < o.Kept:
			return fmt.Sprintf("slot %q may keep only %s more of WAL", o.Name, remediate.Quantity("_bytes", *o.Left)),
				nil
		case o.Kept-p.kept[o.Name] > slotMost:
			return fmt.Sprintf("slot %q keeps %s of WAL", o.Name, remediate.Quantity("_bytes", o.Kept)), nil
		}
	}
	return "", nil
}

// Keep pauses until others can follow. It looks now and then, and asks the server
// while it waits, so that its session is not taken for a frozen one.
func (p *Pace) Keep(ctx context.Context, q read.Querier) error {
	if time.Since(p.looked) < lookEvery {
		return nil
	}
	began, before, wrote := time.Now(), p.looked, p.wrote
	for {
		why, err := p.Look(ctx, q)
		if err != nil {
			return err
		}
		rest := time.Second
		if why == "" {
			if rest = p.ahead(before, wrote); rest <= 0 {
				return nil
			}
			why = "the server writes more WAL than the parameter wal allows"
		}
		if time.Since(began) > PauseMost {
			return fmt.Errorf("paused for %s, because %s: %w", PauseMost, why, ErrPaused)
		}
		if p.Ask != nil {
			if err := p.Ask(ctx); err != nil {
				return err
			}
		}
		if err := Wait(ctx, min(rest, time.Second)); err != nil {
			return err
		}
	}
}

// ahead returns for how long nothing may be written, after what was written since
// the look before.
func (p *Pace) ahead(before time.Time, wrote float64) time.Duration {
	if p.wal == 0 || before.IsZero() {
		return 0
	}
	due := time.Duration((p.wrote - wrote) / float64(p.wal) * float64(time.Second))
	return due - p.looked.Sub(before)
}

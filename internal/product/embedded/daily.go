package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/compression"
)

const (
	day = 24 * time.Hour

	// Daily is which series have a value a day kept for longer than all samples: what capacity
	// is planned by, and the thirty days of services.
	Daily = "upkeep:capacity_(used:day|limit|growth_per_day:.+|seconds_to_limit:.+)|job:http_.+_rate30d"

	// lateDay is how long after a day its last samples may be stored: rules of an hour are
	// evaluated within it.
	lateDay = 10 * time.Minute

	// A block of days has as many samples of a series as one of hours has of a series that is
	// scraped each few minutes.
	dailyBlock   = 32 * day
	dailyStripes = 1 << 6
	dailyBuffer  = 256 << 10
)

// A daily keeps one sample a day of some series, in a storage of its own: that is small, and
// the samples it was made of need not be kept.
type daily struct {
	log  *slog.Logger
	from *tsdb.DB
	db   *tsdb.DB
}

func openDaily(c Config, from *tsdb.DB) (*daily, error) {
	o := tsdb.DefaultOptions()
	o.RetentionDuration = c.DailyRetention.Milliseconds()
	o.MinBlockDuration, o.MaxBlockDuration = dailyBlock.Milliseconds(), dailyBlock.Milliseconds()
	o.StripeSize, o.HeadChunksWriteBufferSize = dailyStripes, dailyBuffer
	o.WALCompression = compression.Snappy
	log := c.Logger.With("part", "daily")
	db, err := tsdb.Open(filepath.Join(c.Dir, "daily"), log, prometheus.NewRegistry(), o, nil)
	if err != nil {
		return nil, fmt.Errorf("daily values: %w", err)
	}
	return &daily{log: log, from: from, db: db}, nil
}

// run keeps the values of each day that has ended, until ctx is done.
func (d *daily) run(ctx context.Context) {
	tick := time.NewTicker(lateDay)
	defer tick.Stop()
	for {
		if err := d.keep(ctx, time.Now()); err != nil && ctx.Err() == nil {
			d.log.Error("daily values not stored; retrying", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// keep stores the values of the days that have ended and are not stored. What it did before a
// kill is not done again.
func (d *daily) keep(ctx context.Context, now time.Time) error {
	first, err := d.from.StartTime()
	if err != nil {
		return err
	}
	if first == math.MaxInt64 || first == math.MinInt64 {
		return nil // nothing is stored yet
	}
	at := time.UnixMilli(first).UTC().Truncate(day)
	if last := d.last(); !last.IsZero() && last.Add(day).After(at) {
		at = last.Add(day)
	}
	for end := at.Add(day); !end.Add(lateDay).After(now); at, end = end, end.Add(day) {
		if err := d.copy(ctx, at, end); err != nil {
			return fmt.Errorf("%s: %w", at.Format(time.DateOnly), err)
		}
	}
	return nil
}

// last returns the newest day that is stored.
func (d *daily) last() time.Time {
	newest := d.db.Head().MaxTime()
	for _, b := range d.db.Blocks() {
		newest = max(newest, b.MaxTime()-1) // the end of a block is not part of it
	}
	if newest <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(newest).UTC().Truncate(day)
}

// copy stores the last sample of each series in a day, all of them or none.
func (d *daily) copy(ctx context.Context, from, to time.Time) (err error) {
	q, err := d.from.Querier(from.UnixMilli(), to.UnixMilli()-1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	found := q.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, Daily))
	a := d.db.Appender(ctx)
	var it chunkenc.Iterator
	for found.Next() {
		series := found.At()
		it = series.Iterator(it)
		at, v := int64(0), math.NaN()
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			if kind != chunkenc.ValFloat {
				continue
			}
			if t, sample := it.At(); !value.IsStaleNaN(sample) {
				at, v = t, sample
			}
		}
		if err := it.Err(); err != nil {
			return errors.Join(err, a.Rollback())
		}
		if at == 0 {
			continue // it had ended
		}
		if _, err := a.Append(0, series.Labels(), at, v); err != nil {
			return errors.Join(err, a.Rollback())
		}
	}
	if err := found.Err(); err != nil {
		return errors.Join(err, a.Rollback())
	}
	return a.Commit()
}

func (d *daily) close() error { return d.db.Close() }

// A longer storage is the samples and, for the time before them, the daily values.
type longer struct {
	db    *tsdb.DB
	daily *tsdb.DB
}

// before reports whether a time begins before the samples do.
func (l longer) before(from int64) bool {
	first, err := l.db.StartTime()
	return err == nil && from < first
}

// Querier implements storage.Queryable.
func (l longer) Querier(from, to int64) (storage.Querier, error) {
	q, err := l.db.Querier(from, to)
	if err != nil || !l.before(from) {
		return q, err
	}
	old, err := l.daily.Querier(from, to)
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return storage.NewMergeQuerier([]storage.Querier{q, old}, nil, storage.ChainedSeriesMerge), nil
}

// ChunkQuerier implements storage.ChunkQueryable.
func (l longer) ChunkQuerier(from, to int64) (storage.ChunkQuerier, error) {
	q, err := l.db.ChunkQuerier(from, to)
	if err != nil || !l.before(from) {
		return q, err
	}
	old, err := l.daily.ChunkQuerier(from, to)
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return storage.NewMergeChunkQuerier([]storage.ChunkQuerier{q, old}, nil,
		storage.NewCompactingChunkSeriesMerger(storage.ChainedSeriesMerge)), nil
}

package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Persistence reports how old the newest snapshot is and what would be lost.
func Persistence(t *target.Redis) collectors.Collector {
	c := persistence{
		target: t,
		age: gauge("snapshot_age_seconds",
			"Seconds since the newest successful RDB snapshot, or since the server start if it never made one, by "+
				"the server's clock."),
		last: gauge("snapshot_last_success_timestamp_seconds",
			"When the newest successful RDB snapshot was made; absent when none has succeeded since the start.").
			WithoutPanel("as a moment what the age is as a span"),
		changes: gauge("snapshot_changes", "Changes that are not in an RDB snapshot."),
		ok: gauge("snapshot_ok",
			"1 when the last RDB snapshot succeeded or none was attempted, 0 when it failed."),
		progress: gauge("snapshot_in_progress",
			"1 while an RDB snapshot is being made.").WithoutPanel(collectors.AdHoc),
		aof: gauge("aof_enabled", "1 when every change is also written to the append-only file."),
		aofOK: gauge("aof_ok", "1 when the last write to the append-only file succeeded, 0 when it failed; absent "+
			"without an append-only file."),
		fork: gauge("fork_seconds", "Duration of the fork for the last snapshot or rewrite of the append-only "+
			"file, during which the server is blocked; 0 without one."),
		duration: gauge("snapshot_duration_seconds",
			"Duration of the last RDB snapshot; absent without one or if it failed.").WithoutPanel(collectors.AdHoc),
		rewrite: gauge("aof_rewrite_ok",
			"1 when the last rewrite of the append-only file succeeded or none was attempted, 0 when it failed.").
			WithoutPanel(collectors.AdHoc),
		size: gauge("aof_size_bytes", "Size of the append-only file; absent without one."),
		growth: gauge("aof_growth_ratio",
			"Growth of the append-only file since its last rewrite, as a ratio of its size then. Before the first "+
				"rewrite the server counts that size as one byte. Absent without an append-only file."),
	}
	return collectors.Collector{
		Name:   "redis/persistence",
		Target: t.Name,
		Doc: `Persistence reports how old the newest snapshot is, whether it succeeded, and what would be lost.

Reads INFO server, persistence, stats and memory. Rights: +info, and +time before
6.2. Cost: one INFO. A server that never saved reports its start as the time of its last save, and
counts failed saves too; this collector counts only successful ones. The action
redis/bgsave lowers the age, and redis/bgrewriteaof the growth.`,
		Metrics: []*collectors.Metric{c.age, c.last, c.changes, c.ok, c.progress, c.aof, c.aofOK, c.fork, c.duration,
			c.rewrite, c.size, c.growth},
		Every:   every,
		Timeout: timeout,
		Collect: c.collect,
	}
}

type persistence struct {
	target                                       *target.Redis
	age, last, changes, ok, progress, aof, aofOK *collectors.Metric
	fork, duration, rewrite, size, growth        *collectors.Metric
}

func (c persistence) collect(ctx context.Context, w *collectors.Writer) error {
	s, err := ReadPersistence(ctx, c.target)
	if err != nil {
		return err
	}
	w.Set(c.age, s.Age.Seconds(), c.target.Name)
	if s.Succeeded {
		w.Set(c.last, float64(s.LastSave.Unix()), c.target.Name)
	}
	w.Set(c.changes, float64(s.Changes), c.target.Name)
	w.Set(c.ok, one(s.OK), c.target.Name)
	w.Set(c.progress, one(s.InProgress), c.target.Name)
	w.Set(c.aof, one(s.AOF), c.target.Name)
	if s.AOF {
		w.Set(c.aofOK, one(s.AOFOK), c.target.Name)
		w.Set(c.size, s.AOFSize, c.target.Name)
		w.Set(c.growth, s.AOFGrowth(), c.target.Name)
	}
	w.Set(c.fork, s.Fork.Seconds(), c.target.Name)
	if s.Took >= 0 && s.OK {
		w.Set(c.duration, s.Took.Seconds(), c.target.Name)
	}
	w.Set(c.rewrite, one(s.RewriteOK), c.target.Name)
	return nil
}

// A Snapshot is how well the data of a server is kept.
type Snapshot struct {
	Age        time.Duration // of the newest successful one, or since the start
	LastSave   time.Time     // the start of the server if it never saved
	RunID      string        // another at each start
	Succeeded  bool          // a save has succeeded since the start, as far as the server reports
	Saves      int64         // that were begun since the start; -1 before Redis 7.0, which does not tell
	Changes    int64         // that are in none
	OK         bool          // the last attempt did not fail
	InProgress bool
	Loading    bool // the data set is being read
	AOF, AOFOK bool
	Rewriting  bool          // of the append-only file, or it is to begin when the save has ended
	Scheduled  bool          // it is to begin
	RewriteOK  bool          // the last one did not fail
	Rewrites   int64         // that were begun since the start; -1 before Redis 7.0, which does not tell
	AOFSize    float64       // bytes
	AOFBase    float64       // bytes that the append-only file had when it was last written anew
	Fork       time.Duration // duration of the last fork of either, which blocks the server
	Took       time.Duration // the last one; negative without one
	Copied     float64       // bytes that were copied during the last save since they were written to; 0 without a save
	Used       float64       // bytes of data and the server's own: no snapshot is larger
}

// AOFGrowth returns how far the append-only file has grown since it was last
// written anew, as a share of its size then. Before it was for the first time that
// is one byte, as the server itself counts to begin a rewrite.
func (s Snapshot) AOFGrowth() float64 {
	return max(s.AOFSize/max(s.AOFBase, 1)-1, 0)
}

// sameSecond is how much later than its start a server may call its last save though
// it has made none: both are whole seconds, of clocks that were read one after the other.
const sameSecond = time.Second

// succeeded reports whether a save has succeeded since the start. A server that has
// not saved calls its start its last save, and its count of saves is of those that
// were begun: the time must have moved. Within the first second that is not seen; then
// all changes must be in a snapshot, since one that was stopped (FLUSHALL does that), and
// one that was sent to a replica, leave the same traces as one that has succeeded.
func (s Snapshot) succeeded(start time.Time) bool {
	if s.LastSave.Sub(start) > sameSecond {
		return true
	}
	return s.Saves != 0 && s.Took >= 0 && s.OK && !s.InProgress && s.Changes == 0
}

// silentOfSnapshots is the error of an answer without what is needed: without the clock alone, or
// without more.
func silentOfSnapshots(clock bool) error {
	if clock {
		return errors.New("info: the age of a snapshot is not known without the server's clock, which is in INFO " +
			"from 6.2 on: grant +time, or do not rename TIME")
	}
	return errors.New("info: it says nothing of snapshots; is +info granted, and is this a Redis?")
}

// ReadPersistence asks a server how well its data is kept.
func ReadPersistence(ctx context.Context, c Asker) (s Snapshot, err error) {
	i, err := readInfo(ctx, c, "server", "persistence", "stats", "memory")
	if err != nil {
		return s, err
	}
	now, clock := i.clock()
	last, saved := i.number("rdb_last_save_time")
	changes, changed := i.number("rdb_changes_since_last_save")
	if !clock || !saved || !changed || i["rdb_last_bgsave_status"] == "" {
		return s, silentOfSnapshots(saved && !clock)
	}
	s = Snapshot{
		LastSave: time.Unix(int64(last), 0).UTC(), Saves: -1, Changes: int64(changes),
		OK: i["rdb_last_bgsave_status"] == "ok", InProgress: i["rdb_bgsave_in_progress"] == "1",
		Loading: i.loading(),
		AOF:     i["aof_enabled"] == "1", AOFOK: i["aof_last_write_status"] == "ok",
		Rewriting: i["aof_rewrite_in_progress"] == "1" || i["aof_rewrite_scheduled"] == "1",
		Scheduled: i["aof_rewrite_scheduled"] == "1" && i["aof_rewrite_in_progress"] != "1",
		RewriteOK: i["aof_last_bgrewrite_status"] != "err", Rewrites: -1,
	}
	s.AOFSize, _ = i.number("aof_current_size")
	s.AOFBase, _ = i.number("aof_base_size")
	s.Copied, _ = i.number("rdb_last_cow_size")
	s.Used, _ = i.number("used_memory")
	if n, ok := i.number("aof_rewrites"); ok {
		s.Rewrites = int64(n)
	}
	fork, _ := i.number("latest_fork_usec")
	s.Fork = time.Duration(fork) * time.Microsecond
	took, _ := i.number("rdb_last_bgsave_time_sec")
	s.Took = time.Duration(took) * time.Second
	if n, ok := i.number("rdb_saves"); ok {
		s.Saves = int64(n)
	}
	uptime, _ := i.number("uptime_in_seconds")
	s.RunID, s.Succeeded = i["run_id"], s.succeeded(now.Truncate(time.Second).Add(-time.Duration(uptime)*time.Second))
	if !s.Succeeded && s.Saves > 0 && !s.InProgress {
		// One in the foreground may have succeeded within the first second.
		calls, err := ReadCalls(ctx, c)
		if err != nil {
			return s, err
		}
		s.Succeeded = calls["save"] > 0
	}
	if s.Age = now.Sub(s.LastSave); s.Age < 0 {
		return s, fmt.Errorf("info: the last save (%s) is later than the server's clock (%s)", s.LastSave, now.UTC())
	}
	return s, nil
}

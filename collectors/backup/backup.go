// Package backup asks what became of backups. Each file asks one question.
package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/child"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Age reports how old the newest backup is, and when one was last restored.
func Age(t *target.Backup) collectors.Collector {
	gauge := func(name, help string) *collectors.Metric {
		return &collectors.Metric{Name: "upkeep_backup_" + name, Type: collectors.Gauge, Help: help,
			Labels: []string{"server", "stanza"}}
	}
	c := age{
		target: t,
		count: &collectors.Metric{Name: "upkeep_backups", Type: collectors.Gauge,
			Help: "Number of existing backups.", Labels: []string{"server", "stanza"}},
		last: gauge("last_timestamp_seconds", "When the newest backup was finished; absent when no backup exists."),
		size: gauge("last_size_bytes", "Size of the newest backup; of pgBackRest, of what it would restore."),
		duration: gauge("last_duration_seconds",
			"How long the newest backup took; known of pgBackRest only.").WithoutPanel(collectors.AdHoc),
		ok: gauge("last_ok", "1 when the newest backup looks valid without a restore: it is not empty, not "+
			"much smaller than the one before, and pgBackRest reports no error for it. Else 0."),
		verified: gauge("verified_timestamp_seconds",
			"When a backup was last restored and found good, as the configured file says; absent when never."),
	}
	return collectors.Collector{
		Name:   "backup/age",
		Target: t.Name,
		Doc: `Age reports how old, how large and how sound the newest backup is, and when a backup was last restored and found good.

Reads the folder of the files, Redis' dump file, or what "pgbackrest info" says, and
the time of the file that the test of the restore touches. A backup that was never
restored is not known to work: only the verified time says that. A file that is
still written to counts once it is older than a minute. A time in the future is an error:
no age is reported. Rights: to
list the folder; for pgBackRest its own configuration. Cost: one look at each file,
or one run of pgbackrest.`,
		Metrics: []*collectors.Metric{c.count, c.last, c.size, c.duration, c.ok, c.verified},
		Every:   5 * time.Minute,
		Timeout: time.Minute,
		Collect: c.collect,
	}
}

// settled is how long ago a file was written to that is finished.
const settled = time.Minute

// shrunk is the share of its predecessor's size below which a backup is not
// believed: a backup does not lose half of its data from one day to the next.
const shrunk = 0.5

type age struct {
	target                                    *target.Backup
	count, last, size, duration, ok, verified *collectors.Metric
}

// A state is what is known of a series of backups.
type state struct {
	stanza   string
	count    int
	at       time.Time
	size     float64
	duration time.Duration // negative where it is not known
	ok       bool
}

func (c age) collect(ctx context.Context, w *collectors.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	states, err := c.read(ctx)
	if err != nil {
		return err
	}
	verified, known, err := restored(c.target)
	if known && future(verified) {
		known, err = false, fmt.Errorf("%s has the time %s, which is in the future", c.target.Verified,
			verified.UTC().Format(time.RFC3339))
	}
	for _, s := range states {
		set := func(m *collectors.Metric, v float64) { w.Set(m, v, c.target.Name, s.stanza) }
		set(c.count, float64(s.count))
		if s.count > 0 && future(s.at) {
			err = errors.Join(err, fmt.Errorf("the newest backup of stanza %q has the time %s, which is in the future",
				s.stanza, s.at.UTC().Format(time.RFC3339)))
		} else if s.count > 0 {
			set(c.last, float64(s.at.UnixMilli())/1000)
			set(c.size, s.size)
			set(c.ok, map[bool]float64{true: 1}[s.ok])
			if s.duration >= 0 {
				set(c.duration, s.duration.Seconds())
			}
		}
		if known {
			set(c.verified, float64(verified.UnixMilli())/1000)
		}
	}
	return err
}

// ahead is how far ahead of ours the clock may be that a time comes from.
const ahead = 5 * time.Second

// future reports whether a time is to come: nothing is known of an age then.
func future(at time.Time) bool { return time.Until(at) > ahead }

// restored returns when a backup was last restored and found good.
func restored(t *target.Backup) (at time.Time, known bool, err error) {
	if t.Verified == "" {
		return at, false, nil
	}
	info, err := os.Stat(t.Verified)
	if errors.Is(err, fs.ErrNotExist) {
		return at, false, nil // never
	}
	if err != nil {
		return at, false, err
	}
	if !info.Mode().IsRegular() { // the time of a folder changes with what is in it
		return at, false, fmt.Errorf("%s is no file, so its time says of no restore when it was made", t.Verified)
	}
	return info.ModTime(), true, nil
}

func (c age) read(ctx context.Context) ([]state, error) {
	switch c.target.Kind {
	case "pgbackrest":
		return c.pgBackRest(ctx)
	case "rdb":
		all, err := resolved([]string{c.target.Path})
		if err != nil {
			return nil, err
		}
		s, err := files(all, 0)
		return []state{s}, err
	default:
		all, err := matched(c.target)
		if err != nil {
			return nil, err
		}
		s, err := files(all, settled)
		return []state{s}, err
	}
}

// files looks at backups that are a file or a folder each. Those that were
// written to a moment ago are not finished; one with a time to come counts, and has no age.
func files(paths []string, unfinished time.Duration) (s state, err error) {
	s.duration = -1
	var before time.Time
	var beforeSize float64
	for _, path := range paths {
		at, size, err := measure(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // it was removed, or does not exist yet
		case err != nil:
			return s, err
		case at.IsZero() || time.Since(at) < unfinished && !future(at):
			continue
		}
		s.count++
		switch {
		case at.After(s.at):
			before, beforeSize = s.at, s.size
			s.at, s.size = at, size
		case at.After(before):
			before, beforeSize = at, size
		}
	}
	s.ok = s.size > 0 && s.size >= shrunk*beforeSize
	return s, nil
}

// measure returns when a file, or the newest in a folder, was written, and the
// size of all. What has no file in it has no time.
func measure(path string) (at time.Time, size float64, err error) {
	err = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		size += float64(info.Size())
		if info.ModTime().After(at) {
			at = info.ModTime()
		}
		return nil
	})
	return at, size, err
}

// restInfo is the part of "pgbackrest info" that is read.
type restInfo struct {
	Name   string
	Backup []struct {
		Label     string
		Error     *bool
		Info      struct{ Size float64 }
		Timestamp struct{ Start, Stop int64 }
	}
	Status struct {
		Code    int
		Message string
	}
}

// noBackup is pgBackRest's code for a stanza that has none yet.
const noBackup = 2

// pgBackRest asks pgBackRest what backups there are.
func pgBackRest(ctx context.Context, t *target.Backup) ([]restInfo, error) {
	path, err := child.Find("pgbackrest")
	if err != nil {
		return nil, errors.New("pgbackrest is not installed here; name its files with kind files instead")
	}
	args := []string{"info", "--output=json", "--log-level-console=off", "--log-level-file=off"}
	if t.Path != "" {
		args = append(args, "--config="+t.Path)
	}
	if t.Stanza != "" {
		args = append(args, "--stanza="+t.Stanza)
	}
	r, err := child.Run(ctx, child.Program{Path: path, Args: args})
	if err != nil {
		if said := strings.TrimSpace(string(r.Said)); said != "" {
			return nil, fmt.Errorf("pgbackrest info: %w: %s", err, said)
		}
		return nil, fmt.Errorf("pgbackrest info: %w", err)
	}
	var infos []restInfo
	if err := json.Unmarshal(r.Out, &infos); err != nil {
		return nil, fmt.Errorf("pgbackrest info: %w", err)
	}
	for _, i := range infos {
		if i.Status.Code != 0 && i.Status.Code != noBackup {
			return nil, fmt.Errorf("pgbackrest info: stanza %s: %s", i.Name, i.Status.Message)
		}
	}
	return infos, nil
}

func (c age) pgBackRest(ctx context.Context) (all []state, err error) {
	infos, err := pgBackRest(ctx, c.target)
	if err != nil {
		return nil, err
	}
	for _, i := range infos {
		s := state{stanza: i.Name, count: len(i.Backup), duration: -1}
		if n := len(i.Backup); n > 0 {
			b := i.Backup[n-1]
			s.at, s.size = time.Unix(b.Timestamp.Stop, 0), b.Info.Size
			s.duration = time.Duration(b.Timestamp.Stop-b.Timestamp.Start) * time.Second
			s.ok = b.Error == nil || !*b.Error
		}
		all = append(all, s)
	}
	return all, nil
}

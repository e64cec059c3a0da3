// Package redis changes Redis and Valkey. Each file is one action.
package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	read "github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// savePoll is how often a save that is being made is asked about.
const savePoll = 100 * time.Millisecond

// BGSave makes a snapshot, waits for it and checks that it succeeded.
func BGSave(t *target.Redis) remediate.Action {
	return remediate.Action{
		Name:   "redis/bgsave",
		Target: t.Name,
		Doc: `BGSave makes an RDB snapshot with BGSAVE, waits for its end and checks that it succeeded.

The server forks: for the time of the save, memory that is written meanwhile is
needed twice. On a full disk a failed save can make the server refuse writes (stop-writes-on-bgsave-error), so a
last attempt that failed is told before. It is done when the server's count of
saves, or before Redis 7.0 the time of its last save, has moved; a save that is
under way is waited for. Rights: +info +bgsave +client|setname.`,
		Lowers:    "upkeep_redis_snapshot_age_seconds",
		Risk:      remediate.Guarded,
		Subject:   []string{"server"},
		Exclusive: []string{"server"},
		Timeout:   time.Hour,
		Remedy:    bgsave{t},
	}
}

type bgsave struct{ target *target.Redis }

// Headroom implements remediate.Roomer.
func (a bgsave) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return headroom(ctx, a.target)
}

// Plan implements remediate.Remedy.
func (a bgsave) Plan(ctx context.Context, _ remediate.Request) (p remediate.Plan, err error) {
	s, err := read.ReadPersistence(ctx, a.target.Client)
	if err != nil {
		return p, err
	}
	if s.Loading {
		return p, &remediate.Refusal{Reason: remediate.ReasonUnfit, Detail: "the server is reading its data set", Until: time.Now().Add(30 * time.Second)}
	}
	p.Facts = append(p.Facts, fmt.Sprintf("%d changes are in no snapshot", s.Changes))
	if !s.OK {
		p.Facts = append(p.Facts, "the last attempt failed; the server's log says why, most often a full disk")
	}
	p.Steps = []remediate.Step{{Do: "BGSAVE", Args: map[string]string{
		"saves": strconv.FormatInt(s.Saves, 10), "last_save": strconv.FormatInt(s.LastSave.Unix(), 10),
	}}}
	return p, nil
}

// Apply implements remediate.Remedy.
func (a bgsave) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	now, err := a.idle(ctx)
	if err != nil {
		return err
	}
	if done, err := saved(now, s); err != nil || done {
		return err
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	if err := a.target.Client.Do(ctx, "bgsave").Err(); err != nil {
		return explain(err)
	}
	now, err = a.idle(ctx)
	if err != nil {
		return err
	}
	done, err := saved(now, s)
	if err == nil && !done {
		err = errors.New("the save failed: the server's log says why, most often a full disk or too little memory to fork")
	}
	return err
}

// saved tells whether a save has succeeded since the plan was made. A time of
// the last save that moved is no proof across a restart, which moves it too; the
// count then starts anew and a second save does no harm.
func saved(now read.Snapshot, s remediate.Step) (bool, error) {
	saves, err := strconv.ParseInt(s.Args["saves"], 10, 64)
	if err != nil {
		return false, fmt.Errorf("step: saves: %w", err)
	}
	last, err := strconv.ParseInt(s.Args["last_save"], 10, 64)
	if err != nil {
		return false, fmt.Errorf("step: last_save: %w", err)
	}
	if now.Saves >= 0 {
		return now.OK && now.Saves > saves, nil
	}
	return now.OK && now.LastSave.Unix() > last, nil
}

// idle waits until neither a save nor a rewrite of the append-only file runs.
func (a bgsave) idle(ctx context.Context) (read.Snapshot, error) {
	for {
		s, err := read.ReadPersistence(ctx, a.target.Client)
		if err != nil || !s.InProgress && !s.Rewriting {
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, fmt.Errorf("waiting for the save: %w", context.Cause(ctx))
		case <-time.After(savePoll):
		}
	}
}

// explain says what is meant by an answer of BGSAVE that is no save.
func explain(err error) error {
	switch text := err.Error(); {
	case strings.HasPrefix(text, "NOPERM"):
		return remediate.Refuse(remediate.ReasonPrivilege, "the user may not save: grant +bgsave")
	case strings.Contains(text, "fork"):
		return fmt.Errorf("the server could not fork; it wants free memory or vm.overcommit_memory=1: %w", err)
	}
	return fmt.Errorf("bgsave: %w", err)
}

// Measure implements remediate.Remedy.
func (a bgsave) Measure(ctx context.Context, _ remediate.Request) (float64, error) {
	s, err := read.ReadPersistence(ctx, a.target.Client)
	return s.Age.Seconds(), err
}

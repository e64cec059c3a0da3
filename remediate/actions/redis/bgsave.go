package redis

import (
	"context"
	"fmt"
	"time"

	read "github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// BGSave makes a snapshot, waits for it and checks that it succeeded.
func BGSave(t *target.Redis) remediate.Action {
	return remediate.Action{
		Name:   "redis/bgsave",
		Target: t.Name,
		Doc: `BGSave makes an RDB snapshot with BGSAVE, waits for its end and checks that it succeeded.

The server is blocked during the fork (about 10 ms for each GB), and memory that is
written meanwhile is needed twice; clients do not wait otherwise. If another client has
already started a save or a rewrite of the append-only file, the plan says so and the
action waits for it; a save that succeeds counts as this one. On a full disk a save fails, and with
stop-writes-on-bgsave-error (the default) the server then answers every write and
PING with MISCONF until a save succeeds: free disk space, then run this action. So
it refuses if the free disk space is less than the server's memory, or if the machine
has too little memory for the fork; both are known only if upkeep runs on the same
machine and can read the server's process (as root or as the server's user). It also
refuses while the server loads its data set. The step is done when the time of the last
save (since Redis 7.0 also the number of saves) has changed and the last save succeeded:
a server that never saved reports its start as its last save. Rights: +info
+bgsave +client|setname, and +multi +discard to find a missing right at
plan time.`,
		Lowers: "upkeep_redis_snapshot_age_seconds",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "none",
			Blocks: "every client during the fork, about 10 ms for each GB",
			WAL:    "–",
			Disk:   "a snapshot",
			Undo:   "nothing to undo",
		},
		Rights:    rights(saving()),
		Params:    boundParams(),
		Subject:   []string{"server"},
		Exclusive: []string{"server"},
		Timeout:   time.Hour,
		Executor:  bgsave{t},
	}
}

func saving() need { return need{"+bgsave", []any{"bgsave"}} }

type bgsave struct{ target *target.Redis }

// Headroom implements remediate.Roomer.
func (a bgsave) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return headroom(ctx, a.target)
}

// saveArgs are the arguments of a step.
type saveArgs struct {
	processArgs

	Saves    int64 `arg:"saves"`     // that were begun before; -1 where the server does not count them
	LastSave int64 `arg:"last_save"` // when the last one succeeded, in seconds since 1970
}

// Plan implements remediate.Executor.
func (a bgsave) Plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	b, err := bounds(r.Params)
	if err != nil {
		return p, err
	}
	s, err := persistence(ctx, a.target.Client)
	if err != nil {
		return p, err
	}
	if err := p.NoteMissing(allowed(ctx, a.target.Client, saving())); err != nil {
		return p, err
	}
	state, err := read.ReadState(ctx, a.target.Client)
	if err != nil {
		return p, err
	}
	if p.Facts, err = find(state).fits(s, b, "a snapshot"); err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, fmt.Sprintf("%d changes are in no snapshot", s.Changes))
	p.Facts = append(p.Facts, underway(s)...)
	if !s.Succeeded {
		p.Facts = append(p.Facts, "no snapshot has succeeded since the start")
	}
	if !s.OK {
		p.Facts = append(p.Facts, "the last attempt failed, most often for a full disk; the server's log says why. "+
			"With stop-writes-on-bgsave-error it refuses every write (MISCONF) until a save succeeds")
	}
	saves := s.Saves
	if s.InProgress && saves > 0 {
		saves-- // the server counts a save when it begins
	}
	p.Steps = []remediate.Step{remediate.StepOf("BGSAVE",
		saveArgs{processArgs{state.RunID}, saves, s.LastSave.Unix()})}
	return p, p.Missing()
}

// underway reports what is waited for first.
func underway(s read.Snapshot) (facts []string) {
	if s.InProgress {
		facts = append(facts, "a snapshot is being made already: it is waited for")
	}
	if s.Rewriting {
		facts = append(facts, "the append-only file is being written anew: that is waited for")
	}
	return facts
}

// Apply implements remediate.Executor.
func (a bgsave) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	args, err := remediate.ArgsOf[saveArgs](s)
	if err != nil {
		return err
	}
	return a.save(ctx, f, args)
}

// save makes one snapshot more than there were. The count tells begun saves, since
// 7.0; the time of the last one moves when a save has succeeded, and at a start, which
// is not a save. A save within the second of the one before would not be known from it.
func (a bgsave) save(ctx context.Context, f remediate.Fence, before saveArgs) error {
	return child{
		client: a.target.Client, process: before.Process, command: "bgsave", grant: saving().grant,
		failed: "the save failed: the server's log says why, most often a full disk. With " +
			"stop-writes-on-bgsave-error the server now refuses every write (MISCONF) until a save succeeds: free " +
			"space in its folder and save again",
		early: func(now read.Snapshot) bool { return now.LastSave.Unix() == before.LastSave && now.Age < time.Second },
		done: func(now read.Snapshot) (bool, error) {
			counted := now.Saves < 0 || now.Saves > before.Saves
			// Of one process the time moves by a save alone; a start moves it too.
			moved := now.LastSave.Unix() > before.LastSave
			return now.OK && (before.Process != "" || now.Succeeded) && moved && counted, nil
		},
	}.carry(ctx, f)
}

// Measure implements remediate.Executor.
func (a bgsave) Measure(ctx context.Context, _ remediate.Request) (float64, error) {
	s, err := read.ReadPersistence(ctx, a.target.Client)
	return s.Age.Seconds(), privilege(err, "+info")
}

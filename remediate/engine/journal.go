package engine

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// A Journal is the record that an engine works by: package journal's, which is one
// collaborator. It is described in parts, so that a test can put a crash in the place of one
// method.
type Journal interface {
	Runs
	Process
	Rest
}

// Runs are made, claimed and carried from entry to entry.
type Runs interface {
	Entries
	Queue
	Decisions
}

// Entries are written before the next stage begins.
type Entries interface {
	Append(ctx context.Context, c journal.Change) error
	Postpone(ctx context.Context, run remediate.Run, token int64, due time.Time) error
	Working(ctx context.Context, run remediate.Run) (remediate.Working, error)
}

// A Queue returns the runs to evaluate, and gives the right to carry one.
type Queue interface {
	Due(ctx context.Context, n int) ([]remediate.Run, error)
	Claim(ctx context.Context, id int64) (run remediate.Run, f remediate.Fence, ok bool, err error)
	Release(ctx context.Context, run, token int64) error
}

// Decisions about incidents become runs.
type Decisions interface {
	Decide(ctx context.Context, edition string, book json.RawMessage, all []journal.Decided) ([]remediate.Run, error)
	Create(ctx context.Context, r remediate.Request, why string) (remediate.Run, bool, error)
	Histories(ctx context.Context, incidents []int64) (map[int64][]remediate.Run, error)
}

// A Process is one of those that carry runs; it is alive while it beats.
type Process interface {
	Members
	Lease() time.Duration // how long the others wait for a heartbeat
}

// Members are the processes that carry runs.
type Members interface {
	Join(ctx context.Context) error
	Beat(ctx context.Context) (mine []journal.Carried, err error)
	Leave(ctx context.Context) error
}

// Rest is what is asked while runs act or wait, and about them afterwards.
type Rest interface {
	Still
	Watch
	Effects
}

// Still tells when there is no work, and which runs make no progress.
type Still interface {
	Idler // no run is unfinished
	Written
	Unmoved(ctx context.Context, since time.Time, n int) ([]remediate.Run, error)
}

// Written tells that this process, any part of it, wrote to the store.
type Written interface {
	Writes() int64          // while it is the same, nothing was written
	Wrote() <-chan struct{} // receives after a write
}

// An Idler reports whether it has no work, and will have none before something is written.
type Idler interface {
	Idle(ctx context.Context) (bool, error)
}

// A Watch reports what changes while runs act or wait.
type Watch interface {
	Overrides(ctx context.Context) (journal.Overrides, error)
	Hurry(ctx context.Context, affected func(remediate.Run) bool) error
	Progress(ctx context.Context, run, token int64) error
}

// Effects are the success rates of policies.
type Effects interface {
	Effect(ctx context.Context, policy string) (resolved, judged int, err error)
	Demote(ctx context.Context, policy, why string, run int64) (bool, error)
}

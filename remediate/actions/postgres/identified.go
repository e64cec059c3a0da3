package postgres

import (
	"context"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// identified looks whether the server of the plan answers.
func identified(ctx context.Context, t *target.Postgres, s remediate.Step) error {
	return session.Answers(ctx, t, session.Planned(s))
}

// Identified implements remediate.Identifier.
func (a adviseIndexes) Identified(ctx context.Context, s remediate.Step) error {
	return identified(ctx, a.target, s)
}

// Identified implements remediate.Identifier.
func (a analyze) Identified(ctx context.Context, s remediate.Step) error {
	return identified(ctx, a.target, s)
}

// Identified implements remediate.Identifier.
func (a archive) Identified(ctx context.Context, s remediate.Step) error {
	return identified(ctx, a.target, s)
}

// Identified implements remediate.Identifier.
func (a dropIndex) Identified(ctx context.Context, s remediate.Step) error {
	return identified(ctx, a.target, s)
}

// Identified implements remediate.Identifier.
func (a freeze) Identified(ctx context.Context, s remediate.Step) error {
	return identified(ctx, a.target, s)
}

// Identified implements remediate.Identifier.
func (a purge) Identified(ctx context.Context, s remediate.Step) error {
	return identified(ctx, a.target, s)
}

// Identified implements remediate.Identifier.
func (a reindex) Identified(ctx context.Context, s remediate.Step) error {
	return identified(ctx, a.target, s)
}

// Identified implements remediate.Identifier.
func (a repack) Identified(ctx context.Context, s remediate.Step) error {
	return identified(ctx, a.target, s)
}

// Identified implements remediate.Identifier.
func (a resetStatements) Identified(ctx context.Context, s remediate.Step) error {
	return identified(ctx, a.target, s)
}

// Identified implements remediate.Identifier.
func (a restoreArchived) Identified(ctx context.Context, s remediate.Step) error {
	return identified(ctx, a.target, s)
}

// Identified implements remediate.Identifier.
func (a terminate) Identified(ctx context.Context, s remediate.Step) error {
	return identified(ctx, a.target, s)
}

// Identified implements remediate.Identifier.
func (a vacuum) Identified(ctx context.Context, s remediate.Step) error {
	return identified(ctx, a.target, s)
}

// Identified implements remediate.Identifier.
func (a vacuumFull) Identified(ctx context.Context, s remediate.Step) error {
	return identified(ctx, a.target, s)
}

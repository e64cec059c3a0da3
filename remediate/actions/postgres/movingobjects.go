package postgres

import (
	"context"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/objects"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
)

// planFiles says which steps it takes to move rows into the store.
func (a moving) planFiles(ctx context.Context, db *target.Database, rel relation.Subject, entry target.Archive,
	r remediate.Request) (p remediate.Plan, err error) {
	if rel.Recovery {
		return p, rel.Allowed("")
	}
	m := away(entry)
	m.To = rows.Table{}
	p, s, err := objects.PlanArchive(ctx, db, m, entry, a.now, r)
	if err != nil {
		return p, err
	}
	after, facts, err := a.upkeep(ctx, db, m, s, r, &p)
	p.Steps, p.Facts = append(p.Steps, after...), append(p.Facts, facts...)
	return p, err
}

// planUnfiles says which steps it takes to bring rows back.
func (a moving) planUnfiles(ctx context.Context, db *target.Database, rel relation.Subject, entry target.Archive,
	r remediate.Request) (p remediate.Plan, err error) {
	if rel.Recovery {
		return p, rel.Allowed("")
	}
	p, m, s, err := objects.PlanRestore(ctx, db, entry, r)
	if err != nil {
		return p, err
	}
	after, facts, err := a.upkeep(ctx, db, m, s, r, &p)
	p.Steps, p.Facts = append(p.Steps, after...), append(p.Facts, facts...)
	return p, err
}

package rebuild

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Headroom implements remediate.Roomer.
func (a Repack) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return session.Headroom(ctx, a.Target)
}

// Plan implements remediate.Executor.
func (a Repack) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.PlanWrites(ctx, a.Target, r, a.plan)
}

func (a Repack) plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	db, rel, err := relation.Find(ctx, a.Target, r)
	if err != nil {
		return p, err
	}
	if err := p.NoteMissing(rel.Allowed("repack the table")); err != nil {
		return p, err
	}
	h, err := SurveyHeap(ctx, db, rel, r)
	if err != nil {
		return p, err
	}
	if err := h.Plain(r, "r",
		": name its partitions one by one, or postgres/vacuum_full for a materialized view"); err != nil {
		return p, err
	}
	left, err := a.left(ctx, db, rel.OID)
	if err != nil {
		return p, err
	}
	if err := unhindered(ctx, db); err != nil {
		return p, err
	}
	if left {
		p.Facts = append(p.Facts, "a pg_repack that was killed has left a trigger that writes down every change of "+
			"the table: it is removed first")
		p.Steps = append(p.Steps, leftStep(r, rel))
	}
	facts, err := h.Worth(ctx, db, r)
	p.Facts = append(p.Facts, facts...)
	if no, refused := remediate.Refused(err); refused && left {
		// To remove what was left helps, whatever else cannot.
		p.Facts = append(p.Facts, no.Detail)
		return p, nil
	}
	if err != nil {
		return p, err
	}
	more, err := a.choose(ctx, db, h, r)
	if no, refused := remediate.Refused(err); refused && left {
		p.Facts = append(p.Facts, no.Detail)
		return p, nil
	}
	if left {
		unbound(more.Steps)
	}
	p.Facts, p.Steps, p.Needs = append(p.Facts, more.Facts...), append(p.Steps, more.Steps...),
		append(p.Needs, more.Needs...)
	return p, err
}

// unbound takes the contract out of steps: the table is another when the step before
// them is done.
func unbound(steps []remediate.Step) {
	for _, s := range steps {
		delete(s.Args, "contract")
	}
}

// choose plans by pg_repack, and where that cannot be, by moving rows.
func (a Repack) choose(ctx context.Context, db *target.Database, h heap, r remediate.Request) (remediate.Plan, error) {
	p, err := a.planProgram(ctx, db, h, r)
	why, refused := remediate.Refused(err)
	if !refused || !why.Until.IsZero() {
		return p, err
	}
	p, err = a.planRows(ctx, db, h, r)
	if no, refused := remediate.Refused(err); refused && no.Until.IsZero() {
		return p, remediate.Refuse(no.Reason, "pg_repack is not used: %s; rows are not moved: %s. What is left is "+
			"postgres/vacuum_full, in a maintenance window", why.Detail, no.Detail)
	}
	p.Facts = append([]string{"pg_repack is not used: " + why.Detail}, p.Facts...)
	return p, err
}

// Apply implements remediate.Executor.
func (a Repack) Apply(ctx context.Context, f remediate.Fence, planned remediate.Step) error {
	s, err := remediate.TypedOf[repackArgs](planned)
	if err != nil {
		return err
	}
	switch s.Args.Way {
	case byProgram:
		return a.applyProgram(ctx, f, s)
	case byRows:
		return a.applyRows(ctx, f, s)
	case sweeping:
		_, err := a.clear(ctx, f, s, func(context.Context, *pgx.Conn) error { return nil })
		return err
	}
	return fmt.Errorf("step: the way %q is not known", s.Args.Way)
}

// Measure implements remediate.Executor.
func (a Repack) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	return MeasureBloat(ctx, a.Target, r)
}

// Identified implements remediate.Identifier.
func (a Repack) Identified(ctx context.Context, s remediate.Step) error {
	return session.PlannedAnswers(ctx, a.Target, s)
}

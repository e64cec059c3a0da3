package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/objects"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/partition"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// plan looks at the tables and says which steps the movement takes: rel is the
// request's table.
func (a moving) plan(ctx context.Context, db *target.Database, rel relation.Subject, m rows.Movement,
	r remediate.Request) (p remediate.Plan, err error) {
	if rel.Recovery {
		return p, rel.Allowed("")
	}
	pace, err := session.NewPace(session.PacingOf(r.Params))
	if err != nil {
		return p, remediate.Refuse(remediate.ReasonSubject, "%v", err)
	}
	s, err := m.Survey(ctx, db, &p)
	if errors.Is(err, remediate.ErrGone) {
		return p, remediate.Refuse(remediate.ReasonGone, "%v", err)
	}
	if err != nil {
		return p, err
	}
	if why, err := pace.Look(ctx, db); err != nil {
		return p, err
	} else if why != "" {
		return p, &remediate.Refusal{Reason: remediate.ReasonCannotHelp, Detail: "not now: " + why,
			Until: time.Now().Add(time.Minute)}
	}
	if m.Back {
		p.Facts, err = m.CheckReturn(ctx, db, s)
	} else {
		err = session.CheckClock(ctx, db, a.now)
	}
	if err != nil {
		return p, err
	}
	facts, amount, err := m.Facts(ctx, db, s)
	if err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, facts...)
	whole, err := partition.PlanWholes(ctx, m, db, s, r)
	if err != nil {
		return p, err
	}
	p.Steps, p.Facts, p.Amount = whole.Steps, append(p.Facts, whole.Facts...), whole.Within(amount)
	if p.Steps, facts, err = partition.PlanRows(ctx, m, db, s, whole, r); err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, facts...)
	after, facts, err := a.upkeep(ctx, db, m, s, r, &p)
	p.Steps, p.Facts = append(p.Steps, after...), append(p.Facts, facts...)
	return p, err
}

// apply carries out one step of a plan, where the configuration still asks for it.
func (a moving) apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	if err := a.configured(s); err != nil {
		return err
	}
	args, err := remediate.ArgsOf[movingArgs](s)
	if err != nil {
		return err
	}
	after := args.Part == partVacuum || args.Part == partAnalyze
	j := session.Job{Target: a.target, Server: session.Planned(s), Action: a.action, Place: args.Place, Writes: !after,
		LockTimeout: session.RowWait}
	switch args.Part {
	case rows.PartRows:
		return j.Hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error { return a.rows(ctx, c, f, s) })
	case partition.Drop, partition.HandOver, partition.HandBack, partition.Finish, partition.Attach:
		return j.Hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error { return partition.Apply(ctx, j, c, f, s) })
	case objects.PartArchive:
		return j.Hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error { return a.file(ctx, c, f, s) })
	case objects.PartRestore:
		return j.Hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error { return a.unfile(ctx, c, f, s) })
	case partVacuum, partAnalyze:
		// another VACUUM or ANALYZE is waited for: behind it queues only who would conflict anyway
		j.LockTimeout = session.PauseMost
		j.Done = always
		return j.Run(ctx, f, s.Do)
	default:
		return fmt.Errorf("step: part %q: %w", args.Part, rows.ErrUnknownStep)
	}
}

// rows moves the rows, but for those of partitions that go as a whole, or not at all.
func (a moving) rows(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	return rows.Transfer{Target: a.target, Action: a.action, Now: a.now, Aside: partition.Untouched}.Run(ctx, c, f, s)
}

// always says that VACUUM and ANALYZE after the rows are still to be done. The
// server's statistics do not tell whether they were: somebody else's VACUUM or ANALYZE
// counts as much there, a reset takes all away, and they are reported late. Done twice is
// done once: the second has next to nothing to do.
func always(context.Context, *pgx.Conn) (bool, error) { return false, nil }

// afterArgs are the arguments of a step after the rows.
type afterArgs struct {
	session.Place // the request's table

	Part string `arg:"part"`
	Of   int64  `arg:"of"` // the oid of the table that is vacuumed or analyzed
}

// upkeep are the steps after the rows: the source is vacuumed, so that its space is
// used again and the planner knows that the rows are gone, and the destination is
// analyzed.
func (a moving) upkeep(ctx context.Context, db *target.Database, m rows.Movement, s rows.Survey, r remediate.Request,
	p *remediate.Plan) (steps []remediate.Step, facts []string, err error) {
	for _, of := range []struct {
		place    rows.Table
		oid      int64
		do, part string
		must     bool
	}{{m.From, s.Source.OID, "VACUUM (ANALYZE, TRUNCATE off) ", partVacuum, true},
		{m.To, s.Dest.OID, "ANALYZE ", partAnalyze, false}} {
		if of.place == (rows.Table{}) {
			continue
		}
		rel, err := relation.Lookup(ctx, db, map[string]string{"schema": of.place.Schema, "table": of.place.Name})
		if err != nil {
			return nil, nil, err
		}
		lacks := rel.Allowed(of.part + " " + of.place.String() + " afterwards")
		if of.must {
			lacks = p.NoteMissing(lacks)
		}
		if err := lacks; err != nil && of.must {
			return nil, nil, err
		} else if err != nil {
			facts = append(facts, err.Error())
			continue
		}
		at := session.Place{Database: m.Database, Schema: r.Subject["schema"], Table: r.Subject["table"]}
		steps = append(steps, remediate.StepOf(of.do+of.place.String(), afterArgs{at, of.part, of.oid}))
	}
	return steps, facts, nil
}

// undo makes the partition of an interrupted step one of its table again. Rows that go
// one by one go in whole batches, and leave nothing half done.
func (a moving) undo(ctx context.Context, f remediate.Fence, s remediate.Step) (found string, err error) {
	args, err := remediate.ArgsOf[movingArgs](s)
	if err != nil {
		return "", err
	}
	switch args.Part {
	case partition.Drop, partition.HandOver, partition.HandBack, partition.Attach:
	default:
		return "", nil
	}
	j := session.Job{Target: a.target, Server: session.Planned(s), Action: a.action, Writes: true, Place: args.Place,
		LockTimeout: session.RowWait}
	return partition.Undo(ctx, j, f, s)
}

// storeOf returns the archive of a step, where the configuration asks for the step
// still.
func (a moving) storeOf(s remediate.Step) (target.Archive, error) {
	if err := a.configured(s); err != nil {
		return target.Archive{}, err
	}
	args, err := remediate.ArgsOf[movingArgs](s)
	if err != nil {
		return target.Archive{}, err
	}
	return entryOf(a.target, args.Place)
}

// file moves rows into a store.
func (a moving) file(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	entry, err := a.storeOf(s)
	if err != nil {
		return err
	}
	return objects.Archive(ctx, c, f, s, entry, a.now)
}

// unfile brings rows back from a store.
func (a moving) unfile(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	entry, err := a.storeOf(s)
	if err != nil {
		return err
	}
	return objects.Restore(ctx, c, f, s, entry)
}

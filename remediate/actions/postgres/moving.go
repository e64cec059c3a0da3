package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// plan looks at the tables and says which steps the movement takes: rel is the
// request's table.
func (a moving) plan(ctx context.Context, db *target.Database, rel subject, m movement, r remediate.Request) (p remediate.Plan, err error) {
	if rel.Recovery {
		return p, rel.allowed("")
	}
	pace, err := paceOf(r.Params)
	if err != nil {
		return p, remediate.Refuse(remediate.ReasonSubject, "%v", err)
	}
	s, err := m.survey(ctx, db, &p)
	if errors.Is(err, remediate.ErrGone) {
		return p, remediate.Refuse(remediate.ReasonGone, "%v", err)
	}
	if err != nil {
		return p, err
	}
	if why, err := pace.look(ctx, db); err != nil {
		return p, err
	} else if why != "" {
		return p, &remediate.Refusal{Reason: remediate.ReasonCannotHelp, Detail: "not now: " + why, Until: time.Now().Add(time.Minute)}
	}
	if m.back {
		p.Facts, err = m.returning(ctx, db, s)
	} else {
		err = clocked(ctx, db, a.now)
	}
	if err != nil {
		return p, err
	}
	facts, amount, err := m.facts(ctx, db, s)
	if err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, facts...)
	whole, err := m.wholes(ctx, db, s, r)
	if err != nil {
		return p, err
	}
	p.Steps, p.Facts, p.Amount = whole.steps, append(p.Facts, whole.facts...), whole.within(amount)
	if p.Steps, facts, err = m.singly(ctx, db, s, whole, r); err != nil {
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
	j := job{target: a.target, server: session.Planned(s), action: a.action, database: s.Args["database"], schema: s.Args["schema"], table: s.Args["table"], lockTimeout: rowWait}
	j.writes = s.Args["part"] != "vacuum" && s.Args["part"] != "analyze"
	switch s.Args["part"] {
	case "rows":
		return j.hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error { return a.rows(ctx, c, f, s) })
	case partDrop, partOver, partBack, partFinish, partAttach:
		return j.hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error { return partStep(ctx, j, c, f, s) })
	case partFile:
		return j.hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error { return a.file(ctx, c, f, s) })
	case partUnfile:
		return j.hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error { return a.unfile(ctx, c, f, s) })
	case "vacuum", "analyze":
		j.lockTimeout = pauseMost // another VACUUM or ANALYZE is waited for: behind it queues only who would conflict anyway
		j.done = always
		return j.carry(ctx, f, s.Do)
	default:
		return fmt.Errorf("step: part %q: %w", s.Args["part"], errNothing)
	}
}

// rows moves the rows, but for those of partitions that go as a whole, or not at all.
func (a moving) rows(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	return transfer{target: a.target, action: a.action, now: a.now, aside: untouched}.run(ctx, c, f, s)
}

// always says that VACUUM and ANALYZE after the rows are still to be done. The
// server's statistics do not tell whether they were: somebody else's VACUUM or ANALYZE
// counts as much there, a reset takes all away, and they are reported late. Done twice is
// done once: the second has next to nothing to do.
func always(context.Context, *pgx.Conn) (bool, error) { return false, nil }

// upkeep are the steps after the rows: the source is vacuumed, so that its space is
// used again and the planner knows that the rows are gone, and the destination is
// analyzed.
func (a moving) upkeep(ctx context.Context, db *target.Database, m movement, s survey, r remediate.Request, p *remediate.Plan) (steps []remediate.Step, facts []string, err error) {
	for _, of := range []struct {
		place    place
		oid      int64
		do, part string
		must     bool
	}{{m.from, s.source.OID, "VACUUM (ANALYZE, TRUNCATE off) ", "vacuum", true}, {m.to, s.dest.OID, "ANALYZE ", "analyze", false}} {
		if of.place == (place{}) {
			continue
		}
		rel, err := lookup(ctx, db, map[string]string{"schema": of.place.Schema, "table": of.place.Table})
		if err != nil {
			return nil, nil, err
		}
		lacks := rel.allowed(of.part + " " + of.place.String() + " afterwards")
		if of.must {
			lacks = p.NoteMissing(lacks)
		}
		if err := lacks; err != nil && of.must {
			return nil, nil, err
		} else if err != nil {
			facts = append(facts, err.Error())
			continue
		}
		steps = append(steps, remediate.Step{Do: of.do + of.place.String(), Args: map[string]string{
			"part": of.part, "database": m.database, "schema": r.Subject["schema"], "table": r.Subject["table"],
			"of": strconv.FormatInt(of.oid, 10),
		}})
	}
	return steps, facts, nil
}

// undo makes the partition of an interrupted step one of its table again. Rows that go
// one by one go in whole batches, and leave nothing half done.
func (a moving) undo(ctx context.Context, f remediate.Fence, s remediate.Step) (found string, err error) {
	switch s.Args["part"] {
	case partDrop, partOver, partBack, partAttach:
	default:
		return "", nil
	}
	j := job{
		target: a.target, server: session.Planned(s), action: a.action, writes: true,
		database: s.Args["database"], schema: s.Args["schema"], table: s.Args["table"], lockTimeout: rowWait,
	}
	return partUndo(ctx, j, f, s)
}

// storeOf returns the archive of a step, where the configuration asks for the step
// still.
func (a moving) storeOf(s remediate.Step) (target.Archive, error) {
	if err := a.configured(s); err != nil {
		return target.Archive{}, err
	}
	return entryOf(a.target, remediate.Request{Subject: s.Args})
}

// file moves rows into a store.
func (a moving) file(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	entry, err := a.storeOf(s)
	if err != nil {
		return err
	}
	return putAway(ctx, c, f, s, entry, a.now)
}

// unfile brings rows back from a store.
func (a moving) unfile(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	entry, err := a.storeOf(s)
	if err != nil {
		return err
	}
	return bringBack(ctx, c, f, s, entry)
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// clashTime is how long a plan looks for rows that are in both tables.
const clashTime = 10 * time.Second

// A moving carries movements out on one server.
type moving struct {
	target *target.Postgres
	action string
	now    func() time.Time // upkeep's clock; nil: that of the system
}

// plan looks at the tables and says which steps the movement takes: rel is the
// request's table.
func (a moving) plan(ctx context.Context, db *target.Database, rel relation, m movement, r remediate.Request) (p remediate.Plan, err error) {
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

// singly adds the step that moves rows one by one to those of whole partitions, where
// the destination has a place for them.
func (m movement) singly(ctx context.Context, q read.Querier, s survey, w partitions, r remediate.Request) (steps []remediate.Step, facts []string, err error) {
	homeless, err := m.homeless(ctx, q, s, w)
	switch {
	case err != nil:
		return nil, nil, err
	case homeless != "" && (m.back || len(w.steps) == 0):
		return nil, nil, remediate.Refuse(remediate.ReasonUnfit, "%s", homeless)
	case homeless != "":
		return w.steps, []string{homeless}, nil
	case m.back:
		if facts, err = m.loose(ctx, q, s); err != nil {
			return nil, nil, err
		}
	}
	args := m.args(r.Subject, s.source, s.dest, r.Params)
	args[contractArg] = s.promise(w.aside()).String()
	s.seen(args)
	if s.zone != "" {
		args["zone"] = s.zone
	}
	return append(w.steps, remediate.Step{Do: m.text(s), Undo: m.undo(), Args: args}), facts, nil
}

// seen puts into a step who may read the destination and not the source: an approval is
// of that too.
func (s survey) seen(args map[string]string) {
	if s.wider != "" {
		args["wider"] = s.wider
	}
}

// returning looks, for a plan, for rows that could not come back, and says where
// that takes longer than a plan may.
func (m movement) returning(ctx context.Context, q read.Querier, s survey) (facts []string, err error) {
	soon, cancel := context.WithTimeout(ctx, clashTime)
	defer cancel()
	if err = m.unclashing(soon, q, s); err == nil {
		err = m.unspoiled(soon, q, s)
	}
	if soon.Err() != nil && ctx.Err() == nil {
		return []string{"whether rows are in both tables, or have values that the table does not take, takes long to find out: it is done before the first row is moved"}, nil
	}
	return nil, err
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

// rows moves the rows. What the plan relied on is compared before the first of them
// and at the end of each batch.
func (a moving) rows(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	m, err := movementOf(s.Args)
	if err != nil {
		return err
	}
	pace, err := paceOf(s.Args)
	if err != nil {
		return fmt.Errorf("step: %w", err)
	}
	pace.asks = f.Check
	// A batch is to see what others have committed, and to be planned for its own
	// range; row security is to be an error and not to hide rows.
	if err := settle(ctx, c); err != nil {
		return err
	}
	if err := inZone(ctx, c, s); err != nil {
		return err
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	w, err := watching(ctx, a.target, m.database, fmt.Sprintf("upkeep %s fence %d, comparing", a.action, f.Token), s.Args)
	if err != nil {
		return err
	}
	defer w.close(ctx)
	v, err := m.surveyed(ctx, c)
	if err != nil {
		return err
	}
	w.durable = v.durable
	v.wider = s.Args["wider"] // of the plan: it is compared before each commit
	if err := m.unseen(ctx, c, v.source.OID, v.dest.OID, v.wider); err != nil {
		return err
	}
	b := batches{movement: m, survey: v, c: c, fence: f, pace: pace, watch: w}
	if err := b.begin(ctx, a.now, s); err != nil {
		return err
	}
	if b.back {
		return b.all(ctx) // what comes back is not removed
	}
	return b.quota.Stopped(ctx, b.all(ctx))
}

// all moves the rows of the table and of its parts.
func (b *batches) all(ctx context.Context) error {
	parts, err := b.parts(ctx, b.c, b.survey)
	if err != nil {
		return err
	}
	for _, l := range b.giving.leaves() {
		if !b.watch.knows(l.OID) || slices.ContainsFunc(parts, func(p partition) bool { return p.OID == l.OID && (p.Young || p.Pending) }) {
			continue // no row of it goes, or it was not there when the plan was made
		}
		b.of(l)
		if err := b.run(ctx); err != nil {
			return err
		}
	}
	if b.back {
		return b.unspoiled(ctx, b.c, b.survey)
	}
	return nil
}

// A leaf is a table with rows of its own: the table itself, or a partition.
type leaf struct {
	OID           int64
	Schema, Table string
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

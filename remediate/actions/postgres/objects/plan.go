package objects

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// The parts of plans that work with a store.
const (
	PartArchive = "file"
	PartRestore = "unfile"
)

// reach makes sure that a store answers, by asking for an object that is not there.
func reach(ctx context.Context, to target.Destination) error {
	if _, err := to.Store.Get(ctx, "upkeep-asks"); err != nil && !errors.Is(err, depot.ErrMissing) {
		return fmt.Errorf("the destination, %s: %w", to.Label, err)
	}
	return nil
}

// VolatileParam says that a folder in memory is taken.
const VolatileParam = "volatile"

// outlasts refuses a destination whose objects do not outlast a restart of the machine,
// unless a person takes that.
func outlasts(to target.Destination, volatile bool) error {
	err := depot.Lasting(to.Store)
	if errors.Is(err, depot.ErrVolatile) {
		if volatile {
			return nil
		}
		return remediate.Refuse(remediate.ReasonUnfit, "the destination: %v, or set the parameter volatile", err)
	}
	return err
}

// PlanArchive looks at the table, the ledger and the store, and makes the step that moves
// rows into the store.
func PlanArchive(ctx context.Context, db *target.Database, m rows.Movement, entry target.Archive, now func() time.Time,
	r remediate.Request) (p remediate.Plan, s rows.Survey, err error) {
	pace, err := session.NewPace(session.PacingOf(r.Params))
	if err != nil {
		return p, s, remediate.Refuse(remediate.ReasonSubject, "%v", err)
	}
	if s, err = fileable(ctx, db, m, entry, r, &p); err != nil {
		return p, s, err
	}
	if why, err := pace.Look(ctx, db); err != nil {
		return p, s, err
	} else if why != "" {
		return p, s, &remediate.Refusal{Reason: remediate.ReasonCannotHelp, Detail: "not now: " + why,
			Until: time.Now().Add(time.Minute)}
	}
	if err := session.CheckClock(ctx, db, now); err != nil {
		return p, s, err
	}
	columns, err := filedColumns(ctx, db, m.From)
	if err != nil {
		return p, s, err
	}
	if _, err := namesOf(ctx, db, m.From, s.Source.OID); err != nil {
		return p, s, err
	}
	sized, err := tooLarge(ctx, m, db, s.Giving.Tree, s.Kind)
	if err != nil {
		return p, s, err
	}
	if p.Facts, p.Amount, err = m.Facts(ctx, db, s); err != nil {
		return p, s, err
	}
	lax, err := m.LaxFacts(ctx, db, s)
	if err != nil {
		return p, s, err
	}
	p.Facts = append(p.Facts, lax...)
	if !sized {
		p.Facts = append(p.Facts, fmt.Sprintf("whether a row is larger than the %d MiB that an object can hold takes "+
			"long to find out: it is looked at before each batch", rowMost>>20))
	}
	p.Facts = append(p.Facts, "who may read "+entry.To.Label+" reads the rows: they are compressed, and not encrypted")
	args := Args{Args: m.Args(r, s.Source, rows.Side{}), Label: entry.To.Label,
		Volatile: r.Params[VolatileParam] == "true"}
	args.Part, args.Contract, args.Zone = PartArchive, s.Giving.Contract.String(), s.Zone
	step := remediate.StepOf(archiveText(m, entry.To.Label, columns), args)
	step.Undo = "postgres/restore_archived brings them back"
	p.Steps = append(p.Steps, step)
	return p, s, nil
}

// fileable refuses a table, a ledger or a store with which rows cannot be moved into
// objects. Missing rights are noted in the plan.
func fileable(ctx context.Context, db *target.Database, m rows.Movement, entry target.Archive, r remediate.Request,
	p *remediate.Plan) (s rows.Survey, err error) {
	s, err = m.Survey(ctx, db, p)
	if errors.Is(err, remediate.ErrGone) {
		return s, remediate.Refuse(remediate.ReasonGone, "%v", err)
	}
	if err == nil {
		err = p.NoteMissing(mayFile(ctx, db))
	}
	if err == nil {
		err = reach(ctx, entry.To)
	}
	if err == nil {
		err = outlasts(entry.To, r.Params[VolatileParam] == "true")
	}
	if err == nil {
		err = mounted(ctx, db, entry.To)
	}
	return s, err
}

// mayFile refuses what only a filing needs and has not.
func mayFile(ctx context.Context, q read.Querier) error {
	state, err := readLedgerState(ctx, q)
	if err != nil {
		return err
	}
	return state.usable()
}

// Archive moves rows into a store. What was looked at for the plan is looked at again.
func Archive(ctx context.Context, c *pgx.Conn, f remediate.Fence, step remediate.Step, entry target.Archive,
	now func() time.Time) error {
	s, err := remediate.TypedOf[Args](step)
	if err != nil {
		return err
	}
	m, err := rows.MovementOf(s.Args.Args)
	if err != nil {
		return err
	}
	pace, err := session.NewPace(s.Args.Pacing)
	if err != nil {
		return fmt.Errorf("step: %w", err)
	}
	pace.Ask = f.Check
	if err := rows.SetUp(ctx, c, s.Args.Zone); err != nil {
		return err
	}
	v, err := m.Surveyed(ctx, c)
	if err == nil {
		err = archivable(ctx, c, entry, s.Args.Volatile)
	}
	if err != nil {
		return err
	}
	if v.Source.OID != s.Args.FromOID {
		return fmt.Errorf("%s is another table than that of the plan: %w", m.From, remediate.ErrGone)
	}
	plan, err := planned(s)
	if err != nil {
		return err
	}
	if err := session.CheckClock(ctx, c, now); err != nil {
		return err
	}
	quota, err := f.Quota(step)
	if err != nil {
		return err
	}
	work := archiver{Movement: m, quota: quota, plan: plan, store: entry.To.Store, label: entry.To.Label,
		links: v.Links,
		kind:  v.Kind, c: c, fence: f, pace: pace, most: fileRows}
	defer work.end()
	if err := work.begin(ctx); err != nil {
		return err
	}
	return quota.Stopped(ctx, work.all(ctx, v.Giving.Leaves()))
}

// archivable refuses a ledger or a store that a batch cannot be written to.
func archivable(ctx context.Context, c *pgx.Conn, entry target.Archive, volatile bool) error {
	err := mayFile(ctx, c)
	if err == nil {
		err = outlasts(entry.To, volatile)
	}
	if err == nil {
		err = mounted(ctx, c, entry.To)
	}
	return err
}

// planned is what the plan of a step relied on.
func planned(s Step) (relation.Contract, error) {
	c, err := relation.Parse(s.Args.Contract)
	if err != nil {
		return c, remediate.Refuse(remediate.ReasonChanged,
			"the plan does not say what its table was like, so that this cannot be compared: plan again")
	}
	return c, nil
}

// archiveText is what a person would type for all batches at once.
func archiveText(m rows.Movement, label string, columns []depot.Column) string {
	return strings.Join([]string{
		"COPY (SELECT ", session.QuoteList(names(columns)), " FROM ", m.From.String(), " WHERE ", m.WhereText(),
		") TO objects in ", label,
		", and then DELETE FROM ", m.From.String(), " the same rows -- in small batches",
	}, "")
}

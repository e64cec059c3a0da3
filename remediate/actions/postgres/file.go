package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
)

// The parts of plans that work with a store.
const (
	partFile   = "file"
	partUnfile = "unfile"
)

// reach makes sure that a store answers, by asking for an object that is not there.
func reach(ctx context.Context, to target.Destination) error {
	if _, err := to.Store.Get(ctx, "upkeep-asks"); err != nil && !errors.Is(err, depot.ErrMissing) {
		return fmt.Errorf("the destination, %s: %w", to.Label, err)
	}
	return nil
}

// volatileParam says that a folder in memory is taken.
const volatileParam = "volatile"

// outlasts refuses a destination whose objects do not outlast a restart of the machine,
// unless a person takes that.
func outlasts(to target.Destination, volatile string) error {
	err := depot.Lasting(to.Store)
	if errors.Is(err, depot.ErrVolatile) {
		if volatile == "true" {
			return nil
		}
		return remediate.Refuse(remediate.ReasonUnfit, "the destination: %v, or set the parameter volatile", err)
	}
	return err
}

// planFiling looks at the table, the ledger and the store, and makes the step that moves
// rows into the store.
func planFiling(ctx context.Context, db *target.Database, m movement, entry target.Archive, now func() time.Time, r remediate.Request) (p remediate.Plan, s survey, err error) {
	pace, err := paceOf(r.Params)
	if err != nil {
		return p, s, remediate.Refuse(remediate.ReasonSubject, "%v", err)
	}
	if s, err = fileable(ctx, db, m, entry, r, &p); err != nil {
		return p, s, err
	}
	if why, err := pace.look(ctx, db); err != nil {
		return p, s, err
	} else if why != "" {
		return p, s, &remediate.Refusal{Reason: remediate.ReasonCannotHelp, Detail: "not now: " + why, Until: time.Now().Add(time.Minute)}
	}
	if err := clocked(ctx, db, now); err != nil {
		return p, s, err
	}
	columns, err := filedColumns(ctx, db, m.from)
	if err != nil {
		return p, s, err
	}
	if _, err := namesOf(ctx, db, m.from, s.source.OID); err != nil {
		return p, s, err
	}
	sized, err := m.tooLarge(ctx, db, s.giving.tree, s.kind)
	if err != nil {
		return p, s, err
	}
	if p.Facts, p.Amount, err = m.facts(ctx, db, s); err != nil {
		return p, s, err
	}
	lax, err := m.laxity(ctx, db, s)
	if err != nil {
		return p, s, err
	}
	p.Facts = append(p.Facts, lax...)
	if !sized {
		p.Facts = append(p.Facts, fmt.Sprintf("whether a row is larger than the %d MiB that an object can hold takes long to find out: it is looked at before each batch", rowMost>>20))
	}
	p.Facts = append(p.Facts, "who may read "+entry.To.Label+" reads the rows: they are compressed, and not encrypted")
	args := m.args(r.Subject, s.source, side{}, r.Params)
	args["part"], args["label"], args[contractArg] = partFile, entry.To.Label, s.giving.contract.String()
	if s.zone != "" {
		args["zone"] = s.zone
	}
	if r.Params[volatileParam] == "true" {
		args[volatileParam] = "true"
	}
	p.Steps = append(p.Steps, remediate.Step{Do: m.filedText(entry.To.Label, columns), Undo: "postgres/restore_archived brings them back", Args: args})
	return p, s, nil
}

// fileable refuses a table, a ledger or a store with which rows cannot be moved into
// objects. Missing rights are noted in the plan.
func fileable(ctx context.Context, db *target.Database, m movement, entry target.Archive, r remediate.Request, p *remediate.Plan) (s survey, err error) {
	s, err = m.survey(ctx, db, p)
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
		err = outlasts(entry.To, r.Params[volatileParam])
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

// putAway moves rows into a store. What was looked at for the plan is looked at again.
func putAway(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step, entry target.Archive, now func() time.Time) error {
	m, err := movementOf(s.Args)
	if err != nil {
		return err
	}
	pace, err := paceOf(s.Args)
	if err != nil {
		return fmt.Errorf("step: %w", err)
	}
	pace.asks = f.Check
	if err := settle(ctx, c); err != nil {
		return err
	}
	if err := inZone(ctx, c, s); err != nil {
		return err
	}
	v, err := m.surveyed(ctx, c)
	if err == nil {
		err = mayFile(ctx, c)
	}
	if err == nil {
		err = outlasts(entry.To, s.Args[volatileParam])
	}
	if err == nil {
		err = mounted(ctx, c, entry.To)
	}
	if err != nil {
		return err
	}
	if strconv.FormatInt(v.source.OID, 10) != s.Args["from_oid"] {
		return fmt.Errorf("%s is another table than that of the plan: %w", m.from, remediate.ErrGone)
	}
	plan, err := planned(s)
	if err != nil {
		return err
	}
	if err := clocked(ctx, c, now); err != nil {
		return err
	}
	quota, err := f.Quota(s)
	if err != nil {
		return err
	}
	work := filing{movement: m, quota: quota, plan: plan, store: entry.To.Store, label: entry.To.Label, links: v.links, kind: v.kind, c: c, fence: f, pace: pace, most: fileRows}
	defer work.end()
	if err := work.begin(ctx); err != nil {
		return err
	}
	return quota.Stopped(ctx, work.all(ctx, v.giving.leaves()))
}

// planned is what the plan of a step relied on.
func planned(s remediate.Step) (relation.Contract, error) {
	c, err := relation.Parse(s.Args[contractArg])
	if err != nil {
		return c, remediate.Refuse(remediate.ReasonChanged, "the plan does not say what its table was like, so that this cannot be compared: plan again")
	}
	return c, nil
}

// filedText is what a person would type for all batches at once.
func (m movement) filedText(label string, columns []depot.Column) string {
	return strings.Join([]string{
		"COPY (SELECT ", list(names(columns)), " FROM ", m.from.String(), " WHERE ", m.which(), ") TO objects in ", label,
		", and then DELETE FROM ", m.from.String(), " the same rows -- in small batches",
	}, "")
}

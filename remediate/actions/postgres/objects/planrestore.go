package objects

import (
	"context"
	"errors"
	"fmt"
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

// PlanRestore looks at the table, the ledger and the store, and makes the step that
// brings rows back.
func PlanRestore(ctx context.Context, db *target.Database, entry target.Archive, r remediate.Request) (p remediate.Plan,
	m rows.Movement, v rows.Survey, err error) {
	since, until, err := rows.Span(r.Params["since"], r.Params["until"])
	if err != nil {
		return p, m, v, err
	}
	if _, err := session.NewPace(session.PacingOf(r.Params)); err != nil {
		return p, m, v, remediate.Refuse(remediate.ReasonSubject, "%v", err)
	}
	table := rows.Table{Schema: entry.Schema, Name: entry.Table}
	s, err := writable(ctx, db, table, &p)
	if err == nil {
		err = reach(ctx, entry.To)
	}
	if err != nil {
		return p, m, v, err
	}
	all, n, err := parcels(ctx, db, entry, since, until)
	if err != nil {
		return p, m, v, err
	}
	if len(all) == 0 {
		return p, m, v, remediate.Refuse(remediate.ReasonNothing,
			"no object has rows of that time which are not back already")
	}
	g, err := restorable(ctx, db, s.OID)
	if err != nil {
		return p, m, v, err
	}
	p.Facts = append(p.Facts, fmt.Sprintf("%d objects with %d rows in all have rows of that time", len(all), n),
		"their checksums, and rows that are there already, are looked for in all of them before the first row is "+
			"brought back")
	if err := ofEarlier(ctx, entry.To, all,
		restorer{entry: entry, root: s.OID, earlier: r.Params[EarlierParam] == "true"}); err != nil {
		return p, m, v, err
	}
	others, err := byOthers(ctx, db, entry)
	if err != nil {
		return p, m, v, err
	}
	p.Facts = append(p.Facts, others...)
	m = rows.Movement{Database: entry.Database, To: table, Column: entry.Column, Since: since, Until: until, Back: true}
	args := Args{Args: m.Args(r, rows.Side{}, s), Label: entry.To.Label, Earlier: r.Params[EarlierParam] == "true"}
	args.Part, args.Contract = PartRestore, g.now.String()
	step := remediate.StepOf("COPY "+table.String()+" FROM objects in "+entry.To.Label+" WHERE "+m.WhereText()+
		" -- object by object", args)
	step.Undo = "postgres/archive moves them again"
	p.Steps = append(p.Steps, step)
	return p, m, rows.Survey{Dest: s}, nil
}

// parcels are the objects with rows of a period that are not back, and how many rows they
// have in all.
func parcels(ctx context.Context, q read.Querier, entry target.Archive, since, until time.Time) (all []read.Parcel,
	n int64, err error) {
	all, err = read.ReadParcels(ctx, q, entry, since, until)
	for _, e := range all {
		n += e.Rows
	}
	return all, n, err
}

// writable finds the table, and refuses one that rows cannot be brought back to. Which
// rights are missing is noted in the plan.
func writable(ctx context.Context, q read.Querier, table rows.Table, p *remediate.Plan) (rows.Side, error) {
	s, err := rows.ReadSide(ctx, q, table, rows.Inserts())
	if err == nil {
		err = mayUnfile(ctx, q, table, s, p)
	}
	return s, err
}

// restorable refuses a table that rows cannot be put into without harm.
func restorable(ctx context.Context, q read.Querier, oid int64) (grounds, error) {
	g, err := readGrounds(ctx, q, oid)
	if err == nil {
		err = g.fit(relation.Insert)
	}
	if err == nil {
		err = g.durable()
	}
	return g, err
}

// Restore brings rows back from a store, after the checks of the plan.
func Restore(ctx context.Context, c *pgx.Conn, f remediate.Fence, step remediate.Step, entry target.Archive) error {
	s, err := remediate.TypedOf[Args](step)
	if err != nil {
		return err
	}
	pace, err := session.NewPace(s.Args.Pacing)
	if err != nil {
		return fmt.Errorf("step: %w", err)
	}
	pace.Ask = f.Check
	since, until, err := rows.Span(s.Args.Since, s.Args.Until)
	if err != nil {
		return err
	}
	if err := rows.SetUp(ctx, c, ""); err != nil {
		return err
	}
	table := rows.Table{Schema: entry.Schema, Name: entry.Table}
	var p remediate.Plan
	v, err := writable(ctx, c, table, &p)
	if err == nil {
		err = p.Missing()
	}
	if err != nil {
		return err
	}
	if v.OID != s.Args.ToOID {
		return fmt.Errorf("%s is another table than that of the plan: %w", table, remediate.ErrGone)
	}
	plan, err := planned(s)
	if err != nil {
		return err
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	_, err = restorer{entry: entry, since: since, until: until, without: rows.SplitNames(s.Args.Without),
		earlier: s.Args.Earlier, plan: plan, root: v.OID, c: c, fence: f, pace: pace}.run(ctx)
	return err
}

// EarlierParam says that rows of an earlier table of the same name come back too.
const EarlierParam = "earlier_table"

// ofEarlier refuses a plan for objects of an earlier table of the same name, or that are
// elsewhere. It looks at the first and at the last of them; the step looks at all before
// it changes anything.
func ofEarlier(ctx context.Context, from target.Destination, all []read.Parcel, u restorer) error {
	for _, e := range []read.Parcel{all[0], all[len(all)-1]} {
		object, err := depot.Open(ctx, from.Store, e.Object)
		if errors.Is(err, depot.ErrMissing) {
			return remediate.Refuse(remediate.ReasonUnfit,
				"%s has no object %s, which was put into %s: name that one as the archive's destination, or mount "+
					"what it is on", from.Label, e.Object, e.Place)
		}
		if err != nil {
			return err
		}
		p, err := depot.ReadParcel(e.Object, object)
		_ = object.Close() // was read
		if err != nil {
			return damaged(err)
		}
		if err := u.ofAnother(p.Parcel); err != nil {
			return err
		}
	}
	return nil
}

// byOthersSQL counts the objects whose rows were past their age by other columns.
const byOthersSQL = `
select to_jsonb(p) ->> 'age_column', count(*), sum(p.rows)::int8 from upkeep.parcels p
 where p.schema_name = $1 and p.table_name = $2 and to_jsonb(p) ->> 'age_column' <> $3 group by 1 order by 1`

// byOthers are the facts about objects without a period of the archive's column.
func byOthers(ctx context.Context, q read.Querier, entry target.Archive) (facts []string, err error) {
	type other struct {
		Column        string
		Objects, Rows int64
	}
	all, err := session.Many[other](ctx, q, byOthersSQL, entry.Schema, entry.Table, entry.Column)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	for _, o := range all {
		facts = append(facts, fmt.Sprintf("%d objects with %d rows were archived by the column %s and are not looked "+
			"at: name that column in the archive to bring those back", o.Objects, o.Rows,
			pgx.Identifier{o.Column}.Sanitize()))
	}
	return facts, nil
}

// ArchivedFacts are the facts about rows of a period that are in objects, for a table whose
// archive is a table now.
func ArchivedFacts(ctx context.Context, q read.Querier, entry target.Archive, since, until time.Time) (facts []string,
	err error) {
	all, n, err := parcels(ctx, q, entry, since, until)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return []string{fmt.Sprintf("%d objects with %d rows in all have rows of that time too, in %s among others, and "+
		"do not come back: name that as the archive's destination to bring those back", len(all), n,
		all[len(all)-1].Place)}, nil
}

// mayUnfile refuses a table that rows cannot be brought back to without harm. Which
// rights are missing is noted in the plan.
func mayUnfile(ctx context.Context, q read.Querier, table rows.Table, s rows.Side, p *remediate.Plan) error {
	if err := s.Fit(table, rows.Inserts(), p); err != nil {
		return err
	}
	state, err := readLedgerState(ctx, q)
	if err != nil {
		return err
	}
	if err := p.Blind(state.usable()); err != nil {
		return err
	}
	type right struct{ Temporary, Select bool }
	have, err := session.One(ctx, q, pgx.RowToStructByPos[right],
		"select has_database_privilege(current_database(), 'TEMPORARY'), has_table_privilege($1::int8::oid, 'SELECT')",
		s.OID)
	if err != nil {
		return err
	}
	if !have.Temporary {
		// it is noted
		_ = p.NoteMissing(remediate.Refuse(remediate.ReasonPrivilege,
			"role %s needs a right: grant temporary on database of the table to %s", s.Role, state.Role))
	}
	if !have.Select {
		return p.Blind(remediate.Refuse(remediate.ReasonPrivilege,
			"role %s needs a right: grant select on table %s to %s",
			s.Role, table, state.Role))
	}
	return nil
}

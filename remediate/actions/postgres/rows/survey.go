package rows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A Survey is what was found out about a movement: that it can be done without
// harm, and what its statements need.
type Survey struct {
	Version      int
	reader       relation.Reader
	Source, Dest Side
	Giving       sideState // the source with all of its parts
	taking       sideState // the destination the same
	durable      bool      // the rows of the source are safe in a crash
	columns      []string  // that are moved
	spares       []Spare   // columns that are not, of rows that come back
	Kind         string    // the type of the age column
	Zone         string    // in which it is compared, where it has none
	Links        []ForeignKey
	uniques      []uniqueness // of the destination
	wider        string       // who may read the destination and not the source
}

// Surveyed looks at both tables and refuses what would do harm, or cannot be done for
// want of a right.
func (m Movement) Surveyed(ctx context.Context, q read.Querier) (s Survey, err error) {
	var p remediate.Plan
	if s, err = m.Survey(ctx, q, &p); err == nil {
		err = p.Missing()
	}
	return s, err
}

// Survey looks at both tables and refuses what would do harm. Missing rights are noted
// in the plan.
func (m Movement) Survey(ctx context.Context, q read.Querier, p *remediate.Plan) (s Survey, err error) {
	if s.reader, err = relation.NewReader(ctx, q); err != nil {
		return s, err
	}
	s.Version = s.reader.Version
	if s.Source, err = ReadSide(ctx, q, m.From, deletes()); err != nil {
		return s, err
	}
	if err := s.Source.Fit(m.From, deletes(), p); err != nil {
		return s, err
	}
	if s.Giving, err = sideOf(ctx, q, s.reader, s.Source.OID); err != nil {
		return s, fmt.Errorf("%s: %w", m.From, err)
	}
	if s.durable, err = s.Giving.gives(); err != nil {
		return s, err
	}
	columns, err := session.Many[column](ctx, q, columnSQL, s.Source.OID)
	if err != nil {
		return s, fmt.Errorf("columns of %s: %w", m.From, err)
	}
	if s.Kind, err = m.ages(columns); err != nil {
		return s, err
	}
	if s.Zone, err = zoneOf(ctx, q, s.Kind); err != nil {
		return s, err
	}
	if s.Links, err = session.Many[ForeignKey](ctx, q, linkSQL, s.Giving.below()); err != nil {
		return s, fmt.Errorf("foreign keys to %s: %w", m.From, err)
	}
	for _, l := range s.Links {
		if err := p.Blind(l.fit(s.Source.Role)); err != nil {
			return s, err
		}
	}
	if m.To == (Table{}) {
		return s, nil
	}
	return s, m.destination(ctx, q, &s, columns, p)
}

// kinSQL reports whether one of two tables is an ancestor of the other.
const kinSQL = `
with recursive above(child, parent) as (
  select inhrelid, inhparent from pg_inherits where inhrelid in ($1::int8::oid, $2::int8::oid)
  union
  select a.child, i.inhparent from above a join pg_inherits i on i.inhrelid = a.parent
)
select exists (select from above where child = $1::int8::oid and parent = $2::int8::oid or child = $2::int8::oid
  and parent = $1::int8::oid)`

// destination looks at the second table, and whether it takes the rows of the first.
func (m Movement) destination(ctx context.Context, q read.Querier, s *Survey, columns []column, p *remediate.Plan) (
	err error) {
	s.Dest, err = ReadSide(ctx, q, m.To, Inserts())
	if errors.Is(err, remediate.ErrGone) {
		return remediate.Refuse(remediate.ReasonUnfit,
			"the destination %s is not there: create table %s (like %s including defaults including generated "+
				"including indexes), and grant as few people as there", m.To, m.To, m.From)
	}
	if err != nil {
		return err
	}
	if err := s.Dest.Fit(m.To, Inserts(), p); err != nil {
		return err
	}
	kin, err := session.One(ctx, q, pgx.RowTo[bool], kinSQL, s.Source.OID, s.Dest.OID)
	switch {
	case err != nil:
		return err
	case kin || s.Source.OID == s.Dest.OID:
		return remediate.Refuse(remediate.ReasonUnfit,
			"%s and %s are parts of one table: what is moved would be there still",
			m.From, m.To)
	}
	if s.taking, err = sideOf(ctx, q, s.reader, s.Dest.OID); err != nil {
		return fmt.Errorf("%s: %w", m.To, err)
	}
	if err := s.taking.takes(s.durable); err != nil {
		return err
	}
	if s.wider, err = m.reads(ctx, q, s.Source.OID, s.Dest.OID); err != nil {
		return err
	}
	into, err := session.Many[column](ctx, q, columnSQL, s.Dest.OID)
	if err != nil {
		return fmt.Errorf("columns of %s: %w", m.To, err)
	}
	fit, err := match(m, columns, into)
	if err != nil {
		return err
	}
	s.columns, s.spares = fit.names, fit.spares
	return m.unique(ctx, q, s)
}

// unique refuses a destination whose unique indexes demand what the source does not.
func (m Movement) unique(ctx context.Context, q read.Querier, s *Survey) (err error) {
	if s.uniques, err = session.Many[uniqueness](ctx, q, uniqueSQL, s.Dest.OID); err != nil {
		return fmt.Errorf("unique indexes of %s: %w", m.To, err)
	}
	own, err := session.Many[uniqueness](ctx, q, uniqueSQL, s.Source.OID)
	if err != nil {
		return fmt.Errorf("unique indexes of %s: %w", m.From, err)
	}
	for _, u := range s.uniques {
		if !m.Back && !u.implied(own) {
			return remediate.Refuse(remediate.ReasonUnfit,
				"%s demands with %s what %s does not, so that rows could not be moved one day: drop that index, or "+
					"make the same one there", m.To,
				pgx.Identifier{u.Name}.Sanitize(), m.From)
		}
	}
	return nil
}

// Text is what a person would type for all batches at once.
func (m Movement) Text(s Survey) string {
	if m.To == (Table{}) {
		return fmt.Sprintf("DELETE FROM %s WHERE %s -- in small batches", m.From, m.WhereText())
	}
	columns := session.QuoteList(s.columns)
	return fmt.Sprintf("WITH d AS (DELETE FROM %s WHERE %s RETURNING %s) INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE "+
		"SELECT %s FROM d -- in small batches", m.From, m.WhereText(), columns, m.To, columns, columns)
}

// reads names who could read the rows in the destination and not in the source; "" for
// rows that come back.
func (m Movement) reads(ctx context.Context, q read.Querier, from, to int64) (string, error) {
	if m.Back || m.To == (Table{}) {
		return "", nil
	}
	wider, err := session.One(ctx, q, pgx.RowTo[string], widerSQL, from, to)
	if err != nil {
		return "", fmt.Errorf("who may read %s: %w", m.To, err)
	}
	return wider, nil
}

// CheckReaders refuses where others may read the rows in the destination than the plan says,
// which is a part of what was approved.
func (m Movement) CheckReaders(ctx context.Context, q read.Querier, from, to int64, planned string) error {
	wider, err := m.reads(ctx, q, from, to)
	if err == nil && wider != planned {
		err = remediate.Refuse(remediate.ReasonChanged, "%s may be read by others than when the plan was made (%s)",
			m.To, wider)
	}
	return err
}

// widerSQL names the roles that may read the second table, or a column of it, and not
// that of the first.
const widerSQL = `
select coalesce(string_agg(distinct case grantee when 0 then 'everybody'
  else quote_ident(pg_get_userbyid(grantee)) end, ', '), '')
  from (select x.grantee, null::name as col
          from pg_class c cross join lateral (select grantee from aclexplode(c.relacl)
            where privilege_type = 'SELECT' union select c.relowner) x
         where c.oid = $2::int8::oid
        union
        select x.grantee, a.attname
          from pg_attribute a cross join lateral aclexplode(a.attacl) x
         where a.attrelid = $2::int8::oid and not a.attisdropped and x.privilege_type = 'SELECT') readers
  left join pg_attribute s on s.attrelid = $1::int8::oid and s.attname = readers.col and not s.attisdropped
 where case grantee
       when 0 then not exists (select from pg_class t cross join lateral aclexplode(t.relacl) y
         where t.oid = $1::int8::oid and y.grantee = 0 and y.privilege_type = 'SELECT')
               and not exists (select from aclexplode(s.attacl) y where y.grantee = 0 and y.privilege_type = 'SELECT')
       else not has_table_privilege(grantee, $1::int8::oid, 'SELECT')
        and not coalesce(has_column_privilege(grantee, $1::int8::oid, s.attnum, 'SELECT'), false) end`

// clashSQL asks whether a row that would be moved is there already.
func (m Movement) clashSQL(columns []string) string {
	var on []string
	for _, c := range columns {
		name := pgx.Identifier{c}.Sanitize()
		on = append(on, "o."+name+" = t."+name)
	}
	column := pgx.Identifier{m.Column}.Sanitize()
	return "select exists (select from " + m.From.String() + " t where t." + column + " >= $1::timestamptz and t." +
		column + " < $2::timestamptz and exists (select from " + m.To.String() + " o where " +
		strings.Join(on, " and ") + "))"
}

// unclashing refuses to bring rows back where one of them is there already.
func (m Movement) unclashing(ctx context.Context, q read.Querier, s Survey) error {
	for _, u := range s.uniques {
		if !u.plain() || slices.ContainsFunc(u.Columns, func(c string) bool { return !slices.Contains(s.columns, c) }) {
			continue
		}
		clash, err := session.One(ctx, q, pgx.RowTo[bool], m.clashSQL(u.Columns), m.Since, m.Until)
		if err != nil {
			return fmt.Errorf("rows that are in both tables: %w", err)
		}
		if clash {
			return remediate.Refuse(remediate.ReasonUnfit,
				"rows of %s are in %s already, by its index %s: nothing was moved; delete them where they do not "+
					"belong", m.From, m.To, pgx.Identifier{u.Name}.Sanitize())
		}
	}
	return nil
}

// unspoiled refuses to bring rows back where a value of one would be lost by it.
func (m Movement) unspoiled(ctx context.Context, q read.Querier, s Survey) error {
	column := pgx.Identifier{m.Column}.Sanitize()
	for _, c := range s.spares {
		sql := "select exists (select from " + m.From.String() + " t where t." + column + " >= $1::timestamptz and t." +
			column + " < $2::timestamptz and not " + c.Same + ")"
		lost, err := session.One(ctx, q, pgx.RowTo[bool], sql, m.Since, m.Until)
		if refused, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(refused.Code, "42") {
			lost, err = true, nil // it is made of what the archive has not
		}
		if err != nil {
			return fmt.Errorf("values of %s that would be lost: %w", m.From, err)
		}
		if lost {
			return remediate.Refuse(remediate.ReasonUnfit,
				"%s: these values would be lost; nothing more is moved: give the table the column, or, if it is the "+
					"archive's own, name it in the parameter without", c.Why)
		}
	}
	return nil
}

// Promise is what the plan of a movement relies on, but for the parts that go as a
// whole or not at all.
func (s Survey) Promise(without []int64) relation.Contract {
	all := relation.Contract{System: s.reader.System, Relations: make(map[int64]relation.Relation)}
	for _, side := range []sideState{s.Giving, s.taking} {
		for oid, r := range side.Contract.Relations {
			if !slices.Contains(without, oid) {
				all.Relations[oid] = r
			}
		}
	}
	return all
}

// ClashTime is how long a plan looks for rows that are in both tables.
const ClashTime = 10 * time.Second

// CheckReturn looks, for a plan, for rows that could not come back, and says where
// that takes longer than a plan may.
func (m Movement) CheckReturn(ctx context.Context, q read.Querier, s Survey) (facts []string, err error) {
	soon, cancel := context.WithTimeout(ctx, ClashTime)
	defer cancel()
	if err = m.unclashing(soon, q, s); err == nil {
		err = m.unspoiled(soon, q, s)
	}
	if soon.Err() != nil && ctx.Err() == nil {
		return []string{"whether rows are in both tables, or have values that the table does not take, takes long to " +
			"find out: it is done before the first row is moved"}, nil
	}
	return nil, err
}

// Wider names who may read the destination and not the source: an approval is of that
// too.
func (s Survey) Wider() string { return s.wider }

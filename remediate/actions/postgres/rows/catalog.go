package rows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A Side is one table of a movement, as the catalog knows it.
type Side struct {
	OID         int64
	Kind        string // pg_class.relkind
	Persistence string // pg_class.relpersistence
	Tuples      float64
	Blocks      int64
	Role        string
	Secured     bool // row security hides rows from the role
	Policies    bool // row security is on
	Usage       bool // of the schema
	Select      bool
	Insert      bool
	Delete      bool
	Update      bool     // of the table, or of any column: what it takes to hold a row
	Parent      bool     // others inherit from it, or are partitions of it
	Triggers    []string // of the operation, of people
	Rules       []string // the same
}

// sideSQL looks one table up by its names. $3 is the bit of the operation in
// pg_trigger.tgtype, $4 its letter in pg_rewrite.ev_type. Any role may; 13 and later.
// Triggers that a partition inherits are internal before 15, and have a parent.
const sideSQL = `
select c.oid::int8,
       c.relkind::text,
       c.relpersistence::text,
       greatest(c.reltuples, 0)::float8,
       case when c.relkind = 'r' then pg_relation_size(c.oid) / current_setting('block_size')::int else 0 end,
       current_user::text,
       row_security_active(c.oid),
       c.relrowsecurity,
       has_schema_privilege(n.oid, 'USAGE'),
       has_table_privilege(c.oid, 'SELECT'),
       has_table_privilege(c.oid, 'INSERT'),
       has_table_privilege(c.oid, 'DELETE'),
       has_table_privilege(c.oid, 'UPDATE') or has_any_column_privilege(c.oid, 'UPDATE'),
       exists (select from pg_inherits where inhparent = c.oid),
       array(select g.tgname::text from pg_trigger g
              where g.tgrelid = c.oid and g.tgenabled <> 'D' and g.tgtype & $3::int <> 0 and (not g.tgisinternal
                or g.tgparentid <> 0)
                and not exists (select from pg_constraint k where k.oid = g.tgconstraint and k.contype in ('f', 'p',
                  'u', 'x')) order by 1),
       array(select rulename::text from pg_rewrite where ev_class = c.oid and ev_enabled <> 'D'
         and ev_type = $4::text::"char" order by 1)
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = $1
   and c.relname = $2`

// The operations that a side is asked about.
type operation struct {
	trigger int
	rule    string
	word    string
}

func deletes() operation { return operation{8, "4", "DELETE"} }

// Inserts is the operation that puts rows in.
func Inserts() operation { return operation{4, "3", "INSERT"} }

// ReadSide finds one table of a movement, or ErrGone.
func ReadSide(ctx context.Context, q read.Querier, p Table, o operation) (s Side, err error) {
	s, err = session.One(ctx, q, pgx.RowToStructByPos[Side], sideSQL, p.Schema, p.Name, o.trigger, o.rule)
	if errors.Is(err, pgx.ErrNoRows) {
		return s, fmt.Errorf("%s: %w", p, remediate.ErrGone)
	}
	return s, err
}

// Fit refuses a table that rows cannot be moved from or to without harm. Missing rights
// are noted in the plan.
func (s Side) Fit(p Table, o operation, plan *remediate.Plan) error {
	unfit := func(format string, args ...any) error {
		return remediate.Refuse(remediate.ReasonUnfit, "%s "+format, append([]any{p}, args...)...)
	}
	switch {
	case s.Kind == "f":
		return unfit("is a foreign table: no transaction holds both servers")
	case s.Kind != "r" && s.Kind != "p":
		return unfit("is no table with rows of its own")
	case s.Persistence == "t":
		return unfit("is a temporary table")
	case strings.HasPrefix(p.Schema, "pg_") || p.Schema == "information_schema":
		return unfit("is a table of the catalogs")
	case s.Kind == "r" && s.Parent:
		return unfit("has tables that inherit from it: give each of them an archive of its own")
	case len(s.Triggers) > 0:
		return unfit("has the trigger %s for %s, which may do more than is planned: drop or disable it, or move the "+
			"rows by hand", pgx.Identifier{s.Triggers[0]}.Sanitize(), o.word)
	case len(s.Rules) > 0:
		return unfit("has the rule %s for %s, which may do something else instead",
			pgx.Identifier{s.Rules[0]}.Sanitize(), o.word)
	case s.Secured:
		return unfit("has row security, which hides rows from role %s: use the owner, or a role with BYPASSRLS", s.Role)
	}
	return s.permitted(p, o, plan)
}

// permitted notes the missing rights of the role, and refuses if it may not even look.
func (s Side) permitted(p Table, o operation, plan *remediate.Plan) error {
	lacks := func(grant string) error {
		return remediate.Refuse(remediate.ReasonPrivilege, "role %s needs a right: %s to %s", s.Role, grant,
			pgx.Identifier{s.Role}.Sanitize())
	}
	for _, right := range []struct {
		lacks, blind bool
		grant        string
	}{
		{!s.Usage, true, "grant usage on schema " + pgx.Identifier{p.Schema}.Sanitize()},
		{o == deletes() && !s.Delete, false, "grant delete on table " + p.String()},
		{o == deletes() && !s.Update, false, "grant update on table " + p.String() +
			", to hold rows while they are taken,"},
		{o == Inserts() && !s.Insert, false, "grant insert on table " + p.String()},
		{o == deletes() && !s.Select, true, "grant select on table " + p.String()},
	} {
		switch {
		case right.lacks && right.blind:
			return plan.Blind(lacks(right.grant))
		case right.lacks:
			_ = plan.NoteMissing(lacks(right.grant)) // it is noted
		}
	}
	return nil
}

// A column is one of a table's.
type column struct {
	Name      string
	TypeOID   int64
	Mod       int32
	Type      string
	NotNull   bool
	Default   bool
	Generated bool
	Identity  bool
	Expr      string // its default, or what it is generated from
	Stored    bool   // it is generated and stored
}

const columnSQL = `
select a.attname::text, coalesce(nullif(t.typbasetype, 0), t.oid)::int8, a.atttypmod, format_type(a.atttypid,
  a.atttypmod),
       a.attnotnull, a.atthasdef, a.attgenerated <> '', a.attidentity <> '', coalesce(pg_get_expr(d.adbin, d.adrelid),
         ''), a.attgenerated = 's'
  from pg_attribute a
  join pg_type t on t.oid = a.atttypid
  left join pg_attrdef d on a.atthasdef and d.adrelid = a.attrelid and d.adnum = a.attnum
 where a.attrelid = $1::int8::oid and a.attnum > 0 and not a.attisdropped
 order by a.attnum`

// A uniqueness is one unique index or exclusion constraint.
type uniqueness struct {
	Name      string
	Columns   []string
	Expr      string
	Predicate string
	Exclusion bool
}

const uniqueSQL = `
select c.relname::text,
       array(select a.attname::text from unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k
         join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k order by 1),
       coalesce(pg_get_expr(i.indexprs, i.indrelid), ''), coalesce(pg_get_expr(i.indpred, i.indrelid), ''),
         i.indisexclusion
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
 where i.indrelid = $1::int8::oid and (i.indisunique or i.indisexclusion)
 order by 1`

func (u uniqueness) plain() bool { return u.Expr == "" && u.Predicate == "" && !u.Exclusion }

// implied reports whether rows that keep the uniquenesses of one table keep this
// one of another.
func (u uniqueness) implied(by []uniqueness) bool {
	return slices.ContainsFunc(by, func(v uniqueness) bool {
		if v.plain() && u.Expr == "" && !u.Exclusion {
			return !slices.ContainsFunc(v.Columns, func(c string) bool { return !slices.Contains(u.Columns, c) })
		}
		return slices.Equal(u.Columns, v.Columns) && u.Expr == v.Expr && u.Predicate == v.Predicate &&
			u.Exclusion == v.Exclusion
	})
}

// A ForeignKey is a foreign key of another table that refers to the rows that are moved.
type ForeignKey struct {
	Of              int64  // the relation that it refers to: the table, or a part of it
	OfName          string // the same, quoted
	Name            string
	Schema, Table   string
	OnDelete        string // pg_constraint.confdeltype
	Columns, Keys   []string
	Spaces, Signs   []string // the operators that compare a key with a column, by schema and name
	Indexed, Select bool
}

// linkSQL finds the foreign keys that refer to a table or to a part of it: $1 are all
// of these. Those of the partitions of a table that refers to it are the same as that
// table's, and so is what a part has of a key that refers to the whole.
const linkSQL = `
select k.confrelid::int8, (select format('%I.%I', s.nspname, o.relname) from pg_class o
  join pg_namespace s on s.oid = o.relnamespace where o.oid = k.confrelid), k.conname::text, n.nspname::text,
    c.relname::text, k.confdeltype::text,
       array(select a.attname::text from unnest(k.conkey) with ordinality u(n, i)
         join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.n order by u.i),
       array(select a.attname::text from unnest(k.confkey) with ordinality u(n, i)
         join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.n order by u.i),
       array(select s.nspname::text from unnest(k.conpfeqop) with ordinality u(o, i) join pg_operator o on o.oid = u.o
         join pg_namespace s on s.oid = o.oprnamespace order by u.i),
       array(select o.oprname::text from unnest(k.conpfeqop) with ordinality u(o, i) join pg_operator o on o.oid = u.o
         order by u.i),
       exists (select from pg_index i join pg_class x on x.oid = i.indexrelid join pg_am m on m.oid = x.relam
                where i.indrelid = k.conrelid and i.indisvalid and i.indpred is null and m.amname = 'btree'
                  and i.indnkeyatts >= cardinality(k.conkey)
                  and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey),
       has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'SELECT')
  from pg_constraint k
  join pg_class c on c.oid = k.conrelid
  join pg_namespace n on n.oid = c.relnamespace
 where k.contype = 'f' and k.confrelid = any($1::int8[]::oid[])
   and not exists (select from pg_constraint p where p.oid = k.conparentid and p.confrelid = any($1::int8[]::oid[]))
 order by 4, 5, 3`

// Referrer is the table that refers to the rows.
func (l ForeignKey) Referrer() Table { return Table{l.Schema, l.Table} }

// fit refuses a foreign key that would do more than to protect what it refers to.
func (l ForeignKey) fit(role string) error {
	p, name := l.OfName, pgx.Identifier{l.Name}.Sanitize()
	switch {
	case l.OnDelete != "a" && l.OnDelete != "r":
		what := map[string]string{"c": "delete rows there (ON DELETE CASCADE)",
			"n": "change rows there (ON DELETE SET NULL)",
			"d": "change rows there (ON DELETE SET DEFAULT)"}[l.OnDelete]
		return remediate.Refuse(remediate.ReasonUnfit,
			"the foreign key %s of %s refers to %s: to take rows away would %s; archive that table first, and let "+
				"the key say NO ACTION", name, l.Referrer(), p, what)
	case !l.Indexed:
		return remediate.Refuse(remediate.ReasonUnfit,
			"the foreign key %s of %s refers to %s and has no index, so that for each row all of that table would be "+
				"read: create index concurrently on %s (%s)", name, l.Referrer(), p,
			l.Referrer(), session.QuoteList(l.Columns))
	case !l.Select:
		return remediate.Refuse(remediate.ReasonPrivilege,
			"role %s must see which rows the foreign key %s refers to: grant select on table %s to %s", role, name,
			l.Referrer(), pgx.Identifier{role}.Sanitize())
	}
	return nil
}

// Free is the condition that no row refers to row t. OFFSET 0 keeps it a look into
// the index for each row, instead of a join that reads the whole other table.
func (l ForeignKey) Free() string {
	var on []string
	for i, c := range l.Columns {
		on = append(on, fmt.Sprintf("t.%s operator(%s.%s) r.%s", pgx.Identifier{l.Keys[i]}.Sanitize(),
			pgx.Identifier{l.Spaces[i]}.Sanitize(), l.Signs[i], pgx.Identifier{c}.Sanitize()))
	}
	return "not exists (select from " + l.Referrer().String() + " r where " + strings.Join(on, " and ") + " offset 0)"
}

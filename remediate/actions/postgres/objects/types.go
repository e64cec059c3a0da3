package objects

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// usedTypes are the types that the columns of a table are made of, also within arrays,
// domains, ranges and one another.
const usedTypes = `used(oid) as (
  select a.atttypid from pg_attribute a where a.attrelid = $1::int8::oid and a.attnum > 0 and not a.attisdropped
    and a.attgenerated in ('', 's')
  union
  select n.oid
    from used u
    join pg_type t on t.oid = u.oid
    cross join lateral (` + withinTypes + `) n
   where n.oid <> 0
)`

// withinTypes are the types that type t is made of.
const withinTypes = `select t.typelem as oid where t.typlen = -1
                        union all select t.typbasetype
                        union all select r.rngsubtype from pg_range r where r.rngtypid = t.oid
                        union all select r.rngtypid from pg_range r where to_jsonb(r) ->> 'rngmultitypid' = t.oid::text
                        union all select b.atttypid from pg_attribute b where b.attrelid = t.typrelid
                          and t.typtype = 'c' and b.attnum > 0 and not b.attisdropped`

// filedTypesSQL lists the labels of enums and the attributes of composite types that
// the columns of a table are made of, also within arrays, domains, ranges and one
// another. No lock of a table keeps them as they are. Any role may; 13 and later.
const filedTypesSQL = `
with recursive ` + usedTypes + `
select t.oid::int8, format_type(t.oid, null), coalesce(p.number, 0)::int8, coalesce(p.name, ''), coalesce(p.type, '')
  from used u
  join pg_type t on t.oid = u.oid
  left join lateral (select e.oid::int8 as number, e.enumlabel::text as name, '' as type, e.enumsortorder as place
    from pg_enum e where e.enumtypid = t.oid
                     union all
                     select b.attnum, b.attname::text, format_type(b.atttypid, b.atttypmod), b.attnum
                       from pg_attribute b
                      where b.attrelid = t.typrelid and t.typtype = 'c' and b.attnum > 0
                        and not b.attisdropped) p on true
 where t.typtype in ('e', 'c')
 order by t.oid, p.place`

// filedTypes returns the types of a table's columns whose values are written by names
// or by places that a person can change.
func filedTypes(ctx context.Context, q read.Querier, oid int64) (all []depot.Type, err error) {
	type row struct {
		OID          int64
		Name         string
		Number       int64
		Member, Type string
	}
	rows, err := session.Many[row](ctx, q, filedTypesSQL, oid)
	if err != nil {
		return nil, fmt.Errorf("enums and composite types: %w", err)
	}
	for _, r := range rows {
		if n := len(all); n == 0 || all[n-1].OID != r.OID {
			all = append(all, depot.Type{OID: r.OID, Name: r.Name})
		}
		if r.Number != 0 {
			last := &all[len(all)-1]
			last.Parts = append(last.Parts, depot.Member{Number: r.Number, Name: r.Member, Type: r.Type})
		}
	}
	return all, nil
}

// unlike returns how the types of now would read what those of then have written
// otherwise; "" where they would not.
func unlike(then, now []depot.Type) string {
	for _, was := range then {
		i := slices.IndexFunc(now, func(t depot.Type) bool { return t.Name == was.Name })
		if i < 0 {
			return fmt.Sprintf("there is no type %s", was.Name)
		}
		is := now[i]
		for k, m := range was.Parts {
			if m.Type == "" && !labelled(m, was.OID == is.OID, is.Parts) {
				return fmt.Sprintf("the label %q of %s is gone, or another has that name", m.Name, was.Name)
			}
			if m.Type != "" && (k >= len(is.Parts) || is.Parts[k].Name != m.Name || is.Parts[k].Type != m.Type ||
				was.OID == is.OID && is.Parts[k].Number != m.Number) {
				return fmt.Sprintf("attribute %d of %s is not %q, %s", k+1, was.Name, m.Name, m.Type)
			}
		}
		if len(is.Parts) > len(was.Parts) && is.Parts[0].Type != "" {
			return fmt.Sprintf("%s has %d attributes, and had %d", was.Name, len(is.Parts), len(was.Parts))
		}
	}
	return ""
}

// labelled reports whether a label of an enum is one of now. In the same type it is
// the same label, and not another that was given its name.
func labelled(was depot.Member, same bool, now []depot.Member) bool {
	return slices.ContainsFunc(now, func(m depot.Member) bool {
		return m.Name == was.Name &&
			(!same || m.Number == was.Number)
	})
}

// returning is how the columns of an object's rows go into the table.
type returning struct {
	names []string     // of those that the table takes
	made  []rows.Spare // those that it makes anew
	gone  []string     // those that were generated, and that it has no more
}

// intoTable returns how the rows of an object go into a table, and refuses one whose
// columns are not those that they were made of. Columns that a person named are made
// anew, whatever they were.
func intoTable(p depot.Parcel, oid int64, now []depot.Column, types []depot.Type, without []string) (r returning,
	err error) {
	for _, want := range p.Columns {
		i := slices.IndexFunc(now, func(c depot.Column) bool { return c.Name == want.Name })
		switch {
		case i < 0 && want.Made != "":
			r.gone = append(r.gone, want.Name) // made of the others
			continue
		case i < 0:
			return r, remediate.Refuse(remediate.ReasonUnfit,
				"the rows have a column %q, which the table has not any more: add it as %s, or load the object by hand",
				want.Name, want.Type)
		case now[i].Type != want.Type:
			return r, remediate.Refuse(remediate.ReasonUnfit,
				"the rows have column %q as %s, and the table has it as %s: load the object by hand", want.Name,
				want.Type, now[i].Type)
		}
		if p.OID == oid && want.Number != 0 && now[i].Number != want.Number {
			if k := slices.IndexFunc(now, func(c depot.Column) bool { return c.Number == want.Number }); k >= 0 {
				return r, remediate.Refuse(remediate.ReasonUnfit,
					"the column that was called %q when the rows were archived is called %q now, and another has its "+
						"name: load the object by hand", want.Name, now[k].Name)
			}
		}
		name := pgx.Identifier{want.Name}.Sanitize()
		switch {
		case now[i].Made == "":
			r.names = append(r.names, want.Name)
		case !slices.Contains(without, want.Name):
			r.made = append(r.made, rows.Spare{
				Name: name, Same: fmt.Sprintf("t.%s::text is not distinct from (%s)::text", name, now[i].Made),
				Why: fmt.Sprintf("the table generates column %s, and would make another value for rows of the object "+
					"than they had", name),
			})
		}
	}
	if what := unlike(p.Types, types); what != "" {
		return r, remediate.Refuse(remediate.ReasonUnfit,
			"the types are not as they were when the rows were archived: %s; load the object by hand", what)
	}
	return r, nil
}

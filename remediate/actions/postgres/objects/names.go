package objects

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A named is a column whose values are OIDs of something else, and whose text is its
// name: an object has the name, as a dump would, and records what it referred to.
type named struct {
	Column string
	Type   string // regclass and the like
	Array  bool
}

// nameTypes are those types.
func nameTypes() []string {
	return []string{"regproc", "regprocedure", "regoper", "regoperator", "regclass", "regtype", "regconfig",
		"regdictionary", "regnamespace", "regrole", "regcollation"}
}

// namedSQL lists the columns that have such a type, an array or a domain of it, and
// those types that have it within them, without a column; aclitem is one of those. $2 are
// the types.
const namedSQL = `
with recursive ` + usedTypes + `, leads(oid, name, many) as (
  select t.oid, t.typname::text, false from pg_type t where t.oid = any($2::text[]::regtype[]::oid[])
  union
  select t.oid, l.name, l.many or t.typtype <> 'd'
    from leads l
    join pg_type t on t.typbasetype = l.oid and t.typtype = 'd' or t.typelem = l.oid and t.typlen = -1
   where t.oid in (select oid from used)
)
select '', format_type(t.oid, null), false
  from used u
  join pg_type t on t.oid = u.oid and t.typtype = 'c'
  join pg_attribute b on b.attrelid = t.typrelid and b.attnum > 0 and not b.attisdropped
  join leads l on l.oid = b.atttypid
union
select '', 'aclitem', false from used u where u.oid = 'aclitem'::regtype
union
select a.attname::text, l.name, l.many
  from pg_attribute a
  join leads l on l.oid = a.atttypid
 where a.attrelid = $1::int8::oid and a.attnum > 0 and not a.attisdropped and a.attgenerated in ('', 's')
 order by 1, 2`

// namesOf returns the columns with names of other things. It refuses a table that has
// them within a composite type, of which nothing can be said.
func namesOf(ctx context.Context, q read.Querier, p rows.Table, oid int64) ([]named, error) {
	all, err := session.Many[named](ctx, q, namedSQL, oid, nameTypes())
	if err != nil {
		return nil, fmt.Errorf("names of other things in %s: %w", p, err)
	}
	if len(all) > 0 && all[0].Column == "" {
		return nil, remediate.Refuse(remediate.ReasonUnfit,
			"%s has values of the type %s, which has names of other things within it, and a name can mean something "+
				"else when it comes back: archive the table to a table", p,
			all[0].Type)
	}
	return all, nil
}

// sameMeaning refuses rows with a name that now refers to another object.
func sameMeaning(ctx context.Context, tx pgx.Tx, all []depot.Name) error {
	for _, n := range all {
		if !slices.Contains(nameTypes(), n.Type) {
			return remediate.Refuse(remediate.ReasonUnfit,
				"the rows have names of the type %q, which this version of upkeep does not know", n.Type)
		}
		var is int64
		err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, "select "+session.Literal(n.Name)+"::"+n.Type+"::oid::int8").Scan(&is)
		})
		if refused, ok := errors.AsType[*pgconn.PgError](err); ok && (strings.HasPrefix(refused.Code, "42") ||
			strings.HasPrefix(refused.Code, "22") || strings.HasPrefix(refused.Code, "3F")) {
			is, err = 0, nil
		}
		if err != nil {
			return fmt.Errorf("names in the rows: %w", err)
		}
		if is != n.OID {
			return remediate.Refuse(remediate.ReasonUnfit,
				"the rows have the %s %q, which was the one with the OID %d when they were archived, and is another, "+
					"or none, now: give it its name again, or load the object by hand", n.Type,
				n.Name, n.OID)
		}
	}
	return nil
}

package objects

import (
	"context"
	"fmt"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A doubtful column is one whose values the server may write and not read: a circle
// with a negative radius, a value that breaks a constraint of its domain which is not
// valid, or a type of an extension.
type doubtful struct{ Column, Type string }

// doubtfulSQL lists those columns of table $1. A type that is named here, and what is
// made of such types, is read as it was written.
const doubtfulSQL = `
with recursive used(num, oid) as (
  select a.attnum, a.atttypid from pg_attribute a where a.attrelid = $1::int8::oid and a.attnum > 0
    and not a.attisdropped and a.attgenerated in ('', 's')
  union
  select u.num, n.oid
    from used u
    join pg_type t on t.oid = u.oid
    cross join lateral (` + withinTypes + `) n
   where n.oid <> 0
)
select a.attname::text, format_type(a.atttypid, -1)
  from pg_attribute a
 where a.attrelid = $1::int8::oid and a.attnum > 0
   and exists (select from used u join pg_type t on t.oid = u.oid
                where u.num = a.attnum
                  and case t.typtype when 'd' then t.typnotnull or exists (select from pg_constraint k
                    where k.contypid = t.oid)
                                     when 'b' then not (t.typelem <> 0 and t.typlen = -1)
                                       and not (t.typnamespace = 'pg_catalog'::regnamespace and (t.typname like 'reg%'
                                         or t.typname in (
                                       'bool', 'bytea', 'char', 'name', 'int2', 'int4', 'int8', 'text', 'varchar',
                                         'bpchar', 'oid', 'tid', 'xid', 'xid8', 'cid', 'json', 'jsonb', 'float4',
                                           'float8', 'numeric', 'money', 'uuid',
                                       'date', 'time', 'timetz', 'timestamp', 'timestamptz', 'inet', 'cidr', 'macaddr',
                                         'macaddr8', 'bit', 'varbit', 'point', 'pg_lsn', 'tsvector', 'tsquery')))
                                     else false end)
 order by a.attnum`

func doubtfulOf(ctx context.Context, q read.Querier, oid int64) ([]doubtful, error) {
	all, err := session.Many[doubtful](ctx, q, doubtfulSQL, oid)
	if err != nil {
		return nil, fmt.Errorf("columns whose text may not be read back: %w", err)
	}
	return all, nil
}

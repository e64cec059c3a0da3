package objects

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A unique is what a unique index or an exclusion constraint compares, as SQL.
type unique struct {
	Keys      []string // columns or expressions
	Signs     []string // the operators that compare them
	Predicate string   // of which rows; "" for all
	Plain     bool     // columns of all rows
}

// keysSQL lists the unique indexes and exclusion constraints of a table. A key WITHOUT
// OVERLAPS (PostgreSQL 18) is both.
const keysSQL = `
select array(select pg_get_indexdef(i.indexrelid, n, true) from generate_series(1, i.indnkeyatts) n order by n),
       case when i.indisexclusion
            then array(select format('operator(%I.%s)', s.nspname, o.oprname)
              from unnest(k.conexclop) with ordinality u(op, n)
                         join pg_operator o on o.oid = u.op join pg_namespace s on s.oid = o.oprnamespace order by u.n)
            else array_fill('='::text, array[i.indnkeyatts::int]) end,
       coalesce(pg_get_expr(i.indpred, i.indrelid), ''),
       i.indpred is null and i.indexprs is null and not i.indisexclusion
  from pg_index i
  left join pg_constraint k on k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x')
 where i.indrelid = $1::int8::oid and (i.indisunique or i.indisexclusion)
 order by i.indisprimary desc, i.indexrelid`

// clash counts the rows that the table has already by this key.
func (k unique) clash(table string) string {
	of := func(from string) string {
		keys := make([]string, len(k.Keys))
		for i, key := range k.Keys {
			keys[i] = fmt.Sprintf("(%s) as k%d", key, i)
		}
		sql := "(select " + strings.Join(keys, ", ") + " from " + from + " t"
		if k.Predicate != "" {
			sql += " where " + k.Predicate
		}
		return sql + ")"
	}
	on := make([]string, len(k.Keys))
	for i := range k.Keys {
		on[i] = fmt.Sprintf("a.k%d %s b.k%d", i, k.Signs[i], i)
	}
	return "select count(*) from " + of(rowsOfObject) + " a join " + of(table) + " b on " + strings.Join(on, " and ")
}

// conflicts refuses rows of which the table has one with the same key.
func (u restorer) conflicts(ctx context.Context, tx pgx.Tx) error {
	keys, err := session.Many[unique](ctx, tx, keysSQL, u.root)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	for _, key := range keys {
		list := strings.Join(key.Keys, ", ")
		n, err := howMany(ctx, tx, key.clash(u.table().String()))
		switch {
		case errors.Is(err, errUndefined) && key.Plain:
			return remediate.Refuse(remediate.ReasonUnfit, "the table has a key (%s) of which the rows have no column",
				list)
		case errors.Is(err, errUndefined):
			continue // the server compares when the rows come: what they have in it is its default
		case err != nil:
			return fmt.Errorf("look for rows of the same key: %w", err)
		case n > 0:
			return remediate.Refuse(remediate.ReasonUnfit,
				"the table has %d rows with the same (%s) already: change or delete these, or load the object by hand",
				n, list)
		}
	}
	return nil
}

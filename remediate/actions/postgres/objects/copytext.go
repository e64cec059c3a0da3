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

// formSQL makes the text of every type one that is read back exactly, whatever
// the server, the database and the role are set to. They are pg_dump's settings.
const formSQL = `
select set_config('datestyle', 'ISO, YMD', false), set_config('intervalstyle', 'postgres', false),
  set_config('extra_float_digits', '3', false),
       set_config('bytea_output', 'hex', false), set_config('lc_monetary', 'C', false), set_config('timezone', 'UTC',
         false), set_config('xmloption', 'content', false), set_config('array_nulls', 'on', false)`

// encodingOf is the encoding in which the rows of an object are written: that of the
// database, as pg_dump does it. In others, characters are missing, or two become one.
// "" is UTF-8.
func encodingOf(ctx context.Context, q read.Querier) (string, error) {
	name, err := session.One(ctx, q, pgx.RowTo[string], "select case current_setting('server_encoding') when 'UTF8' "+
		"then '' else current_setting('server_encoding') end")
	if err != nil {
		return "", fmt.Errorf("encoding of the database: %w", err)
	}
	return name, nil
}

// encoded is the option of COPY for rows in an encoding.
func encoded(name string) string {
	if name == "" {
		return ""
	}
	return " WITH (ENCODING " + session.Literal(name) + ")"
}

// filedColumnsSQL lists the columns that rows are made of, and what they are generated
// from. Those that are generated at each look (PostgreSQL 18) have no value of their
// own; $3 asks for them too.
const filedColumnsSQL = `
select a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnum::int, case
  when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) else '' end
  from pg_attribute a
  join pg_class c on c.oid = a.attrelid
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
 where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped and (a.attgenerated in ('', 's') or $3)
 order by a.attnum`

// filedColumns returns the columns of which an object has values.
func filedColumns(ctx context.Context, q read.Querier, p rows.Table) ([]depot.Column, error) {
	return columnsOf(ctx, q, p, false)
}

func columnsOf(ctx context.Context, q read.Querier, p rows.Table, virtual bool) ([]depot.Column, error) {
	all, err := session.Many[depot.Column](ctx, q, filedColumnsSQL, p.Schema, p.Name, virtual)
	if err == nil && len(all) == 0 {
		err = remediate.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("columns of %s: %w", p, err)
	}
	return all, nil
}

// loadStatement is what reads the rows of an object. A generated column takes no
// value, so that the rows go another way where there is one.
func loadStatement(into rows.Table, columns []depot.Column, encoding string) string {
	all := session.QuoteList(names(columns))
	own := slices.DeleteFunc(slices.Clone(columns), func(c depot.Column) bool { return c.Made != "" })
	if len(own) == len(columns) {
		return "COPY " + into.String() + " (" + all + ") FROM stdin" + encoded(encoding)
	}
	back := session.QuoteList(names(own))
	return "CREATE TEMPORARY TABLE upkeep_rows AS SELECT " + all + " FROM " + into.String() +
		" WITH NO DATA; COPY upkeep_rows (" + all + ") FROM stdin" + encoded(encoding) + "; INSERT INTO " +
		into.String() + " (" + back + ") OVERRIDING SYSTEM VALUE SELECT " + back +
		" FROM upkeep_rows; DROP TABLE upkeep_rows"
}

func names(columns []depot.Column) (all []string) {
	for _, c := range columns {
		all = append(all, c.Name)
	}
	return all
}

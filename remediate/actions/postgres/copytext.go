package postgres

import (
	"context"
	"fmt"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/depot"
	"github.com/ai-micro-service/upkeep/remediate"
)

// formSQL makes the text of every type one that is read back exactly, whatever
// the server, the database and the role are set to. They are pg_dump's settings.
// Text comes in UTF-8, but from a database that knows no encoding.
const formSQL = `
select set_config('datestyle', 'ISO, YMD', false), set_config('intervalstyle', 'postgres', false), set_config('extra_float_digits', '3', false),
       set_config('bytea_output', 'hex', false), set_config('lc_monetary', 'C', false), set_config('timezone', 'UTC', false), set_config('xmloption', 'content', false),
       set_config('client_encoding', case current_setting('server_encoding') when 'SQL_ASCII' then 'SQL_ASCII' else 'UTF8' end, false)`

// filedColumnsSQL lists the columns that rows are made of. Those that are generated
// come back by themselves.
const filedColumnsSQL = `
select a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnum::int
  from pg_attribute a
  join pg_class c on c.oid = a.attrelid
  join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
 order by a.attnum`

func filedColumns(ctx context.Context, q read.Querier, p place) ([]depot.Column, error) {
	all, err := many[depot.Column](ctx, q, filedColumnsSQL, p.Schema, p.Table)
	if err == nil && len(all) == 0 {
		err = remediate.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("columns of %s: %w", p, err)
	}
	return all, nil
}

// loadStatement is what reads the rows of an object.
func loadStatement(into place, columns []depot.Column) string {
	return "COPY " + into.String() + " (" + list(names(columns)) + ") FROM stdin"
}

func names(columns []depot.Column) (all []string) {
	for _, c := range columns {
		all = append(all, c.Name)
	}
	return all
}

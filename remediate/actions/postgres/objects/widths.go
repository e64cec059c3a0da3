package objects

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// widths are expressions that tell how large row t is before it is read.
type widths struct {
	text   string // the bytes of its text
	stored string // the bytes that it takes in the table
	plain  bool   // no row can be too large to be moved: no column has a value that does not fit into a page
}

// widthSQL lists the columns of a table that rows are made of, with the kind of their
// type: t for text and what is kept the same, b for bytea, f for what has one size,
// and v for the others.
const widthSQL = `
with recursive base(num, typ) as (
  select a.attnum, a.atttypid from pg_attribute a where a.attrelid = $1::int8::oid and a.attnum > 0
    and not a.attisdropped and a.attgenerated in ('', 's')
  union all
  select b.num, t.typbasetype from base b join pg_type t on t.oid = b.typ where t.typtype = 'd'
)
select a.attname::text,
       case when t.typlen > 0 then 'f' when t.oid in (25, 1042, 1043) then 't' when t.oid = 17 then 'b' else 'v' end,
       t.typlen::int
  from base b
  join pg_type t on t.oid = b.typ and t.typtype <> 'd'
  join pg_attribute a on a.attrelid = $1::int8::oid and a.attnum = b.num
 order by a.attnum`

const (
	// fixedText is about the text of a value whose type has one size, as a date.
	fixedText = 40

	// smallValue is up to which size a value is not written as text to see how long that
	// is: compressed, it has at most 255 times as many bytes, and written as text those
	// have eight for each, which together is less than rowMost.
	smallValue = 128 << 10

	// looksAs is how much larger than it is kept a value is taken to be, for the size
	// of a batch: compressed, and written as text.
	looksAs = 4

	// rowHead is what a row takes beside its values.
	rowHead = 28
)

// readWidths makes the expressions for a table.
func readWidths(ctx context.Context, q read.Querier, oid int64) (w widths, err error) {
	type column struct {
		Name, Kind string
		Size       int
	}
	columns, err := session.Many[column](ctx, q, widthSQL, oid)
	if err != nil {
		return w, fmt.Errorf("sizes of columns: %w", err)
	}
	fixed, stored := 0, rowHead
	text, size := []string{""}, []string{""}
	w.plain = true
	for _, c := range columns {
		name := "t." + pgx.Identifier{c.Name}.Sanitize()
		if c.Kind == "f" {
			fixed, stored = fixed+fixedText, stored+c.Size
			continue
		}
		w.plain = false
		size = append(size, "coalesce(pg_column_size("+name+"), 0)")
		switch c.Kind {
		case "t": // the size of what is compressed or kept aside is known without it
			text = append(text, "coalesce(octet_length("+name+"), 0)::int8")
		case "b":
			text = append(text, "coalesce(octet_length("+name+"), 0)::int8 * 2")
		default:
			text = append(text, fmt.Sprintf("case when pg_column_size(%s) > %d then octet_length(%s::text)::int8 "+
				"else coalesce(pg_column_size(%s), 0)::int8 * %d end", name, smallValue, name, name, looksAs))
		}
	}
	text[0], size[0] = strconv.Itoa(fixed+len(columns))+"::int8", strconv.Itoa(stored)+"::int8"
	w.text, w.stored = strings.Join(text, " + "), strings.Join(size, " + ")
	return w, nil
}

// errWide says that the text of a batch is much more than it seemed to be.
var errWide = errors.New("the rows are larger than they seemed")

// tooWide reports what the server says of a value, or a line, that is more than it can
// write as text.
func tooWide(err error) error {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if ok && (refused.Code == "54000" || refused.Code == "53200" || refused.Code == "XX000" &&
		strings.HasPrefix(refused.Message, "invalid memory alloc request size")) {
		return fmt.Errorf("%w: %w", errWide, discreet(err))
	}
	return err
}

// discreet removes content of the rows from an error.
func discreet(err error) error {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		refused.Detail, refused.Where = "", ""
	}
	return err
}

package rows

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// How a batch takes its rows.
type how int

const (
	// byWait deletes the rows and puts elsewhere what was deleted. It waits for rows
	// that others hold, for RowWait.
	byWait how = iota

	// bySkip does so with the rows that are not locked.
	bySkip

	// byCopy copies the rows and deletes them, both as one snapshot has them: a row
	// that somebody has changed since is an error, and nothing is done. It costs
	// the server a fifth to a third less than to keep what was deleted in between.
	byCopy
)

// rangeSQL takes the rows of a range of blocks away.
func (b *batches) rangeSQL(from, to int64, h how) (string, []any) {
	n := len(b.args) + 1
	in := fmt.Sprintf("t.ctid >= format('(%%s,0)', $%d::int8)::tid and t.ctid < format('(%%s,0)', $%d::int8)::tid", n,
		n+1)
	if b.Version < 140000 {
		// There a range of rows would be found by reading the whole table. Each place
		// that a row of these blocks could have is named instead.
		in = fmt.Sprintf("t.ctid = any(array(select format('(%%s,%%s)', p, l)::tid from generate_series($%d::int8, "+
			"$%d::int8 - 1) p, generate_series(1, current_setting('block_size')::int / 28) l))", n, n+1)
	}
	args := append(append([]any{}, b.args...), from, to)
	switch h {
	case byCopy:
		return b.copySQL(in), args
	case bySkip:
		in = "t.ctid = any(array(select t.ctid from only " + b.table.String() + " t where " + in + " and " + b.free() +
			" for update skip locked))"
	case byWait:
	}
	return b.takeSQL("", in, "null::text"), args
}

// keySQL takes the next rows away in the order of the age column.
func (b *batches) keySQL(last string, after bool, n int64, skip bool) (string, []any) {
	first, column := len(b.args)+1, "t."+pgx.Identifier{b.Column}.Sanitize()
	sign, lock := ">=", ""
	if after {
		sign = ">"
	}
	if skip {
		lock = " for update skip locked"
	}
	// The bare comparisons are for the index; the parameters are those of the condition.
	bounds := column + " < $1::timestamptz"
	if b.Back {
		bounds = column + " >= $1::timestamptz and " + column + " < $2::timestamptz"
	}
	next := fmt.Sprintf("b as materialized (select t.ctid as id, %s as at from only %s t where %s %s $%d::text::%s "+
		"and %s and %s order by %s limit $%d%s), ",
		column, b.table, column, sign, first, b.Kind, bounds, b.free(), column, first+1, lock)
	return b.takeSQL(next, "t.ctid = any(array(select b.id from b))", "(select max(b.at)::text from b)"),
		append(append([]any{}, b.args...), last, n)
}

// free is the condition that row t goes and that no row refers to it.
func (b *batches) free() string {
	all := []string{b.condition(1), fmt.Sprintf("t.tableoid = '%d'::oid", b.oid), TriggersFire}
	for _, c := range b.spares {
		all = append(all, c.Same)
	}
	for _, l := range b.refers() {
		all = append(all, l.Free())
	}
	return strings.Join(all, " and ")
}

// TriggersFire is the condition that foreign keys are kept and triggers fire. A server that
// is reconfigured applies that at the next statement, so that the statement must ask.
const TriggersFire = "current_setting('session_replication_role') = 'origin'"

// refers are the foreign keys by which others refer to rows of the table: those to
// itself and those to what is above it.
func (b *batches) refers() (links []ForeignKey) {
	for _, l := range b.Links {
		if slices.Contains(b.relies, l.Of) {
			links = append(links, l)
		}
	}
	return links
}

// takeSQL takes the rows t that a condition picks away and puts them where they go,
// in one statement, which is one transaction. Where less arrived than was taken, it
// fails, and nothing is done. A table that has taken the name of the source or of
// the destination meanwhile is neither read nor written.
func (b *batches) takeSQL(with, pick, last string) string {
	if b.To == (Table{}) {
		return "with " + with + "d as (delete from only " + b.table.String() + " t where " + pick + " and " + b.free() +
			" returning 1) select (select count(*) from d), " + last + ", null::int8[]"
	}
	return "with " + with + "d as (delete from only " + b.table.String() + " t where " + pick + " and " + b.free() +
		" and " + b.same() + " returning " + b.values() +
		"), i as (insert into " + b.To.String() + " (" + session.QuoteList(b.columns) +
		") overriding system value select * from d returning tableoid) select case when d.n = i.n then d.n else 1 / " +
		"(d.n - d.n) end, " + last +
		", i.entered from (select count(*) as n from d) d, (select coalesce(sum(n), 0)::int8 as n, array_agg(part) " +
		"as entered from (select tableoid::int8 as part, count(*) as n from i group by 1) g) i"
}

// copySQL copies the rows t that a condition picks and deletes them, in one
// statement, which tells how many were copied and not how many deleted.
func (b *batches) copySQL(pick string) string {
	which := " from only " + b.table.String() + " t where " + pick + " and " + b.free() + " and " + b.same()
	return "with d as (delete" + which + ") insert into " + b.To.String() + " (" + session.QuoteList(b.columns) +
		") overriding system value select " + b.values() + which
}

// same is the condition that the destination is still the table of the plan.
func (b *batches) same() string {
	return fmt.Sprintf("%s::regclass::oid = '%d'::oid", session.Literal(b.To.String()), b.Dest.OID)
}

// values are the columns of row t that are moved.
func (b *batches) values() string {
	all := make([]string, len(b.columns))
	for i, c := range b.columns {
		all[i] = "t." + pgx.Identifier{c}.Sanitize()
	}
	return strings.Join(all, ", ")
}

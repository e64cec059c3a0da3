package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// A Parcel is one object of a store with rows of a table, as the ledger in the
// database knows it.
type Parcel struct {
	ID             int64
	Object, Place  string
	Rows           int64
	Oldest, Newest string
	Moved          time.Time
	Back           int64 // so many of its rows are in the table again
}

// parcelsSQL lists the objects with rows of a period, in whole or in part; where $5
// is false, only those that are not all back in the table, and whose rows were past their age by
// the column $6. Rights: SELECT on the tables of the schema upkeep,
// which the action postgres/archive makes. 13 and later.
const parcelsSQL = `
select p.id, p.object, p.place, p.rows, p.oldest::text, p.newest::text, p.moved_at,
       coalesce((select sum(r.rows) from upkeep.restored r where r.parcel = p.id), 0)::bigint
  from upkeep.parcels p
 where p.schema_name = $1 and p.table_name = $2
   and p.oldest < $4::text::timestamptz and p.newest >= $3::text::timestamptz
   and ($5 or coalesce(to_jsonb(p) ->> 'age_column', $6) = $6)
   and ($5 or not exists (select from upkeep.restored r where r.parcel = p.id and r.since <= $3::text::timestamptz and r.until >= $4::text::timestamptz))
 order by p.oldest, p.id`

// ReadParcels lists the objects that hold rows of an archive's table of the moment
// since or later and of before until, and are not all back in the table. A zero
// time is no bound. If nothing was ever moved to a store, the list is empty.
func ReadParcels(ctx context.Context, q Querier, a target.Archive, since, until time.Time) ([]Parcel, error) {
	return readParcels(ctx, q, a, since, until, false)
}

// ReadLedger lists every object that ever took rows of an archive's table.
func ReadLedger(ctx context.Context, q Querier, a target.Archive) ([]Parcel, error) {
	return readParcels(ctx, q, a, time.Time{}, time.Time{}, true)
}

func readParcels(ctx context.Context, q Querier, a target.Archive, since, until time.Time, whole bool) ([]Parcel,
	error) {
	rows, err := q.Query(ctx, "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace "+
		"where n.nspname = 'upkeep' and c.relname = 'restored')")
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	there, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool])
	if err != nil || !there {
		return nil, err
	}
	from, to := Bounds(since, until)
	if rows, err = q.Query(ctx, parcelsSQL, a.Schema, a.Table, from, to, whole, a.Column); err != nil {
		return nil, fmt.Errorf("ledger: %w", wants(err, "USAGE on the schema upkeep and SELECT on its tables"))
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Parcel])
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", wants(err, "USAGE on the schema upkeep and SELECT on its tables"))
	}
	return all, nil
}

// ReadFiled counts the rows of those objects.
func ReadFiled(ctx context.Context, q Querier, a target.Archive, since, until time.Time) (n float64, err error) {
	all, err := ReadParcels(ctx, q, a, since, until)
	for _, p := range all {
		n += float64(p.Rows)
	}
	return n, err
}

// Bounds writes the two ends of a period for PostgreSQL. A zero time is no bound.
func Bounds(since, until time.Time) (from, to string) {
	const instant = "2006-01-02 15:04:05.999999-07:00" // PostgreSQL knows microseconds
	from, to = "-infinity", "infinity"
	if !since.IsZero() {
		from = since.UTC().Format(instant)
	}
	if !until.IsZero() {
		to = until.UTC().Format(instant)
	}
	return from, to
}

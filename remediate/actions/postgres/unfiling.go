package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"

	"github.com/ai-micro-service/upkeep/internal/depot"
	"github.com/ai-micro-service/upkeep/internal/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
)

// An unfiling brings the rows of a period back from the objects of a store into the
// table that they came from. Each object is one transaction, which also writes down
// in the ledger which period of it is back: a row comes back once, however often and
// in whatever parts it is asked for.
//
// Before the first row is written, every object is fetched, its checksums are
// compared, its rows are read into a temporary table and looked for in the table:
// where anything is wrong, nothing is changed.
type unfiling struct {
	entry        target.Archive
	since, until time.Time

	plan   rows.Contract // of the plan: the table, its parts and what is above it
	root   int64         // OID of the table
	reader rows.Reader

	c     *pgx.Conn
	fence remediate.Fence
	pace  *pace
	inEnd func() // for tests
}

// run brings all of the period back and returns how many rows that were.
func (u unfiling) run(ctx context.Context) (n int64, err error) {
	if _, err := u.c.Exec(ctx, formSQL); err != nil {
		return 0, fmt.Errorf("form of the rows: %w", err)
	}
	if u.reader, err = rows.NewReader(ctx, u.c); err != nil {
		return 0, err
	}
	now, err := u.reader.Read(ctx, u.c, []int64{u.root})
	if err == nil {
		err = u.plan.Only(u.root).Check(now)
	}
	if err != nil {
		return 0, err
	}
	all, err := read.ReadParcels(ctx, u.c, u.entry, u.since, u.until)
	if err != nil {
		return 0, err
	}
	for _, e := range all {
		if _, err := u.object(ctx, e, false); err != nil {
			return 0, fmt.Errorf("nothing was changed: %w", err)
		}
	}
	for _, e := range all {
		got, err := u.object(ctx, e, true)
		n += got
		if err != nil {
			return n, broughtBack(n, err)
		}
	}
	return n, nil
}

// broughtBack says in an error how many rows are back: each object is a transaction.
func broughtBack(n int64, err error) error {
	if n == 0 {
		return err
	}
	if r, ok := remediate.Refused(err); ok {
		stopped := *r
		stopped.Detail = fmt.Sprintf("%d rows are back, and the rest is not: %s", n, r.Detail)
		return &stopped
	}
	return fmt.Errorf("%d rows are back, and the rest is not: %w", n, err)
}

// object looks at one object and, where it is told to, brings its rows back. It is
// read piece by piece: what it holds goes to a temporary table of the server, and no
// further until all of it was compared.
func (u unfiling) object(ctx context.Context, e read.Parcel, change bool) (n int64, err error) {
	if err := u.pace.keep(ctx, u.c); err != nil {
		return 0, err
	}
	content, err := depot.Open(ctx, u.entry.To.Store, e.Object)
	if err != nil {
		return 0, err
	}
	defer func() { _ = content.Close() }() // was read
	p, err := depot.ReadParcel(e.Object, content)
	if err != nil {
		return 0, err
	}
	tx, err := u.c.BeginTx(ctx, writing())
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // no error after a commit
	if err := u.spread(ctx, tx, p, e); err != nil {
		return 0, err
	}
	if err := u.choose(ctx, tx, e); err != nil {
		return 0, fmt.Errorf("object %s: %w", e.Object, err)
	}
	if err := u.conflicts(ctx, tx); err != nil {
		return 0, fmt.Errorf("object %s: %w", e.Object, err)
	}
	if !change {
		return 0, nil
	}
	if n, err = u.insert(ctx, tx, p.Parcel, e); err != nil {
		return 0, fmt.Errorf("object %s: %w", e.Object, err)
	}
	return n, tx.Commit(ctx)
}

func (u unfiling) table() place { return place{u.entry.Schema, u.entry.Table} }

// rowsOfObject is the temporary table with the rows of one object.
const rowsOfObject = "pg_temp.upkeep_rows"

// spread reads the rows of an object into a temporary table, which has the types
// of the table and none of its constraints.
func (u unfiling) spread(ctx context.Context, tx pgx.Tx, p *depot.ParcelReader, e read.Parcel) error {
	if err := u.loadable(ctx, tx, p); err != nil {
		return fmt.Errorf("object %s: %w", e.Object, err)
	}
	list := list(names(p.Columns))
	if _, err := tx.Exec(ctx, "create temporary table upkeep_rows on commit drop as select "+list+" from "+u.table().String()+" with no data", pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("temporary table: %w", err)
	}
	got, err := tx.Conn().PgConn().CopyFrom(ctx, p, "copy "+rowsOfObject+" ("+list+") from stdin")
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// What the server does not understand of it may be damaged, which is the cause then.
	if damaged := p.Whole(); damaged != nil {
		return damaged
	}
	if err != nil {
		return fmt.Errorf("object %s: read the rows: %w", e.Object, discreet(err))
	}
	if got.RowsAffected() != int64(p.Rows) {
		return fmt.Errorf("object %s: the server read %d rows of %d", e.Object, got.RowsAffected(), p.Rows)
	}
	if int64(p.Rows) != e.Rows {
		return fmt.Errorf("object %s has %d rows, and the ledger says %d", e.Object, p.Rows, e.Rows)
	}
	return nil
}

// loadable refuses a table that is not made as the rows of an object are. What the
// object says is believed only where it leads to no more than a refusal: it is
// compared when the rows are read.
func (u unfiling) loadable(ctx context.Context, tx pgx.Tx, p *depot.ParcelReader) error {
	now, err := filedColumns(ctx, tx, u.table())
	if err != nil {
		return err
	}
	types, err := filedTypes(ctx, tx, u.root)
	if err != nil {
		return err
	}
	refused := loadable(p.Parcel, u.root, now, types)
	if refused == nil {
		return nil
	}
	if damaged := p.Whole(); damaged != nil {
		return damaged
	}
	return refused
}

// choose leaves the rows that are to come back: those of the period, without those
// that are back. The subject's lock keeps others from bringing them back meanwhile.
func (u unfiling) choose(ctx context.Context, tx pgx.Tx, e read.Parcel) error {
	since, until := read.Bounds(u.since, u.until)
	age := pgx.Identifier{u.entry.Column}.Sanitize() + "::timestamptz"
	_, err := tx.Exec(ctx, "delete from "+rowsOfObject+" t where not (t."+age+" >= $1::text::timestamptz and t."+age+" < $2::text::timestamptz)"+
		" or exists (select from upkeep.restored r where r.parcel = $3 and t."+age+" >= r.since and t."+age+" < r.until)", since, until, e.ID)
	if err != nil {
		return fmt.Errorf("choose the rows: %w", err)
	}
	return nil
}

// keysSQL lists the columns of each unique index over plain columns and all rows.
const keysSQL = `
select array(select quote_ident(a.attname) from unnest(i.indkey[0:i.indnkeyatts-1]) with ordinality k(num, place)
               join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num order by k.place)
  from pg_index i
  join pg_class c on c.oid = i.indrelid
  join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = $1 and c.relname = $2 and i.indisunique and i.indpred is null and i.indexprs is null
 order by i.indisprimary desc, i.indexrelid`

// conflicts refuses rows of which the table has one with the same key.
func (u unfiling) conflicts(ctx context.Context, tx pgx.Tx) error {
	found, err := tx.Query(ctx, keysSQL, u.entry.Schema, u.entry.Table)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	keys, err := pgx.CollectRows(found, pgx.RowTo[[]string])
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	for _, key := range keys {
		list := strings.Join(key, ", ")
		var n int64
		err := tx.QueryRow(ctx, "select count(*) from "+rowsOfObject+" join "+u.table().String()+" using ("+list+")").Scan(&n)
		if undefined, ok := errors.AsType[*pgconn.PgError](err); ok && undefined.Code == "42703" {
			return remediate.Refuse(remediate.ReasonUnfit, "the table has a key (%s) of which the rows have no column", list)
		}
		if err != nil {
			return fmt.Errorf("look for rows of the same key: %w", err)
		}
		if n > 0 {
			return remediate.Refuse(remediate.ReasonUnfit, "the table has %d rows with the same (%s) already: change or delete these, or load the object by hand", n, list)
		}
	}
	return nil
}

// insert puts the chosen rows into the table and writes the period down, unless
// something that the plan relies on has changed.
func (u unfiling) insert(ctx context.Context, tx pgx.Tx, p depot.Parcel, e read.Parcel) (n int64, err error) {
	list := list(names(p.Columns))
	into, err := tx.Query(ctx, "with back as (insert into "+u.table().String()+" ("+list+") overriding system value select "+list+" from "+rowsOfObject+" where "+firing+" returning tableoid) select tableoid::int8, count(*) from back group by 1", pgx.QueryExecModeExec)
	if err != nil {
		return 0, fmt.Errorf("insert rows: %w", discreet(err))
	}
	hit := []int64{u.root}
	var oid, some int64
	if _, err = pgx.ForEachRow(into, []any{&oid, &some}, func() error {
		hit, n = append(hit, oid), n+some
		return nil
	}); err != nil {
		return 0, fmt.Errorf("insert rows: %w", discreet(err))
	}
	var chosen int64
	if err := tx.QueryRow(ctx, "select count(*) from "+rowsOfObject).Scan(&chosen); err != nil {
		return 0, fmt.Errorf("count rows: %w", err)
	}
	if n != chosen {
		return 0, fmt.Errorf("the table took %d rows of %d: a trigger or a rule keeps the others", n, chosen)
	}
	since, until := read.Bounds(u.since, u.until)
	if _, err := tx.Exec(ctx, "insert into upkeep.restored (parcel, since, until, rows) values ($1, $2::text::timestamptz, $3::text::timestamptz, $4)", e.ID, since, until, n); err != nil {
		return 0, fmt.Errorf("write down what is back: %w", err)
	}
	if u.inEnd != nil {
		u.inEnd()
	}
	if err := u.fence.Check(ctx); err != nil {
		return 0, err
	}
	return n, u.asPlanned(ctx, tx, p, hit)
}

// asPlanned compares what the rows went through and into with the plan. A partition
// that was attached since must be fit for them by itself.
func (u unfiling) asPlanned(ctx context.Context, tx pgx.Tx, p depot.Parcel, hit []int64) error {
	oids := hit
	for _, oid := range hit {
		tree, err := rows.ReadTree(ctx, tx, oid)
		if err != nil {
			return err
		}
		for _, n := range tree {
			if n.Above {
				oids = append(oids, n.OID)
			}
		}
	}
	now, err := u.reader.Read(ctx, tx, oids)
	if err != nil {
		return err
	}
	if err := u.plan.Only(oids...).Check(now); err != nil {
		return err
	}
	for oid, r := range now.Relations {
		if _, known := u.plan.Relations[oid]; known {
			continue
		}
		if refusal, ok := remediate.Refused(r.Unfit(rows.Insert)); ok {
			return remediate.Refuse(remediate.ReasonChanged, "%s was attached since the plan was made, and %s: nothing more was done; look at it, and plan again", r.Name, refusal.Detail)
		}
	}
	types, err := filedTypes(ctx, tx, u.root)
	if err != nil {
		return err
	}
	if what := unlike(p.Types, types); what != "" {
		return remediate.Refuse(remediate.ReasonChanged, "while rows were brought back, a type was changed: %s: what is back stays there; plan again", what)
	}
	return nil
}

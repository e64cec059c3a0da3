package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"

	"github.com/ai-micro-service/upkeep/internal/depot"
	"github.com/ai-micro-service/upkeep/internal/target"
	"github.com/ai-micro-service/upkeep/remediate"
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
			return n, err
		}
	}
	return n, nil
}

// object looks at one object and, where it is told to, brings its rows back.
func (u unfiling) object(ctx context.Context, e read.Parcel, change bool) (n int64, err error) {
	content, err := u.entry.To.Store.Get(ctx, e.Object)
	if err != nil {
		return 0, err
	}
	p, text, err := depot.OpenParcel(e.Object, content)
	if err != nil {
		return 0, err
	}
	if int64(p.Rows) != e.Rows {
		return 0, fmt.Errorf("object %s has %d rows, and the ledger says %d", e.Object, p.Rows, e.Rows)
	}
	if err := u.pace.keep(ctx, u.c); err != nil {
		return 0, err
	}
	tx, err := u.c.BeginTx(ctx, writing())
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // no error after a commit
	if err := u.spread(ctx, tx, p, text); err != nil {
		return 0, fmt.Errorf("object %s: %w", e.Object, err)
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
	if n, err = u.insert(ctx, tx, p.Columns, e); err != nil {
		return 0, fmt.Errorf("object %s: %w", e.Object, err)
	}
	if u.inEnd != nil {
		u.inEnd()
	}
	if err := u.fence.Check(ctx); err != nil {
		return 0, err
	}
	return n, tx.Commit(ctx)
}

func (u unfiling) table() place { return place{u.entry.Schema, u.entry.Table} }

// rowsOfObject is the temporary table with the rows of one object.
const rowsOfObject = "pg_temp.upkeep_rows"

// spread reads the rows of an object into a temporary table, which has the types
// of the table and none of its constraints.
func (u unfiling) spread(ctx context.Context, tx pgx.Tx, p depot.Parcel, text []byte) error {
	now, err := filedColumns(ctx, tx, u.table())
	if err != nil {
		return err
	}
	var names []string
	for _, want := range p.Columns {
		i := slices.IndexFunc(now, func(c depot.Column) bool { return c.Name == want.Name })
		switch {
		case i < 0:
			return remediate.Refuse(remediate.ReasonUnfit, "the rows have a column %q, which the table has not any more: add it as %s, or load the object by hand", want.Name, want.Type)
		case now[i].Type != want.Type:
			return remediate.Refuse(remediate.ReasonUnfit, "the rows have column %q as %s, and the table has it as %s: load the object by hand", want.Name, want.Type, now[i].Type)
		}
		names = append(names, pgx.Identifier{want.Name}.Sanitize())
	}
	list := strings.Join(names, ", ")
	if _, err := tx.Exec(ctx, "create temporary table upkeep_rows on commit drop as select "+list+" from "+u.table().String()+" with no data", pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("temporary table: %w", err)
	}
	got, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(text), "copy "+rowsOfObject+" ("+list+") from stdin")
	if err != nil {
		return fmt.Errorf("read the rows: %w", err)
	}
	if got.RowsAffected() != int64(p.Rows) {
		return fmt.Errorf("the server read %d rows of %d", got.RowsAffected(), p.Rows)
	}
	return nil
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
	rows, err := tx.Query(ctx, keysSQL, u.entry.Schema, u.entry.Table)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
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

// insert puts the chosen rows into the table and writes the period down.
func (u unfiling) insert(ctx context.Context, tx pgx.Tx, columns []depot.Column, e read.Parcel) (int64, error) {
	var names []string
	for _, c := range columns {
		names = append(names, pgx.Identifier{c.Name}.Sanitize())
	}
	list := strings.Join(names, ", ")
	done, err := tx.Exec(ctx, "insert into "+u.table().String()+" ("+list+") overriding system value select "+list+" from "+rowsOfObject, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return 0, fmt.Errorf("insert rows: %w", err)
	}
	var chosen int64
	if err := tx.QueryRow(ctx, "select count(*) from "+rowsOfObject).Scan(&chosen); err != nil {
		return 0, fmt.Errorf("count rows: %w", err)
	}
	if done.RowsAffected() != chosen {
		return 0, fmt.Errorf("the table took %d rows of %d: a trigger or a rule keeps the others", done.RowsAffected(), chosen)
	}
	since, until := read.Bounds(u.since, u.until)
	if _, err := tx.Exec(ctx, "insert into upkeep.restored (parcel, since, until, rows) values ($1, $2::text::timestamptz, $3::text::timestamptz, $4)", e.ID, since, until, done.RowsAffected()); err != nil {
		return 0, fmt.Errorf("write down what is back: %w", err)
	}
	return done.RowsAffected(), nil
}

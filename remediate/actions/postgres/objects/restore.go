package objects

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// An restorer brings the rows of a period back from the objects of a store into the
// table that they came from. Each object is one transaction, which also writes down
// in the ledger which period of it is back: a row comes back once, however often and
// in whatever parts it is asked for.
//
// Before the first row is written, every object is fetched, its checksums are
// compared, its rows are read into a temporary table and looked for in the table:
// where anything is wrong, nothing is changed.
type restorer struct {
	entry        target.Archive
	since, until time.Time
	without      []string // generated columns that are made anew
	earlier      bool     // rows of an earlier table of the name come back too

	plan   relation.Contract // of the plan: the table, its parts and what is above it
	root   int64             // OID of the table
	reader relation.Reader

	c     *pgx.Conn
	fence remediate.Fence
	pace  *session.Pace
	inEnd func() // for tests
}

// damaged marks the error for an object that is not what was put: it was read to its
// end, and another try would read the same.
func damaged(err error) error {
	if errors.Is(err, depot.ErrDamaged) {
		return fmt.Errorf("%w: %w", err, remediate.ErrFinal)
	}
	return err
}

func (u restorer) table() rows.Table { return rows.Table{Schema: u.entry.Schema, Name: u.entry.Table} }

// rowsOfObject is the temporary table with the rows of one object.
const rowsOfObject = "pg_temp.upkeep_rows"

// spread reads the rows of an object into a temporary table, which has the types
// of the table and none of its constraints.
func (u restorer) spread(ctx context.Context, tx pgx.Tx, p *depot.ParcelReader, e read.Parcel) (r returning,
	err error) {
	if r, err = u.fitting(ctx, tx, p); err != nil {
		return r, fmt.Errorf("object %s: %w", e.Object, err)
	}
	all := make([]string, len(p.Columns))
	for i, c := range p.Columns {
		all[i] = pgx.Identifier{c.Name}.Sanitize()
		if slices.Contains(r.gone, c.Name) {
			all[i] = "null::text as " + all[i]
		}
	}
	if _, err := tx.Exec(ctx, "create temporary table upkeep_rows on commit drop as select "+strings.Join(all, ", ")+
		" from "+u.table().String()+" with no data", pgx.QueryExecModeSimpleProtocol); err != nil {
		return r, fmt.Errorf("temporary table: %w", err)
	}
	got, err := tx.Conn().PgConn().CopyFrom(ctx, p, "copy "+rowsOfObject+" ("+session.QuoteList(names(p.Columns))+
		") from stdin"+encoded(p.Encoding))
	if ctx.Err() != nil {
		return r, context.Cause(ctx)
	}
	// What the server does not understand of it may be damaged, which is the cause then.
	if err := p.Whole(); err != nil {
		return r, err
	}
	if err != nil {
		return r, fmt.Errorf("object %s: read the rows: %w", e.Object, discreet(err))
	}
	if got.RowsAffected() != int64(p.Rows) {
		return r, fmt.Errorf("object %s: the server read %d rows of %d", e.Object, got.RowsAffected(), p.Rows)
	}
	if int64(p.Rows) != e.Rows {
		return r, fmt.Errorf("object %s has %d rows, and the ledger says %d", e.Object, p.Rows, e.Rows)
	}
	return r, nil
}

// fitting refuses a table that is not made as the rows of an object are. What the
// object says is believed only where it leads to no more than a refusal: it is
// compared when the rows are read.
func (u restorer) fitting(ctx context.Context, tx pgx.Tx, p *depot.ParcelReader) (r returning, err error) {
	now, err := columnsOf(ctx, tx, u.table(), true)
	if err != nil {
		return r, err
	}
	types, err := filedTypes(ctx, tx, u.root)
	if err != nil {
		return r, err
	}
	refused := u.ofAnother(p.Parcel)
	if refused == nil {
		r, refused = intoTable(p.Parcel, u.root, now, types, u.without)
	}
	if refused == nil && p.OID == u.root {
		refused = sameMeaning(ctx, tx, p.Names)
	}
	if refused == nil {
		return r, nil
	}
	if err := p.Whole(); err != nil {
		return r, err
	}
	return r, refused
}

// ofAnother refuses the rows of another table, which had the name before this one, and
// those that were past their age by another column.
func (u restorer) ofAnother(p depot.Parcel) error {
	if p.Column != u.entry.Column {
		return remediate.Refuse(remediate.ReasonUnfit,
			"the rows were archived by the column %q, and the archive names %q: what is back is written down by the "+
				"first, so name that one to bring them back", p.Column, u.entry.Column)
	}
	if p.OID == 0 || p.OID == u.root || u.earlier {
		return nil
	}
	return remediate.Refuse(remediate.ReasonUnfit,
		"the rows were archived from another table, which was called %s then (its OID was %d, and this one has %d): "+
			"where this one was made in its place, from a dump for example, say so with the parameter "+
			"earlier_table=true", u.table(), p.OID, u.root)
}

// choose leaves the rows that are to come back: those of the period, without those
// that are back. The subject's lock keeps others from bringing them back meanwhile.
func (u restorer) choose(ctx context.Context, tx pgx.Tx, e read.Parcel) error {
	since, until := read.Bounds(u.since, u.until)
	age := pgx.Identifier{u.entry.Column}.Sanitize() + "::timestamptz"
	_, err := tx.Exec(ctx, "delete from "+rowsOfObject+" t where not (t."+age+" >= $1::text::timestamptz and t."+age+
		" < $2::text::timestamptz) or exists (select from upkeep.restored r where r.parcel = $3 and t."+age+" >= "+
		"r.since and t."+age+
		" < r.until)",
		since, until, e.ID)
	if err != nil {
		return fmt.Errorf("choose the rows: %w", err)
	}
	return nil
}

// unspoiled refuses rows of which the table would make another value than they had.
func (u restorer) unspoiled(ctx context.Context, tx pgx.Tx, r returning) error {
	for _, c := range r.made {
		n, err := howMany(ctx, tx, "select count(*) from "+rowsOfObject+" t where not "+c.Same)
		switch {
		case errors.Is(err, errUndefined):
			return remediate.Refuse(remediate.ReasonUnfit,
				"%s: it is made of a column that the rows do not have; name it in the parameter without where it may "+
					"be made anew", c.Why)
		case err != nil:
			return fmt.Errorf("values that are made anew: %w", err)
		case n > 0:
			return remediate.Refuse(remediate.ReasonUnfit,
				"%s, %d in this object: drop the expression of the column, or name it in the parameter without where "+
					"it may be made anew", c.Why, n)
		}
	}
	return nil
}

// errUndefined says that a statement names a column that is not there.
var errUndefined = errors.New("there is no such column")

// howMany asks for a number. An error leaves the transaction as it was.
func howMany(ctx context.Context, tx pgx.Tx, sql string) (n int64, err error) {
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sql).Scan(&n) })
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == "42703" {
		return 0, errUndefined
	}
	return n, discreet(err)
}

// insert puts the chosen rows into the table and writes the period down, unless
// something that the plan relies on has changed.
func (u restorer) insert(ctx context.Context, tx pgx.Tx, p depot.Parcel, r returning, e read.Parcel) (n int64,
	err error) {
	list := session.QuoteList(r.names)
	into, err := tx.Query(ctx, "with back as (insert into "+u.table().
		String()+" ("+list+") overriding system value select "+list+" from "+rowsOfObject+" where "+rows.TriggersFire+
		" returning tableoid) select tableoid::int8, count(*) from back group by 1", pgx.QueryExecModeExec)
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
	if _, err := tx.Exec(ctx, "insert into upkeep.restored (parcel, since, until, rows) values ($1, "+
		"$2::text::timestamptz, $3::text::timestamptz, $4)", e.ID, since, until, n); err != nil {
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

// asPlanned compares the path and the destination of the rows with the plan. A partition
// that was attached since must be fit for them by itself.
func (u restorer) asPlanned(ctx context.Context, tx pgx.Tx, p depot.Parcel, hit []int64) error {
	oids := hit
	for _, oid := range hit {
		tree, err := relation.ReadTree(ctx, tx, oid)
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
		if r.Unlogged() {
			return remediate.Refuse(remediate.ReasonChanged,
				"%s was attached since the plan was made, and is unlogged: a crash would empty it, and its rows "+
					"would count as back; nothing more was done; plan again", r.Name)
		}
		if refusal, ok := remediate.Refused(r.Unfit(relation.Insert)); ok {
			return remediate.Refuse(remediate.ReasonChanged,
				"%s was attached since the plan was made, and %s: nothing more was done; look at it, and plan again",
				r.Name, refusal.Detail)
		}
	}
	types, err := filedTypes(ctx, tx, u.root)
	if err != nil {
		return err
	}
	if what := unlike(p.Types, types); what != "" {
		return remediate.Refuse(remediate.ReasonChanged,
			"while rows were brought back, a type was changed: %s: what is back stays there; plan again", what)
	}
	return nil
}

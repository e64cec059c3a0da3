package advice

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/collectors/postgres/usage"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

const (
	// mostAdvice is how many indexes of each kind are listed, the largest first: a
	// longer list would not be read.
	mostAdvice = 100

	// adviseBloat and adviseBytes are from which bloat on a rebuild is advised: what
	// the monthly rebuild of the example does.
	adviseBloat = 0.3
	adviseBytes = 16 << 20
)

// An Report is what could be done about the indexes of a server.
type Report struct {
	Server    string     `json:"server"`
	Version   int        `json:"version"` // as a number
	At        time.Time  `json:"at"`
	Databases []Database `json:"databases"`
}

// A Database is what could be done about the indexes of one database.
type Database struct {
	Database    string       `json:"database"`
	Fault       string       `json:"fault,omitempty"`      // why it could not be read, or not all of it
	Begun       time.Time    `json:"writes_since"`         // since when writes are counted
	Since       time.Time    `json:"since"`                // since when scans are known to be counted
	Why         string       `json:"since_why"`            // what happened then
	Counted     bool         `json:"counted"`              // scans are counted now
	Unasked     []string     `json:"standbys_unmonitored"` // whose use of indexes is not known
	Unused      []Index      `json:"unused,omitempty"`     // not used by any query
	Duplicate   []Index      `json:"duplicate,omitempty"`  // identical to another
	Redundant   []Index      `json:"redundant,omitempty"`  // the first keys of another
	Invalid     []Index      `json:"invalid,omitempty"`
	Bloated     []Index      `json:"bloated,omitempty"`
	ForeignKeys []ForeignKey `json:"foreign_keys_without_index,omitempty"`
}

// An Index is what is known of one index, and what could be done about it.
type Index struct {
	Schema        string   `json:"schema"`
	Table         string   `json:"table"`
	Index         string   `json:"index"`
	SizeBytes     int64    `json:"size_bytes"`
	Scans         int64    `json:"scans"`
	LastScan      string   `json:"last_scan,omitempty"` // 16 and later
	Since         string   `json:"unused_since,omitempty"`
	From          string   `json:"proven_from,omitempty"` // when that will be long enough; "" where it is
	Beside        string   `json:"covered_by,omitempty"`
	Note          string   `json:"note,omitempty"`
	BloatRatio    float64  `json:"bloat_ratio,omitempty"`
	EntriesPerDay *float64 `json:"entries_per_day,omitempty"`  // written at most; fewer where it is partial
	BytesPerDay   *float64 `json:"bytes_per_day,omitempty"`    // of entries; WAL and page splits come on top
	HotRatio      *float64 `json:"hot_update_ratio,omitempty"` // share of the table's updates that touch no index
	Do            string   `json:"do,omitempty"`
	Undo          string   `json:"undo,omitempty"`
}

// A ForeignKey is one whose rows no index finds.
type ForeignKey struct {
	Schema     string   `json:"schema"`
	Table      string   `json:"table"`
	Constraint string   `json:"constraint"`
	Refers     string   `json:"refers_to"`
	Rows       float64  `json:"rows"`            // of the table, that each change of a row that is referred to reads
	PerDay     *float64 `json:"changes_per_day"` // deletes and updates of the table referred to
	Do         string   `json:"do,omitempty"`
}

// writesSQL reports what is written to each table with indexes: rows that make a new
// entry in every index, and updates, and those among them that touched none.
//
// Rights: none beyond CONNECT. Versions: 13 and later. Cost: one pass over pg_class.
const writesSQL = `
select i.indexrelid::int8,
       (coalesce(pg_stat_get_tuples_inserted(i.indrelid), 0) + coalesce(pg_stat_get_tuples_updated(i.indrelid),
         0) - coalesce(pg_stat_get_tuples_hot_updated(i.indrelid), 0))::float8,
       coalesce(pg_stat_get_tuples_updated(i.indrelid), 0)::float8,
       coalesce(pg_stat_get_tuples_hot_updated(i.indrelid), 0)::float8,
       case when c.reltuples > 0 then pg_relation_size(c.oid) / c.reltuples else 0 end::float8
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
 where i.indexrelid = $1::int8::oid`

// foreignKeysSQL finds the foreign keys whose rows no index finds: a row that they refer
// to cannot be deleted, nor its key changed, without reading the whole table.
//
// Rights: none beyond CONNECT. Versions: 13 and later. Cost: one pass over
// pg_constraint and pg_index.
const foreignKeysSQL = `
select n.nspname::text, t.relname::text, k.conname::text, rn.nspname::text, r.relname::text,
       array(select a.attname::text from unnest(k.conkey) with ordinality u (num, n)
         join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.num order by u.n),
       greatest(t.reltuples, 0)::float8,
       (coalesce(pg_stat_get_tuples_deleted(r.oid), 0) + coalesce(pg_stat_get_tuples_updated(r.oid), 0))::float8,
       t.relkind = 'r'
  from pg_constraint k
  join pg_class t on t.oid = k.conrelid
  join pg_namespace n on n.oid = t.relnamespace
  join pg_class r on r.oid = k.confrelid
  join pg_namespace rn on rn.oid = r.relnamespace
 where k.contype = 'f'
   and k.conparentid = 0
   and not exists (
     select from pg_index i
       join pg_class c on c.oid = i.indexrelid
       join pg_am m on m.oid = c.relam and m.amname = any (array['btree', 'hash'])
      where i.indrelid = k.conrelid and i.indisvalid and i.indpred is null
        and (i.indkey::int2[])[0:array_length(k.conkey, 1) - 1] @> k.conkey)
 order by t.reltuples desc, 1, 2, 3`

// Read looks at every database of a server. One that cannot be read says why.
func Read(ctx context.Context, t *target.Postgres, now time.Time) (a Report, err error) {
	a = Report{Server: t.Name, At: now}
	server, err := t.Server()
	if err != nil {
		return a, err
	}
	if a.Version, err = server.Version(ctx); err != nil {
		return a, err
	}
	names, err := t.Databases(ctx)
	if err != nil {
		return a, err
	}
	for _, name := range names {
		d := Database{Database: name}
		if err := d.read(ctx, t, now); err != nil {
			d.Fault = err.Error()
		}
		if ctx.Err() != nil {
			return a, fmt.Errorf("database %s: %w", name, context.Cause(ctx))
		}
		a.Databases = append(a.Databases, d)
	}
	return a, nil
}

func (d *Database) read(ctx context.Context, t *target.Postgres, now time.Time) error {
	db, err := t.Database(d.Database)
	if err != nil {
		return err
	}
	known, err := usage.Read(ctx, t, d.Database, db, now)
	if err != nil {
		return fmt.Errorf("unused indexes: %w", err)
	}
	d.Begun, d.Since, d.Why, d.Counted, d.Unasked = known.Begun, known.Since, known.Why, known.Counted, known.Unasked
	l := lister{db, now, d.Begun}
	for _, r := range largest(known.Unused, func(r usage.Unused) float64 { return r.SizeBytes }) {
		if err := l.add(ctx, &d.Unused, r.Schema, r.Table, r.Index, Traits.drop, true,
			func(one *Index) { one.prove(r.Since, r.Why, known, now) }); err != nil {
			return err
		}
	}
	duplicates, err := read.ReadDuplicateIndex(ctx, db)
	if err != nil {
		return fmt.Errorf("duplicate indexes: %w", err)
	}
	for _, r := range largest(duplicates, func(r read.DuplicateIndexRow) float64 { return r.SizeBytes }) {
		to := &d.Duplicate
		if r.Kind != "identical" {
			to = &d.Redundant
		}
		if err := l.add(ctx, to, r.Schema, r.Table, r.Index, Traits.drop, true, func(one *Index) {
			if one.Beside = r.CoveredBy; r.Kind != "identical" { // its use is what people weigh
				one.prove(known.Since, known.Why, known, now)
			}
		}); err != nil {
			return err
		}
	}
	invalid, err := read.ReadInvalidIndex(ctx, db)
	if err != nil {
		return fmt.Errorf("invalid indexes: %w", err)
	}
	for _, r := range largest(invalid, func(r read.InvalidIndexRow) float64 { return r.SizeBytes }) {
		if err := l.add(ctx, &d.Invalid, r.Schema, r.Table, r.Index, Traits.drop, true, nil); err != nil {
			return err
		}
	}
	d.settle()
	if err := d.foreignKeys(ctx, db, now); err != nil {
		return err
	}
	return d.bloated(ctx, l)
}

// A lister adds indexes to a list.
type lister struct {
	db    *target.Database
	now   time.Time
	begun time.Time // since when writes are counted
}

// add adds one index, with the statement for it.
func (l lister) add(ctx context.Context, to *[]Index, schema, table, index string, do func(Traits) string, undo bool,
	change func(*Index)) error {
	x, err := ReadTraits(ctx, l.db, schema, table, index)
	if err != nil {
		return err
	}
	one := Index{Schema: schema, Table: table, Index: index, SizeBytes: x.SizeBytes, Scans: x.Scans,
		LastScan: x.LastScan,
		Do:       do(x) + ";"}
	if undo {
		one.Undo = x.Again()
	}
	if err := one.writes(ctx, l.db, x.OID, l.now.Sub(l.begun)); err != nil {
		return err
	}
	if change != nil {
		change(&one)
	}
	*to = append(*to, one)
	return nil
}

// bloated lists the indexes that a rebuild would make smaller.
func (d *Database) bloated(ctx context.Context, l lister) error {
	bloated, fault := read.ReadIndexBloat(ctx, l.db, read.Subject{}) // what may be read is reported
	bloated = slices.DeleteFunc(bloated, func(r read.IndexBloatRow) bool {
		return r.Ratio <= adviseBloat ||
			r.BloatBytes <= adviseBytes
	})
	for _, r := range largest(bloated, func(r read.IndexBloatRow) float64 { return float64(r.BloatBytes) }) {
		rebuild := func(x Traits) string { return "REINDEX INDEX CONCURRENTLY " + x.Name() }
		if err := l.add(ctx, &d.Bloated, r.Schema, r.Table, r.Index, rebuild, false,
			func(one *Index) { one.BloatRatio = r.Ratio }); err != nil {
			return err
		}
	}
	if fault != nil {
		return fmt.Errorf("bloat: %w", fault)
	}
	return nil
}

// prove says since when the use of an index is known, and takes its statements away
// where that is not long enough, or not all of it is known.
func (one *Index) prove(since time.Time, why string, known usage.Indexes, now time.Time) {
	one.Since = since.UTC().Format(time.RFC3339)
	switch {
	case !known.Counted:
		one.withhold("scans are not counted")
	case len(known.Unasked) > 0:
		one.withhold("a standby may use it and is not asked")
	case now.Sub(since) < ProvenAfter:
		one.From = since.Add(ProvenAfter).UTC().Format(time.RFC3339)
		one.withhold("not proven yet: " + why)
	}
}

// withhold takes the statements away: what must not be done is not printed ready to be.
func (one *Index) withhold(why string) { one.Note, one.Do, one.Undo = why, "", "" }

// settle takes away the statements that must not be carried out beside others of the
// list: who does all that it says must not lose an index and the one that was to
// stay in its place.
func (d *Database) settle() {
	unused := make(map[[2]string]bool) // those that the list says to drop
	for _, x := range d.Unused {
		unused[[2]string{x.Schema, x.Index}] = x.Do != ""
	}
	for _, all := range [][]Index{d.Duplicate, d.Redundant} {
		for i := range all {
			x := &all[i]
			switch {
			case x.Do == "":
			case unused[[2]string{x.Schema, x.Index}]:
				x.withhold("unused too: see there")
			case unused[[2]string{x.Schema, x.Beside}]:
				x.withhold("that one counts as unused: only one of the two may go")
			}
		}
	}
}

// writes reports what the index costs those who write. Where less than an hour was
// counted nothing can be said of a day.
func (one *Index) writes(ctx context.Context, q read.Querier, oid int64, counted time.Duration) error {
	rows, err := q.Query(ctx, writesSQL, oid)
	if err != nil {
		return err
	}
	type row struct {
		OID                               int64
		Entries, Updates, Hot, EntryBytes float64
	}
	w, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[row])
	if err != nil {
		return fmt.Errorf("what is written to index %s: %w", pgx.Identifier{one.Schema, one.Index}.Sanitize(), err)
	}
	if w.Updates > 0 {
		one.HotRatio = new(w.Hot / w.Updates)
	}
	if counted >= time.Hour {
		entries := w.Entries / (counted.Hours() / 24)
		one.EntriesPerDay = &entries
		if w.EntryBytes > 0 {
			one.BytesPerDay = new(entries * w.EntryBytes)
		}
	}
	return nil
}

// A ForeignKeyRow is one foreign key whose rows no index finds.
type ForeignKeyRow struct {
	Schema, Table, Constraint, RefersSchema, RefersTable string
	Columns                                              []string
	Rows, Changes                                        float64 // of the table, and of the one referred to
	Plain                                                bool    // the table is not partitioned
}

// ReadForeignKeys finds the foreign keys of a database whose rows no index finds, those of the largest
// tables first.
func ReadForeignKeys(ctx context.Context, q read.Querier) ([]ForeignKeyRow, error) {
	rows, err := target.Rows[ForeignKeyRow](ctx, q, foreignKeysSQL)
	if err != nil {
		return nil, fmt.Errorf("foreign keys: %w", err)
	}
	return rows, nil
}

// Refers is the table that is referred to, quoted.
func (r ForeignKeyRow) Refers() string {
	return pgx.Identifier{r.RefersSchema, r.RefersTable}.Sanitize()
}

// Do is the statement that makes the index. It is empty for a partitioned table, where none can be made
// concurrently.
func (r ForeignKeyRow) Do() string {
	if !r.Plain {
		return ""
	}
	return "CREATE INDEX CONCURRENTLY ON " + pgx.Identifier{r.Schema, r.Table}.Sanitize() + " (" +
		session.QuoteList(r.Columns) + ");"
}

func (d *Database) foreignKeys(ctx context.Context, q read.Querier, now time.Time) error {
	all, err := ReadForeignKeys(ctx, q)
	if err != nil {
		return err
	}
	for _, r := range all[:min(len(all), mostAdvice)] {
		k := ForeignKey{Schema: r.Schema, Table: r.Table, Constraint: r.Constraint, Refers: r.Refers(), Rows: r.Rows,
			Do: r.Do()}
		if counted := now.Sub(d.Begun); counted >= time.Hour {
			k.PerDay = new(r.Changes / (counted.Hours() / 24))
		}
		d.ForeignKeys = append(d.ForeignKeys, k)
	}
	return nil
}

// largest returns as many of the rows as are listed, the largest first.
func largest[T any](rows []T, size func(T) float64) []T {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b T) int { return cmp.Compare(size(b), size(a)) })
	return rows[:min(len(rows), mostAdvice)]
}

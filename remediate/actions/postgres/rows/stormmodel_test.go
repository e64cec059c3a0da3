package rows_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
)

// A model is what the storm's own committed statements have made: the values of each
// row by column, without NULL, and the rows of the tables that refer to them.
type model struct {
	rows map[int64]map[string]string
	kids map[string]map[int64]int64 // by table and id: the row that it refers to
	kept map[int64]string           // rows that the storm took out of its table, by where they are
}

func newModel() *model {
	return &model{rows: make(map[int64]map[string]string), kids: make(map[string]map[int64]int64),
		kept: make(map[int64]string)}
}

func (m *model) set(ids []int64, column string, value func(i int, id int64) string) {
	for i, id := range ids {
		if row := m.rows[id]; row != nil {
			row[column] = value(i, id)
		}
	}
}

// forget is that a column of these rows is NULL or gone.
func (m *model) forget(ids []int64, column string) {
	for _, id := range ids {
		delete(m.rows[id], column)
	}
}

// A finding is a row where it was found.
type finding struct {
	where  string
	values map[string]*string
}

// holders are all tables with rows of the source's or the archive's kind.
const holdersSQL = `
select format('%I.%I', n.nspname, c.relname), array(select attname::text from pg_attribute a where a.attrelid = c.oid and attnum > 0 and not attisdropped order by attnum)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r' and n.nspname in ('public', 'other')
   and (select count(*) from pg_attribute a where a.attrelid = c.oid and attname in ('id', 'at', 'amount') and not attisdropped) = 3
 order by 1`

// found reads every row that is anywhere.
func (w *world) found(ctx context.Context) (map[int64][]finding, error) {
	all := make(map[int64][]finding)
	type holder struct {
		Name    string
		Columns []string
	}
	rows, err := w.conn.Query(ctx, holdersSQL)
	if err != nil {
		return nil, err
	}
	holders, err := pgx.CollectRows(rows, pgx.RowToStructByPos[holder])
	if err != nil {
		return nil, err
	}
	for _, h := range holders {
		if err := w.readTable(ctx, h.Name, h.Columns, all); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	if w.store != nil {
		err = w.readStore(ctx, all)
	}
	return all, err
}

func (w *world) readTable(ctx context.Context, name string, columns []string, all map[int64][]finding) error {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = pgx.Identifier{c}.Sanitize() + "::text"
	}
	rows, err := w.conn.Query(ctx, "select id::bigint, "+strings.Join(list, ", ")+" from only "+name,
		pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		values := make([]*string, len(columns))
		to := []any{&id}
		for i := range values {
			to = append(to, &values[i])
		}
		if err := rows.Scan(to...); err != nil {
			return err
		}
		f := finding{name, make(map[string]*string)}
		for i, c := range columns {
			f.values[c] = values[i]
		}
		all[id] = append(all[id], f)
	}
	return rows.Err()
}

// ledgerRows are the objects that the ledger names, with the periods that are back.
const ledgerRows = `
select p.object, coalesce(array(select r.since::text from upkeep.restored r where r.parcel = p.id order by r.since), '{}'),
       coalesce(array(select r.until::text from upkeep.restored r where r.parcel = p.id order by r.since), '{}')
  from upkeep.parcels p order by p.id`

// readStore reads the rows of every object that the ledger names, but for those that
// are back.
func (w *world) readStore(ctx context.Context, all map[int64][]finding) error {
	var there bool
	if err := w.conn.QueryRow(ctx, "select to_regclass('upkeep.parcels') is not null").Scan(&there); err != nil ||
		!there {
		return err
	}
	type entry struct {
		Object       string
		Since, Until []string
	}
	rows, err := w.conn.Query(ctx, ledgerRows)
	if err != nil {
		return err
	}
	entries, err := pgx.CollectRows(rows, pgx.RowToStructByPos[entry])
	if err != nil {
		return err
	}
	for _, e := range entries {
		content, err := w.store.Get(ctx, e.Object)
		if err != nil {
			return err
		}
		p, text, err := depot.OpenParcel(e.Object, content)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			f := finding{e.Object, make(map[string]*string)}
			for i, field := range strings.Split(strings.TrimSuffix(line, "\n"), "\t") {
				if field != `\N` {
					f.values[p.Columns[i].Name] = &field
				} else {
					f.values[p.Columns[i].Name] = nil
				}
			}
			if back(*f.values["at"], e.Since, e.Until) {
				continue
			}
			var id int64
			if _, err := fmt.Sscan(*f.values["id"], &id); err != nil {
				return err
			}
			all[id] = append(all[id], f)
		}
	}
	return nil
}

func instant(text string) time.Time {
	at, err := time.Parse("2006-01-02 15:04:05.999999-07", text)
	if err != nil {
		panic(err) // the server wrote it, in UTC
	}
	return at
}

// back reports whether a moment is in one of the periods.
func back(at string, since, until []string) bool {
	for i := range since {
		low := since[i] == "-infinity" || !instant(at).Before(instant(since[i]))
		if low && (until[i] == "infinity" || instant(at).Before(instant(until[i]))) {
			return true
		}
	}
	return false
}

// losses compares what was found with the model.
func (w *world) losses(all map[int64][]finding) (said []string) {
	lose := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	cut := time.Now().Add(-stormAge)
	for _, id := range slices.Sorted(maps.Keys(w.model.rows)) {
		row, at := w.model.rows[id], all[id]
		switch {
		case len(at) == 0 && w.scene.to == "nothing" && instant(row["at"]).Before(cut) && w.model.kept[id] == "":
		case len(at) == 0:
			lose("row %d is lost (at %s, kept in %q)", id, row["at"], w.model.kept[id])
		case len(at) > 1:
			lose("row %d is there %d times: %s, %s", id, len(at), at[0].where, at[1].where)
		default:
			for _, column := range slices.Sorted(maps.Keys(row)) {
				value, there := at[0].values[column]
				switch {
				case !there:
					lose("row %d in %s has no column %s any more, which was %q", id, at[0].where, column,
						brief(row[column]))
				case value == nil:
					lose("row %d in %s has %s NULL, and it was %q", id, at[0].where, column, brief(row[column]))
				case *value != row[column]:
					lose("row %d in %s has %s = %q, and it was %q", id, at[0].where, column, brief(*value),
						brief(row[column]))
				}
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if w.model.rows[id] == nil {
			lose("row %d, which the storm has deleted, is in %s", id, all[id][0].where)
		}
	}
	return said
}

func brief(s string) string { return s[:min(len(s), 40)] }

// remainsSQL reports what an action has left behind.
const remainsSQL = `
select 'a lock of a session of ours: ' || a.application_name from pg_locks l join pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'advisory' and a.datname = current_database()
union all select 'an open transaction: ' || query from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state like 'idle in transaction%'
union all select 'an invalid index: ' || indexrelid::regclass from pg_index where not indisvalid and indrelid in (select oid from pg_class where relkind = 'r')
union all select 'a constraint: ' || conrelid::regclass || ' ' || conname from pg_constraint where conname like 'upkeep%' and conrelid::int8 <> all ($1::int8[])
union all select 'a trigger: ' || tgrelid::regclass || ' ' || tgname from pg_trigger where tgname like 'repack%' or tgname like 'upkeep%'
union all select 'a table: ' || oid::regclass from pg_class where relkind = 'r' and relname ~ '^(log|table)_[0-9]+$'`

// check compares everything with the model and fails the test where it differs.
func (w *world) check() {
	w.t.Helper()
	ctx := context.Background()
	all, err := w.found(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	said := w.losses(all)
	if len(said) > 0 {
		w.inventory(ctx)
	}
	for _, kids := range slices.Sorted(maps.Keys(w.model.kids)) {
		said = append(said, w.kidsDiffer(ctx, w.conn, kids)...)
	}
	w.parted(ctx)
	remains := remainsSQL
	if w.version >= 14 {
		remains += " union all select 'a detachment that is pending: ' || inhrelid::regclass from pg_inherits where " +
			"inhdetachpending"
	}
	w.remain(ctx, remains, &said)
	for _, sql := range []string{
		"select 'the trigger ' || by || ' fired for row ' || id from public.audit",
		"select 'the bystander differs: ' || coalesce(b.key, i)::text from public.bystander b full join " +
			"generate_series(1, 50) i on i = b.key where b.note is distinct from 'note ' || i",
	} {
		rows, err := w.conn.Query(ctx, sql)
		if err != nil {
			w.t.Fatal(err)
		}
		more, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			w.t.Fatal(err)
		}
		said = append(said, more...)
	}
	w.lose(said...)
}

// remain adds what an action has left behind without saying so.
func (w *world) remain(ctx context.Context, sql string, said *[]string) {
	w.t.Helper()
	rows, err := w.conn.Query(ctx, sql, slices.Collect(maps.Keys(w.admitted)))
	if err != nil {
		w.t.Fatal(err)
	}
	more, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	*said = append(*said, more...)
}

// parted waits until the sessions of ours with locks have ended, which were closed: on a busy machine
// the server needs a while for that.
func (w *world) parted(ctx context.Context) {
	w.t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var n int
		if err := w.conn.QueryRow(ctx, "select count(*) from pg_locks l join pg_stat_activity a on a.pid = l.pid "+
			"where l.locktype = 'advisory' and a.datname = current_database()").Scan(&n); err != nil {
			w.t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

// inventory writes down which tables there are at the end, for who reads a history.
func (w *world) inventory(ctx context.Context) {
	rows, err := w.conn.Query(ctx, "select oid::regclass || ' (' || oid || ', ' || relkind || relpersistence || ')' "+
		"|| coalesce(' in ' || (select inhparent::regclass::text from pg_inherits where inhrelid = c.oid), '') from "+
		"pg_class c where relkind in ('r', 'p') and relnamespace in ('public'::regnamespace, 'other'::regnamespace) "+
		"order by 1")
	if err != nil {
		return
	}
	all, _ := pgx.CollectRows(rows, pgx.RowTo[string]) // it only helps to read
	w.note("tables: %s", strings.Join(all, ", "))
}

// lose fails the test, and tells the first few of what is wrong.
func (w *world) lose(said ...string) {
	if len(said) == 0 {
		return
	}
	w.note("LOST %d: %s", len(said), strings.Join(said[:min(len(said), 6)], "; "))
	w.t.Errorf("seed %d: %d are not as the storm's own statements made them:\n  %s", w.seed, len(said),
		strings.Join(said[:min(len(said), 6)], "\n  "))
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// kidsDiffer compares a table that refers to rows with the model.
func (w *world) kidsDiffer(ctx context.Context, c querier, table string) (said []string) {
	rows, err := c.Query(ctx, "select id, coalesce(ref, -1) from "+table, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", table, err)}
	}
	got := make(map[int64]int64)
	var id, ref int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &ref}, func() error { got[id] = ref; return nil }); err != nil {
		return []string{fmt.Sprintf("%s: %v", table, err)}
	}
	for id, ref := range w.model.kids[table] {
		if now, there := got[id]; !there {
			said = append(said, fmt.Sprintf("row %d of %s, which refers to %d, was deleted", id, table, ref))
		} else if now != ref {
			said = append(said, fmt.Sprintf("row %d of %s refers to %d, and did to %d", id, table, now, ref))
		}
	}
	slices.Sort(said)
	return said
}

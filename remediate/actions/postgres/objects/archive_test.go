package objects

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

const (
	oldSchema = `My "Schema"`
	agedTable = "täble\"; DROP TABLE victim; --\\ '\n"
	oldColumn = "at\t$1 \"'%s"
)

// A cabinet is a table with old rows, and a store.
type cabinet struct {
	url, database string
	conn          *pgx.Conn
	store         depot.Store
	table         string // quoted
}

func fenceHeld(context.Context) error { return nil }

// furnish makes the table with n rows, one an hour, the last of them an hour old;
// a row has what is hard to write down.
func furnish(t *testing.T, url, database string, store depot.Store, n int) *cabinet {
	t.Helper()
	c := &cabinet{url: url, database: database, store: store, table: pgx.Identifier{oldSchema, agedTable}.Sanitize()}
	servertest.Exec(t, url, "create table if not exists public.victim (id int)",
		"create schema "+pgx.Identifier{oldSchema}.Sanitize(),
		fmt.Sprintf(`create table %s (id bigint generated always as identity primary key, %s timestamptz, note text, twice bigint generated always as (id * 2) stored, "a ""b\" text[]) with (autovacuum_enabled = off)`, c.table, pgx.Identifier{oldColumn}.Sanitize()),
		fmt.Sprintf(`create index "by age" on %s (%s)`, c.table, pgx.Identifier{oldColumn}.Sanitize()))
	c.fill(t, n)
	var err error
	if c.conn, err = pgx.Connect(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.conn.Close(context.Background()) })
	return c
}

func (c *cabinet) fill(t *testing.T, n int) {
	t.Helper()
	servertest.Exec(t, c.url,
		fmt.Sprintf(`insert into %s (%s, note, "a ""b\") select date_trunc('hour', now()) - i * interval '1 hour', e'tab\t new\nline \\N \\. back\\slash\r ' || i, array[null, '', 'x,"y"', i::text] from generate_series(1, %d) i`, c.table, pgx.Identifier{oldColumn}.Sanitize(), n))
}

// newest is the age of the newest row.
func (c *cabinet) newest(t *testing.T) (at time.Time) {
	t.Helper()
	if err := c.connect(t).QueryRow(t.Context(), "select max("+pgx.Identifier{oldColumn}.Sanitize()+") from "+c.table).
		Scan(&at); err != nil {
		t.Fatal(err)
	}
	return at
}

func (c *cabinet) place() rows.Table { return rows.Table{Schema: oldSchema, Name: agedTable} }

// grounds is how the table is defined now.
func (c *cabinet) grounds() (oid int64, plan relation.Contract) {
	oid = must(session.One(context.Background(), c.conn, pgx.RowTo[int64], "select $1::text::regclass::oid::int8",
		c.table))
	return oid, must(readGrounds(context.Background(), c.conn, oid)).now
}

func (c *cabinet) filing(age time.Duration) *archiver {
	_, plan := c.grounds()
	return &archiver{
		Movement: rows.Movement{Database: c.database, From: c.place(), Column: oldColumn, Age: age}, plan: plan,
		store: c.store, label: "here", kind: "timestamptz",
		c: c.conn, fence: remediate.Fence{Held: fenceHeld}, pace: must(session.NewPace(session.Pacing{})), most: 100,
	}
}

func (c *cabinet) unfiling(since, until time.Time) restorer {
	entry := target.Archive{Database: c.database, Schema: oldSchema, Table: agedTable, Column: oldColumn,
		To: target.Destination{Store: c.store, Label: "here"}}
	oid, plan := c.grounds()
	return restorer{entry: entry, since: since, until: until, plan: plan, root: oid, c: c.conn,
		fence: remediate.Fence{Held: fenceHeld}, pace: must(session.NewPace(session.Pacing{}))}
}

// leaf is the table as one that has rows.
func (c *cabinet) leaf(t *testing.T) leaf {
	t.Helper()
	l := leaf{Schema: oldSchema, Table: agedTable}
	if err := c.connect(t).QueryRow(t.Context(), "select $1::text::regclass::oid::int8", c.table).
		Scan(&l.OID); err != nil {
		t.Fatal(err)
	}
	return l
}

// move moves all there is, and returns how many rows that were.
func (c *cabinet) move(t *testing.T, m *archiver) int64 {
	t.Helper()
	err := m.begin(t.Context())
	if err == nil {
		err = m.run(t.Context(), c.leaf(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	return m.moved
}

// rows returns the text of each row, as COPY writes it, with what only it tells.
func (c *cabinet) rows(t *testing.T) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), formSQL); err != nil {
		t.Fatal(err)
	}
	columns, err := filedColumns(t.Context(), conn, c.place())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	statement := "copy (select " + session.QuoteList(names(columns)) + " from " + c.table + ") to stdout"
	if _, err := conn.PgConn().CopyTo(t.Context(), &b, statement); err != nil {
		t.Fatal(err)
	}
	return lines(b.String())
}

// replaced writes a statement about the table.
func replaced(c *cabinet, sql string) string {
	return strings.NewReplacer("TABLE", c.table, "AGE", pgx.Identifier{oldColumn}.Sanitize(), "SCHEMA",
		pgx.Identifier{oldSchema}.Sanitize()).Replace(sql)
}

func (c *cabinet) count(t *testing.T, of string) (n int) {
	t.Helper()
	if err := c.connect(t).QueryRow(t.Context(), "select count(*) from "+of).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func lines(text string) []string {
	all := strings.SplitAfter(text, "\n")
	return slices.DeleteFunc(all, func(l string) bool { return l == "" })
}

// filed returns the rows of every object that the ledger names, less those that
// are back; moved and back are asked of the database at one moment.
func (c *cabinet) filed(t *testing.T) (all []string) {
	t.Helper()
	objects, err := pgx.CollectRows(must(c.connect(t).Query(t.Context(),
		"select p.object from upkeep.parcels p where not exists (select from upkeep.restored r where r.parcel = "+
			"p.id) order by p.id")), pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		content, err := c.store.Get(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		_, text, err := depot.OpenParcel(o, content)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, lines(string(text))...)
	}
	return all
}

func (c *cabinet) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// sameRows compares two bags of rows.
func sameRows(t *testing.T, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if slices.Equal(got, want) {
		return
	}
	count := make(map[string]int)
	for _, r := range got {
		count[r]++
	}
	for _, r := range want {
		count[r]--
	}
	reported := 0
	for r, n := range count {
		if n != 0 && reported < 5 {
			t.Errorf("%+d times: %q", n, r)
			reported++
		}
	}
	t.Fatalf("%d rows, want %d, or others", len(got), len(want))
}

func TestFile(t *testing.T) {
	url, database := servertest.Database(t)
	c := furnish(t, url, database, depot.Folder(t.TempDir()), 1000)
	all := c.rows(t)
	age := time.Since(c.newest(t)) + 199*time.Hour + 30*time.Minute
	if n := c.move(t, c.filing(age)); n != 800 {
		t.Errorf("%d rows were moved, want 800", n)
	}
	if n := len(c.rows(t)); n != 200 {
		t.Errorf("%d rows are left, want 200", n)
	}
	sameRows(t, slices.Concat(c.rows(t), c.filed(t)), all)
	if objects, err := c.store.List(t.Context(), depot.Prefix(database, oldSchema, agedTable)); err != nil ||
		len(objects) != 8 {
		t.Errorf("%d objects, %v, want 8", len(objects), err)
	}
	// And back, in two parts that overlap, each of them twice.
	day := time.Now().Truncate(time.Hour)
	for _, p := range []struct {
		since, until time.Time
		want         int64
	}{
		{day.Add(-500 * time.Hour), day.Add(-300 * time.Hour), 200},
		{day.Add(-400 * time.Hour), time.Time{}, 100},
		{time.Time{}, time.Time{}, 500},
	} {
		for _, want := range []int64{p.want, 0} {
			if n, err := c.unfiling(p.since, p.until).run(t.Context()); err != nil || n != want {
				t.Errorf("%d rows of %v to %v are back, %v, want %d", n, p.since, p.until, err, want)
			}
		}
	}
	sameRows(t, c.rows(t), all)
	// Away once more: the same rows are the same objects, and are not taken for
	// those that are back.
	if n := c.move(t, c.filing(age)); n != 800 {
		t.Errorf("%d rows were moved, want 800", n)
	}
	sameRows(t, slices.Concat(c.rows(t), c.filed(t)), all)
	n, err := c.unfiling(time.Time{}, time.Time{}).run(t.Context())
	if err != nil || n != 800 {
		t.Errorf("%d rows are back, %v, want 800", n, err)
	}
	sameRows(t, c.rows(t), all)
}

// What others do to the rows between the moments at which they are read and are to
// be deleted is not lost: the batch is read again.
func TestFileMeanwhile(t *testing.T) {
	url, database := servertest.Database(t)
	for name, others := range map[string][]string{
		"updated":   {`update TABLE set note = 'changed' where id % 7 = 0`},
		"deleted":   {`delete from TABLE where id % 7 = 0`},
		"locked":    {`select from TABLE for update`},
		"rewritten": {`vacuum full TABLE`},
		"inserted":  {`insert into TABLE (AGE, note) select now() - interval '400 hours', 'late'`},
		"moved":     {`with d as (delete from TABLE where id % 7 = 0 returning *) insert into TABLE (id, AGE, note, "a ""b\") overriding system value select id, AGE, note, "a ""b\" from d`},
		"another": {`alter table TABLE rename to gone`, `create table TABLE (like SCHEMA.gone including all)`,
			`insert into TABLE (AGE, note) select AGE, 'another' from SCHEMA.gone`},
	} {
		for _, indexed := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " ", indexed), func(t *testing.T) {
				servertest.Exec(t, url, "drop schema if exists upkeep cascade",
					"drop schema if exists "+pgx.Identifier{oldSchema}.Sanitize()+" cascade")
				c := furnish(t, url, database, depot.Folder(t.TempDir()), 500)
				// Dead rows before the others: a rewrite moves every row.
				servertest.Exec(t, url, `delete from `+c.table+` where id % 5 = 0`)
				if !indexed {
					servertest.Exec(t, url, "drop index "+pgx.Identifier{oldSchema, "by age"}.Sanitize())
				}
				m := c.filing(time.Minute)
				times := 0
				m.afterPut = func() {
					if times++; times != 2 {
						return
					}
					for _, sql := range others {
						servertest.Exec(t, url, replaced(c, sql))
					}
				}
				var all []string
				m.inEnd = func() { // in the transaction that deletes
					if times > 2 && all == nil {
						all = slices.Concat(c.rows(t), c.filed(t))
					}
				}
				if name == "another" {
					err := m.begin(t.Context())
					if err == nil {
						err = m.run(t.Context(), c.leaf(t))
					}
					if !errors.Is(err, remediate.ErrGone) {
						t.Errorf("%v, want %v", err, remediate.ErrGone)
					}
					if n := len(c.rows(t)); n != 300 {
						t.Errorf("%d rows are in the other table, want 300", n)
					}
					return
				}
				c.move(t, m)
				if left := c.rows(t); len(left) != 0 {
					t.Errorf("%d rows are left", len(left))
				}
				sameRows(t, c.filed(t), all)
				if changed := strings.Count(strings.Join(all, ""), "changed"); (name == "updated") != (changed > 0) {
					t.Errorf("%d changes are in the objects", changed)
				}
			})
		}
	}
}

// A run that is stopped once its object is there, and before it has deleted, ends
// with that, and the rows stay.
func TestFileStopped(t *testing.T) {
	url, database := servertest.Database(t)
	c := furnish(t, url, database, depot.Folder(t.TempDir()), 10)
	all := c.rows(t)
	m := c.filing(time.Minute)
	if err := m.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m.afterPut = cancel
	if err := m.run(ctx, c.leaf(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	sameRows(t, c.rows(t), all)
}

// An old fence neither puts an object nor deletes a row.
func TestFileFence(t *testing.T) {
	url, database := servertest.Database(t)
	c := furnish(t, url, database, depot.Folder(t.TempDir()), 10)
	all := c.rows(t)
	m := c.filing(time.Minute)
	if err := m.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, looks := range []int{0, 1} {
		m.fence = remediate.Fence{Held: func(context.Context) error {
			if looks--; looks < 0 {
				return remediate.ErrFenced
			}
			return nil
		}}
		if err := m.run(t.Context(), c.leaf(t)); !errors.Is(err, remediate.ErrFenced) {
			t.Errorf("%v, want %v", err, remediate.ErrFenced)
		}
		sameRows(t, c.rows(t), all)
	}
	if objects, err := c.store.List(t.Context(), ""); err != nil || len(objects) != 1 {
		t.Errorf("%d objects, %v, want the one that was put under the good fence", len(objects), err)
	}
}

package objects

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
)

// priced is a cabinet whose rows have a column that a function of people makes.
func priced(t *testing.T, folder string) *cabinet {
	t.Helper()
	url, database := servertest.Database(t)
	c := furnish(t, url, database, depot.Folder(folder), 200)
	servertest.Exec(t, url,
		"create function public.price(id bigint) returns text immutable language sql as $$ select 'net ' || id $$",
		replaced(c, "alter table TABLE add column price text generated always as (public.price(id)) stored"),
		replaced(c, `create unique index on TABLE (lower(note || 'X' || id)) where id > 0`))
	return c
}

// What a function made before it was replaced is not lost, and not replaced in
// silence by what it makes now.
func TestRestoreMadeAnew(t *testing.T) {
	const gross = "create or replace function public.price(id bigint) returns text immutable language sql as $$ " +
		"select 'gross ' || id $$"
	all := time.Time{}
	c := priced(t, t.TempDir())
	before := c.rows(t)
	if n := c.move(t, c.filing(time.Minute)); n != 200 {
		t.Fatalf("%d rows were moved, want 200", n)
	}
	sameRows(t, c.filed(t), before)
	servertest.Exec(t, c.url, gross)
	n, err := c.unfiling(all, all).run(t.Context())
	if r, ok := remediate.Refused(err); !ok || r.Reason != remediate.ReasonUnfit ||
		!strings.Contains(r.Detail, "generates column") || n != 0 || len(c.rows(t)) != 0 {
		t.Errorf("%d rows are back, %v, want a refusal that names the column", n, err)
	}
	// The table keeps the column and generates it no more: it takes what was stored.
	servertest.Exec(t, c.url, replaced(c, "alter table TABLE alter price drop expression"))
	if n, err := c.unfiling(all, all).run(t.Context()); err != nil || n != 200 {
		t.Fatalf("%d rows are back, %v, want 200", n, err)
	}
	sameRows(t, c.rows(t), before)
}

// A person may say that a column is made anew.
func TestRestoreWithout(t *testing.T) {
	c := priced(t, t.TempDir())
	c.move(t, c.filing(time.Minute))
	servertest.Exec(t, c.url, "create or replace function public.price(id bigint) returns text immutable language "+
		"sql as $$ select 'gross ' || id $$")
	u := c.unfiling(time.Time{}, time.Time{})
	u.without = []string{"price"}
	if n, err := u.run(t.Context()); err != nil || n != 200 {
		t.Errorf("%d rows are back, %v, want 200", n, err)
	}
	if n := c.count(t, c.table+" where price <> 'gross ' || id"); n != 0 {
		t.Errorf("%d rows have another value than the table makes", n)
	}
}

// A column that was plain and is generated now is compared as well.
func TestRestoreGeneratedSince(t *testing.T) {
	for _, as := range []struct {
		expr string
		back int64
	}{{"id * 3", 200}, {"id * 4", 0}} {
		url, database := servertest.Database(t)
		c := furnish(t, url, database, depot.Folder(t.TempDir()), 200)
		servertest.Exec(t, url, replaced(c, "alter table TABLE add column thrice bigint"),
			replaced(c, "update TABLE set thrice = id * 3"))
		c.move(t, c.filing(time.Minute))
		servertest.Exec(t, url, replaced(c, "alter table TABLE drop column thrice"),
			replaced(c, "alter table TABLE add column thrice bigint generated always as ("+as.expr+") stored"))
		n, err := c.unfiling(time.Time{}, time.Time{}).run(t.Context())
		if _, refused := remediate.Refused(err); n != as.back || refused == (as.back > 0) || err != nil && !refused {
			t.Errorf("generated as %s: %d rows are back, %v, want %d", as.expr, n, err, as.back)
		}
	}
}

// Rows that are there already are met by every kind of uniqueness before the first
// row comes back.
func TestRestoreMeetsUniques(t *testing.T) {
	for name, c := range map[string]struct{ index, row string }{
		"expression": {"create unique index on TABLE (lower(note))",
			"insert into TABLE (AGE, note) values (now(), 'NOTE 7')"},
		"predicate": {"create unique index on TABLE (note) where id > 0",
			"insert into TABLE (AGE, note) values (now(), 'note 7')"},
		"exclusion": {"alter table TABLE add exclude using gist (int8range(lot, lot + 1) with &&)",
			"insert into TABLE (AGE, note, lot) values (now(), 'x', 7)"},
		"generated": {"create unique index on TABLE (twice)",
			"insert into TABLE (id, AGE, note) overriding system value values (7, now(), 'x')"},
	} {
		t.Run(name, func(t *testing.T) {
			url, database := servertest.Database(t)
			b := furnish(t, url, database, depot.Folder(t.TempDir()), 0)
			servertest.Exec(t, url, replaced(b, "alter table TABLE add column lot bigint"),
				replaced(b, "insert into TABLE (AGE, note, lot) select now() - i * interval '1 hour', 'note ' || i, "+
					"i from generate_series(1, 200) i"), replaced(b, c.index))
			m := b.filing(30 * time.Minute)
			m.most = 50
			if n := b.move(t, m); n != 200 {
				t.Fatalf("%d rows were moved, want 200", n)
			}
			servertest.Exec(t, url, replaced(b, c.row))
			n, err := b.unfiling(time.Time{}, time.Time{}).run(t.Context())
			if r, ok := remediate.Refused(err); !ok || !strings.Contains(r.Detail, "already") || n != 0 ||
				len(b.rows(t)) != 1 {
				t.Errorf("%d rows are back, %v, want a refusal that names the key", n, err)
			}
		})
	}
}

// A table that was made in the place of another takes its rows only when a person
// says so.
func TestRestoreToAnother(t *testing.T) {
	url, database := servertest.Database(t)
	c := furnish(t, url, database, depot.Folder(t.TempDir()), 200)
	before := c.rows(t)
	c.move(t, c.filing(time.Minute))
	servertest.Exec(t, url, replaced(c, "create table SCHEMA.new (like TABLE including all)"),
		replaced(c, "drop table TABLE"),
		replaced(c, "alter table SCHEMA.new rename to ")+pgx.Identifier{agedTable}.Sanitize())
	u := c.unfiling(time.Time{}, time.Time{})
	if n, err := u.run(t.Context()); n != 0 || err == nil || !strings.Contains(err.Error(), "another table") {
		t.Errorf("%d rows are back, %v, want a refusal", n, err)
	}
	u.earlier = true
	if n, err := u.run(t.Context()); err != nil || n != 200 {
		t.Errorf("%d rows are back, %v, want 200", n, err)
	}
	sameRows(t, c.rows(t), before)
}

// What an object says of itself loads it with nothing of ours.
func TestLoadByHand(t *testing.T) {
	folder := t.TempDir()
	c := priced(t, folder)
	before := c.rows(t)
	c.move(t, c.filing(time.Minute))
	files, err := filepath.Glob(filepath.Join(folder, "*.copy.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d objects, %v", len(files), err)
	}
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		p, rows, err := depot.OpenParcel(filepath.Base(f), content)
		if err != nil {
			t.Fatal(err)
		}
		psql := exec.CommandContext(t.Context(), "psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", p.Load, c.url)
		psql.Stdin = bytes.NewReader(rows)
		if out, err := psql.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", p.Load, err, out)
		}
	}
	sameRows(t, c.rows(t), before)
}

// A name that means something else when it comes back is not taken for what it meant.
func TestFileNames(t *testing.T) {
	url, database := servertest.Database(t)
	c := furnish(t, url, database, depot.Folder(t.TempDir()), 200)
	servertest.Exec(t, url, "create table public.a ()", "create table public.b ()",
		"create domain public.relation as regclass",
		replaced(c, "alter table TABLE add column what regclass, add column whats public.relation[], add column who "+
			"regrole"),
		replaced(c, "update TABLE set what = case when id % 2 = 0 then 'public.a'::regclass end, whats = "+
			"array['public.b', null]::public.relation[], who = current_user::regrole"))
	before := c.rows(t)
	if n := c.move(t, c.filing(time.Minute)); n != 200 {
		t.Fatalf("%d rows were moved, want 200", n)
	}
	for _, sql := range [][2]string{
		{"alter table public.a rename to c; alter table public.b rename to a; alter table public.c rename to b",
			"alter table public.a rename to c; alter table public.b rename to a; alter table public.c rename to b"},
		{"alter table public.b rename to gone", "alter table public.gone rename to b"},
	} {
		servertest.Exec(t, url, sql[0])
		n, err := c.unfiling(time.Time{}, time.Time{}).run(t.Context())
		if r, ok := remediate.Refused(err); !ok || !strings.Contains(r.Detail, "the rows have the regclass") ||
			n != 0 || len(c.rows(t)) != 0 {
			t.Errorf("%s: %d rows are back, %v, want a refusal that tells the name", sql[0], n, err)
		}
		servertest.Exec(t, url, sql[1])
	}
	if n, err := c.unfiling(time.Time{}, time.Time{}).run(t.Context()); err != nil || n != 200 {
		t.Errorf("%d rows are back, %v, want 200", n, err)
	}
	sameRows(t, c.rows(t), before)
	// Within another type they are refused in the plan.
	servertest.Exec(t, url, "create type public.seen as (at timestamptz, what regclass)",
		replaced(c, "alter table TABLE add column seen public.seen[]"))
	oid, _ := c.grounds()
	if all, err := namesOf(t.Context(), c.connect(t), c.place(), oid); err == nil ||
		!strings.Contains(err.Error(), "type public.seen") && !strings.Contains(err.Error(), "type seen") {
		t.Errorf("%v, %v, want a refusal that names the type", all, err)
	}
}

package objects

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
)

var storeFaults = flag.Int("storefaults", 40, "how often rows are moved into a store that does not keep them") //nolint:gochecknoglobals // a flag of the test

// A faulty is a folder that loses, cuts, changes or exchanges what it is given, and
// says yes.
type faulty struct {
	depot.Store
	dir    string
	random *rand.Rand
	did    map[string]int
}

func (f *faulty) Put(ctx context.Context, name string, content []byte) error {
	if f.random.IntN(2) == 0 {
		return f.Store.Put(ctx, name, content)
	}
	faults := []string{"lost", "cut", "empty", "changed", "another", "never written", "not there", "fails",
		"ends early"}
	fault := faults[f.random.IntN(len(faults))]
	f.did[fault]++
	if fault == "never written" {
		return nil
	}
	if fault == "fails" {
		return errors.New("the store is full")
	}
	if err := f.Store.Put(ctx, name, content); err != nil {
		return err
	}
	path := filepath.Join(f.dir, name)
	switch fault {
	case "lost":
		return os.Remove(path)
	case "cut":
		return os.Truncate(path, int64(f.random.IntN(len(content))))
	case "empty":
		return os.Truncate(path, 0)
	case "changed":
		content = bytes.Clone(content)
		content[f.random.IntN(len(content))] ^= 1 << f.random.IntN(8)
		return os.WriteFile(path, content, 0o600)
	case "another":
		all, _ := filepath.Glob(filepath.Join(f.dir, "*.copy.gz"))
		older, err := os.ReadFile(all[f.random.IntN(len(all))])
		if err != nil || bytes.Equal(older, content) {
			return errors.Join(err, os.Truncate(path, 1))
		}
		return os.WriteFile(path, older, 0o600)
	}
	return nil // for Get
}

func (f *faulty) Get(ctx context.Context, name string) ([]byte, error) {
	content, err := f.Store.Get(ctx, name)
	if err != nil || f.random.IntN(12) > 0 {
		return content, err
	}
	f.did["not read"]++
	return nil, errors.New("the store does not answer")
}

// inPieces is a faulty that takes and gives objects piece by piece.
type inPieces struct{ *faulty }

func (p inPieces) PutFrom(ctx context.Context, name string, content depot.Content) error {
	all, err := io.ReadAll(content.Reader())
	if err != nil {
		return err
	}
	return p.Put(ctx, name, all)
}

func (p inPieces) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := depot.Open(ctx, p.Store, name)
	if err != nil || p.random.IntN(12) > 0 {
		return r, err
	}
	p.did["read in part"]++
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, int64(p.random.IntN(200))), failing{}), r}, nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the connection was lost") }

// Whatever a store does with what it was given: no row is deleted that it does not
// give back.
func TestFileStoreFaults(t *testing.T) {
	url, database := servertest.Database(t)
	for _, pieces := range []bool{false, true} {
		t.Run(fmt.Sprint(pieces), func(t *testing.T) {
			servertest.Exec(t, url, "drop schema if exists upkeep cascade",
				"drop schema if exists "+pgx.Identifier{oldSchema}.Sanitize()+" cascade")
			dir := t.TempDir()
			c := furnish(t, url, database, depot.Folder(dir), 400)
			all := c.rows(t)
			f := &faulty{Store: c.store, dir: dir, random: rand.New(rand.NewPCG(7, 11)), did: make(map[string]int)}
			failed := 0
			for round := 0; round < *storeFaults && len(c.rows(t)) > 0; round++ {
				m := c.filing(time.Minute)
				m.most = 20
				if m.store = f; pieces {
					m.store = inPieces{f}
				}
				err := m.begin(t.Context())
				if err == nil {
					err = m.run(t.Context(), c.leaf(t))
				}
				m.end()
				if err != nil {
					failed++
				}
				// What the store lost and the ledger does not name is no loss.
				sameRows(t, slices.Concat(c.rows(t), c.filed(t)), all)
				named := must(pgx.CollectRows(must(c.connect(t).Query(t.Context(),
					"select object from upkeep.parcels")), pgx.RowTo[string]))
				for _, o := range must(c.store.List(t.Context(), "")) {
					if !slices.Contains(named, o.Name) {
						if err := os.Remove(filepath.Join(dir, o.Name)); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			if failed < 5 || len(f.did) < 6 {
				t.Errorf("%d runs failed, with %v: the test shows too little", failed, f.did)
			}
			t.Logf("%d runs failed: %v; %d rows of %d are in the table", failed, f.did, len(c.rows(t)), len(all))
		})
	}
}

// A definition that changes while the store works stops the run before anything is
// deleted.
func TestFileDefinitionChanges(t *testing.T) {
	url, database := servertest.Database(t)
	for name, ddl := range map[string][]string{
		"column": {`alter table TABLE add column hold text`,
			`update TABLE set hold = 'hold ' || id where id % 2 = 0`},
		"column held": {`alter table TABLE add column hold text default 'kept'`},
		"type":        {`alter table TABLE alter note type varchar(100)`},
		"exchanged": {`alter table TABLE rename note to other`,
			`alter table TABLE add column note text default 'new'`},
		"swapped": {`alter table TABLE rename note to other`, `alter table TABLE rename blank to note`,
			`alter table TABLE rename other to blank`},
		"dropped":        {`alter table TABLE drop column blank`},
		"generated":      {`alter table TABLE add column g int generated always as (1) stored`},
		"not generated":  {`alter table TABLE alter twice drop expression`},
		"trigger":        {`create trigger tr after delete on TABLE for each row execute function public.note()`},
		"trigger before": {`create trigger tr before delete on TABLE for each row execute function public.keep()`},
		"rule":           {`create rule ru as on delete to TABLE do instead nothing`},
		"rule also":      {`create rule ru as on delete to TABLE do also delete from public.child`},
		"cascade": {`create table public.c2 (id bigint references TABLE on delete cascade)`,
			`insert into public.c2 select id from TABLE`},
		"cascade existing": {`alter table public.child add foreign key (id) references TABLE on delete cascade`},
		"set null":         {`alter table public.child add foreign key (id) references TABLE on delete set null`},
		"row security":     {`alter table TABLE enable row level security`},
		"publication":      {`create publication pu for all tables`},
		"enum":             {`alter type public.mood rename value 'good' to 'fair'`},
		"enum swapped": {`alter type public.mood rename value 'good' to 'x'`,
			`alter type public.mood rename value 'bad' to 'good'`, `alter type public.mood rename value 'x' to 'bad'`},
		"composite": {`alter type public.pair rename attribute a to c`},
	} {
		t.Run(name, func(t *testing.T) {
			servertest.Exec(t, url, "drop publication if exists pu", "drop schema if exists upkeep cascade",
				"drop schema if exists "+pgx.Identifier{oldSchema}.Sanitize()+" cascade", "drop schema public cascade",
				"create schema public")
			c := furnish(t, url, database, depot.Folder(t.TempDir()), 200)
			servertest.Exec(t, url, "create type public.mood as enum ('good', 'bad')",
				"create type public.pair as (a int, b text)",
				"alter table "+c.table+" add column blank text, add column mood public.mood default 'good', add "+
					"column pairs public.pair[] default array[row(1, 'x')::public.pair]",
				"create table public.fired (id bigint)", "create table public.child (id bigint)",
				"create index on public.child (id)", "insert into public.child select id from "+c.table,
				"create function public.note() returns trigger language plpgsql as 'begin insert into public.fired "+
					"values (old.id); return null; end'",
				"create function public.keep() returns trigger language plpgsql as 'begin return null; end'")
			m := c.filing(time.Minute)
			m.most = 50
			times, left := 0, 0
			m.afterPut = func() {
				if times++; times != 2 {
					return
				}
				for _, sql := range ddl {
					if name == "cascade existing" || name == "set null" {
						servertest.Exec(t, url, "delete from public.child where id not in (select id from "+c.table+")")
					}
					servertest.Exec(t, url, replaced(c, sql))
				}
				left = c.count(t, c.table)
			}
			err := m.begin(t.Context())
			if err == nil {
				err = m.run(t.Context(), c.leaf(t))
			}
			refusal, ok := remediate.Refused(err)
			if !ok || refusal.Reason != remediate.ReasonChanged {
				t.Errorf("%v, want a refusal: %s", err, remediate.ReasonChanged)
			}
			t.Log(err)
			if n := c.count(t, c.table); n != left || left != 150 {
				t.Errorf("%d rows are left, and were %d after the change, want 150", n, left)
			}
			if n := c.count(t, "public.fired"); n != 0 {
				t.Errorf("a trigger was fired %d times", n)
			}
			if n := c.count(t, "public.child where id is not null"); n < 150 {
				t.Errorf("%d rows are left in another table", n)
			}
		})
	}
}

// A run takes away what it may, and no more.
func TestFileMost(t *testing.T) {
	url, database := servertest.Database(t)
	for name, most := range map[string]remediate.Amount{"rows": {Rows: 250}, "bytes": {Bytes: 30_000},
		"both": {Rows: 120, Bytes: 30_000_000}, "enough": {Rows: 500, Bytes: 30_000_000}} {
		t.Run(name, func(t *testing.T) {
			servertest.Exec(t, url, "drop schema if exists upkeep cascade",
				"drop schema if exists "+pgx.Identifier{oldSchema}.Sanitize()+" cascade")
			c := furnish(t, url, database, depot.Folder(t.TempDir()), 500)
			m := c.filing(time.Minute)
			m.fence.Most = &most
			err := m.begin(t.Context())
			if err == nil {
				err = m.run(t.Context(), c.leaf(t))
			}
			refusal, ok := remediate.Refused(err)
			if name != "enough" && (!ok || refusal.Reason != remediate.ReasonAmount) || name == "enough" && err != nil {
				t.Errorf("%v", err)
			}
			gone := 500 - c.count(t, c.table)
			want := int(most.Rows)
			if name == "bytes" {
				want = gone
			}
			if gone != want || gone == 0 || name == "bytes" && (gone > 400 || gone < 100) || len(c.filed(t)) != gone {
				t.Errorf("%d rows are gone, want %d, and %d are in objects", gone, want, len(c.filed(t)))
			}
		})
	}
}

package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

// A remote is a server whose rows go to a store, as another process sees it.
type remote struct {
	URL    string
	Entry  target.Archive
	Folder string
	Bucket *bucketOf
}

type bucketOf struct{ Endpoint, Region, Bucket, ID, Secret string }

func (r remote) child(t *testing.T) string {
	t.Helper()
	r.Entry.To.Store = nil // it is made of the folder or the bucket
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// serverOf makes a server of the URL of one, or of a remote.
func serverOf(child string) (*target.Postgres, error) {
	c := target.PostgresConfig{Name: "main", URL: child}
	if strings.HasPrefix(child, "{") {
		var r remote
		if err := json.Unmarshal([]byte(child), &r); err != nil {
			return nil, err
		}
		to := target.Destination{Label: "the store"}
		switch {
		case r.Entry.Purge || r.Entry.To.Table != "":
			to = r.Entry.To
		case r.Bucket == nil:
			to.Store = depot.Folder(r.Folder)
		default:
			b, err := depot.Bucket(depot.BucketConfig{Endpoint: r.Bucket.Endpoint, Region: r.Bucket.Region,
				Bucket: r.Bucket.Bucket, Prefix: "some/", ID: says(r.Bucket.ID), Secret: says(r.Bucket.Secret)})
			if err != nil {
				return nil, err
			}
			to.Store = b
		}
		r.Entry.To = to
		c.URL, c.Archives = r.URL, []target.Archive{r.Entry}
	}
	return target.NewPostgres(c)
}

func says(s string) func() (string, error) { return func() (string, error) { return s, nil } }

// A stock is a database with a table whose rows come to an age, and a store.
type stock struct {
	*fixture
	remote
	store    depot.Store
	qAt, old string // the age column, and the condition of the rows that are past it
	conn     *pgx.Conn
}

func (s *stock) text(t *testing.T, sql string, args ...any) (text string) {
	t.Helper()
	if err := s.conn.QueryRow(context.WithoutCancel(t.Context()), sql, args...).Scan(&text); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return text
}

func (s *stock) number(t *testing.T, sql string, args ...any) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s.text(t, "select ("+sql+")::text", args...), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// stocked makes one: with a bucket where it is given one, and else with a folder.
func stocked(t *testing.T, bucket *bucketOf) *stock {
	t.Helper()
	url, database := servertest.Database(t)
	s := &stock{fixture: &fixture{url: url, database: database, qTable: quoted(schema, table)}, qAt: quoted(ageColumn)}
	s.remote = remote{URL: url, Folder: t.TempDir(), Bucket: bucket,
		Entry: target.Archive{Database: database, Schema: schema, Table: table, Column: ageColumn,
			After: 180 * 24 * time.Hour}}
	s.old = s.qAt + " < now() - interval '180 days'"
	var err error
	if s.server, err = serverOf(s.child(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.server.Close)
	s.store, s.conn = s.server.Archives[0].To.Store, s.connect(t)
	servertest.Exec(t, url,
		"create table public.victim (id int)", "insert into public.victim values (1)", "create schema "+quoted(schema),
		fmt.Sprintf(`create table %s (id bigint generated always as identity primary key, %s timestamptz, gone int, "Bo""dy" text not null, long int generated always as (length("Bo""dy")) stored)`, s.qTable, s.qAt),
		fmt.Sprintf(`alter table %s drop column gone`, s.qTable),
		fmt.Sprintf(`create index on %s (%s)`, s.qTable, s.qAt))
	t.Cleanup(func() {
		if n := s.number(t, "select count(*) from public.victim"); n != 1 {
			t.Error("the victim is gone: a name was not quoted")
		}
	})
	return s
}

func (s *stock) put(t *testing.T, old, fresh int) {
	t.Helper()
	servertest.Exec(t, s.url,
		fmt.Sprintf(`insert into %s (%s, "Bo""dy") select now() - interval '300 days' + i * interval '1 second', e'\t\\' || md5(i::text) from generate_series(1, %d) i`, s.qTable, s.qAt, old),
		fmt.Sprintf(`insert into %s (%s, "Bo""dy") select nullif(now() - i %% 100 * interval '1 day', now()), md5(i::text) from generate_series(1, %d) i`, s.qTable, s.qAt, fresh),
		"analyze "+s.qTable)
}

func (s *stock) subject() map[string]string {
	return s.fixture.subject("server", "database", "schema", "table")
}

// filed counts the rows that the ledger says are in objects and not in the table.
func (s *stock) filed(t *testing.T) int {
	t.Helper()
	if s.text(t, "select coalesce(to_regclass('upkeep.parcels')::text, '')") == "" {
		return 0
	}
	return s.number(t, "select coalesce(sum(p.rows), 0) - (select coalesce(sum(rows), 0) from upkeep.restored) from "+
		"upkeep.parcels p")
}

// ids are the ids of the rows in the table, and those of the rows in the objects
// that the ledger names, less those that are back.
func (s *stock) ids(t *testing.T) (count, sum int) {
	t.Helper()
	seen := make(map[string]int)
	// The copies of rows that are back are in their objects still.
	parcels := "select object from upkeep.parcels p where not exists (select from upkeep.restored r where r.parcel = " +
		"p.id)"
	if s.text(t, "select coalesce(to_regclass('upkeep.parcels')::text, '')") == "" {
		parcels = "select ''::text where false"
	}
	tx, err := s.conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	for _, sql := range []string{"select id::text from " + s.qTable, parcels} {
		rows, err := tx.Query(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all {
			if sql != parcels {
				seen[one]++
				continue
			}
			content, err := s.store.Get(t.Context(), one)
			if err != nil {
				t.Fatal(err)
			}
			_, text, err := depot.OpenParcel(one, content)
			if err != nil {
				t.Fatal(err)
			}
			for row := range strings.Lines(string(text)) {
				id, _, _ := strings.Cut(row, "\t")
				seen[id]++
			}
		}
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("row %s is there %d times", id, n)
		}
		var number int
		if _, err := fmt.Sscan(id, &number); err != nil {
			t.Fatal(err)
		}
		count, sum = count+1, sum+number
	}
	return count, sum
}

// whole fails unless each row that there ever was is there once: the ids have no gaps.
func (s *stock) whole(t *testing.T) {
	t.Helper()
	count, sum := s.ids(t)
	if last := s.number(t, fmt.Sprintf("select coalesce(last_value, 0) from pg_sequences where schemaname = '%s'",
		schema)); count != last || sum != last*(last+1)/2 {
		t.Errorf("%d rows are in the table and the objects, of %d that there were", count, last)
	}
}

func (s *stock) objects(t *testing.T) string {
	t.Helper()
	all, err := s.store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(len(all), " objects")
}

func bucketFor(t *testing.T) *bucketOf {
	t.Helper()
	server := servertest.S3(t)
	return &bucketOf{server.Endpoint, server.Region, server.Bucket, server.ID, server.Secret}
}

func TestArchiveToFolder(t *testing.T) { testArchiveToStore(t, nil) }

func TestArchiveToBucket(t *testing.T) { testArchiveToStore(t, bucketFor(t)) }

func testArchiveToStore(t *testing.T, bucket *bucketOf) {
	const rows = 6_000
	s := stocked(t, bucket)
	actiontest.Run(t, actiontest.Case{
		Action: postgres.Archive(s.server), Subject: s.subject(), Limit: 100, Child: s.child(t),
		Degrade: func(t *testing.T) {
			missing := rows - s.number(t, "select count(*) from "+s.qTable+" where "+s.old)
			s.put(t, missing, 200)
		},
		State: func(t *testing.T) string {
			return fmt.Sprint(s.number(t, "select count(*) from "+s.qTable), s.filed(t), s.objects(t))
		},
		Effects: func(t *testing.T) int { return s.filed(t) / rows },
	})
	if n := s.filed(t); n%rows != 0 {
		t.Errorf("%d rows were moved, which is not a multiple of %d", n, rows)
	}
	s.whole(t)
}

func TestRestoreFromFolder(t *testing.T) {
	t.Parallel()
	const rows = 6_000
	s := stocked(t, nil)
	back := func(t *testing.T) int {
		t.Helper()
		return s.number(t, "select count(*) from "+s.qTable+" where "+s.old)
	}
	done := 0
	actiontest.Run(t, actiontest.Case{
		Action: postgres.RestoreArchived(s.server), Subject: s.subject(),
		Params: map[string]string{"since": "2000-01-01", "until": "2100-01-01"}, Limit: 100, Child: s.child(t),
		Degrade: func(t *testing.T) {
			s.put(t, rows-back(t)-s.filed(t), 0)
			if err := carryOut(t, postgres.Archive(s.server), remediate.Request{Subject: s.subject()}); err != nil {
				t.Fatal(err)
			}
		},
		State: func(t *testing.T) string { return fmt.Sprint(back(t), s.filed(t), s.objects(t)) },
		Effects: func(t *testing.T) int {
			// How often it was done is what the ledger says, however often the rows
			// have gone away again meanwhile.
			done = s.number(t, "select coalesce(sum(rows), 0) from upkeep.restored")
			return done / rows
		},
	})
	if done%rows != 0 {
		t.Errorf("%d rows are back, which is not a multiple of %d", done, rows)
	}
	s.whole(t)
	if n := s.number(t, `select count(*) from `+s.qTable+` where long <> length("Bo""dy")`); n != 0 {
		t.Errorf("%d rows are not as they were", n)
	}
}

// What is wrong with an object, or in the table, stops a restore before a row is
// brought back.
func TestRestoreStops(t *testing.T) {
	t.Parallel()
	s := stocked(t, nil)
	s.put(t, 6_000, 0)
	if err := carryOut(t, postgres.Archive(s.server), remediate.Request{Subject: s.subject()}); err != nil {
		t.Fatal(err)
	}
	if n := s.number(t, "select count(*) from "+s.qTable); n != 0 {
		t.Fatalf("%d rows are left", n)
	}
	last := filepath.Join(s.Folder, s.text(t, "select object from upkeep.parcels order by id desc limit 1"))
	good, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text []byte) func() {
		return func() {
			if err := os.WriteFile(last, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	flipped := append([]byte{}, good...)
	flipped[len(flipped)/2] ^= 1
	exec := func(sql string) func() {
		return func() {
			servertest.Exec(t, s.url, strings.NewReplacer("TABLE", s.qTable, "AGE", s.qAt).Replace(sql))
		}
	}
	for _, c := range []struct {
		name, want string
		wrong, put func()
	}{
		{"another byte", "the object is damaged: its SHA-256 is", write(flipped), write(good)},
		{"cut off", "the object is damaged", write(good[:len(good)-10]), write(good)},
		{"emptied", "the object is damaged", write(nil), write(good)},
		{"gone", "which was put into the store", func() { _ = os.Remove(last) }, write(good)},
		{"a row of the same key", `with the same (id) already`,
			exec(`insert into TABLE (id, AGE, "Bo""dy") overriding system value values (6000, now(), 'x')`),
			exec(`delete from TABLE`)},
		{"a column less", `which the table has not any more`, exec(`alter table TABLE rename "Bo""dy" to other`),
			exec(`alter table TABLE rename other to "Bo""dy"`)},
		{"another type", `as text, and the table has it as character varying`,
			exec(`alter table TABLE alter long drop expression; alter table TABLE alter "Bo""dy" type varchar`),
			exec(`alter table TABLE alter "Bo""dy" type text`)},
		{"a trigger", `trigger`,
			exec(`create function f() returns trigger language plpgsql as 'begin return null; end'; create trigger "t""g" before insert on TABLE for each row execute function f()`), exec(`drop function f cascade`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.wrong()
			err := carryOut(t, postgres.RestoreArchived(s.server),
				remediate.Request{Subject: s.subject(), Params: map[string]string{"since": "2000-01-01",
					"until": "2100-01-01"}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want one that says %q", err, c.want)
			}
			damaged := strings.HasPrefix(c.want, "the object")
			if errors.Is(err, depot.ErrDamaged) != damaged || errors.Is(err, remediate.ErrFinal) != damaged {
				t.Errorf("%v, want one that is %v and not tried again: %t", err, depot.ErrDamaged, damaged)
			}
			c.put()
			if n := s.number(t, "select count(*) from "+s.qTable); n != 0 {
				t.Errorf("%d rows were brought back", n)
			}
		})
	}
	// A column that was generated need not be there: it is made of the others.
	servertest.Exec(t, s.url, `alter table `+s.qTable+` drop column long`)
	if err := carryOut(t, postgres.RestoreArchived(s.server),
		remediate.Request{Subject: s.subject(), Params: map[string]string{"since": "2000-01-01",
			"until": "2100-01-01"}}); err != nil {
		t.Fatal(err)
	}
	if n := s.number(t, "select count(*) from "+s.qTable); n != 6_000 {
		t.Errorf("%d rows are back, want 6000", n)
	}
}

// Rows with every type and with what is hard in it come back bit by bit, whatever
// the database is set to.
func TestFilesKeepEveryType(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"13", "18"} {
		t.Run(version, func(t *testing.T) {
			server := own(t, version, nil)
			servertest.Exec(t, server.URL,
				"create type mood as enum ('sad', 'it''s \"ok\"\t')", "create type pair as (a int, b text)",
				"create domain few as int check (value < 10)",
				`create table every (
				at timestamp, i2 int2, i4 int4, i8 int8, n numeric, f4 float4, f8 float8, m money, t text, v varchar(9), c char(9), q "char", nm name, by bytea,
				d date, ti time, tz timetz, ts timestamptz, iv interval, b bool, u uuid, x xml, j json, jb jsonb, ip inet, ci cidr, ma macaddr, po point, bo box, pa path, pg polygon, li line, cr circle, se lseg,
				bi bit(5), vb varbit, tv tsvector, tq tsquery, ir int4range, tr tstzrange, nr numrange, a int[], aa text[][], mo mood, pr pair, prs pair[], fe few, l pg_lsn, r regclass, ct tid, xi xid, o oid, jp jsonpath)`,
				`insert into every values
				('2001-02-03 04:05:06.789012', -32768, -2147483648, -9223372036854775808, 'NaN', '-Infinity', 4.9406564584124654e-324, -92233720368547758.08, e'a\tb\nc\rd\\e\b\f\v', 'é', 'x  ', 'q', 'na"me', '\x00ff0a5c27',
				'0044-03-15 BC', '24:00:00', '23:59:59.999999+15:59:59', '4713-01-01 00:00:00 BC', '-1 years -2 mons +3 days -04:05:06.7', true, '00000000-0000-0000-0000-000000000001', '<a b="c">\n</a>', '{"a" : 1.0,  "a":2}', '{"z":1e3,"a":"\u00e9\\"}', '::1/127', '10.0.0.0/8', '08:00:2b:01:02:03', '(1e-300,-0)', '((1,2),(3,4))', '[(0,0),(1,1)]', '((0,0),(1,1),(2,0))', '{1,-1,0}', '<(0,0),1.5>', '[(0,0),(1,1)]',
				B'10101', B'', '''a b'':1A c:2', '''x y'' & !z', '(,5)', '[2001-01-01 00:00:00+05:45,infinity]', 'empty', '[2:3]={1,NULL}', '{{"a,b","NULL"},{NULL,"\\\\\""}}', 'it''s "ok"	', '(1,"a,""b")', array['(,)'::pair, null], 9, 'FF/FFFFFFFF', 'pg_catalog.pg_class', '(1,2)', '4294967295', 4294967295, '$."a".b[*] ? (@ > 1)'),
				('0001-01-01 00:00:00', 1, 1, 1, 1e-130, 'NaN', 'Infinity', 0.01, '', '', '', '', '', '', 'infinity', '00:00', '00:00-15:59', 'infinity', '0', false, null, null, 'null', 'null', null, null, null, null, null, null, null, null, null, null, null, B'1', '', '', 'empty', 'empty', '(,)', '{}', '{}', 'sad', null, '{}', null, null, null, null, null, 0, null),
				('1999-12-31 23:59:59.999999', 0, 0, 0, 12345678901234567890.12345678900, 1.17549435e-38, 0.1, 0, '\N', '\.', '\', '\', E'\\', '\x5c', '2000-02-29', '12:00', '12:00+00', '2000-01-01 00:00+00', 'P1Y', true, null, null, '"\u0000"', '""', '1.2.3.4', '::/0', null, '(Infinity,NaN)', null, null, null, null, null, null, null, null, null, null, null, null, null, null, '{"NULL"}', null, '(,"")', null, null, null, '12345', null, null, null, null)`,
				`do $$ begin execute 'alter database ' || current_database() || ' set datestyle = ''German'''; execute 'alter database ' || current_database() || ' set intervalstyle = ''sql_standard''';
				execute 'alter database ' || current_database() || ' set extra_float_digits = -10'; execute 'alter database ' || current_database() || ' set timezone = ''Asia/Kathmandu''';
				execute 'alter database ' || current_database() || ' set bytea_output = ''escape'''; execute 'alter database ' || current_database() || ' set default_transaction_isolation = ''serializable'''; end $$`)
			c, err := pgx.Connect(t.Context(), server.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close(context.Background()) }()
			var database string
			if err := c.QueryRow(t.Context(), "select current_database()").Scan(&database); err != nil {
				t.Fatal(err)
			}
			bits := func() (all string) {
				t.Helper()
				if err := c.QueryRow(t.Context(),
					"select count(*) || coalesce(string_agg(encode(record_send(e), 'hex'), ' ' order by "+
						"record_send(e)), '') from every e").Scan(&all); err != nil {
					t.Fatal(err)
				}
				return all
			}
			before := bits()
			r := remote{URL: server.URL, Folder: t.TempDir(),
				Entry: target.Archive{Database: database, Schema: "public", Table: "every", Column: "at",
					After: time.Hour}}
			p, err := serverOf(r.child(t))
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			request := remediate.Request{Subject: map[string]string{"server": "main", "database": database,
				"schema": "public", "table": "every"}}
			if err := carryOut(t, postgres.Archive(p), request); err != nil {
				t.Fatal(err)
			}
			if got := bits(); got != "0" {
				t.Fatalf("rows are left: %.9s", got)
			}
			request.Params = map[string]string{"since": "0001-01-01", "until": "2100-01-01"}
			if err := carryOut(t, postgres.RestoreArchived(p), request); err != nil {
				t.Fatal(err)
			}
			if after := bits(); after != before {
				t.Errorf("the rows are not as they were:\n%s\n%s", before, after)
			}
		})
	}
}

// A store that fails, before or after the plan, costs no row.
func TestArchiveStoreFails(t *testing.T) {
	t.Parallel()
	s := stocked(t, nil)
	s.put(t, 6_000, 0)
	archive := func(change func(r *remote)) (remediate.Action, remediate.Plan, error) {
		r := s.remote
		change(&r)
		p, err := serverOf(r.child(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		a := postgres.Archive(p)
		plan, err := a.Plan(t.Context(), remediate.Request{Subject: s.subject(),
			Params: map[string]string{"volatile": "true"}})
		return a, plan, err
	}
	fails := func(t *testing.T, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one that says %q", err, want)
		}
		if n := s.number(t, "select count(*) from "+s.qTable); n != 6_000 || s.filed(t) != 0 {
			t.Errorf("%d rows are left, and %d are said to be in objects", n, s.filed(t))
		}
	}
	apply := func(a remediate.Action, p remediate.Plan) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		return a.Apply(ctx, remediate.Fence{Token: 1, Held: held}, p.Steps[0])
	}
	bucket := bucketFor(t)
	t.Run("no folder", func(t *testing.T) {
		_, _, err := archive(func(r *remote) { r.Folder += "/none" })
		fails(t, err, "is not there: make it")
	})
	t.Run("another secret", func(t *testing.T) {
		_, _, err := archive(func(r *remote) { b := *bucket; b.Secret = "Zx-very-secret"; r.Bucket = &b })
		fails(t, err, "the secret of the key is another")
		if strings.Contains(err.Error(), "Zx-very") {
			t.Errorf("the secret is in the error: %v", err)
		}
	})
	t.Run("no bucket", func(t *testing.T) {
		_, _, err := archive(func(r *remote) { b := *bucket; b.Bucket = "none"; r.Bucket = &b })
		fails(t, err, `there is no bucket "none"`)
	})
	t.Run("full disk", func(t *testing.T) {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0777,size=64k"); err != nil {
			t.Fatalf("a small file system is needed, which root can mount: %v", err)
		}
		defer func() { _ = syscall.Unmount(dir, 0) }()
		a, plan, err := archive(func(r *remote) { r.Folder = dir })
		if err != nil {
			t.Fatal(err)
		}
		fails(t, apply(a, plan), "make room there")
	})
	t.Run("gone after the plan", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "x")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		a, plan, err := archive(func(r *remote) { r.Folder = dir })
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		fails(t, apply(a, plan), "is not there: make it")
	})
	t.Run("another destination after the plan", func(t *testing.T) {
		a, plan, err := archive(func(*remote) {})
		if err != nil {
			t.Fatal(err)
		}
		plan.Steps[0].Args["label"] = "folder /elsewhere"
		fails(t, apply(a, plan), "and the plan folder /elsewhere: plan again")
	})
}

// The missing rights of a role are named in the plan; with the rights that are named, and no
// others, the rows go and come back.
func TestArchiveFilesRights(t *testing.T) {
	s := stocked(t, nil)
	s.put(t, 100, 0)
	role := "clerk " + s.database
	q := quoted(role)
	servertest.Exec(t, s.url, "create role "+q+" login password 'x'",
		"revoke all on database "+s.database+" from public", "grant connect on database "+s.database+" to "+q)
	t.Cleanup(func() { servertest.Exec(t, s.url, "drop owned by "+q+" cascade", "drop role "+q) })
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "x")
	r := s.remote
	r.URL = u.String()
	p, err := serverOf(r.child(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	refused := func(a remediate.Action, want string) {
		t.Helper()
		_, err := a.Plan(t.Context(), remediate.Request{Subject: s.subject(),
			Params: map[string]string{"since": "2000-01-01", "until": "2100-01-01"}})
		if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonPrivilege ||
			!strings.Contains(refusal.Detail, want) {
			t.Errorf("%v, want a refusal that names %q", err, want)
		}
	}
	schemaQ := quoted(schema)

	for _, step := range []struct{ want, grant string }{
		{"grant usage on schema", "grant usage on schema " + schemaQ + " to " + q},
		{"grant delete on table", "grant delete on table " + s.qTable + " to " + q},
		{"grant select on table", "grant select on table " + s.qTable + " to " + q},
		{"grant update on table", "grant update on table " + s.qTable + " to " + q},
		{"create schema upkeep authorization " + q, "create schema upkeep authorization " + q},
	} {
		refused(postgres.Archive(p), step.want)
		servertest.Exec(t, s.url, step.grant)
	}
	refused(postgres.Archive(p), "vacuum")
	servertest.Exec(t, s.url, "alter table "+s.qTable+" owner to "+q, "grant usage on schema "+schemaQ+" to "+q)
	if err := carryOut(t, postgres.Archive(p), remediate.Request{Subject: s.subject()}); err != nil {
		t.Fatal(err)
	}
	if n := s.filed(t); n != 100 {
		t.Errorf("%d rows were moved, want 100", n)
	}
	refused(postgres.RestoreArchived(p), "grant temporary on database")
	servertest.Exec(t, s.url, "grant temporary on database "+s.database+" to "+q)
	if err := carryOut(t, postgres.RestoreArchived(p), remediate.Request{Subject: s.subject(),
		Params: map[string]string{"since": "2000-01-01", "until": "2100-01-01"}}); err != nil {
		t.Fatal(err)
	}
	if n := s.number(t, "select count(*) from "+s.qTable); n != 100 {
		t.Errorf("%d rows are back, want 100", n)
	}
	// A ledger that somebody else has made is not written to: his trigger would run
	// with our rights.
	servertest.Exec(t, s.url, "create role "+quoted(role+"2"), "alter table upkeep.parcels owner to "+quoted(role+"2"))
	t.Cleanup(func() {
		servertest.Exec(t, s.url, "drop owned by "+quoted(role+"2")+" cascade", "drop role "+quoted(role+"2"))
	})
	refused(postgres.Archive(p), "belongs in part to role "+quoted(role+"2"))
}

// The rows of partitions, and of a column without a time zone, go and come back too.
func TestArchivePartitionsToFolder(t *testing.T) {
	t.Parallel()
	s := stocked(t, nil)
	old := quoted(schema, "old")
	servertest.Exec(t, s.url, "drop table "+s.qTable,
		fmt.Sprintf(`create table %s (id int, %s date, note text) partition by list (id)`, s.qTable, s.qAt),
		fmt.Sprintf(`create table %s partition of %s for values in (1)`, old, s.qTable),
		fmt.Sprintf(`create table %s (note text, id int, %s date)`, quoted(schema, "other \"way"), s.qAt),
		fmt.Sprintf(`alter table %s attach partition %s default`, s.qTable, quoted(schema, "other \"way")),
		fmt.Sprintf(`insert into %s select i %% 3, current_date - i, 'note ' || i from generate_series(1, 600) i`,
			s.qTable), "analyze "+s.qTable)
	sum := func() string {
		t.Helper()
		return s.text(t,
			fmt.Sprintf(`select count(*) || ' ' || coalesce(sum(hashtextextended((tableoid, id, %s, note)::text, 0)), 0) from %s`, s.qAt, s.qTable))
	}
	before := sum()
	if err := carryOut(t, postgres.Archive(s.server), remediate.Request{Subject: s.subject()}); err != nil {
		t.Fatal(err)
	}
	if n := s.filed(t); n < 419 || n > 422 {
		t.Errorf("%d rows were moved, want those of 420 days", n)
	}
	if n := s.number(t, "select count(*) from "+s.qTable+" where "+s.old); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	if err := carryOut(t, postgres.RestoreArchived(s.server),
		remediate.Request{Subject: s.subject(), Params: map[string]string{"since": "2000-01-01",
			"until": "2100-01-01"}}); err != nil {
		t.Fatal(err)
	}
	if after := sum(); after != before {
		t.Errorf("the rows were %s and are %s", before, after)
	}
}

package postgres_test

import (
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// A shelf is a database with a table "logs", an empty copy of it, and a folder.
type shelf struct {
	*fixture
	entry target.Archive // to the folder
}

func shelved(t *testing.T, version, columns string, more ...string) *shelf {
	t.Helper()
	url, database := serving(t, version)
	servertest.Exec(t, url, append([]string{"create extension if not exists btree_gist",
		"create table logs (" + columns + ")", "create table logs_old (like logs)"}, more...)...)
	return &shelf{&fixture{url: url, database: database}, target.Archive{
		Database: database, Schema: "public", Table: "logs", Column: "at", After: 24 * 3600 * 1e9,
		To: target.Destination{Store: depot.Folder(t.TempDir()), Label: "the folder"},
	}}
}

// all is what the tables have, in one form whatever the settings are.
func (s *shelf) all(t *testing.T) string {
	t.Helper()
	return s.text(t, `select coalesce(string_agg(x, e'\n' order by x), '') from (
		select id || ' ' || extract(epoch from at) || ' ' || coalesce(array_to_json(tags)::text, '-') || ' ' || note as x from (select * from logs union all select * from logs_old) b) c`)
}

func (s *shelf) since() remediate.Request {
	r := requestFor(s.database, "logs")
	r.Params = map[string]string{"since": "2000-01-01", "until": "2100-01-01"}
	return r
}

// Whatever a database sets for its sessions, rows go and come back as they were.
func TestMovedUnderAnySettings(t *testing.T) {
	for version, set := range map[string][]string{
		"": {"array_nulls = off", "datestyle = 'SQL, DMY'", "standard_conforming_strings = off",
			"timezone = 'Asia/Kolkata'", "intervalstyle = 'iso_8601'"},
		"17": {"transaction_timeout = '1min'", "datestyle = 'Postgres, MDY'"},
	} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			s := shelved(t, version, "id bigint primary key, at timestamptz not null, tags text[], note text not null",
				`insert into logs select i, '2020-06-01 00:00Z'::timestamptz + i * interval '37 minutes', array[null, 'NULL', i::text], e'a\\b''c ' || i from generate_series(1, 3000) i`, "analyze logs")
			before := s.all(t)
			for _, one := range set {
				servertest.Exec(t, s.url, `alter database "`+s.database+`" set `+one)
			}
			aside := s.entry
			aside.To = target.Destination{Schema: "public", Table: "logs_old"}
			for name, e := range map[string]target.Archive{"folder": s.entry, "table": aside} {
				p := configured(t, s.url, e)
				if err := carryOut(t, postgres.Archive(p), requestFor(s.database, "logs")); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if n := s.number(t, "select count(*) from logs"); n != 0 {
					t.Errorf("%s: %d rows past their age are left", name, n)
				}
				if err := carryOut(t, postgres.RestoreArchived(p), s.since()); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if n := s.number(t, "select count(*) from logs"); n != 3000 || s.all(t) != before {
					t.Errorf("%s: %d rows are back, and they are as they were: %v", name, n, s.all(t) == before)
				}
			}
		})
	}
}

// A key WITHOUT OVERLAPS is met before the first row comes back.
func TestRestoreMeetsPeriods(t *testing.T) {
	t.Parallel()
	s := shelved(t, "18", "id bigint, at timestamptz not null, during tstzrange not null, tags text[], note text not "+
		"null, primary key (id, during without overlaps)",
		"insert into logs select i, '2020-06-01Z', tstzrange('2020-06-01Z', '2020-07-01Z'), null, 'x' from "+
			"generate_series(1, 200) i")
	p := configured(t, s.url, s.entry)
	if err := carryOut(t, postgres.Archive(p), requestFor(s.database, "logs")); err != nil {
		t.Fatal(err)
	}
	servertest.Exec(t, s.url, "insert into logs values (7, now(), tstzrange('2020-06-15Z', '2020-06-16Z'), null, 'in "+
		"the way')")
	err := carryOut(t, postgres.RestoreArchived(p), s.since())
	if r, ok := remediate.Refused(err); !ok || !strings.Contains(r.Detail, "already") ||
		s.number(t, "select count(*) from logs") != 1 {
		t.Errorf("%v, and %d rows, want a refusal that names the key", err, s.number(t, "select count(*) from logs"))
	}
	servertest.Exec(t, s.url, "delete from logs where note = 'in the way'")
	if err := carryOut(t, postgres.RestoreArchived(p), s.since()); err != nil ||
		s.number(t, "select count(*) from logs") != 200 {
		t.Errorf("%v, and %d rows, want 200", err, s.number(t, "select count(*) from logs"))
	}
}

// Objects by another age column are reported, beside those that come back.
func TestRestoreTellsOtherColumns(t *testing.T) {
	t.Parallel()
	s := shelved(t, "", "id bigint primary key, at timestamptz not null, changed timestamptz not null, tags text[], "+
		"note text not null",
		"insert into logs select i, '2020-06-01Z', now() + i % 2 * interval '-1 year', null, 'x' from "+
			"generate_series(1, 100) i")
	other := s.entry
	other.Column = "changed"
	for i, e := range []target.Archive{other, s.entry} {
		if err := carryOut(t, postgres.Archive(configured(t, s.url, e)), requestFor(s.database, "logs")); err != nil {
			t.Fatalf("archive %d: %v", i, err)
		}
	}
	plan, err := postgres.RestoreArchived(configured(t, s.url, s.entry)).Plan(t.Context(), s.since())
	if err != nil {
		t.Fatal(err)
	}
	facts := strings.Join(plan.Facts, "\n")
	for _, want := range []string{"1 objects with 50 rows in all",
		`1 objects with 50 rows were archived by the column "changed"`} {
		if !strings.Contains(facts, want) {
			t.Errorf("the facts do not say %q:\n%s", want, facts)
		}
	}
}

// What a crash empties takes no rows back, what is in memory keeps none, and what rows
// may break is reported.
func TestArchiveLasts(t *testing.T) {
	t.Parallel()
	s := shelved(t, "", "id bigint primary key, at timestamptz not null, tags text[], note text not null",
		"insert into logs select i, '2020-06-01Z', null, 'x' from generate_series(1, 100) i",
		"alter table logs add constraint positive check (id > 50) not valid")
	memory := s.entry
	memory.To.Store = depot.Folder("/dev/shm")
	refused := func(a remediate.Action, r remediate.Request, want string) {
		t.Helper()
		_, err := a.Plan(t.Context(), r)
		if no, ok := remediate.Refused(err); !ok || !strings.Contains(no.Detail, want) {
			t.Errorf("%v, want a refusal that says %q", err, want)
		}
	}
	refused(postgres.Archive(configured(t, s.url, memory)), requestFor(s.database, "logs"),
		"set the parameter volatile")
	p := configured(t, s.url, s.entry)
	plan, err := postgres.Archive(p).Plan(t.Context(), requestFor(s.database, "logs"))
	if facts := strings.Join(plan.Facts, "\n"); err != nil || !strings.Contains(facts, `the constraint "positive"`) ||
		!strings.Contains(facts, "100 of about") {
		t.Errorf("%v, and the facts are:\n%s", err, facts)
	}
	if err := carryOut(t, postgres.Archive(p), requestFor(s.database, "logs")); err != nil {
		t.Fatal(err)
	}
	servertest.Exec(t, s.url, "alter table logs drop constraint positive", "alter table logs set unlogged")
	refused(postgres.RestoreArchived(p), s.since(), "unlogged")
}

// Values that name roles can mean others when they come back.
func TestArchiveNamesNoRoles(t *testing.T) {
	t.Parallel()
	s := shelved(t, "", "id bigint primary key, at timestamptz not null, rights aclitem[], tags text[], note text "+
		"not null")
	_, err := postgres.Archive(configured(t, s.url, s.entry)).Plan(t.Context(), requestFor(s.database, "logs"))
	if no, ok := remediate.Refused(err); !ok || !strings.Contains(no.Detail, "aclitem") {
		t.Errorf("%v, want a refusal that names the type", err)
	}
}

package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

const (
	ageColumn     = `at"; drop table victim; --`
	archiveSchema = `Other "Schema`
	archiveTable  = `ärchive'; DROP TABLE public.victim; --\ %s $1`
)

// A stack is a database with a table whose rows come to an age, and another that
// takes them: its columns have another order, and there is one more.
type stack struct {
	*fixture
	qFrom, qTo, qAt string
	entry           target.Archive
}

func stacked(t *testing.T, purge bool) *stack {
	t.Helper()
	url, database := servertest.Database(t)
	return stackedOn(t, url, database, purge)
}

// serving returns a database of the shared server, or of a server of another major
// version for this test.
func serving(t *testing.T, version string) (url, database string) {
	t.Helper()
	if version == "" {
		return servertest.Database(t)
	}
	return own(t, version, nil).URL, "postgres"
}

func stackedOn(t *testing.T, url, database string, purge bool) *stack {
	t.Helper()
	s := &stack{fixture: &fixture{url: url, database: database}, qFrom: quoted(schema, table),
		qTo: quoted(archiveSchema, archiveTable), qAt: quoted(ageColumn)}
	s.entry = target.Archive{Database: database, Schema: schema, Table: table, Column: ageColumn,
		After: 180 * 24 * time.Hour, Purge: purge}
	if !purge {
		s.entry.To = target.Destination{Schema: archiveSchema, Table: archiveTable}
	}
	s.use(t, s.entry)
	servertest.Exec(t, url,
		"create table public.victim (id int)", "insert into public.victim values (1)",
		"create schema "+quoted(schema), "create schema "+quoted(archiveSchema),
		fmt.Sprintf(`create table %s (id bigint generated always as identity primary key, %s timestamptz, gone int, "Bo""dy" text not null, long int generated always as (length("Bo""dy")) stored, owner text default 'me')`, s.qFrom, s.qAt),
		fmt.Sprintf(`alter table %s drop column gone`, s.qFrom),
		fmt.Sprintf(`create table %s (owner text, archived timestamptz not null default now(), long int, "Bo""dy" text, %s timestamptz, id bigint primary key)`, s.qTo, s.qAt))
	t.Cleanup(func() {
		if n := s.number(t, "select count(*) from public.victim"); n != 1 {
			t.Error("the victim is gone: a name was not quoted")
		}
	})
	return s
}

// use makes the target anew, with other archives.
func (s *stack) use(t *testing.T, entries ...target.Archive) {
	t.Helper()
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: s.url, Archives: entries})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	s.server = p
}

// put inserts rows that are past their age and others that are not, and some that
// never come to an age.
func (s *stack) put(t *testing.T, old, fresh int) {
	t.Helper()
	servertest.Exec(t, s.url,
		fmt.Sprintf(`insert into %s (%s, "Bo""dy") select now() - interval '300 days', md5(i::text) from generate_series(1, %d) i`, s.qFrom, s.qAt, old),
		fmt.Sprintf(`insert into %s (%s, "Bo""dy") select nullif(now() - i %% 100 * interval '1 day', now()), md5(i::text) from generate_series(1, %d) i`, s.qFrom, s.qAt, fresh),
		"analyze "+s.qFrom, "analyze "+s.qTo)
}

// drop takes the rows that are past their age away.
func (s *stack) drop(t *testing.T) {
	t.Helper()
	servertest.Exec(t, s.url, fmt.Sprintf("delete from %s where %s < now() - interval '180 days'", s.qFrom, s.qAt))
}

// child is the target of a process of its own.
func (s *stack) child(t *testing.T) string {
	t.Helper()
	return remote{URL: s.url, Entry: s.entry}.child(t)
}

func (s *stack) subject() map[string]string {
	return s.fixture.subject("server", "database", "schema", "table")
}

func (s *stack) count(t *testing.T, table string) int {
	t.Helper()
	return s.number(t, "select count(*) from "+table)
}

// sum is a hash over the rows of both tables together, however they are spread.
func (s *stack) sum(t *testing.T) string {
	t.Helper()
	row := fmt.Sprintf(`id, %s, "Bo""dy", long, owner`, s.qAt)
	return s.text(t, fmt.Sprintf("select count(*) || ' ' || count(distinct id) || ' ' || "+
		"coalesce(sum(hashtextextended((id, at, body, long, owner)::text, 0)), 0) from (select %s from %s union all "+
		"select %s from %s) r(id, at, body, long, owner)", row, s.qFrom, row, s.qTo))
}

// carry makes a plan and carries all of its steps out.
func carryOut(t *testing.T, a remediate.Action, r remediate.Request) error {
	t.Helper()
	plan, err := a.Plan(t.Context(), r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, s := range plan.Steps {
		if err := a.Apply(ctx, remediate.Fence{Token: 1, Held: held}, s); err != nil {
			return fmt.Errorf("%s: %w", s.Do, err)
		}
	}
	return nil
}

func TestArchive(t *testing.T) {
	t.Parallel()
	const rows = 1500
	s := stacked(t, false)
	actiontest.Run(t, actiontest.Case{
		Action: postgres.Archive(s.server), Subject: s.subject(), Limit: 100, Child: s.child(t),
		Degrade: func(t *testing.T) { s.drop(t); s.put(t, rows, 200) },
		State: func(t *testing.T) string {
			return s.sum(t) + s.text(t, "select string_agg(pg_stat_get_vacuum_count(oid)::text, ' ') from pg_class "+
				"where relname = $1", table) + fmt.Sprint(s.count(t, s.qTo))
		},
		Effects: func(t *testing.T) int { return s.count(t, s.qTo) / rows },
	})
	if n := s.count(t, s.qTo); n%rows != 0 {
		t.Errorf("%d rows were moved, which is not a multiple of %d", n, rows)
	}
	if n := s.number(t, fmt.Sprintf("select count(*) from %s where %s < now() - interval '180 days'", s.qFrom,
		s.qAt)); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	const rows = 1500
	s := stacked(t, true)
	put, gone := 0, 0
	old := fmt.Sprintf("select count(*) from %s where %s < now() - interval '180 days'", s.qFrom, s.qAt)
	actiontest.Run(t, actiontest.Case{
		Action: postgres.Purge(s.server), Subject: s.subject(), Limit: 100, Child: s.child(t),
		Degrade: func(t *testing.T) {
			put -= s.number(t, old)
			s.drop(t)
			s.put(t, rows, 200)
			put += rows
		},
		State:   func(t *testing.T) string { return s.sum(t) },
		Effects: func(t *testing.T) int { gone = put - s.number(t, old); return gone / rows },
	})
	if n := s.number(t, old); gone%rows != 0 || n != 0 || s.count(t, s.qTo) != 0 {
		t.Errorf("%d rows are gone, %d are left, %d were moved", gone, n, s.count(t, s.qTo))
	}
}

func TestRestoreArchived(t *testing.T) {
	t.Parallel()
	const rows = 1500
	s := stacked(t, false)
	since := time.Now().AddDate(0, 0, -301).UTC().Format(time.DateOnly)
	until := time.Now().AddDate(0, 0, -290).UTC().Format(time.RFC3339)
	actiontest.Run(t, actiontest.Case{
		Action: postgres.RestoreArchived(s.server), Subject: s.subject(),
		Params: map[string]string{"since": since, "until": until, "without": "archived"}, Limit: 100, Child: s.child(t),
		Degrade: func(t *testing.T) {
			servertest.Exec(t, s.url, "truncate "+s.qTo)
			s.put(t, rows, 0)
			servertest.Exec(t, s.url,
				fmt.Sprintf(`with d as (delete from %s where id > (select max(id) - %d from %s) returning id, %s, "Bo""dy", owner, long) insert into %s (id, %s, "Bo""dy", owner, long) select * from d`, s.qFrom, rows, s.qFrom, s.qAt, s.qTo, s.qAt),
				fmt.Sprintf("insert into %s (id, %s) select -1 - count(*), now() - interval '1 year' from %s", s.qTo,
					s.qAt, s.qTo), "analyze "+s.qTo)
		},
		State:   func(t *testing.T) string { return s.sum(t) + fmt.Sprint(s.count(t, s.qTo)) },
		Effects: func(t *testing.T) int { return s.count(t, s.qFrom) / rows },
	})
	if n := s.count(t, s.qFrom); n%rows != 0 {
		t.Errorf("%d rows are back, which is not a multiple of %d", n, rows)
	}
	if n := s.number(t, fmt.Sprintf(`select count(*) from %s where long <> length("Bo""dy") or owner <> 'me'`,
		s.qFrom)); n != 0 {
		t.Errorf("%d rows are not as they were", n)
	}
}

// The identity of what comes back is the old one, and the next row has a new one.
func TestArchiveAndBack(t *testing.T) {
	t.Parallel()
	s := stacked(t, false)
	s.put(t, 500, 50)
	before := s.sum(t)
	if err := carryOut(t, postgres.Archive(s.server), remediate.Request{Subject: s.subject()}); err != nil {
		t.Fatal(err)
	}
	if n, after := s.count(t, s.qTo), s.sum(t); n != 500 || after != before {
		t.Fatalf("%d rows were moved; the rows were %s and are %s", n, before, after)
	}
	params := map[string]string{"since": "2000-01-01", "until": "2100-01-01", "without": "archived"}
	if err := carryOut(t, postgres.RestoreArchived(s.server),
		remediate.Request{Subject: s.subject(), Params: params}); err != nil {
		t.Fatal(err)
	}
	if n, after := s.count(t, s.qTo), s.sum(t); n != 0 || after != before {
		t.Errorf("%d rows are still there; the rows were %s and are %s", n, before, after)
	}
	s.put(t, 1, 0)

	// A row that is in both is found before anything is done.
	servertest.Exec(t, s.url,
		fmt.Sprintf(`insert into %s (id, %s, "Bo""dy") select id, %s, 'a' from %s where id in (3, 5)`, s.qTo, s.qAt,
			s.qAt, s.qFrom))
	_, err := postgres.RestoreArchived(s.server).Plan(t.Context(),
		remediate.Request{Subject: s.subject(), Params: params})
	if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonUnfit ||
		!strings.Contains(refusal.Detail, "already") {
		t.Errorf("rows in both tables: %v", err)
	}
	// So is one that the archive would take twice.
	err = carryOut(t, postgres.Archive(s.server), remediate.Request{Subject: s.subject()})
	if err == nil || !strings.Contains(err.Error(), "is in "+s.qTo+" already") {
		t.Errorf("a row that is there already: %v", err)
	}
	for name, params := range map[string]map[string]string{
		"nothing": nil, "no end": {"since": "2000-01-01"},
		"text":                {"since": "yesterday'; drop table victim; --", "until": "2100-01-01"},
		"the wrong way round": {"since": "2001-01-01", "until": "2000-01-01"},
	} {
		_, err := postgres.RestoreArchived(s.server).Plan(t.Context(),
			remediate.Request{Subject: s.subject(), Params: params})
		if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonSubject {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func (s *stack) text(t *testing.T, sql string, args ...any) string {
	t.Helper()
	return servertest.Ask(t, s.url, sql, args...)
}

func (s *stack) number(t *testing.T, sql string, args ...any) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s.text(t, "select ("+sql+")::text", args...), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// divided makes a table with partitions for a hundred days each: two that are past
// their age as a whole, one that is in part, and one that is not.
func divided(t *testing.T, url, database string, purge, fallback bool) *stack {
	t.Helper()
	s := &stack{fixture: &fixture{url: url, database: database}, qFrom: quoted(schema, table),
		qTo: quoted(archiveSchema, archiveTable), qAt: quoted(ageColumn)}
	s.entry = target.Archive{Database: database, Schema: schema, Table: table, Column: ageColumn,
		After: 150 * 24 * time.Hour, Purge: purge}
	if !purge {
		s.entry.To = target.Destination{Schema: archiveSchema, Table: archiveTable}
	}
	s.use(t, s.entry)
	columns := fmt.Sprintf(`(id bigint not null, %s timestamptz not null, "Bo""dy" text not null, long int, owner text, primary key (id, %s)) partition by range (%s)`, s.qAt, s.qAt, s.qAt)
	sql := []string{
		"create schema " + quoted(schema), "create schema " + quoted(archiveSchema),
		"create table public.victim (id int)", "insert into public.victim values (1)",
		"create table " + s.qFrom + columns, "create table " + s.qTo + columns,
		"create table " + quoted(archiveSchema, "rest") + " partition of " + s.qTo + " default",
	}
	for i, from := range []int{400, 300, 200, 100} {
		sql = append(sql, fmt.Sprintf("create table %s partition of %s for values from ('%s') to ('%s')",
			quoted(schema, part(i)), s.qFrom, ago(from), ago(from-100)))
	}
	if fallback {
		sql = append(sql, "create table "+quoted(schema, "rest")+" partition of "+s.qFrom+" default")
	}
	sql = append(sql,
		fmt.Sprintf(`insert into %s select i, now() - interval '5 minutes' - i * interval '0.39 days', md5(i::text), 1, 'me' from generate_series(0, 1000) i`, s.qFrom), "analyze "+s.qFrom)
	servertest.Exec(t, url, sql...)
	return s
}

func ago(days int) string { return time.Now().UTC().AddDate(0, 0, 1-days).Format(time.DateOnly) }

func part(i int) string { return fmt.Sprintf(`part "%d"; drop table victim; --`, i) }

func (s *stack) parts(t *testing.T, table string) int {
	t.Helper()
	return s.number(t, "select count(*) from pg_inherits where inhparent = '"+strings.ReplaceAll(table, "'",
		"''")+"'::regclass")
}

// Partitions that are past their age as a whole change hands, each in one
// transaction, and of the one between its rows.
func TestArchivePartitions(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", "18"} {
		t.Run("version "+version, func(t *testing.T) {
			url, database := serving(t, version)
			s := divided(t, url, database, false, version == "")
			before := s.sum(t)
			old := s.number(t, fmt.Sprintf("select count(*) from %s where %s < now() - interval '150 days'", s.qFrom,
				s.qAt))
			a := postgres.Archive(s.server)
			plan, err := a.Plan(t.Context(), remediate.Request{Subject: s.subject()})
			if err != nil {
				t.Fatal(err)
			}
			if len(plan.Steps) != 5 || plan.Steps[0].Args["part"] != "hand over" ||
				plan.Steps[1].Args["part"] != "hand over" {
				t.Fatalf("the plan: %v", plan)
			}
			// A long reader of the table makes no other session wait, and the partition is not lost.
			reader := s.connect(t)
			if _, err := reader.Exec(t.Context(), "begin; select from "+s.qFrom); err != nil {
				t.Fatal(err)
			}
			short, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
			err = a.Apply(short, remediate.Fence{Token: 1, Held: held}, plan.Steps[0])
			stop()
			if err == nil || s.parts(t, s.qFrom) < 4 {
				t.Errorf("beside a reader: %v, %d partitions", err, s.parts(t, s.qFrom))
			}
			if _, err := reader.Exec(t.Context(), "rollback"); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			for _, step := range plan.Steps {
				for range 2 {
					if err := a.Apply(ctx, remediate.Fence{Token: 1, Held: held}, step); err != nil {
						t.Fatalf("%s: %v", step.Do, err)
					}
					if after := s.sum(t); after != before {
						t.Fatalf("%s: the rows were %s and are %s", step.Do, before, after)
					}
				}
			}
			if n, in := s.count(t, s.qTo), s.parts(t, s.qTo); n != old || in != 3 {
				t.Errorf("%d rows and %d partitions, want %d and 3", n, in, old)
			}
			if n := s.number(t, "select count(*) from pg_constraint where conname = 'upkeep_bounds'"); n != 0 {
				t.Errorf("%d constraints are left", n)
			}
		})
	}
}

// A destination that takes no partitions is given the rows.
func TestArchivePartitionsByRow(t *testing.T) {
	t.Parallel()
	url, database := servertest.Database(t)
	s := divided(t, url, database, false, false)
	servertest.Exec(t, s.url, "alter table "+s.qTo+" add column more int")
	before := s.sum(t)
	plan, err := postgres.Archive(s.server).Plan(t.Context(), remediate.Request{Subject: s.subject()})
	if err != nil || len(plan.Steps) != 3 || !strings.Contains(strings.Join(plan.Facts, "\n"), "2 partitions") {
		t.Fatalf("%+v %v", plan, err)
	}
	if err := carryOut(t, postgres.Archive(s.server), remediate.Request{Subject: s.subject()}); err != nil {
		t.Fatal(err)
	}
	if left := s.number(t, fmt.Sprintf("select count(*) from %s where %s < now() - interval '150 days'", s.qFrom,
		s.qAt)); left != 0 || s.sum(t) != before {
		t.Errorf("%d rows are left; the rows were %s and are %s", left, before, s.sum(t))
	}
}

// Partitions are detached, concurrently where the server can, and dropped. A detachment
// that somebody else began and that was interrupted is finished, and the table stays.
func TestPurgePartitions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		version           string
		fallback, pending bool
	}{{"13", false, false}, {"", true, false}, {"", false, true}} {
		t.Run(fmt.Sprintf("version %s, default %v, pending %v", test.version, test.fallback, test.pending),
			func(t *testing.T) {
				url, database := serving(t, test.version)
				s := divided(t, url, database, true, test.fallback)
				young := s.number(t, fmt.Sprintf("select count(*) from %s where %s >= now() - interval '150 days'",
					s.qFrom,
					s.qAt))
				if test.pending {
					s.interruptDetach(t, 0)
					s.interruptDetach(t, 3) // refused by the server while the first is pending
				}
				a := postgres.Purge(s.server)
				plan, err := a.Plan(t.Context(), remediate.Request{Subject: s.subject()})
				if err != nil {
					t.Fatal(err)
				}
				concurrently := strings.Contains(plan.Steps[1].Do, "CONCURRENTLY; DROP TABLE")
				first, left := "drop", 2
				if test.pending {
					first, left = "detach", 3
				}
				if len(plan.Steps) != 4 || plan.Steps[0].Args["part"] != first ||
					concurrently != (test.version != "13" && !test.fallback) {
					t.Fatalf("the plan: %+v", plan)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				for _, step := range plan.Steps {
					if err := a.Apply(ctx, remediate.Fence{}, step); !errors.Is(err, remediate.ErrFenced) {
						t.Errorf("%s without the right: %v", step.Do, err)
					}
					for range 2 {
						if err := a.Apply(ctx, remediate.Fence{Token: 1, Held: held}, step); err != nil {
							t.Fatalf("%s: %v", step.Do, err)
						}
					}
				}
				tables := s.number(t, "select count(*) from pg_class where relkind = 'r' and relname like 'part%'")
				if n := s.count(t, s.qFrom); n != young || tables != left {
					t.Errorf("%d rows, and %d tables, want %d and %d", n, tables, young, left)
				}
				if n := s.number(t, "select count(*) from public.victim"); n != 1 {
					t.Error("the victim is gone")
				}
			})
	}
}

// interruptDetach leaves a detachment pending: it is given up while it waits for one
// who uses the table.
func (s *stack) interruptDetach(t *testing.T, i int) {
	t.Helper()
	reader, detacher := s.connect(t), s.connect(t)
	if _, err := reader.Exec(t.Context(), "begin; select from "+s.qFrom); err != nil {
		t.Fatal(err)
	}
	if _, err := detacher.Exec(t.Context(), "set lock_timeout = '100ms'"); err != nil {
		t.Fatal(err)
	}
	if _, err := detacher.Exec(t.Context(), "alter table "+s.qFrom+" detach partition "+quoted(schema,
		part(i))+" concurrently"); err == nil {
		t.Fatal("the detachment was not interrupted")
	}
	if _, err := reader.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
}

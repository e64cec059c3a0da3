package postgres_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// A life carries a plan out as the engine does, with a journal that outlives it, and
// is stopped or killed at a random check, again and again.
type life struct {
	action remediate.Action
	plan   remediate.Plan
	most   remediate.Amount
	random *rand.Rand
	kill   bool // a process that is killed says no last word
	checks int  // a try is stopped after less than so many of them
	grow   func()
	writes int
}

// lead goes on until the plan is done or refused for its amount, and reports which.
func (l *life) lead(t *testing.T) (refused bool) {
	t.Helper()
	for try := 0; ; try++ {
		done := true
		for i := range l.plan.Steps {
			s := l.plan.Steps[i]
			if part := s.Args["part"]; part == "vacuum" || part == "analyze" {
				continue
			}
			err := l.try(t, i, try < 12)
			if r, ok := remediate.Refused(err); ok && r.Reason == remediate.ReasonAmount {
				return true
			} else if ok && r.Reason != remediate.ReasonPolicy {
				t.Fatalf("%s: %v", s.Do, err)
			}
			if err != nil {
				if try >= 12 {
					t.Fatalf("%s: %v", s.Do, err)
				}
				done = false
				break
			}
		}
		if done {
			return false
		}
		l.grow()
	}
}

func (l *life) try(t *testing.T, i int, mortal bool) error {
	t.Helper()
	left, dead := 2+l.random.IntN(l.checks), false
	beside, err := l.plan.TakenBeside(i)
	if err != nil {
		t.Fatal(err)
	}
	f := remediate.Fence{Token: 1, Most: &l.most, Taken: beside, Held: func(context.Context) error {
		if left--; left > 0 || !mortal {
			return nil
		}
		if l.kill {
			dead = true
			return remediate.ErrFenced
		}
		return &remediate.Refusal{Reason: remediate.ReasonPolicy, Detail: "held", Until: time.Now()}
	}, Keep: func(_ context.Context, kept map[string]string, _ string) error {
		if dead {
			return remediate.ErrFenced
		}
		l.writes++
		l.plan.Steps[i].Kept = maps.Clone(kept)
		return nil
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	return l.action.Apply(ctx, f, l.plan.Steps[i])
}

// Over all its tries a run takes no more than it may, however often it is held or
// killed, and while more and more rows come to be past their age.
func TestQuotaOfALife(t *testing.T) {
	for seed, to := range []string{"purge", "purge by index", "table", "files"} {
		for _, kill := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, kill %v", to, kill), func(t *testing.T) {
				t.Parallel()
				url, database := servertest.Database(t)
				c := fixture{url: url, database: database}
				servertest.Exec(t, url, "create table logs (id bigint generated always as identity, at timestamptz "+
					"not null)", "create table logs_old (id bigint, at timestamptz not null)",
					"insert into logs (at) select now() - interval '1 year' from generate_series(1, 4000) i",
					"analyze logs")
				entry := target.Archive{Database: database, Schema: "public", Table: "logs", Column: "at",
					After: time.Hour}
				var a remediate.Action
				switch to {
				case "purge", "purge by index":
					entry.Purge = true
					a = postgres.Purge(configured(t, url, entry))
				case "table":
					entry.To = target.Destination{Schema: "public", Table: "logs_old"}
					a = postgres.Archive(configured(t, url, entry))
				default:
					s := stocked(t, nil)
					entry.To = s.server.Archives[0].To
					a = postgres.Archive(configured(t, url, entry))
				}
				if to == "purge by index" {
					servertest.Exec(t, url, "insert into logs (at) select now() from generate_series(1, 60000)",
						"create index on logs (at)", "analyze logs")
				}
				l := life{action: a, most: remediate.Amount{Rows: 10_000},
					random: rand.New(rand.NewPCG(uint64(seed), 11)), kill: kill, checks: 8}
				came := 4000
				l.grow = func() {
					servertest.Exec(t, url,
						"insert into logs (at) select now() - interval '1 year' from generate_series(1, 3000)")
					came += 3000
				}
				var err error
				if l.plan, err = a.Plan(t.Context(), requestFor(database, "logs")); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					l.grow()
				}
				refused := l.lead(t)
				gone := came - c.number(t, "select count(*) from logs where at < now() - interval '1 hour'")
				if !refused || gone > 10_000 || !kill && gone < 9_000 || gone == 0 {
					t.Errorf("%d of %d rows are gone (refused: %v), and 10000 may go", gone, came, refused)
				}
				if l.writes > 60 {
					t.Errorf("the journal was written %d times", l.writes)
				}
				t.Logf("%d rows are gone of %d, the journal was written %d times", gone, came, l.writes)
			})
		}
	}
}

// Partitions that go as a whole, and rows beside them, are of one amount.
func TestQuotaOfPartitions(t *testing.T) {
	for _, purge := range []bool{true, false} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("purge %v, seed %d", purge, seed), func(t *testing.T) {
				t.Parallel()
				y := yards(t, "", purge)
				a := postgres.Purge(y.server)
				if !purge {
					a = postgres.Archive(y.server)
				}
				l := life{action: a, most: remediate.Amount{Rows: 1461}, random: rand.New(rand.NewPCG(seed, 12)),
					kill: seed%2 == 0, checks: 12, plan: y.plan(t, a)}
				l.grow = func() {
					// Into a year that goes last, when the first is gone: more than was counted then.
					if y.text(t, "select coalesce(to_regclass('t_2020')::text, '') || "+
						"coalesce(to_regclass('t_2023')::text, '')") == "t_2023" {
						servertest.Exec(t, y.url,
							"insert into t select 10000 + g, timestamptz '2023-03-03Z' from generate_series(1, 50) g "+
								"where not exists (select from t_2023 where id > 10000)")
					}
				}
				if !purge {
					servertest.Exec(t, y.url,
						"insert into t select 10000 + g, timestamptz '2023-03-03Z' from generate_series(1, 50) g")
				}
				refused := l.lead(t)
				gone := 2000 - y.number(t, "select count(*) from t where id < 10000")
				if y.number(t, "select count(*) from t where id > 10000") == 0 && refused {
					gone += 50
				}
				if gone > 1461 || gone < 365 || !purge && !refused {
					t.Errorf("%d rows are gone (refused: %v), and 1461 may go", gone, refused)
				}
				t.Logf("%d rows are gone (refused: %v)", gone, refused)
			})
		}
	}
}

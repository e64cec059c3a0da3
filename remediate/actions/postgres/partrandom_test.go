package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	command "os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// Steps on partitions that are stopped, or lose their session, at any moment, beside
// readers and writers: each row is in one of the two tables, or in a partition that
// was dropped; and nothing is left half way, for a person to find.
func TestPartitionsInterrupted(t *testing.T) {
	const seeds = 4
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 11))
			purge := seed%2 == 0
			more := []string{}
			if r.IntN(3) == 0 {
				more = append(more, "create table t_rest partition of t default")
			}
			if r.IntN(2) == 0 {
				more = append(more, "do $$ begin execute format('alter database %I set datestyle = ''German, DMY''', "+
					"current_database()); execute format('alter database %I set timezone = ''Asia/Tokyo''', "+
					"current_database()); end $$")
			}
			y := yards(t, "", purge, more...)
			a := postgres.Archive(y.server)
			if purge {
				a = postgres.Purge(y.server)
			}
			for range 4 {
				y.disturbed(t, r, a)
				y.accounted(t, purge)
			}
			if err := carryOut(t, a, y.request()); err != nil {
				t.Error(err)
			}
			y.accounted(t, purge)
			if n := y.number(t, "select count(*) from t where at < '2024-01-01Z'"); n != 0 {
				t.Errorf("%d rows are left", n)
			}
			if purge {
				return
			}
			// And back.
			params := []string{"since", "2020-01-01", "until", "2024-01-01"}
			for range 3 {
				y.disturbed(t, r, postgres.RestoreArchived(y.server), params...)
				y.accounted(t, purge)
			}
			if err := carryOut(t, postgres.RestoreArchived(y.server), y.request(params...)); err != nil {
				t.Error(err)
			}
			y.accounted(t, purge)
			if n := y.number(t, "select count(*) from t"); n != 2000 {
				t.Errorf("%d rows are back, want 2000", n)
			}
		})
	}
}

// disturbed carries a plan out until something stops it.
func (y *yard) disturbed(t *testing.T, r *rand.Rand, a remediate.Action, params ...string) {
	t.Helper()
	plan := y.plan(t, a, params...)
	stop := make(chan struct{})
	var beside sync.WaitGroup
	for range r.IntN(3) {
		pause, stay := time.Duration(r.IntN(300))*time.Millisecond, time.Duration(r.IntN(1500))*time.Millisecond
		beside.Go(func() { y.beside(t, stop, pause, stay) })
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20+r.IntN(2500))*time.Millisecond)
	if r.IntN(3) == 0 {
		after := time.Duration(r.IntN(2000)) * time.Millisecond
		beside.Go(func() {
			select {
			case <-stop:
			case <-time.After(after):
				servertest.Exec(t, y.url,
					"select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'upkeep %' "+
						"and datname = current_database() and pid <> pg_backend_pid()")
			}
		})
	}
	for _, s := range plan.Steps {
		if r.IntN(4) == 0 {
			y.killed(t, a, s, time.Duration(r.IntN(1000))*time.Millisecond)
		}
		if err := a.Apply(ctx, remediate.Fence{Token: 1, Held: held}, s); err != nil {
			t.Logf("%s: %.300s", s.Args["part"], strings.ReplaceAll(err.Error(), "\n", " "))
			break
		}
	}
	cancel()
	close(stop)
	beside.Wait()
}

// killed has another process carry a step out, kills it, and takes the step up again:
// the server goes on with what the process had begun.
func (y *yard) killed(t *testing.T, a remediate.Action, s remediate.Step, after time.Duration) {
	t.Helper()
	child, err := json.Marshal(remote{URL: y.url, Entry: y.server.Archives[0]})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"Action": a.Name, "Child": string(child), "Step": s})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), after)
	defer cancel()
	cmd := command.CommandContext(ctx, os.Args[0], "-test.run=^$") // killed when ctx ends
	cmd.Env = append(os.Environ(), "UPKEEP_ACTIONTEST_APPLY="+string(text))
	_ = cmd.Run() // it was killed, or done
	if err := a.Apply(deadline(t), remediate.Fence{Token: 2, Held: held}, s); err != nil {
		t.Logf("%s, taken up again: %.300s", s.Args["part"], strings.ReplaceAll(err.Error(), "\n", " "))
	}
}

// beside reads the table and writes to it, and stays in each transaction for a while.
func (y *yard) beside(t *testing.T, stop <-chan struct{}, pause, stay time.Duration) {
	ctx := context.WithoutCancel(t.Context())
	c, err := pgx.Connect(ctx, y.url)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Close(ctx) }() // its transaction is rolled back
	for {
		if _,
			err := c.Exec(ctx,
			"begin; select count(*) from t; update t set body = body || '.' where id % 100 = 7"); err != nil {
			t.Logf("beside: %v", err) // a partition went away under it
		}
		for _, d := range []time.Duration{stay, pause} {
			select {
			case <-stop:
				return
			case <-time.After(d):
			}
			if _, err := c.Exec(ctx, "rollback"); err != nil {
				t.Error(err)
				return
			}
		}
	}
}

// accounted checks that no row is lost, doubled or out of sight, and that no partition
// is.
func (y *yard) accounted(t *testing.T, purge bool) {
	t.Helper()
	if loose := y.loose(t); !strings.HasPrefix(loose, "t_") && loose != "" || strings.Contains(loose, "pending") ||
		strings.Contains(loose, "detached") {
		t.Errorf("left half way: %s", loose)
	}
	if n := y.number(t, "select count(*) - count(distinct id) from (select id from t union all select id from "+
		"t_archive) a"); n != 0 {
		t.Errorf("%d rows are there twice", n)
	}
	lost := `select count(*) from (select extract(year from timestamptz '2020-01-01 12:00Z' + i * interval '1 day')::int as year, i from generate_series(0, 1999) i) w
		where not exists (select from t where id = i union all select from t_archive where id = i)`
	if purge {
		lost += " and (year > 2023 or to_regclass('public.t_' || year) is not null)"
	}
	if n := y.number(t, lost); n != 0 {
		t.Errorf("%d rows are lost", n)
	}
}

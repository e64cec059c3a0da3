package postgres_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/sandbox"
	"github.com/ai-micro-service/upkeep/internal/servertest"
	"github.com/ai-micro-service/upkeep/internal/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// A remedy is an action beside what the manuals say for the same trouble. Both run
// while clients work on the same tables (see load.transaction), each in a copy of
// the same database: half a million rows of public.accounts, of which seven tenths are gone, and
// public.tellers, public.branches and public.history.
//
// To add a case, add a line to stalls.
type remedy struct {
	name    string
	action  func(*target.Postgres) remediate.Action
	subject map[string]string // beside server and database; that of accounts where nil
	params  map[string]string
	prepare []string      // run in the copy before, for both
	naive   []string      // each a statement of its own
	lock    time.Duration // how long the action says it waits for a lock of a table, at most
	reader  time.Duration // a report reads accounts for so long, from before the work
}

func stalls() []remedy {
	const naiveFull = "vacuum full public.accounts"
	return []remedy{
		{name: "repack", action: postgres.Repack, naive: []string{naiveFull}, lock: 1200 * time.Millisecond},
		{name: "repack beside a reader", action: postgres.Repack, naive: []string{naiveFull}, lock: 1200 * time.Millisecond, reader: 4 * time.Second},
		// Small, since nobody can do anything while it is written; what counts is the wait before.
		{name: "vacuum_full beside a reader", action: postgres.VacuumFull, prepare: []string{
			"delete from public.accounts where aid > 100000", naiveFull, "update public.accounts set abalance = 0", "vacuum (analyze, truncate off) public.accounts",
		}, naive: []string{naiveFull}, lock: 500 * time.Millisecond, reader: 15 * time.Second},
		{
			name: "reindex", action: postgres.Reindex, subject: map[string]string{"schema": "public", "table": "accounts", "index": "accounts_slow"},
			prepare: []string{"create index accounts_slow on public.accounts (md5(md5(aid::text || filler)))"}, naive: []string{"reindex index public.accounts_slow"},
		},
		{name: "vacuum", action: postgres.Vacuum, prepare: []string{"delete from public.accounts where aid > 250000"}, naive: []string{naiveFull}, lock: 5 * time.Second},
		{name: "repack by rows", action: postgres.Repack, prepare: []string{"drop extension pg_repack"}, naive: []string{naiveFull}, lock: 5 * time.Second},
	}
}

const (
	stallClients = 8
	stallRows    = 500_000
	stallGoal    = 1.0 / 15 // of the naive way's longest stall
)

// BenchmarkStall prints for each case how many transactions failed, how long a
// client stood still at most, and how long with the naive way.
func BenchmarkStall(b *testing.B) {
	dir, err := servertest.Dir()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	server, err := sandbox.StartPostgres(b.Context(), sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"), Settings: map[string]string{
		"autovacuum": "off", "max_wal_size": "8GB", "shared_buffers": "512MB", "synchronous_commit": "off", "log_lock_waits": "on",
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Stop() })
	servertest.Exec(b, server.URL, "create database bloated")
	servertest.Exec(b, in(server.URL, "bloated"),
		"create extension pg_repack", "create extension amcheck",
		"create table public.accounts (aid int primary key, bid int, abalance int not null, filler char(84))",
		"create table public.tellers (tid int primary key, tbalance int not null)", "insert into public.tellers select i, 0 from generate_series(1, 1000) i",
		"create table public.branches (bid int primary key, bbalance int not null)", "insert into public.branches select i, 0 from generate_series(1, 100) i",
		"create table public.history (tid int, bid int, aid int, delta int, mtime timestamptz)",
		fmt.Sprintf("insert into public.accounts select i, i %% 100 + 1, 0, '' from generate_series(1, %d) i", stallRows),
		"create index accounts_bid on public.accounts (bid)",
		"delete from public.accounts where aid % 10 > 2",
		"vacuum (analyze, truncate off) public.accounts", "vacuum analyze public.tellers, public.branches")
	for _, s := range stalls() {
		b.Run(strings.ReplaceAll(s.name, " ", "_"), func(b *testing.B) {
			for range b.N {
				ours := s.run(b, server.URL, func(ctx context.Context, p *target.Postgres, url string) error { return s.act(ctx, p) })
				naive := s.run(b, server.URL, s.byHand)
				s.report(b, ours, naive)
			}
		})
	}
}

// benchWithin is how long the work may take while eight clients write as fast as they can.
const benchWithin = 3 * time.Minute

func in(url, database string) string { return strings.Replace(url, "/postgres?", "/"+database+"?", 1) }

// An outcome is what the clients felt of one way.
type outcome struct {
	failed, done  int
	first         error // of those that failed
	before, worst time.Duration
	lock          time.Duration // the longest that the action itself was seen to wait for a table's lock
	blocked       time.Duration // the longest that a client was seen to wait for a lock of whoever works
	took          time.Duration
}

// run works in a fresh copy while clients work there too.
func (s remedy) run(b *testing.B, server string, work func(ctx context.Context, p *target.Postgres, url string) error) (o outcome) {
	b.Helper()
	servertest.Exec(b, server, "drop database if exists work with (force)", "create database work template bloated")
	url := in(server, "work")
	servertest.Exec(b, url, s.prepare...)
	servertest.Exec(b, url, "checkpoint")
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: url})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	l := begin(b, url)
	time.Sleep(2 * time.Second)
	var reading sync.WaitGroup
	if s.reader > 0 {
		reading.Go(func() {
			servertest.Exec(b, url, fmt.Sprintf("begin; select count(*) from public.accounts; select pg_sleep(%f); commit", s.reader.Seconds()))
		})
		time.Sleep(500 * time.Millisecond)
	}
	l.mark()
	began := time.Now()
	ctx, cancel := context.WithTimeout(b.Context(), benchWithin)
	defer cancel()
	err = work(ctx, p, url)
	o = l.end()
	o.took = time.Since(began)
	if err != nil {
		b.Logf("%s: GOAL MISSED: it did not end well within %v: %v", s.name, benchWithin, err)
	}
	reading.Wait()
	servertest.Exec(b, url, "select bt_index_check(indexrelid, true) from pg_index where indrelid = 'public.accounts'::regclass")
	return o
}

// act plans and applies, and tries again what gave way to others, as the engine does.
func (s remedy) act(ctx context.Context, p *target.Postgres) error {
	action := s.action(p)
	subject := map[string]string{"server": "main", "database": "work", "schema": "public", "table": "accounts"}
	maps.Copy(subject, s.subject)
	plan, err := action.Plan(ctx, remediate.Request{Action: action.Name, Subject: subject, Params: s.params})
	if err != nil {
		return err
	}
	for _, step := range plan.Steps {
		for attempt := 1; ; attempt++ {
			err := action.Apply(ctx, remediate.Fence{Token: 1, Held: held}, step)
			if err == nil {
				break
			}
			if attempt == 5 {
				return err
			}
			time.Sleep(time.Duration(attempt) * time.Second)
		}
	}
	return nil
}

func (s remedy) byHand(ctx context.Context, _ *target.Postgres, url string) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	for _, statement := range s.naive {
		if _, err := c.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func (s remedy) report(b *testing.B, ours, naive outcome) {
	b.Helper()
	ratio := ours.worst.Seconds() / max(naive.worst.Seconds(), 1e-9)
	verdict := "goal met"
	if ratio > stallGoal {
		verdict = fmt.Sprintf("GOAL MISSED: want 1/%.0f", 1/stallGoal)
	}
	b.Logf("%s: failed %d of %d (naive %d of %d); longest stall %s, naive %s: 1/%.1f, %s; the stall before, without either: %s and %s; clients waited for its locks for %s at most, naive %s; took %s, naive %s; it waited for a lock %s at most, says %s",
		s.name, ours.failed, ours.done+ours.failed, naive.failed, naive.done+naive.failed, ms(ours.worst), ms(naive.worst), 1/max(ratio, 1e-9), verdict,
		ms(ours.before), ms(naive.before), ms(ours.blocked), ms(naive.blocked), ms(ours.took), ms(naive.took), ms(ours.lock), ms(s.lock))
	b.ReportMetric(float64(ours.failed), "failed")
	b.ReportMetric(float64(ours.worst.Milliseconds()), "stall-ms")
	b.ReportMetric(float64(naive.worst.Milliseconds()), "naive-stall-ms")
	b.ReportMetric(ratio, "stall-ratio")
	b.ReportMetric(float64(ours.lock.Milliseconds()), "lock-wait-ms")
	b.ReportMetric(float64(ours.blocked.Milliseconds()), "client-lock-wait-ms")
	b.ReportMetric(float64(naive.blocked.Milliseconds()), "naive-client-lock-wait-ms")
	if ours.failed > 0 {
		b.Errorf("%s: %d transactions failed, the first: %v", s.name, ours.failed, ours.first)
	}
	if s.lock > 0 && ours.lock > s.lock+100*time.Millisecond {
		b.Errorf("%s: it waited for a lock for %s, and says that it waits for %s", s.name, ours.lock, s.lock)
	}
}

func ms(d time.Duration) string { return d.Round(time.Millisecond).String() }

// A load is clients at work, and what they felt.
type load struct {
	stop   context.CancelFunc
	all    sync.WaitGroup
	mu     sync.Mutex
	marked time.Time
	outcome
}

// begin starts the clients, and one who looks for how long ours wait for locks.
func begin(b *testing.B, url string) *load {
	b.Helper()
	ctx, stop := context.WithCancel(b.Context())
	l := &load{stop: stop}
	connect := func() *pgx.Conn {
		c, err := pgx.Connect(ctx, url)
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	for i := range stallClients {
		c := connect()
		l.all.Go(func() {
			defer func() { _ = c.Close(context.Background()) }()
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for ctx.Err() == nil {
				began := time.Now()
				err := l.transaction(b.Context(), c, r)
				l.note(began, time.Now(), err)
				if err != nil && c.IsClosed() {
					return
				}
			}
		})
	}
	c := connect()
	l.all.Go(func() {
		defer func() { _ = c.Close(context.Background()) }()
		for ctx.Err() == nil {
			var lock, blocked float64
			err := c.QueryRow(b.Context(), waitsSQL).Scan(&lock, &blocked)
			l.mu.Lock()
			if err == nil {
				l.lock = max(l.lock, time.Duration(lock*float64(time.Second)))
				l.blocked = max(l.blocked, time.Duration(blocked*float64(time.Second)))
			}
			l.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
		}
	})
	return l
}

// waitsSQL is how long ours and the clients wait for locks at this moment. Clients
// wait for the rows of each other too; that is left out.
const waitsSQL = `
select coalesce(max(w.wait) filter (where w.ours and w.locktype = 'relation'), 0)::float8,
       coalesce(max(w.wait) filter (where not w.ours and (w.locktype = 'relation' or w.held)), 0)::float8
  from (select l.locktype, extract(epoch from clock_timestamp() - l.waitstart) as wait, starts_with(a.application_name, 'upkeep ') as ours,
               exists (select from pg_locks h join pg_stat_activity o on o.pid = h.pid
                        where h.granted and h.locktype = 'transactionid' and h.transactionid = l.transactionid and starts_with(o.application_name, 'upkeep ')) as held
          from pg_locks l join pg_stat_activity a on a.pid = l.pid
         where not l.granted and l.waitstart is not null
           and (starts_with(a.application_name, 'upkeep ') or a.query not ilike 'vacuum%' and a.query not ilike 'reindex%' and a.query not ilike 'drop%')) w`

// transaction is that of TPC-B, as pgbench has it, on rows that are there.
func (*load) transaction(ctx context.Context, c *pgx.Conn, r *rand.Rand) error {
	aid, tid, bid, delta := 10*(1+r.IntN(10_000))+r.IntN(3), 1+r.IntN(1000), 1+r.IntN(100), r.IntN(10_000)-5000
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	for _, q := range []struct {
		sql  string
		args []any
	}{
		{"update public.accounts set abalance = abalance + $1 where aid = $2", []any{delta, aid}},
		{"select abalance from public.accounts where aid = $1", []any{aid}},
		{"update public.tellers set tbalance = tbalance + $1 where tid = $2", []any{delta, tid}},
		{"update public.branches set bbalance = bbalance + $1 where bid = $2", []any{delta, bid}},
		{"insert into public.history (tid, bid, aid, delta, mtime) values ($1, $2, $3, $4, now())", []any{tid, bid, aid, delta}},
	} {
		if _, err := tx.Exec(ctx, q.sql, q.args...); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

func (l *load) note(began, ended time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := ended.Sub(began)
	switch {
	case l.marked.IsZero() || ended.Before(l.marked):
		l.before = max(l.before, took)
		return
	case err != nil:
		if l.failed++; l.first == nil {
			l.first = err
		}
	default:
		l.done++
	}
	l.worst = max(l.worst, took)
}

// mark says that the work begins now.
func (l *load) mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marked, l.lock, l.blocked = time.Now(), 0, 0
}

// end stops the clients a moment after the work.
func (l *load) end() outcome {
	time.Sleep(200 * time.Millisecond)
	l.stop()
	l.all.Wait()
	return l.outcome
}

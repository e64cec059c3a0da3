package postgres_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	command "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// An executor is an action beside what the manuals say for the same problem. Both run
// while pgbench works on the same tables (pgbenchScript), each in a copy of the same
// database: public.accounts, of whose rows seven tenths are gone and two thirds of
// the rest are more than a year old, and public.tellers, public.branches and
// public.history.
//
// To add a case, add a line to remedies.
type executor struct {
	name    string
	action  func(*target.Postgres) remediate.Action
	subject map[string]string // beside server and database; that of accounts where nil
	params  map[string]string
	limit   float64
	archive *target.Archive // of accounts; its database is that of the copy
	prepare []string        // run in the copy before, for both
	naive   []string        // each a statement of its own; empty if no session would block another
	lock    time.Duration   // how long the action says it waits for a lock of a table, at most
	reader  time.Duration   // a report reads accounts for so long, from before the work
	holder  string          // what a session runs that forgets to commit, from before the work
}

func remedies() []executor {
	const naiveFull = "vacuum full public.accounts"
	year := target.Archive{Schema: "public", Table: "accounts", Column: "seen", After: 365 * 24 * time.Hour}
	toTable, toFiles, away := year, year, year
	toTable.To = target.Destination{Schema: "public", Table: "accounts_archive"}
	toFiles.To.Label = "a folder"
	away.Purge = true
	const old = " from public.accounts where seen < now() - interval '365 days'"
	move := []string{"begin", "insert into public.accounts_archive select *" + old, "delete" + old, "commit"}
	server := map[string]string{}
	return []executor{
		{name: "vacuum", action: postgres.Vacuum,
			prepare: []string{"delete from public.accounts where aid > (select max(aid) / 2 from public.accounts)"},
			naive:   []string{naiveFull}, lock: 5 * time.Second},
		{name: "analyze", action: postgres.Analyze,
			prepare: []string{"update public.accounts set filler = 'x' where aid % 10 = 1"},
			naive:   []string{"vacuum (full, analyze) public.accounts"}, lock: 5 * time.Second},
		{name: "freeze", action: postgres.Freeze, subject: server, limit: 500,
			naive: []string{"vacuum (full, freeze) public.accounts"}, lock: 5 * time.Second},
		{
			name: "reindex", action: postgres.Reindex, subject: map[string]string{"schema": "public",
				"table": "accounts", "index": "accounts_slow"},
			prepare: []string{"create index accounts_slow on public.accounts (md5(md5(aid::text || filler)))"},
			naive:   []string{"reindex index public.accounts_slow"},
		},
		{
			name: "drop_index beside a reader", action: postgres.DropIndex,
			subject: map[string]string{"schema": "public", "table": "accounts", "index": "accounts_bid"},
			params:  because("duplicate"),
			prepare: []string{"create index accounts_twin on public.accounts (bid)", "analyze public.accounts"},
			naive:   []string{"drop index public.accounts_bid"}, reader: 4 * time.Second,
		},
		{name: "repack", action: postgres.Repack, naive: []string{naiveFull}, lock: 1200 * time.Millisecond},
		{name: "repack beside a reader", action: postgres.Repack, naive: []string{naiveFull},
			lock: 1200 * time.Millisecond, reader: 4 * time.Second},
		{name: "repack by rows", action: postgres.Repack, prepare: []string{"drop extension pg_repack"},
			naive: []string{naiveFull}, lock: 5 * time.Second},
		// Small, because all sessions are blocked while it is written; what counts is the wait before.
		{name: "vacuum_full beside a reader", action: postgres.VacuumFull, prepare: []string{
			"delete from public.accounts where aid > (select max(aid) / 20 from public.accounts)", naiveFull,
			"update public.accounts set abalance = 0", "vacuum (analyze, truncate off) public.accounts",
		}, naive: []string{naiveFull}, lock: 500 * time.Millisecond, reader: 15 * time.Second},
		{name: "archive", action: postgres.Archive, archive: &toTable, naive: move, lock: 50 * time.Millisecond},
		{name: "archive to files", action: postgres.Archive, archive: &toFiles, naive: move,
			lock: 50 * time.Millisecond},
		{name: "purge", action: postgres.Purge, archive: &away, naive: []string{"delete" + old},
			lock: 50 * time.Millisecond},
		{
			name: "restore_archived", action: postgres.RestoreArchived, archive: &toTable,
			params:  map[string]string{"since": "2000-01-01", "until": "2100-01-01"},
			prepare: append(append([]string{}, move...), "vacuum analyze public.accounts"), lock: 50 * time.Millisecond,
		},
		{name: "terminate", action: postgres.Terminate, subject: server, params: map[string]string{"of": "blocker"},
			holder: "update public.branches set bbalance = 0"},
		{name: "reset_statements", action: postgres.ResetStatements, subject: server},
		{name: "advise_indexes", action: postgres.AdviseIndexes, subject: server},
	}
}

// A site is a server with the database that each case has a copy of.
type site struct {
	*sandbox.Postgres
	dir  string
	rows int // of accounts, with those that are gone
}

func openSite(tb testing.TB, rows int, settings map[string]string) site {
	tb.Helper()
	dir, err := servertest.Dir()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	settings["autovacuum"], settings["synchronous_commit"] = "off", "off"
	settings["shared_preload_libraries"] = "pg_stat_statements"
	s, err := servertest.StartPostgres(tb.Context(), sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"),
		Settings: settings})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Stop() })
	servertest.Exec(tb, s.URL, "create database bloated")
	servertest.Exec(tb, in(s.URL, "bloated"),
		"create extension pg_repack", "create extension amcheck", "create extension pg_stat_statements",
		"create table public.accounts (aid int primary key, bid int, abalance int not null, seen timestamptz, filler "+
			"char(84))",
		"create table public.accounts_archive (like public.accounts including all)",
		"create table public.tellers (tid int primary key, tbalance int not null)",
		"insert into public.tellers select i, 0 from generate_series(1, 1000) i",
		"create table public.branches (bid int primary key, bbalance int not null)",
		"insert into public.branches select i, 0 from generate_series(1, 100) i",
		"create table public.history (tid int, bid int, aid int, delta int, mtime timestamptz)",
		fmt.Sprintf("insert into public.accounts select i, i %% 100 + 1, 0, now() - case when i %% 3 > 0 then "+
			"interval '400 days' else '1 day' end, '' from generate_series(1, %d) i", rows),
		"create index accounts_bid on public.accounts (bid)",
		"delete from public.accounts where aid % 10 > 2",
		"vacuum (analyze, truncate off) public.accounts", "vacuum analyze public.tellers, public.branches")
	return site{s, dir, rows}
}

func in(url, database string) string { return strings.Replace(url, "/postgres?", "/"+database+"?", 1) }

// A databaseCopy is one copy of the database, with the case's problem.
type databaseCopy struct {
	executor
	site
	url    string
	server *target.Postgres
}

func (w site) databaseCopy(tb testing.TB, r executor) *databaseCopy {
	tb.Helper()
	servertest.Exec(tb, w.URL, "drop database if exists work with (force)",
		"create database work template bloated strategy file_copy")
	b := &databaseCopy{executor: r, site: w, url: in(w.URL, "work")}
	servertest.Exec(tb, b.url, r.prepare...)
	servertest.Exec(tb, b.url, "checkpoint")
	config := target.PostgresConfig{Name: "main", URL: b.url, Advice: tb.TempDir()}
	if r.archive != nil {
		entry := *r.archive
		entry.Database = "work"
		if entry.To.Label != "" {
			entry.To.Store = depot.Folder(tb.TempDir())
		}
		config.Archives = []target.Archive{entry}
	}
	var err error
	if b.server, err = target.NewPostgres(config); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.server.Close)
	return b
}

func (b *databaseCopy) request(action remediate.Action) remediate.Request {
	r := remediate.Request{Action: action.Name, Subject: map[string]string{"server": "main"}, Params: b.params}
	for _, l := range action.Subject {
		switch l {
		case "database":
			r.Subject[l] = "work"
		case "schema":
			r.Subject[l] = "public"
		case "table":
			r.Subject[l] = "accounts"
		}
	}
	maps.Copy(r.Subject, b.subject)
	if b.limit > 0 {
		r.Limit = &b.limit
	}
	return r
}

// act plans and applies, and tries again what gave way to others, as the engine does.
func (b *databaseCopy) act(ctx context.Context) error {
	action := b.action(b.server)
	plan, err := action.Plan(ctx, b.request(action))
	if err != nil {
		return err
	}
	return carry(ctx, action, plan)
}

func carry(ctx context.Context, action remediate.Action, plan remediate.Plan) error {
	for _, step := range plan.Steps {
		for attempt := 1; ; attempt++ {
			err := action.Apply(ctx, remediate.Fence{Token: 1, Held: held}, step)
			if err == nil {
				break
			}
			if attempt == 5 || ctx.Err() != nil {
				return err
			}
			time.Sleep(time.Duration(attempt) * time.Second)
		}
	}
	return nil
}

func (b *databaseCopy) byHand(ctx context.Context) error {
	c, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	for _, statement := range b.naive {
		if _, err := c.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// others are at work on accounts, from before the action: a report that reads it,
// and somebody who forgets to commit. The function that is returned waits for them.
func (b *databaseCopy) others(tb testing.TB) (wait func()) {
	tb.Helper()
	var reading sync.WaitGroup
	if b.reader > 0 {
		reading.Go(func() {
			servertest.Exec(tb, b.url, fmt.Sprintf("begin; select count(*) from public.accounts; select "+
				"pg_sleep(%f); commit", b.reader.Seconds()))
		})
	}
	var holder *pgx.Conn
	if b.holder != "" {
		var err error
		if holder, err = pgx.Connect(tb.Context(), b.url); err != nil {
			tb.Fatal(err)
		}
		for _, sql := range []string{"set application_name = 'forgotten'", "begin", b.holder} {
			if _, err := holder.Exec(tb.Context(), sql); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if b.reader > 0 || b.holder != "" {
		time.Sleep(500 * time.Millisecond)
	}
	return func() {
		reading.Wait()
		if holder != nil {
			_ = holder.Close(context.WithoutCancel(tb.Context())) // it was ended
		}
	}
}

// sound checks that every row is there once, by the numbers that pgbench moves
// around, and that every index has every row.
func (b *databaseCopy) sound(tb testing.TB) {
	tb.Helper()
	servertest.Exec(tb, b.url, "select bt_index_check(indexrelid, true) from pg_index where indrelid = "+
		"'public.accounts'::regclass and indisvalid and indisready")
	c := &fixture{url: b.url}
	if wrong := c.text(tb,
		"select coalesce(string_agg(msg, ', '), '') from verify_heapam('public.accounts')"); wrong != "" {
		tb.Errorf("%s: accounts is damaged: %s", b.name, wrong)
	}
	if wrong := c.text(tb, "select coalesce(string_agg(t.tid::text, ', '), '') from public.tellers t left join "+
		"(select tid, sum(delta) as sum from public.history group by tid) h using (tid) "+
		"where tbalance <> coalesce(h.sum, 0)"); wrong != "" {
		tb.Errorf("%s: the history of these tellers is not that of their balance: %s", b.name, wrong)
	}
}

// rowsSQL is a fingerprint of the accounts that are in the table, in its archive or
// in objects, apart from what pgbench changes; of objects only the number of rows is
// known. Where old rows are deleted for good, it is of the others.
const rowsSQL = `
select count(*) + %s || ' accounts' || case when %[1]s = 0 then ', ' || count(distinct aid) || ' of them, ' || sum(hashtextextended((aid, bid, seen, filler)::text, 0)) else '' end
  from (select aid, bid, seen, filler from public.accounts union all select aid, bid, seen, filler from public.accounts_archive) a
 where not %[2]t or seen > now() - interval '365 days'`

func (b *databaseCopy) rowsThere(tb testing.TB) string {
	tb.Helper()
	c, filed := &fixture{url: b.url}, "0"
	if c.text(tb, "select coalesce(to_regclass('upkeep.parcels')::text, '')") != "" {
		filed = c.text(tb, "select coalesce(sum(rows), 0)::text from upkeep.parcels")
	}
	return c.text(tb, fmt.Sprintf(rowsSQL, filed, b.archive != nil && b.archive.Purge))
}

// sameRows checks that no account has been lost or doubled.
func (b *databaseCopy) sameRows(tb testing.TB, before string) {
	tb.Helper()
	if after := b.rowsThere(tb); after != before && !strings.HasPrefix(before, after+",") {
		tb.Errorf("%s: %s before, %s after", b.name, before, after)
	}
}

const benchClients = 8

// pgbenchScript is the transaction of TPC-B, as pgbench has it, on rows that were
// not deleted.
const pgbenchScript = `\set aid 10 * random(1, %d) + random(0, 2)
\set tid random(1, 1000)
\set bid random(1, 100)
\set delta random(-5000, 5000)
begin;
update public.accounts set abalance = abalance + :delta where aid = :aid;
select abalance from public.accounts where aid = :aid;
update public.tellers set tbalance = tbalance + :delta where tid = :tid;
update public.branches set bbalance = bbalance + :delta where bid = :bid;
insert into public.history (tid, bid, aid, delta, mtime) values (:tid, :bid, :aid, :delta, now());
end;
`

// An outcome is what the clients felt of one way.
type outcome struct {
	failed, done  int
	errors        string
	before, worst time.Duration // the longest transaction before the work, and of those that ended later
	lock          time.Duration // the longest that the action itself was seen to wait for a table's lock
	blocked       time.Duration // the longest that a client was seen to wait for a lock of the worker
	took          time.Duration
}

// A load is pgbench at work, and one who looks for how long others wait for locks.
type load struct {
	pgbench *command.Cmd
	log     string // prefix of pgbench's log
	stderr  bytes.Buffer
	looking sync.WaitGroup
	ctx     context.Context //nolint:containedctx // it ends with the load
	stop    context.CancelFunc
	url     string
	mu      sync.Mutex
	marked  time.Time
	outcome
}

// begin starts the clients: so many transactions a second in all.
func (b *databaseCopy) begin(tb testing.TB, rate int) *load {
	tb.Helper()
	dir := tb.TempDir()
	script := filepath.Join(dir, "script.sql")
	if err := os.WriteFile(script, fmt.Appendf(nil, pgbenchScript, b.rows/50), 0o600); err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
	l := &load{stop: stop, url: b.url, log: filepath.Join(dir, "log")}
	l.pgbench = command.Command("pgbench", "--no-vacuum", "--client", strconv.Itoa(benchClients), "--rate",
		strconv.Itoa(rate), "--time", "3600",
		"--log", "--log-prefix", l.log, "--file", script, b.url)
	l.pgbench.Stderr = &l.stderr
	if err := l.pgbench.Start(); err != nil {
		tb.Fatal(err)
	}
	l.ctx = ctx
	c := &fixture{url: b.url}
	servertest.Eventually(tb, "the clients are connected", func() bool { // end ends those that are
		return c.number(tb, "select count(*) from pg_stat_activity where application_name = 'pgbench'") == benchClients
	})
	return l
}

// look measures from now on how long others wait for locks.
func (l *load) look(tb testing.TB) {
	tb.Helper()
	ctx := l.ctx
	c, err := pgx.Connect(ctx, l.url)
	if err != nil {
		tb.Fatal(err)
	}
	l.looking.Go(func() {
		defer func() { _ = c.Close(context.Background()) }()
		for ctx.Err() == nil {
			var lock, blocked float64
			err := c.QueryRow(context.WithoutCancel(ctx), waitsSQL).Scan(&lock, &blocked)
			l.mu.Lock()
			if err == nil {
				l.lock = max(l.lock, time.Duration(lock*float64(time.Second)))
				l.blocked = max(l.blocked, time.Duration(blocked*float64(time.Second)))
			}
			l.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// waitsSQL is how long ours and the clients wait for locks at this moment. Clients
// wait for the rows of each other too; that is left out.
const waitsSQL = `
select coalesce(max(w.wait) filter (where w.ours and w.locktype = 'relation'), 0)::float8,
       coalesce(max(w.wait) filter (where w.client and (w.locktype = 'relation' or w.held)), 0)::float8
  from (select l.locktype, extract(epoch from clock_timestamp() - l.waitstart) as wait, starts_with(a.application_name, 'upkeep ') as ours, a.application_name = 'pgbench' as client,
               exists (select from pg_locks h join pg_stat_activity o on o.pid = h.pid
                        where h.granted and h.locktype = 'transactionid' and h.transactionid = l.transactionid and o.application_name <> 'pgbench') as held
          from pg_locks l join pg_stat_activity a on a.pid = l.pid
         where not l.granted and l.waitstart is not null) w`

// mark says that the work begins now.
func (l *load) mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marked, l.lock, l.blocked = time.Now(), 0, 0
}

// end stops the clients a moment after the work and reads what they have felt.
// Pgbench writes the rest of its log when its clients have ended, and they end when
// their sessions do.
func (l *load) end(tb testing.TB) outcome {
	tb.Helper()
	time.Sleep(200 * time.Millisecond)
	l.stop()
	l.looking.Wait()
	c := &fixture{url: l.url}
	open := c.number(tb, "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = "+
		"'pgbench' and datname = current_database()")
	if err := l.pgbench.Wait(); err != nil {
		if _, ended := errors.AsType[*command.ExitError](err); !ended {
			tb.Errorf("pgbench: %v", err)
		}
	}
	l.failed = benchClients - open // each failure ends a client
	if l.failed > 0 {
		l.errors = l.stderr.String()
	}
	files, err := filepath.Glob(l.log + ".*")
	if err != nil || len(files) != 1 {
		tb.Fatalf("pgbench has written %v: %v\n%s", files, err, l.stderr.String())
	}
	file, err := os.Open(files[0])
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = file.Close() }() // it was only read
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if err := l.line(lines.Text()); err != nil {
			tb.Fatalf("pgbench's log: %q: %v", lines.Text(), err)
		}
	}
	return l.outcome
}

// line reads a line of pgbench's log: client, number, time since the transaction
// was due in µs, script, when it ended in s and µs, and how late it began in µs.
func (l *load) line(text string) error {
	var client, number, took, script, s, us, late int64
	if _, err := fmt.Sscan(text, &client, &number, &took, &script, &s, &us, &late); err != nil {
		return err
	}
	real := time.Duration(took-late) * time.Microsecond
	if l.marked.IsZero() || time.Unix(s, us*1000).Before(l.marked) {
		l.before = max(l.before, real)
		return nil
	}
	l.done++
	l.worst = max(l.worst, real)
	return nil
}

// A work that is stopped in the middle, again and again, while pgbench goes on,
// leaves every row and a sound table; taken up again, it comes to its end.
func TestCancelledUnderLoad(t *testing.T) {
	t.Parallel()
	w := openSite(t, 60_000, map[string]string{"fsync": "off"})
	for _, r := range remedies() {
		t.Run(strings.ReplaceAll(r.name, " ", "_"), func(t *testing.T) {
			r.reader = min(r.reader, time.Second)
			b := w.databaseCopy(t, r)
			rows := b.rowsThere(t)
			l := b.begin(t, 100)
			others := b.others(t)
			l.mark()
			action, stopped := b.action(b.server), 0
			plan, err := action.Plan(t.Context(), b.request(action))
			for try := 0; err != nil && try < 100; try++ { // on a busy machine it begins late
				time.Sleep(100 * time.Millisecond)
				plan, err = action.Plan(t.Context(), b.request(action))
			}
			if err != nil {
				t.Fatalf("the case has no problem: %v", err)
			}
			for _, after := range []time.Duration{20, 80, 200, 400} {
				ctx, cancel := context.WithTimeout(t.Context(),
					after*time.Millisecond+time.Duration(rand.IntN(20))*time.Millisecond)
				if err := carry(ctx, action, plan); err != nil && ctx.Err() != nil {
					stopped++
				}
				cancel()
			}
			b.sound(t)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			if err := carry(ctx, action, plan); err != nil {
				t.Errorf("taken up again: %v", err)
			}
			others()
			o := l.end(t)
			b.sound(t)
			b.sameRows(t, rows)
			t.Logf("stopped %d times; %d transactions went on, the longest %s", stopped, o.done, ms(o.worst))
			if o.failed > 0 || o.done == 0 {
				t.Errorf("%d clients failed, %d transactions done: %s", o.failed, o.done, o.errors)
			}
			if c := (&fixture{url: b.url}); c.invalid(t) != "" {
				t.Errorf("left behind: %s", c.invalid(t))
			}
		})
	}
}

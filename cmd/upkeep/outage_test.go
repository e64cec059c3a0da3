package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

var (
	outages        = flag.Int("outages", 20, "how many outages of the store, over all stores")                                          //nolint:gochecknoglobals // flags of the test
	outagesSeed    = flag.Uint64("outages.seed", 1, "what decides about the outages")                                                   //nolint:gochecknoglobals // the same
	outagesLongest = flag.Duration("outages.longest", 3*time.Second, "how long an outage is at most; from 10s on with the usual lease") //nolint:gochecknoglobals // the same
)

// The store goes away again and again, in every way that it has, while upkeep lives and
// tables fall damaged: one upkeep and two, on SQLite and on PostgreSQL, side by side. No run
// hangs, no table is vacuumed twice, and every alert that was acknowledged has a run that
// ends.
func TestOutages(t *testing.T) {
	worlds := []struct {
		name     string
		postgres bool
		replicas int
	}{{"sqlite", false, 1}, {"postgres", true, 1}, {"postgres with two", true, 2}}
	const twice = 2 // of each, so that all are side by side
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	for n := range twice * len(worlds) {
		kind := worlds[n%len(worlds)]
		count := *outages / (twice * len(worlds))
		if n < *outages%(twice*len(worlds)) {
			count++
		}
		all.Go(func() { // not t.Parallel, which runs as many as there are processors
			t.Run(fmt.Sprintf("%s, %d", kind.name, n/len(worlds)+1), func(t *testing.T) {
				c := newClimate(t, *outagesSeed+uint64(n), kind.postgres, kind.replicas)
				c.endure(t, count)
				c.settle(t)
				mu.Lock()
				defer mu.Unlock()
				for _, kind := range slices.Sorted(maps.Keys(c.took)) {
					t.Logf("%s: %s", kind, summary(c.took[kind]))
					took = append(took, c.took[kind]...)
				}
			})
		})
	}
	all.Wait()
	t.Logf("%d outages of at most %s, seed %d; all runs had moved after the store's return: %s", *outages,
		*outagesLongest, *outagesSeed, summary(took))
}

func summary(took []time.Duration) string {
	if len(took) == 0 {
		return "none"
	}
	slices.Sort(took)
	late := 0
	for _, d := range took {
		if d > 5*time.Second {
			late++
		}
	}
	return fmt.Sprintf("%d, p50 %s, p95 %s, at most %s; %d later than 5 s", len(took),
		took[len(took)/2].Round(time.Millisecond), took[(len(took)-1)*95/100].Round(time.Millisecond),
		took[len(took)-1].Round(time.Millisecond), late)
}

// A climate is upkeeps that share a store, with a database to look after.
type climate struct {
	dir, url, database string
	conn               *pgx.Conn
	store              keeping
	addresses          []string
	commands           []*exec.Cmd
	rng                *rand.Rand
	first              int // of the kinds of outages
	client             *http.Client

	mu    sync.Mutex
	acked map[string]bool
	took  map[string][]time.Duration // until all runs had moved, by the kind of the outage
}

func newClimate(t *testing.T, seed uint64, postgres bool, replicas int) *climate {
	t.Helper()
	c := &climate{
		dir: t.TempDir(), rng: rand.New(rand.NewPCG(seed, 3)), client: &http.Client{Timeout: 2 * time.Second},
		first: int(seed), acked: make(map[string]bool), took: make(map[string][]time.Duration),
	}
	c.url, c.database = servertest.Database(t)
	servertest.Exec(t, c.url, // a vacuum takes its time without a load
		"alter database "+c.database+" set vacuum_cost_delay = '10ms'",
		"alter database "+c.database+" set vacuum_cost_limit = 20")
	var err error
	if c.conn, err = pgx.Connect(t.Context(), c.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.conn.Close(context.Background()) }) // the database is dropped anyway
	if postgres {
		c.store = newAway(t, c.rng)
	} else {
		c.store = newFull(t, c.dir)
	}
	for n := range replicas {
		address := freeAddress(t)
		c.addresses = append(c.addresses, address)
		file := fmt.Sprintf("upkeep%d.yaml", n)
		write(t, filepath.Join(c.dir, file), c.configuration(address))
		c.commands = append(c.commands, spawn(t, c.dir, "upkeep", "serve", "--config", file))
		(&site{address: address}).awaitReady(t)
	}
	return c
}

func (c *climate) configuration(address string) string {
	var disabled []string
	for _, name := range app.Known().Collectors {
		if strings.HasPrefix(name, "postgres/") && name != "postgres/server" {
			disabled = append(disabled, name+": {disabled: true}")
		}
	}
	lease := time.Second // the least
	if *outagesLongest >= 10*time.Second {
		lease = 5 * time.Second
	}
	_, where := c.store.options()
	return fmt.Sprintf(`data_dir: data
web: {listen: %q}
targets: {postgres: [{name: main, url: %q}]}
collectors: {settings: {%s}}
embedded: {enabled: false}
engine: {concurrency: 8, per_target: 8, lease: %s}
policies: [{name: dead rows, match: ['alertname="PostgresDeadRows"'], action: postgres/vacuum, mode: auto, budget: 0%%, ramp: false, breaker: 0, effect: 0%%, fresh: 0s, cooldown: 0s}]
%s`, address, c.url, strings.Join(disabled, ", "), lease, where)
}

// endure lets the store go away some times while tables fall damaged.
func (c *climate) endure(t *testing.T, count int) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	all.Go(func() {
		for n := 0; ctx.Err() == nil && !t.Failed(); n++ {
			if err := c.sicken(ctx, fmt.Sprint("dead_", n)); err != nil && ctx.Err() == nil {
				t.Errorf("dead_%d: %v", n, err)
				return
			}
		}
	})
	kinds := append(c.store.kinds(), "upkeep frozen")
	for n := range count {
		if t.Failed() {
			return
		}
		kind := kinds[(n+c.first)%len(kinds)]
		long := time.Second + time.Duration(c.rng.Int64N(int64(*outagesLongest-time.Second)))
		c.awaitStep(t)
		time.Sleep(time.Duration(c.rng.Int64N(int64(time.Second))))
		end := c.begin(t, kind)
		time.Sleep(long)
		end()
		c.moves(t, kind, time.Now())
	}
}

func (c *climate) begin(t *testing.T, kind string) (end func()) {
	t.Helper()
	if kind != "upkeep frozen" {
		return c.store.outage(t, kind)
	}
	var pids []int
	for _, cmd := range c.commands {
		pids = append(pids, cmd.Process.Pid)
	}
	servertest.Signal(pids, syscall.SIGSTOP)
	t.Cleanup(func() { servertest.Signal(pids, syscall.SIGCONT) }) // where the test ends in between
	return func() { servertest.Signal(pids, syscall.SIGCONT) }
}

// sicken makes a table damaged and delivers the alert until it is acknowledged, as Alertmanager
// does. There are some damaged tables at any time.
func (c *climate) sicken(ctx context.Context, table string) error {
	conn, err := pgx.Connect(ctx, c.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.Background()) }() // nothing is left to be written
	for _, text := range []string{"create table %s (id int)", "insert into %s select generate_series(1, 20000)",
		"delete from %s where id %% 2 = 0", "select pg_stat_force_next_flush()"} {
		if strings.Contains(text, "%") {
			text = fmt.Sprintf(text, table)
		}
		if _, err := conn.Exec(ctx, text); err != nil {
			return err
		}
	}
	if err := c.removable(ctx, conn); err != nil {
		return err
	}
	a := alert{
		Status: "firing", StartsAt: time.Now(),
		Labels: map[string]string{"alertname": "PostgresDeadRows", "server": "main", "database": c.database,
			"schema": "public", "table": table},
		Annotations: map[string]string{"summary": "rows are dead", "limit": "0.2", "action": "postgres/vacuum"},
	}
	for n := 0; !c.post(ctx, c.addresses[n%len(c.addresses)], a); n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	c.mu.Lock()
	c.acked[table] = true
	c.mu.Unlock()
	for { // some are damaged at once
		var damaged int
		if err := conn.QueryRow(ctx, "select count(*) from pg_stat_user_tables where vacuum_count = 0").
			Scan(&damaged); err != nil {
			return err
		}
		if damaged < 4 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// removable waits until a vacuum would remove what is dead. Who begins a statement here
// sees the transactions of the other databases too, and some are older than the delete.
func (c *climate) removable(ctx context.Context, conn *pgx.Conn) error {
	var last int64
	if err := conn.QueryRow(ctx, "select txid_current()").Scan(&last); err != nil {
		return err
	}
	for passed := false; !passed; {
		if err := conn.QueryRow(ctx, "select txid_snapshot_xmin(txid_current_snapshot()) > $1", last).
			Scan(&passed); err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

func (c *climate) post(ctx context.Context, address string, a alert) bool {
	w := &workload{client: c.client, token: adminToken}
	return w.post(ctx, "http://"+address+webhook.Alertmanager().Path, delivery{Version: "4", Alerts: []alert{a}})
}

// lines asks the upkeeps, one after the other, for the newest runs.
func (c *climate) lines() (lines []console.Line, err error) {
	for _, address := range c.addresses {
		var res *http.Response
		if res, err = c.client.Get("http://" + address + console.Prefix + "/runs?limit=200"); err != nil {
			continue
		}
		if res.StatusCode != http.StatusOK {
			err = errors.New(res.Status)
		} else {
			lines = nil
			err = json.NewDecoder(res.Body).Decode(&lines)
		}
		_ = res.Body.Close() // read
		if err == nil {
			return lines, nil
		}
	}
	return nil, err
}

// awaitStep waits until a run is in the middle of a step.
func (c *climate) awaitStep(t *testing.T) {
	t.Helper()
	servertest.Eventually(t, "a run in the middle of a step", func() error {
		lines, err := c.lines()
		if err == nil && !slices.ContainsFunc(lines, func(l console.Line) bool {
			return l.State == remediate.Allowed &&
				l.Begun > l.Done
		}) {
			err = fmt.Errorf("not found in %d", len(lines))
		}
		return err
	})
}

// moves waits until every run has moved that held its subject when the store came back,
// or was to be looked at.
func (c *climate) moves(t *testing.T, kind string, since time.Time) {
	t.Helper()
	left := make(map[int64]bool)
	first := true
	servertest.Eventually(t, "after "+kind, func() error {
		lines, err := c.lines()
		if err != nil {
			return err
		}
		for _, l := range lines {
			moved := l.State.Ended() || l.State == remediate.Waiting || l.Changed.After(since)
			switch {
			case moved:
				delete(left, l.ID)
			case first:
				left[l.ID] = true
			}
		}
		first = false
		for id := range left {
			return fmt.Errorf("run %d hangs, and %d in all", id, len(left))
		}
		return nil
	})
	c.took[kind] = append(c.took[kind], time.Since(since))
}

// settle waits for the end of all runs and holds the journal against the target.
func (c *climate) settle(t *testing.T) {
	t.Helper()
	if t.Failed() {
		return
	}
	servertest.Eventually(t, "the end of every run", func() error {
		lines, err := c.lines()
		for _, l := range lines {
			if !l.State.Ended() {
				return fmt.Errorf("run %d on %s is %s: %s", l.ID, l.Request.Subject["table"], l.State, l.Why)
			}
		}
		return err
	})
	for _, cmd := range c.commands {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // asked to
	}
	o, _ := c.store.options()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }() // read only
	j := journal.New(journal.Config{Store: s})
	if _, err := j.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	runs, err := j.Recent(t.Context(), 0, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	c.judge(t, j, runs)
}

func (c *climate) judge(t *testing.T, j *journal.Journal, runs []remediate.Run) {
	t.Helper()
	done := make(map[string]int)
	rows, err := c.conn.Query(t.Context(), "select relname::text, vacuum_count::int from pg_stat_user_tables")
	if err != nil {
		t.Fatal(err)
	}
	var table string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&table, &n}, func() error { done[table] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	of := make(map[string]int)
	for _, r := range runs {
		table := r.Request.Subject["table"]
		of[table]++
		if r.State != remediate.Resolved {
			t.Errorf("run %d on %s is %s: %s\n%s", r.ID, table, r.State, r.Why, story(t, j, r.ID))
		}
		if done[table] != 1 {
			t.Errorf("%s was vacuumed %d times", table, done[table])
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for table := range c.acked {
		if of[table] != 1 {
			t.Errorf("%s was acknowledged and has %d runs", table, of[table])
		}
	}
	t.Logf("%d tables acknowledged, %d runs", len(c.acked), len(runs))
	if len(c.acked) == 0 {
		t.Error("nothing was acknowledged: the test shows nothing")
	}
}

// story is what the journal says of a run.
func story(t *testing.T, j *journal.Journal, run int64) string {
	t.Helper()
	entries, err := j.Entries(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "  %s %s → %s step %d done %t: %s %s\n", e.At.Format(time.TimeOnly), e.From, e.To, e.Step,
			e.Done, e.Reason, e.Why)
	}
	return b.String()
}

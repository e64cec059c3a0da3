package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A pair is two upkeeps that look after one workload and share one store.
type pair struct {
	*workload
	replicas []*replica
	store    *pgx.Conn
	log      *os.File

	took   map[string][]time.Duration // until others carried a run on, by what befell its owner
	locked int                        // how often the store's write lock was held by a frozen one
}

// A replica is one of them.
type replica struct {
	dir, address string
	cmd          *exec.Cmd
	id           int64 // of the instance that it is
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{workload: newWorkload(t), took: make(map[string][]time.Duration)}
	url, _ := servertest.Database(t)
	p.log = p.keepLog(t)
	var addresses []string
	for n := range 2 {
		r := &replica{dir: filepath.Join(p.dir, fmt.Sprint("replica", n)), address: freeAddress(t)}
		if err := os.Mkdir(r.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		p.configure(t, r.dir, r.address, fmt.Sprintf("store: {url: %q}\n", url))
		p.replicas, addresses = append(p.replicas, r), append(addresses, r.address)
		p.start(t, r)
	}
	p.behind.Store(&addresses)
	var err error
	if p.store, err = pgx.Connect(t.Context(), url); err == nil {
		_, err = p.store.Exec(t.Context(), "set search_path = upkeep")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.store.Close(context.Background()) }) // it only read
	for _, r := range p.replicas {
		p.awaitMember(t, r)
	}
	return p
}

// start starts a replica that dies with the test, also while it is frozen.
func (p *pair) start(t *testing.T, r *replica) {
	t.Helper()
	cmd := p.serve(t, r.dir, p.log)
	r.cmd = cmd
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // by that signal
	})
	(&site{address: r.address}).awaitReady(t)
}

// awaitMember waits until a replica is an instance that it was not before.
func (p *pair) awaitMember(t *testing.T, r *replica) {
	t.Helper()
	before := r.id
	servertest.Eventually(t, "to be one of those who carry runs", func() error {
		return p.store.QueryRow(t.Context(),
			"select id from instances where name like '%, process ' || $1::text and id > $2",
			fmt.Sprint(r.cmd.Process.Pid), before).Scan(&r.id)
	})
}

// inStep waits until a replica is in the middle of a step.
func (p *pair) inStep(t *testing.T) (r *replica) {
	t.Helper()
	servertest.Eventually(t, "somebody in the middle of a step", func() error {
		var owner int64
		if err := p.store.QueryRow(t.Context(),
			"select owner from runs where state = 'allowed' and begun > done and owner <> 0 order by random() limit 1").
			Scan(&owner); err != nil {
			return err
		}
		i := slices.IndexFunc(p.replicas, func(r *replica) bool { return r.id == owner })
		if i < 0 {
			return fmt.Errorf("instance %d is not ours", owner)
		}
		r = p.replicas[i]
		return nil
	})
	return r
}

// held returns the unfinished runs of a replica, with the number of the last
// entry of each.
func (p *pair) held(t *testing.T, r *replica) map[int64]int64 {
	t.Helper()
	rows, err := p.store.Query(t.Context(), "select r.id, (select max(seq) from entries e where e.run = r.id) from "+
		"runs r where r.owner = $1", r.id)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[int64]int64)
	var run, seq int64
	if _, err := pgx.ForEachRow(rows, []any{&run, &seq}, func() error { all[run] = seq; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// entries returns what the journal says of a run since an entry.
func (p *pair) entries(run, since int64) (all []remediate.Entry, err error) {
	rows, err := p.store.Query(context.Background(), "select entry from entries where run = $1 and seq > $2 order by "+
		"seq", run, since)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, text := range list {
		var e remediate.Entry
		err = errors.Join(err, json.Unmarshal([]byte(text), &e))
		all = append(all, e)
	}
	return all, err
}

// awaitTakenOver waits until every run that was left has gone on, and notes how
// long after a moment that was.
func (p *pair) awaitTakenOver(t *testing.T, what string, since time.Time, left map[int64]int64) {
	t.Helper()
	left = maps.Clone(left)
	servertest.Eventually(t, what+": the other one", func() error {
		for run, seq := range left {
			all, err := p.entries(run, seq)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(all, func(e remediate.Entry) bool { return e.To != "" })
			if i < 0 {
				return fmt.Errorf("has not carried run %d on, which has %d entries since", run, len(all))
			}
			p.took[what] = append(p.took[what], all[i].At.Sub(since))
			delete(left, run)
		}
		return nil
	})
}

// killed kills a replica in the middle of a step and starts it again when the
// other one has carried its runs on.
func (p *pair) killed(t *testing.T) {
	t.Helper()
	r := p.inStep(t)
	kill(t, r.cmd)
	at := time.Now()
	time.Sleep(50 * time.Millisecond) // what it had sent is done
	p.awaitTakenOver(t, "killed", at, p.held(t, r))
	p.start(t, r)
	p.awaitMember(t, r)
}

// frozen freezes a replica until the other one has carried its runs on.
// Woken, it changes nothing of theirs, and works on others.
func (p *pair) frozen(t *testing.T, what string, r *replica) {
	t.Helper()
	send(t, r, syscall.SIGSTOP)
	at := time.Now()
	time.Sleep(500 * time.Millisecond) // what it had sent is done
	var holds bool
	if err := p.store.QueryRow(t.Context(),
		"select exists (select from pg_stat_activity where application_name = 'upkeep store' and datname = "+
			"current_database() and state = 'idle in transaction' and state_change < clock_timestamp() - interval "+
			"'300 ms')").Scan(&holds); err != nil {
		t.Fatal(err)
	}
	if holds {
		p.locked++
	}
	left := p.held(t, r)
	p.awaitTakenOver(t, what, at, left)
	servertest.Eventually(t, "the other one to take it for dead", func() error {
		var n int
		return p.store.QueryRow(t.Context(), "select 1 where not exists (select from instances where id = $1)", r.id).
			Scan(&n)
	})
	time.Sleep(rand.N(2 * time.Second))
	ended := make(map[int64]int) // those that are over, with the number of their entries
	for run := range left {
		all, err := p.entries(run, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) > 0 && all[len(all)-1].To.Ended() {
			ended[run] = len(all)
		}
	}
	send(t, r, syscall.SIGCONT)
	p.awaitMember(t, r)
	servertest.Eventually(t, "the woken one to work again", func() error {
		var n int
		return p.store.QueryRow(t.Context(), "select 1 from runs where owner = $1 limit 1", r.id).Scan(&n)
	})
	for run, n := range ended {
		if all, err := p.entries(run, 0); err != nil || len(all) != n {
			t.Errorf("run %d was over with %d entries before its first owner woke up, and has %d now (%v)", run, n,
				len(all), err)
		}
	}
}

// stopped asks a replica to end in the middle of a step. The other one has its
// runs without waiting for the end of a lease.
func (p *pair) stopped(t *testing.T) {
	t.Helper()
	r := p.inStep(t)
	left := p.held(t, r)
	at := time.Now()
	end(t, r.cmd)
	gone := time.Since(at)
	p.awaitTakenOver(t, "stopped", at, left)
	for run, seq := range left {
		all, err := p.entries(run, seq)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if e.Note == remediate.NoteLeft {
				t.Errorf("run %d waited for the end of a lease: %s", run, e.Why)
			}
		}
	}
	p.took["until it had ended"] = append(p.took["until it had ended"], gone)
	p.start(t, r)
	p.awaitMember(t, r)
}

func send(t *testing.T, r *replica, s syscall.Signal) {
	t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Of two replicas one is killed, freezes, or is stopped, again and again
// while tables fall damaged: the other one carries on what it had, and the woken one
// changes nothing. The ledger of the target has each table once.
func TestReplicasUnderLoad(t *testing.T) {
	p := newPair(t)
	stop := p.load(t)
	for range max(1, *killsUnderLoad/50) { // four each
		p.killed(t)
		p.frozen(t, "frozen in a step", p.inStep(t))
		p.stopped(t)
		time.Sleep(rand.N(time.Second))
		p.frozen(t, "frozen at any moment", p.replicas[rand.N(2)])
	}
	stop()
	for _, r := range p.replicas {
		p.awaitQuiet(t, r.address)
	}
	t.Log(p.command(t, p.replicas[0].address, "journal", "verify"))
	t.Log(p.command(t, p.replicas[1].address, "journal", "replay"))
	for _, r := range p.replicas {
		end(t, r.cmd)
	}
	s, err := store.Open(t.Context(), store.Options{Postgres: p.store.Config().ConnString()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }() // read only
	p.settle(t, s)
	for _, what := range slices.Sorted(maps.Keys(p.took)) {
		took := p.took[what]
		slices.Sort(took)
		t.Logf("%s: %d, p50 %s, at most %s", what, len(took), took[len(took)/2].Round(time.Millisecond),
			took[len(took)-1].Round(time.Millisecond))
	}
	t.Logf("%d of the frozen ones held the store's write lock", p.locked)
	if len(p.took["killed"]) == 0 || len(p.took["frozen in a step"]) == 0 {
		t.Error("no replica had a run: the test shows nothing")
	}
}

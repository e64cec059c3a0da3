package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

var fileKills = flag.Int("filekills", 6, "how often a process that moves rows into objects, or back, is killed") //nolint:gochecknoglobals // flags are

// A crowd changes rows while they are being moved, and knows what it has changed.
type crowd struct {
	s    *stock
	mu   sync.Mutex // held for the time of one change
	body map[int]string
	next int
}

// grow inserts rows that are past their age.
func (c *crowd) grow(t *testing.T, n int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	servertest.Exec(t, c.s.url,
		fmt.Sprintf(`insert into %s (id, %s, "Bo""dy") overriding system value select i, now() - interval '300 days' + i * interval '1 second', 'new ' || i from generate_series(%d, %d) i`, c.s.qTable, c.s.qAt, c.next+1, c.next+n))
	for range n {
		c.next++
		c.body[c.next] = fmt.Sprintf("new %d", c.next)
	}
}

// change updates or deletes rows, until ctx ends. A row that is not in the table
// any more is left as it is.
func (c *crowd) change(ctx context.Context, t *testing.T) {
	conn, err := pgx.Connect(context.WithoutCancel(ctx), c.s.url)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for ctx.Err() == nil {
		c.mu.Lock()
		id := 1 + rand.IntN(c.next)
		body := fmt.Sprintf("changed\t%d", rand.Int())
		sql := fmt.Sprintf(`update %s set "Bo""dy" = $2 where id = $1`, c.s.qTable)
		args := []any{id, body}
		if rand.IntN(10) == 0 {
			sql, args = fmt.Sprintf(`delete from %s where id = $1`, c.s.qTable), args[:1]
		}
		done, err := conn.Exec(context.WithoutCancel(ctx), sql, args...)
		switch {
		case err != nil:
			t.Errorf("%s: %v", sql, err)
		case done.RowsAffected() == 1 && len(args) == 1:
			delete(c.body, id)
		case done.RowsAffected() == 1:
			c.body[id] = body
		}
		c.mu.Unlock()
		time.Sleep(2 * time.Millisecond)
	}
}

// check compares what is in the table and in the objects that the ledger names with
// what the crowd knows, and returns how many rows are in the table.
func (c *crowd) check(t *testing.T) (inTable int) {
	t.Helper()
	// The server ends what a process that was killed has begun.
	for end := time.Now().Add(5 * time.Minute); c.s.number(t,
		"select count(*) from pg_stat_activity where datname = current_database() and application_name like "+
			"'upkeep postgres/%'") > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a session is left")
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	there := make(map[int]string)
	add := func(id int, body string) {
		if _, twice := there[id]; twice {
			t.Errorf("row %d is there twice", id)
		}
		there[id] = body
	}
	rows, err := c.s.conn.Query(t.Context(), fmt.Sprintf(`select id::int, "Bo""dy" from %s`, c.s.qTable))
	if err != nil {
		t.Fatal(err)
	}
	var id int
	var body string
	if _, err := pgx.ForEachRow(rows, []any{&id, &body}, func() error { add(id, body); return nil }); err != nil {
		t.Fatal(err)
	}
	inTable = len(there)
	for _, object := range c.s.named(t) {
		content, err := c.s.store.Get(t.Context(), object)
		if err != nil {
			t.Fatal(err)
		}
		_, text, err := depot.OpenParcel(object, content)
		if err != nil {
			t.Fatal(err)
		}
		for row := range strings.Lines(string(text)) {
			fields := strings.Split(strings.TrimSuffix(row, "\n"), "\t")
			if _, err := fmt.Sscan(fields[0], &id); err != nil {
				t.Fatal(err)
			}
			add(id, strings.ReplaceAll(fields[2], `\t`, "\t"))
		}
	}
	wrong := 0
	for id, body := range c.body {
		if got, ok := there[id]; !ok || got != body {
			if wrong++; wrong < 5 {
				t.Errorf("row %d is %q (%v), want %q", id, got, ok, body)
			}
		}
	}
	if len(there) != len(c.body) || wrong > 0 {
		t.Fatalf("%d rows are there, want %d; %d are wrong", len(there), len(c.body), wrong)
	}
	return inTable
}

// named are the objects whose rows are not in the table, as the ledger says.
func (s *stock) named(t *testing.T) []string {
	t.Helper()
	if s.text(t, "select coalesce(to_regclass('upkeep.parcels')::text, '')") == "" {
		return nil
	}
	rows, err := s.conn.Query(t.Context(), "select object from upkeep.parcels p where not exists (select from "+
		"upkeep.restored r where r.parcel = p.id)")
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// kill carries a step out in another process and kills that some time after it has
// begun to work. It reports whether it was killed before it was done.
func (s *stock) kill(t *testing.T, action string, step remediate.Step, after time.Duration) bool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"Action": action, "Child": s.child(t), "Step": step})
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd := osexec.CommandContext(t.Context(), self, "-test.run=^$")
	cmd.Env = append(os.Environ(), "UPKEEP_ACTIONTEST_APPLY="+string(text))
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for working := false; !working; {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%s: %v: %s", step.Do, err, said.String())
			}
			return false
		default:
		}
		if err := s.conn.QueryRow(t.Context(),
			"select exists (select from pg_stat_activity where application_name like 'upkeep postgres/%' and query ~ "+
				"'upkeep_batch|upkeep_rows')").Scan(&working); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("%s: %v: %s", step.Do, err, said.String())
		}
		return false
	case <-time.After(after):
	}
	_ = cmd.Process.Kill() // it may have ended by itself
	err = <-ended
	if exit, ok := errors.AsType[*osexec.ExitError](err); ok && !exit.Exited() {
		return true
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", step.Do, err, said.String())
	}
	return false
}

// Killed at random, while others change the rows, nothing is lost and nothing is
// there twice: in the table and in the objects together is what there was.
func TestFolderKilled(t *testing.T) { testStoreKilled(t, nil) }

func TestBucketKilled(t *testing.T) { testStoreKilled(t, bucketFor(t)) }

func testStoreKilled(t *testing.T, bucket *bucketOf) {
	t.Parallel()
	s := stocked(t, bucket)
	c := &crowd{s: s, body: make(map[int]string)}
	c.grow(t, 1000)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { c.change(ctx, t) })
	defer all.Wait()
	defer stop()
	params := map[string]string{"since": "2000-01-01", "until": "2100-01-01"}
	killed, began, away, inTable, amid := 0, time.Now(), 0, 1000, 0
	took := make(map[string]time.Duration) // by a run that was not killed
	for round := 0; killed < *fileKills && round < 20+4**fileKills && !t.Failed(); round++ {
		a, r := postgres.Archive(s.server), remediate.Request{Subject: s.subject()}
		if away > 0 && (round%3 == 2 || inTable < 6_000) {
			a, r.Params = postgres.RestoreArchived(s.server), params
		} else if inTable < 12_000 {
			c.grow(t, 12_000)
		}
		plan, err := a.Plan(t.Context(), r)
		if refusal, refused := remediate.Refused(err); refused && refusal.Reason == remediate.ReasonCannotHelp {
			time.Sleep(time.Second) // a checkpoint is late on a busy machine
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		// The first run of each is not killed, so that the others are killed anywhere.
		after, sent := time.Minute, time.Now()
		if took[a.Name] > 0 {
			after = rand.N(took[a.Name])
		}
		hit := s.kill(t, a.Name, plan.Steps[0], after)
		if took[a.Name] == 0 && !hit {
			took[a.Name] = time.Since(sent)
		}
		inTable = c.check(t)
		before := away
		away = len(s.named(t))
		if hit {
			killed++
		}
		if hit && before != away {
			amid++
		}
	}
	stop()
	all.Wait()
	if killed < *fileKills {
		t.Errorf("%d were killed, want %d: the test shows too little", killed, *fileKills)
	}
	for range 2 {
		if err := carryOut(t, postgres.Archive(s.server), remediate.Request{Subject: s.subject()}); err != nil {
			t.Fatal(err)
		}
		if n := c.check(t); n != 0 {
			t.Errorf("%d rows are left", n)
		}
		if err := carryOut(t, postgres.RestoreArchived(s.server),
			remediate.Request{Subject: s.subject(), Params: params}); err != nil {
			t.Fatal(err)
		}
		if n := c.check(t); n != len(c.body) {
			t.Errorf("%d rows are back, want %d", n, len(c.body))
		}
	}
	objects, err := s.store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("killed %d times in %s, %d times after a part was done; %d rows; %d objects, %d of them with entries in "+
		"the ledger", killed, time.Since(began).Round(time.Second), amid, len(c.body), len(objects),
		s.number(t, "select count(distinct object) from upkeep.parcels"))
}

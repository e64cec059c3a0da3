package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	command "os/exec"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

var kills = flag.Int("kills", 8, "how often the archiving process is killed on its way") //nolint:gochecknoglobals // a flag of the test

// A clerk changes rows of its own while they are archived, and remembers what it
// knows to be committed: for each row how often it was edited.
type clerk struct {
	*stack
	conn  *pgx.Conn
	rand  *rand.Rand
	edits map[int64]int
	own   []int64
}

// work goes on until it is stopped. No statement of it may fail.
func (c *clerk) work(ctx context.Context, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := c.once(ctx); err != nil {
			return err
		}
	}
}

func (c *clerk) age() string {
	return []string{"now() - interval '300 days'", "now()"}[c.rand.IntN(2)]
}

func (c *clerk) once(ctx context.Context) error {
	tx, err := c.conn.Begin(ctx)
	if err != nil {
		return err
	}
	changes := make(map[int64]int)
	for range 1 + c.rand.IntN(3) {
		if err := c.change(ctx, tx, changes); err != nil {
			return err
		}
	}
	if c.rand.IntN(40) == 0 {
		time.Sleep(120 * time.Millisecond) // longer than a lock of it is waited for
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	for id, n := range changes {
		if _, known := c.edits[id]; !known {
			c.own = append(c.own, id)
		}
		c.edits[id] = n
		if n < 0 {
			delete(c.edits, id)
		}
	}
	return nil
}

// change inserts, edits, ages or deletes one row. What is not there any more was
// moved, and must be found there.
func (c *clerk) change(ctx context.Context, tx pgx.Tx, changes map[int64]int) error {
	id := c.own[c.rand.IntN(len(c.own))]
	n, known := c.edits[id]
	if later, changed := changes[id]; changed {
		n, known = later, later >= 0
	}
	switch op := c.rand.IntN(10); {
	case op < 3 || !known:
		err := tx.QueryRow(ctx, fmt.Sprintf(`insert into %s (%s, "Bo""dy") values (%s, '0') returning id`, c.qFrom,
			c.qAt, c.age())).Scan(&id)
		changes[id] = 0
		return err
	case op < 9:
		set := `"Bo""dy" = ("Bo""dy"::int + 1)::text`
		if op > 5 {
			set += ", " + c.qAt + " = " + c.age()
		}
		tag, err := tx.Exec(ctx, "update "+c.qFrom+" set "+set+" where id = $1", id)
		if tag.RowsAffected() == 1 {
			changes[id] = n + 1
		}
		return err
	default:
		tag, err := tx.Exec(ctx, "delete from "+c.qFrom+" where id = $1", id)
		if tag.RowsAffected() == 1 {
			changes[id] = -1
		}
		return err
	}
}

// While rows are inserted, edited, made younger and older, and deleted, nothing is
// lost, nothing is there twice, no edit is forgotten, and no client meets an error.
func TestArchiveUnderWriters(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", "13"} {
		t.Run("version "+version, func(t *testing.T) {
			url, database := serving(t, version)
			testUnderWriters(t, stackedOn(t, url, database, false))
		})
	}
}

func testUnderWriters(t *testing.T, s *stack) {
	t.Helper()
	servertest.Exec(t, s.url,
		fmt.Sprintf(`insert into %s (%s, "Bo""dy") select now() - interval '300 days', '0' from generate_series(1, 8000)`, s.qFrom, s.qAt), "analyze "+s.qFrom)
	const clerks = 4
	var all []*clerk
	for k := range clerks {
		c := &clerk{stack: s, conn: s.connect(t), rand: rand.New(rand.NewPCG(1, uint64(k))), edits: make(map[int64]int)}
		for id := int64(k + 1); id <= 8000; id += clerks {
			c.own, c.edits[id] = append(c.own, id), 0
		}
		all = append(all, c)
	}
	stop, ctx := make(chan struct{}), context.WithoutCancel(t.Context())
	faults := make(chan error, clerks)
	var working sync.WaitGroup
	for _, c := range all {
		working.Go(func() { faults <- c.work(ctx, stop) })
	}
	a := postgres.Archive(s.server)
	runs := 0
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end) || runs < 3; runs++ {
		if err := carryOut(t, a, remediate.Request{Subject: s.subject()}); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	working.Wait()
	for range clerks {
		if err := <-faults; err != nil {
			t.Errorf("a client: %v", err)
		}
	}
	if err := carryOut(t, a, remediate.Request{Subject: s.subject()}); err != nil {
		t.Error(err)
	}
	want, edits := make(map[int64]int), 0
	for _, c := range all {
		maps.Copy(want, c.edits)
	}
	rows,
		err := s.connect(t).Query(t.Context(),
		fmt.Sprintf(`select id, "Bo""dy"::int, %s < now() - interval '180 days', archived from (select id, "Bo""dy", %s, false as archived from %s union all select id, "Bo""dy", %s, true from %s) r`, s.qAt, s.qAt, s.qFrom, s.qAt, s.qTo))
	if err != nil {
		t.Fatal(err)
	}
	var id int64
	var n int
	var old, archived bool
	seen := make(map[int64]bool)
	_, err = pgx.ForEachRow(rows, []any{&id, &n, &old, &archived}, func() error {
		switch w, ok := want[id]; {
		case !ok:
			t.Errorf("row %d was deleted, or never there", id)
		case seen[id]:
			t.Errorf("row %d is there twice", id)
		case w != n:
			t.Errorf("row %d was edited %d times, and says %d", id, w, n)
		case old != archived:
			t.Errorf("row %d: past its age %v, archived %v", id, old, archived)
		}
		seen[id], edits = true, edits+n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != len(want) {
		t.Errorf("%d rows, want %d", len(seen), len(want))
	}
	t.Logf("%d runs, %d rows, %d edits, %d archived", runs, len(seen), edits, s.count(t, s.qTo))
}

// Killed with SIGKILL anywhere on its way, again and again: each time the rows of
// both tables together are those that there were.
func TestArchiveKilled(t *testing.T) {
	t.Parallel()
	const rows = 30_000
	s := stacked(t, false)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a, r := postgres.Archive(s.server), remediate.Request{Subject: s.subject()}
	var before string
	killed, amid := 0, 0
	for try := 0; killed < *kills || amid < *kills/2; try++ {
		if try > 20**kills+50 {
			t.Fatalf("killed %d times, %d times in the middle of it: the test shows nothing", killed, amid)
		}
		if before == "" {
			servertest.Exec(t, s.url, "truncate "+s.qFrom, "truncate "+s.qTo)
			s.put(t, rows, 1000)
			before = s.sum(t)
		}
		plan, err := a.Plan(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(map[string]any{"Action": a.Name, "Child": s.child(t), "Step": plan.Steps[0]})
		if err != nil {
			t.Fatal(err)
		}
		had := s.count(t, s.qTo)
		cmd := command.CommandContext(t.Context(), self, "-test.run=^$")
		cmd.Env = append(os.Environ(), "UPKEEP_ACTIONTEST_APPLY="+string(text))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Every fourth is killed at any moment, the others after they have begun.
		for end := time.Now().Add(10 * time.Second); try%4 > 0 && s.count(t, s.qTo) == had && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		_ = cmd.Process.Kill() // it may have ended by itself
		err = cmd.Wait()
		if after := s.sum(t); after != before {
			t.Fatalf("after kill %d: the rows were %s and are %s", killed, before, after)
		}
		switch ended, ok := errors.AsType[*command.ExitError](err); {
		case ok && !ended.Exited():
			killed++
			if n := s.count(t, s.qTo); n > had && n < rows {
				amid++
			}
		case err != nil:
			t.Fatal(err)
		}
		if s.count(t, s.qTo) == rows {
			before = "" // anew
		}
	}
	t.Logf("killed %d times, %d of them in the middle of moving", killed, amid)
	if err := carryOut(t, a, r); err != nil {
		t.Fatal(err)
	}
	if before != "" && s.sum(t) != before {
		t.Errorf("at the end the rows are not those that there were")
	}
}

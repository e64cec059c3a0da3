package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

var moments = flag.Int("moments", 16, "at how many random moments upkeep is killed") //nolint:gochecknoglobals // a flag of the test

// A killSite is a site whose upkeep is killed while alerts fire: in each round a
// table with dead rows, another with a bloated index, and changes in Redis.
type killSite struct {
	*site
	server *sandbox.Postgres
	conn   *pgx.Conn
	client *redis.Client
}

// newKillSite starts a server that logs every statement that ended: the log
// is the witness of what was done how often.
func newKillSite(t *testing.T) *killSite {
	t.Helper()
	s := &killSite{site: newSite(t)}
	// An age grows by itself: with a limit of a few seconds a run whose upkeep was
	// killed before the verdict would be judged too late.
	shortRules(t, filepath.Join(s.dir, "rules"), "30")
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // data of a test
	s.server, err = servertest.StartPostgres(t.Context(),
		sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"), Settings: map[string]string{
			"fsync": "off", "log_min_duration_statement": "0", "autovacuum": "off",
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.server.Stop(); err != nil {
			t.Error(err)
		}
	})
	s.postgres = s.server.URL
	if s.conn, err = pgx.Connect(t.Context(), s.server.URL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.conn.Close(context.Background()) }) // the server ends anyway
	options, err := redis.ParseURL(s.redis.URL)
	if err != nil {
		t.Fatal(err)
	}
	options.Password = s.token
	s.client = redis.NewClient(options)
	t.Cleanup(func() { _ = s.client.Close() }) // the server ends anyway
	return s
}

func (s *killSite) sickenRound(t *testing.T, n int) {
	t.Helper()
	for _, sql := range []string{
		"create table bloated_%d (id int, key text)",
		"insert into bloated_%d select i, md5(i::text) from generate_series(1, 20000) i",
		"create index bloated_%d_key on bloated_%d (key)",
		"delete from bloated_%d where id % 10 <> 0",
		"select pg_stat_force_next_flush()", // or these dead rows would be reported after the vacuum
		"vacuum bloated_%d", "analyze bloated_%d",
		"create table dead_%d (id int)",
		"insert into dead_%d select generate_series(1, 20000)",
		"delete from dead_%d where id % 2 = 0",
	} {
		if _, err := s.conn.Exec(t.Context(), strings.ReplaceAll(sql, "%d", fmt.Sprint(n))); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if _, err := s.conn.Exec(t.Context(), "select pg_stat_force_next_flush()"); err != nil {
		t.Fatal(err)
	}
	if err := s.client.Set(t.Context(), fmt.Sprint("key", n), n, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

// hold makes every second round's rebuild wait for an older transaction, so that
// the kill meets it in the middle. Its session goes on without upkeep.
func (s *killSite) hold(t *testing.T, n int) (release func()) {
	t.Helper()
	if n%2 == 0 {
		return func() {}
	}
	older, err := pgx.Connect(t.Context(), s.server.URL)
	if err == nil {
		_, err = older.Exec(t.Context(), fmt.Sprintf("begin; lock table bloated_%d in row exclusive mode", n))
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := older.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// done counts in the server's log how often a statement on the table was done.
func (s *killSite) done(t *testing.T, statement string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.server.Dir, "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "duration:") && strings.HasSuffix(strings.TrimSpace(line), statement) {
			n++
		}
	}
	return n
}

// upkeep is killed with SIGKILL while alerts fire, fifty times by "make soak" and by
// "make test" the first sixteen: half of them wherever it is and half of them in a step. In the
// end every alert has been resolved, no run hangs, and the servers themselves say that
// nothing was done twice for one incident.
func TestKilledFiftyTimes(t *testing.T) {
	s := newKillSite(t)
	s.configure(t, embeddedMode)
	log, err := os.Create(filepath.Join(s.dir, "killed.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the children wrote it
	grant(t, s.dir)
	met := 0
	for n := range *moments {
		s.sickenRound(t, n)
		release := s.hold(t, n)
		before := begun(t, log.Name())
		cmd := exec.CommandContext(t.Context(), "upkeep", "serve", "--config", "upkeep.yaml")
		cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.moment(t, log.Name(), before, n)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatalf("it ended by itself before kill %d: %v", n+1, err)
		}
		if state := cmd.Wait(); state == nil || !strings.Contains(state.Error(), "killed") {
			t.Fatalf("it was not killed but ended: %v", state)
		}
		if s.unfinished(t) > 0 {
			met++
		}
		release()
	}
	t.Logf("%d kills, of which %d left a run in the middle", *moments, met)
	if met < *moments/5 {
		t.Error("too few kills met a run: the test shows nothing")
	}
	spawn(t, s.dir, "upkeep", "serve", "--config", "upkeep.yaml")
	s.awaitReady(t)
	// A snapshot grows old again while the rest is counted, and upkeep goes on: the
	// runs and the server's count are of one moment when no run came in between.
	// Between the end of an alert, whose metric was not there after a kill, and its next
	// delivery nothing fires and no run moves: that is not the end.
	for end := time.Now().Add(10 * time.Minute); ; {
		saves := s.saves(t)
		lines := s.awaitResolved(t, loopActions...)
		if s.saves(t) == saves && (s.rebuilt(t) || time.Now().After(end)) {
			s.onceEach(t, lines, saves)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// rebuilt reports whether every index was built anew.
func (s *killSite) rebuilt(t *testing.T) bool {
	t.Helper()
	for n := range *moments {
		if s.done(t, fmt.Sprintf(`REINDEX INDEX CONCURRENTLY "public"."bloated_%d_key"`, n)) == 0 {
			return false
		}
	}
	return true
}

// moment waits until upkeep is to be killed: in an even round anywhere in its
// first second, in an odd one shortly after it has begun a step, which a busy
// machine may not let it do within a second.
func (s *killSite) moment(t *testing.T, log string, before, n int) {
	t.Helper()
	if n%2 == 0 {
		time.Sleep(time.Duration(150+rand.IntN(850)) * time.Millisecond)
		return
	}
	for end := time.Now().Add(20 * time.Second); begun(t, log) == before && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond) // to read a log takes time from what is waited for
	}
	time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
}

// begun counts the steps that the log says were begun.
func begun(t *testing.T, log string) int {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), `msg="step begun"`)
}

// unfinished reads the store of the killed process: how many runs it left that
// had begun to act.
func (s *killSite) unfinished(t *testing.T) (n int) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{Dir: filepath.Join(s.dir, "data")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // read only
	j := journal.New(journal.Config{Store: db})
	if _, err := j.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	runs, err := j.Recent(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		if r.State == remediate.Allowed && r.Begun > r.Done {
			n++
		}
	}
	return n
}

// onceEach holds what the journal says against what the servers say.
func (s *killSite) onceEach(t *testing.T, lines []console.Line, saves int) {
	t.Helper()
	incidents, acted := make(map[int64]int), make(map[string]int)
	for _, l := range lines {
		incidents[l.Request.Incident]++
		switch {
		case l.State == remediate.Resolved:
			acted[l.Request.Action]++
			acted[l.Request.Action+" "+l.Request.Subject["table"]]++
		case l.State == remediate.Unresolved && l.Request.Action == "redis/bgsave":
			// It was killed before it measured, and the age has grown beyond the limit again since its snapshot.
			acted[l.Request.Action]++
		case l.State == remediate.StateRefused && strings.Contains(l.Why, "the incident is closed"):
			// It fired again on the samples from before the kill, and nothing was done.
		default:
			t.Errorf("run %d %s on %v ended %s: %s", l.ID, l.Request.Action, l.Request.Subject, l.State, l.Why)
		}
	}
	for id, n := range incidents {
		if n != 1 {
			t.Errorf("incident %d has %d runs", id, n)
		}
	}
	for n := range *moments {
		for work, statement := range map[string]string{
			fmt.Sprintf("postgres/vacuum dead_%d",
				n): fmt.Sprintf(`VACUUM (ANALYZE, TRUNCATE off, PARALLEL 0) "public"."dead_%d"`, n),
			fmt.Sprintf("postgres/reindex bloated_%d",
				n): fmt.Sprintf(`REINDEX INDEX CONCURRENTLY "public"."bloated_%d_key"`, n),
		} {
			if did, said := s.done(t, statement), acted[work]; did != 1 || said != 1 {
				t.Errorf("%s: done %d times, %d runs resolved, want once", statement, did, said)
			}
		}
	}
	if saves != acted["redis/bgsave"] {
		t.Errorf("%d snapshots, %d runs that made one", saves, acted["redis/bgsave"])
	}
	if left := s.invalid(t); left != "" {
		t.Errorf("invalid indexes are left: %s; of what the server was asked of them failed:\n%s", left, s.failed(t))
	}
	t.Logf("done: %d vacuums, %d rebuilds, %d snapshots, in %d runs", acted["postgres/vacuum"],
		acted["postgres/reindex"], saves, len(lines))
}

// saves asks Redis how many snapshots it has made.
func (s *killSite) saves(t *testing.T) (n int) {
	t.Helper()
	info, err := s.client.Info(t.Context(), "persistence").Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "rdb_saves:"); ok {
			if _, err := fmt.Sscan(text, &n); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

// failed returns what the server's log says of statements on indexes that failed.
func (s *killSite) failed(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.server.Dir, "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	last := ""
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "STATEMENT:") && strings.Contains(line, " INDEX CONCURRENTLY ") {
			said.WriteString(last + line)
		}
		if strings.Contains(line, "ERROR:") || strings.Contains(line, "FATAL:") {
			last = line
		}
	}
	return said.String()
}

func (s *killSite) invalid(t *testing.T) (names string) {
	t.Helper()
	err := s.conn.QueryRow(t.Context(), "select coalesce(string_agg(indexrelid::regclass::text, ' '), '') from "+
		"pg_index where not indisvalid").Scan(&names)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

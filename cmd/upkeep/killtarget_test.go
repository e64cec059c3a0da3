package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

var together = flag.Int("together", 4, "how often upkeep and its target are killed at one moment") //nolint:gochecknoglobals // a flag of the test

// A crashSite is an upkeep and a PostgreSQL server that are killed together.
type crashSite struct {
	site
	how    sandbox.PostgresOptions
	server *sandbox.Postgres
	cmd    *exec.Cmd
	log    *os.File
	tables []string
}

func newCrashSite(t *testing.T) *crashSite {
	t.Helper()
	s := &crashSite{site: site{dir: t.TempDir(), address: freeAddress(t), token: "t"}}
	s.server, s.how = startServer(t, map[string]string{
		"fsync": "off", "autovacuum": "off", "vacuum_cost_delay": "10ms", "vacuum_cost_limit": "20",
	}, func() *sandbox.Postgres { return s.server })
	s.exec(t, "create extension pgstattuple")
	w := &workload{dir: s.dir, token: s.token, server: s.server}
	s.log = w.keepLog(t)
	var disabled []string
	for _, name := range app.Known().Collectors {
		if strings.HasPrefix(name, "postgres/") && name != "postgres/server" {
			disabled = append(disabled, name+": {disabled: true}")
		}
	}
	const terms = "mode: auto, budget: 0%, ramp: false, breaker: 0, effect: 0%, fresh: 0s, cooldown: 0s"
	write(t, filepath.Join(s.dir, "token"), s.token+"\n")
	write(t, filepath.Join(s.dir, "upkeep.yaml"), fmt.Sprintf(`data_dir: data
web: {listen: %q, token_file: token}
targets: {postgres: [{name: main, url: %q}]}
collectors: {settings: {%s}}
embedded: {enabled: false}
engine: {concurrency: 8, per_target: 8}
policies: [{name: dead rows, match: ['alertname="PostgresDeadRows"'], action: postgres/vacuum, %s}]
`, s.address, s.server.URL, strings.Join(disabled, ", "), terms))
	return s
}

func (s *crashSite) exec(t *testing.T, statements ...string) {
	t.Helper()
	servertest.Exec(t, s.server.URL, statements...)
}

// start starts an upkeep, which ends with the test.
func (s *crashSite) start(t *testing.T) {
	t.Helper()
	w := &workload{}
	cmd := w.serve(t, s.dir, s.log)
	s.cmd = cmd
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // by that signal
	})
}

// alert delivers the alerts of tables until they are acknowledged.
func (s *crashSite) alert(t *testing.T, status string, tables ...string) {
	t.Helper()
	var all []alert
	for _, table := range tables {
		a := alert{
			Status: status, StartsAt: time.Unix(1, 0),
			Labels: map[string]string{"alertname": "PostgresDeadRows", "server": "main", "database": "postgres",
				"schema": "public", "table": table},
			Annotations: map[string]string{"summary": "rows are dead", "limit": "0.2"},
		}
		if status == "resolved" {
			a.EndsAt = time.Now()
		}
		all = append(all, a)
	}
	w := &workload{token: s.token, client: &http.Client{Timeout: 5 * time.Second}}
	servertest.Eventually(t, "the alert to be acknowledged", func() error {
		if !w.post(t.Context(), "http://"+s.address+webhook.Alertmanager().Path, delivery{Version: "4", Alerts: all}) {
			return fmt.Errorf("it is not")
		}
		return nil
	})
}

// upkeep and its target are killed at one moment, again and again: in a step, right after
// it, and before it. The target's statistics are empty then. No verdict is wrong: what is
// called resolved has no dead rows left, what has none is called neither failed nor
// unresolved, and no run hangs.
func TestKilledWithItsTarget(t *testing.T) {
	s := newCrashSite(t)
	s.start(t)
	s.awaitReady(t)
	for n := range *together {
		var damaged []string
		for i := range 3 {
			table := fmt.Sprintf("dead_%d_%d", n, i)
			damaged = append(damaged, table)
			s.exec(t, "create table "+table+" (id int)",
				fmt.Sprintf("insert into %s select generate_series(1, %d)", table, 2000+i*8000),
				"analyze "+table, "delete from "+table+" where id % 2 = 0", "select pg_stat_force_next_flush()")
		}
		s.tables = append(s.tables, damaged...)
		s.alert(t, "firing", damaged...)
		s.inStep(t, n)
		s.crash(t, n)
	}
	s.settle(t)
}

// inStep waits until a run of the round is where the crash is to meet it.
func (s *crashSite) inStep(t *testing.T, n int) {
	t.Helper()
	round := fmt.Sprintf("dead_%d_", n)
	servertest.Eventually(t, "a run on its way", func() error {
		var lines []console.Line
		if err := s.get("/runs?limit=50", &lines); err != nil {
			return err
		}
		for _, l := range lines {
			begun := l.Begun > 0 || n%4 == 3 // one of four before anything was done
			if strings.HasPrefix(l.Request.Subject["table"], round) && begun {
				return nil
			}
		}
		return fmt.Errorf("none in %d", len(lines))
	})
	time.Sleep(time.Duration(n%10) * 60 * time.Millisecond) // a vacuum takes up to half a second
}

// crash kills both with all that they have started, and starts them again, now the one
// first and now the other.
func (s *crashSite) crash(t *testing.T, n int) {
	t.Helper()
	servertest.Freeze(t, s.server.PID()) // it has no more children meanwhile
	all := servertest.Family(t, s.server.PID())
	servertest.Signal(append(all, s.cmd.Process.Pid), syscall.SIGKILL)
	_ = s.cmd.Wait() // killed
	s.server.Kill()
	if n%2 == 0 {
		s.start(t)
	}
	// Those that are killed keep the memory of their server until they have ended.
	servertest.Eventually(t, "the server to start again", func() (err error) {
		s.server, err = servertest.StartPostgres(t.Context(), s.how)
		return err
	})
	if n%2 == 1 {
		s.start(t)
	}
}

// settle ends what waits for an alert, waits for the end of every run, and holds the
// verdicts against the tables.
func (s *crashSite) settle(t *testing.T) {
	t.Helper()
	var lines []console.Line
	ends := func(which func(console.Line) bool) {
		servertest.Eventually(t, "the end of every run", func() error {
			lines = nil
			if err := s.get("/runs?limit=1000", &lines); err != nil {
				return err
			}
			if len(lines) < len(s.tables) {
				return fmt.Errorf("%d runs for %d tables", len(lines), len(s.tables))
			}
			for _, l := range lines {
				if !l.State.Ended() && which(l) {
					return fmt.Errorf("run %d on %s is %s: %s", l.ID, l.Request.Subject["table"], l.State, l.Why)
				}
			}
			return nil
		})
	}
	ends(func(l console.Line) bool { return l.State != remediate.Waiting })
	s.alert(t, "resolved", s.tables...)
	ends(func(console.Line) bool { return true })
	states := make(map[remediate.State]int)
	for _, l := range lines {
		states[l.State]++
		if wrong := s.wrong(t, l); wrong != "" {
			t.Errorf("run %d on %s is %s, and %s: %s", l.ID, l.Request.Subject["table"], l.State, wrong, l.Why)
		}
	}
	if states[remediate.Resolved] == 0 {
		t.Error("nothing was resolved: the test shows nothing")
	}
	t.Logf("%d crashes of both, %d runs, by their end: %v", *together, len(lines), states)
	w := &workload{}
	t.Log(w.command(t, s.address, "journal", "verify"))
}

// wrong says what is wrong with the verdict of a run, "" where nothing is.
func (s *crashSite) wrong(t *testing.T, l console.Line) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }() // it only read
	var dead int64
	if err := conn.QueryRow(t.Context(), "select dead_tuple_count from pgstattuple($1::text::regclass)",
		l.Request.Subject["table"]).Scan(&dead); err != nil {
		t.Fatal(err)
	}
	switch {
	case l.State == remediate.Resolved && dead > 0:
		return fmt.Sprintf("%d rows are dead", dead)
	case slices.Contains([]remediate.State{remediate.Unresolved, remediate.Failed}, l.State):
		return fmt.Sprintf("%d rows are dead, and nothing was wrong but a crash", dead)
	case l.State == remediate.StateRefused && l.Reason != remediate.ReasonResolved:
		return "it was not refused: " + l.Reason
	}
	return ""
}

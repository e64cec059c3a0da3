package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// ledger reads in the server's log how often each statement that repairs was done.
func (w *workload) ledger(t *testing.T) map[string]int {
	t.Helper()
	f, err := os.Open(filepath.Join(w.server.Dir, "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // read only
	done := make(map[string]int)
	line := regexp.MustCompile(`duration: .* statement: ((?:VACUUM|REINDEX) .*)$`)
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m := line.FindStringSubmatch(strings.TrimSpace(lines.Text())); m != nil {
			done[m[1]]++
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return done
}

// done counts how often each table was repaired, by its name. The log has what was
// done to its end, and the server's own counters also what was stopped at a
// remainder, which is then done alone: the analyze after a vacuum, the drop of the
// index that was replaced.
func (w *workload) done(t *testing.T) map[string]int {
	t.Helper()
	c, err := pgx.Connect(t.Context(), w.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }() // it only read
	var invalid string
	if err := c.QueryRow(t.Context(), "select coalesce(string_agg(indexrelid::regclass::text, ' '), '') from "+
		"pg_index where not indisvalid").Scan(&invalid); err != nil || invalid != "" {
		t.Errorf("invalid indexes are left: %s (%v)", invalid, err)
	}
	rows, err := c.Query(t.Context(), `select s.relname::text, s.vacuum_count::int, s.analyze_count::int, coalesce(i.indexrelid, 0)
		from pg_stat_user_tables s left join pg_index i on i.indrelid = s.relid`)
	if err != nil {
		t.Fatal(err)
	}
	type counts struct {
		vacuums, analyzes int
		index             uint32
	}
	all := make(map[string]counts)
	var name string
	var n counts
	if _, err := pgx.ForEachRow(rows, []any{&name, &n.vacuums, &n.analyzes, &n.index},
		func() error { all[name] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	log, done := w.ledger(t), make(map[string]int)
	for _, p := range w.some(func(p *damagedTable) bool { return !p.repaired.IsZero() }) {
		n, logged := all[p.table], log[p.statement]
		switch {
		case p.rebuild && n.index == p.rebuilt:
			done[p.table] = max(1, logged)
		case p.rebuild:
			done[p.table] = max(2, logged)
		case logged > n.vacuums || n.analyzes != n.vacuums:
			t.Errorf("%s: %d vacuums in the log, %d counted, %d analyzes", p.table, logged, n.vacuums, n.analyzes)
			fallthrough
		default:
			done[p.table] = n.vacuums
		}
	}
	return done
}

// command runs an upkeep that asks another one, and returns what it says.
func (w *workload) command(t *testing.T, address string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "upkeep", args...)
	cmd.Env = append(os.Environ(), "UPKEEP_URL=http://"+address)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("upkeep %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// awaitQuiet waits until every table is repaired, every run has ended and nothing
// fires, as the upkeep at an address tells.
func (w *workload) awaitQuiet(t *testing.T, address string) {
	t.Helper()
	s := site{address: address}
	servertest.Eventually(t, "after all kills", func() error {
		if damaged := w.damaged(); len(damaged) > 0 {
			return fmt.Errorf("%d tables are not repaired, %s first", len(damaged), damaged[0].table)
		}
		var lines []console.Line
		var status console.Status
		if err := errors.Join(s.get("/runs?limit=1000", &lines), s.get("/status", &status)); err != nil {
			return err
		}
		for _, l := range lines {
			if !l.State.Ended() {
				return fmt.Errorf("run %d on %v is %s: %s", l.ID, l.Request.Subject, l.State, l.Why)
			}
		}
		if n := len(status.Incidents); n > 0 {
			return fmt.Errorf("%d incidents are open, of %v first", n, status.Incidents[0].Alert.Labels)
		}
		return nil
	})
}

// settle holds what was acknowledged, what the journal says and what the target's
// ledger says against each other.
func (w *workload) settle(t *testing.T, s *store.Store) {
	t.Helper()
	j := journal.New(journal.Config{Store: s})
	if _, err := j.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	runs, err := j.Recent(t.Context(), 0, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	acted := make(map[string]int)
	hanging := 0
	for _, r := range runs {
		if !r.State.Ended() {
			hanging++
			t.Errorf("run %d on %v hangs, %s: %s", r.ID, r.Request.Subject, r.State, r.Why)
		}
		if r.State == remediate.Resolved {
			acted[r.Request.Subject["table"]]++
			continue
		}
		t.Errorf("run %d %s on %v ended %s: %s", r.ID, r.Request.Action, r.Request.Subject, r.State, r.Why)
	}
	incidents, done := incidents(t, s), w.done(t)
	lost, doubled, undone, acks, rebuilds := 0, 0, 0, 0, 0
	for _, p := range w.some(func(*damagedTable) bool { return true }) {
		did, knew := done[p.table], incidents[p.table]
		if p.rebuild {
			rebuilds++
		}
		acks += w.acked[p.table]
		switch {
		case knew == 0:
			lost++
		case did > 1:
			doubled++
		case did == 0:
			undone++
		}
		// Acknowledged never: the answers came too late for the proxy, and what was written is done all the same.
		if did != 1 || knew != 1 || acted[p.table] != 1 {
			t.Errorf("%s: acknowledged %d times, %d incidents, %d runs resolved, done %d times; want once each",
				p.table, w.acked[p.table], knew, acted[p.table], did)
		}
	}
	if acks < len(w.tables) {
		t.Errorf("%d deliveries of %d tables were acknowledged: the test shows little", acks, len(w.tables))
	}
	t.Logf("%d incidents (%d rebuilds), %d alerts acknowledged, %d deliveries refused; %d lost, %d done twice, %d not "+
		"done, %d runs, %d hanging", len(w.tables), rebuilds, acks, w.refused, lost, doubled, undone, len(runs),
		hanging)
}

// incidents counts the incidents of each table.
func incidents(t *testing.T, s *store.Store) map[string]int {
	t.Helper()
	all := make(map[string]int)
	for _, text := range texts(t, s, "select alert from incidents order by id") {
		var a remediate.Alert
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatal(err)
		}
		all[a.Labels["table"]]++
	}
	return all
}

// entries returns the journal.
func entries(t *testing.T, s *store.Store) (all []remediate.Entry) {
	t.Helper()
	for _, text := range texts(t, s, "select entry from entries order by seq") {
		var e remediate.Entry
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func texts(t *testing.T, s *store.Store, query string) (all []string) {
	t.Helper()
	rows, err := s.Query(context.WithoutCancel(t.Context()), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }() // read to its end
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

package report_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/product/report"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// hostile is a name that is markup, a link and a line of its own in whatever it is written to.
const hostile = "</td><script>alert(1)</script>|`x`|[a](https://evil.example)\n# h\u202e"

// A fixture is a history with a journal of the same time.
type fixture struct {
	*history
	store  *store.Store
	engine engine
	config report.Config
}

func newFixture(t testing.TB, step time.Duration, statements int) *fixture {
	t.Helper()
	h := newHistory(t, step)
	h.fill(statements)
	return h.fixture(time.Date(2026, 9, 3, 8, 0, 0, 0, time.UTC))
}

// fixture returns the history with a journal, as it is seen at a moment.
func (h *history) fixture(at time.Time) *fixture {
	t := h.t
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	f := &fixture{history: h, store: s, engine: newEngine(h.db)}
	now := func() time.Time { return at }
	f.config = report.Config{Prometheus: f.engine, Now: now, Version: "test",
		Journal: journal.New(journal.Config{Store: s, Now: now}), Inbox: inbox.New(inbox.Config{Store: s, Now: now}),
		Lowers: func(r remediate.Request) string {
			return map[string]string{"postgres/vacuum": "upkeep_postgres_table_dead_ratio",
				"postgres/drop_index": "upkeep_postgres_index_unused_bytes"}[r.Action]
		}}
	f.journal()
	return f
}

func (f *fixture) write(query string, args ...any) {
	f.t.Helper()
	if err := f.store.Write(f.t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
}

// run writes one run as it is in the store.
func (f *fixture) run(id int, action, policy, reason string, state remediate.State, begun int, changed time.Time,
	subject map[string]string, incident int64) {
	f.t.Helper()
	request, err := json.Marshal(remediate.Request{Key: fmt.Sprint(id), Action: action, Subject: subject,
		Policy: policy,
		By:     "alert/" + hostile})
	if err != nil {
		f.t.Fatal(err)
	}
	f.write("insert into runs (id, key, request, action, subject, state, why, reason, plan, before, after, "+
		"begun, done, due, "+
		"created, changed, policy, target, incident) values (?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "+
		"'main', ?)",
		id, fmt.Sprint(id), string(request), action, journal.Subject(subject), string(state), reason,
		`{"steps":[{"do":"DROP TABLE `+"`x`"+` | y"}]}`, float64(id%10)/10, 0.01, begun, begun, store.Millis(changed),
		store.Millis(changed.Add(-time.Minute)), store.Millis(changed), policy, incident)
}

// incident writes one incident as it is in the store; one that is not over has no end.
func (f *fixture) incident(id int, name, table string, opened, closed time.Time, annotations map[string]string) {
	f.t.Helper()
	l := map[string]string{"alertname": name, "server": "main", "table": table}
	text, err := json.Marshal(remediate.Alert{Source: "alertmanager", Labels: l, Annotations: annotations})
	if err != nil {
		f.t.Fatal(err)
	}
	f.write("insert into incidents (id, key, alert, opened, seen, closed, name) values (?, ?, ?, ?, ?, ?, ?)", id,
		name+"/"+table, string(text), store.Millis(opened), store.Millis(opened), store.Millis(closed), name)
}

// journal writes two months of runs and incidents.
func (f *fixture) journal() {
	states := []remediate.State{remediate.Resolved, remediate.Resolved, remediate.Unresolved, remediate.Failed,
		remediate.StateRefused, remediate.Rejected, remediate.Expired, remediate.Observed}
	id := 0
	for at := begin().Add(time.Hour); at.Before(end()); at = at.Add(7 * time.Hour) {
		id++
		state, reason, begun := states[id%len(states)], "", 1
		if state.Stopped() {
			reason, begun = "window", 0
		}
		f.run(id, "postgres/vacuum", "dead rows", reason, state, begun, at, map[string]string{"server": "main",
			"database": "apidb", "schema": "public", "table": fmt.Sprintf("t%d", id%3)}, 0)
		f.incident(id, "PostgresDeadRows", fmt.Sprintf("t%d", id%40), at.Add(-time.Hour), at, nil)
	}
	dropped := map[string]string{"server": "main", "database": "apidb", "schema": "public", "table": "orders",
		"index": "orders_old_idx"}
	f.run(1000, "postgres/drop_index", "", "", remediate.Resolved, 1, month().Add(9*day), dropped, 0)
	f.run(1001, "postgres/reindex", hostile, "", remediate.AwaitingApproval, 0, end().Add(-day), map[string]string{
		"server": "main", "index": hostile}, 0)
	f.incident(1000, hostile, hostile, month().Add(-day), time.Time{}, map[string]string{"action": "none",
		"reason": hostile})
	for i := range 5 { // again and again
		at := month().Add(time.Duration(i) * 3 * day)
		f.incident(1001+i, "PostgresIndexBloat", "orders", at, at.Add(2*time.Hour), nil)
	}
	f.run(1002, "postgres/reindex", "p", "", remediate.Unresolved, 1, month().Add(3*day+time.Hour), dropped, 1002)
}

func (f *fixture) report(of string) report.Report {
	f.t.Helper()
	p, err := report.Named(of, f.config.Now())
	if err != nil {
		f.t.Fatal(err)
	}
	r, err := report.Make(f.t.Context(), f.config, p)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, s := range r.Sections {
		for _, figure := range s.Figures {
			if figure.Fault != "" {
				f.t.Errorf("%s: %s", figure.Title, figure.Fault)
			}
		}
	}
	return r
}

// figure returns a figure by its title.
func figure(t testing.TB, r report.Report, title string) report.Figure {
	t.Helper()
	for _, s := range r.Sections {
		for _, f := range s.Figures {
			if f.Title == title {
				return f
			}
		}
	}
	t.Fatalf("no figure %q", title)
	return report.Figure{}
}

// cell returns a cell by the text of the first one of its row, and by its column.
func cell(t testing.TB, f report.Figure, row, column string) report.Cell {
	t.Helper()
	for _, cells := range f.Rows {
		for i, c := range f.Columns {
			if cells[0].Text == row && c.Name == column {
				return cells[i]
			}
		}
	}
	t.Fatalf("%s has no row %q with a column %q: %v", f.Title, row, column, f.Rows)
	return report.Cell{}
}

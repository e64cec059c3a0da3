package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

const (
	// sickAtOnce is how many tables are damaged at any time: more than upkeep works
	// on at once, so that each moment finds it at work.
	sickAtOnce = 20

	// reindexed is how often the incident of a table is a bloated index.
	reindexed = 12

	// large is how often a table takes its time, for its pages are on disk: the
	// vacuum of one outlives the upkeep that began it, and goes on while the next one
	// takes the step up.
	large = 6
)

// A damagedTable is one table.
type damagedTable struct {
	table     string
	rebuild   bool // its index is bloated; else rows of it are dead
	direct    bool // the test itself delivers it
	since     time.Time
	repaired  time.Time // zero while it is damaged
	over      bool      // its end was delivered directly
	index     uint32    // before
	rebuilt   uint32    // the index that was seen first in its place
	statement string    // that repairs it
}

// load lets tables fall damaged, sees how they are and delivers alerts, until stop is
// called: from then on no other falls damaged. All ends with the test.
func (w *workload) load(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	damages, ends := context.WithCancel(ctx)
	var all sync.WaitGroup
	run := func(ctx context.Context, every time.Duration, do func(context.Context, *pgx.Conn) error) {
		c, err := pgx.Connect(ctx, w.server.URL)
		if err != nil {
			t.Fatal(err)
		}
		// what the test does is in no ledger
		if _, err := c.Exec(ctx, "set log_min_duration_statement = -1"); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			defer func() { _ = c.Close(context.Background()) }() // the server ends anyway
			for ctx.Err() == nil {
				if err := do(ctx, c); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				time.Sleep(every)
			}
		})
	}
	run(damages, 20*time.Millisecond, w.sicken)
	run(ctx, 200*time.Millisecond, w.see)
	t.Cleanup(func() { cancel(); all.Wait() })
	all.Go(func() {
		for ctx.Err() == nil {
			w.tellPeers(ctx)
			time.Sleep(300 * time.Millisecond)
		}
	})
	for n := range 3 {
		all.Go(func() {
			for ctx.Err() == nil {
				w.tellDirectly(ctx, n)
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	return ends
}

// sicken makes one more table damaged where fewer are than should be.
func (w *workload) sicken(ctx context.Context, c *pgx.Conn) error {
	w.mu.Lock()
	n, damaged := len(w.tables), 0
	for _, p := range w.tables {
		if p.repaired.IsZero() {
			damaged++
		}
	}
	w.mu.Unlock()
	if damaged >= sickAtOnce {
		return nil
	}
	p := &damagedTable{table: fmt.Sprint("dead_", n), direct: n%3 == 0}
	p.statement = fmt.Sprintf(`VACUUM (ANALYZE, TRUNCATE off, PARALLEL 0) "public"."%s"`, p.table)
	rows := 2000
	if n%large == 1 {
		rows = 60_000
	}
	statements := []string{"create table %s (id int)", fmt.Sprintf("insert into %%s select generate_series(1, %d)",
		rows), "delete from %s where id %% 2 = 0"}
	if n%large == 1 {
		statements = append(statements, "checkpoint")
	}
	if n%reindexed == reindexed-1 {
		p.table, p.rebuild = fmt.Sprint("bloated_", n), true
		p.statement = fmt.Sprintf(`REINDEX INDEX CONCURRENTLY "public"."%s_key"`, p.table)
		statements = []string{
			"create table %s (id int, key text)",
			"insert into %s select i, md5(i::text) from generate_series(1, 3000) i",
			"create index %[1]s_key on %[1]s (key)", "delete from %s where id %% 10 <> 0",
			"select pg_stat_force_next_flush()", "vacuum %s", "analyze %s",
		}
	}
	for _, text := range append(statements, "select pg_stat_force_next_flush()") {
		if strings.Contains(text, "%") {
			text = fmt.Sprintf(text, p.table)
		}
		if _, err := c.Exec(ctx, text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	if p.rebuild {
		if err := c.QueryRow(ctx, "select $1::text::regclass::oid", p.table+"_key").Scan(&p.index); err != nil {
			return err
		}
	}
	p.since = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tables = append(w.tables, p)
	return nil
}

// some returns the tables that want says.
func (w *workload) some(want func(*damagedTable) bool) (all []*damagedTable) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.tables {
		if want(p) {
			all = append(all, p)
		}
	}
	return all
}

func (w *workload) damaged() []*damagedTable {
	return w.some(func(p *damagedTable) bool { return p.repaired.IsZero() })
}

// see asks the server who is repaired.
func (w *workload) see(ctx context.Context, c *pgx.Conn) error {
	for _, p := range w.damaged() {
		var repaired bool
		var index uint32
		var err error
		if p.rebuild {
			err = c.QueryRow(ctx, "select c.oid, i.indisvalid and c.oid <> $2 from pg_index i join pg_class c on "+
				"c.oid = i.indexrelid where c.relname = $1", p.table+"_key", p.index).Scan(&index, &repaired)
		} else {
			err = c.QueryRow(ctx, "select pg_stat_get_dead_tuples($1::text::regclass) = 0", p.table).Scan(&repaired)
		}
		if err != nil {
			return err
		}
		if repaired {
			w.mu.Lock()
			p.repaired, p.rebuilt = time.Now(), index
			w.mu.Unlock()
		}
	}
	return nil
}

// alert is what the shipped rules say of a damagedTable.
func (w *workload) alert(p *damagedTable) alert {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := alert{
		Labels: map[string]string{"alertname": "PostgresDeadRows", "severity": "warning", "server": "main",
			"database": "postgres", "schema": "public", "table": p.table},
		Annotations: map[string]string{"summary": "rows of " + p.table + " are dead", "limit": "0.2",
			"action": "postgres/vacuum"},
		StartsAt: p.since, EndsAt: p.repaired,
		GeneratorURL: "http://127.0.0.1/graph?g0.expr=upkeep_postgres_table_dead_ratio+%3E+0.2",
	}
	if p.rebuild {
		a.Labels["alertname"], a.Labels["index"] = "PostgresIndexBloat", p.table+"_key"
		a.Annotations = map[string]string{"summary": "the index of " + p.table + " is bloated", "limit": "0.4",
			"action": "postgres/reindex"}
		a.GeneratorURL = "http://127.0.0.1/graph?g0.expr=upkeep_postgres_index_bloat_ratio+%3E+0.4"
	}
	return a
}

// tellPeers tells every Alertmanager who is damaged, and for a while who is repaired.
func (w *workload) tellPeers(ctx context.Context) {
	now := time.Now()
	var all []alert
	for _, p := range w.some(func(p *damagedTable) bool {
		return !p.direct &&
			(p.repaired.IsZero() || now.Sub(p.repaired) < 15*time.Second)
	}) {
		a := w.alert(p)
		if a.EndsAt.IsZero() {
			a.EndsAt = now.Add(time.Minute)
		}
		all = append(all, a)
	}
	for _, peer := range w.peers {
		w.post(ctx, peer+"/api/v2/alerts", all)
	}
}

// tellDirectly posts to the webhook until it is acknowledged, and then never
// again: nothing but the inbox remembers the alert.
func (w *workload) tellDirectly(ctx context.Context, worker int) {
	for i, p := range w.some(func(p *damagedTable) bool { return p.direct }) {
		w.mu.Lock()
		damaged, acked, over := p.repaired.IsZero(), w.acked[p.table] > 0, p.over
		w.mu.Unlock()
		if i%3 != worker || damaged && acked || over {
			continue
		}
		a := w.alert(p)
		a.Status = "firing"
		if acked {
			a.Status = "resolved"
		}
		if w.post(ctx, w.proxy.URL+webhook.Alertmanager().Path, delivery{Version: "4", Alerts: []alert{a}}) &&
			a.Status == "resolved" {
			w.mu.Lock()
			p.over = true
			w.mu.Unlock()
		}
	}
}

func (w *workload) post(ctx context.Context, url string, body any) bool {
	text, err := json.Marshal(body)
	if err != nil {
		return false
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return false
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+w.token)
	res, err := w.client.Do(r)
	if err != nil {
		return false
	}
	_ = res.Body.Close() // the status says it
	return res.StatusCode == http.StatusOK
}

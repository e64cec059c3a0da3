package app_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// An ill is one thing that is wrong with the sick server, and what the look says of it.
type ill struct {
	kind    string
	subject map[string]string // a part of it
	do      []string          // in the database shop
	action  string            // that mends it; "" where a person does
	sql     bool              // a statement mends it
	later   bool              // it is a candidate
}

func of(database string, more ...string) map[string]string {
	s := map[string]string{"database": database}
	for i := 0; i < len(more); i += 2 {
		s[more[i]] = more[i+1]
	}
	return s
}

func table(name string) map[string]string { return of("shop", "schema", "public", "table", name) }

func index(name string) map[string]string { return of("shop", "schema", "public", "index", name) }

// sickSettings are the troubles that are settings of the server.
func sickSettings() map[string]string {
	return map[string]string{"fsync": "off", "full_page_writes": "off", "autovacuum": "off", "shared_buffers": "4MB",
		"max_connections": "40", "max_prepared_transactions": "4", "archive_mode": "on", "archive_command": "false",
		"shared_preload_libraries": "pg_stat_statements", "logging_collector": "on", "log_temp_files": "0"}
}

// ills is the list of what is wrong with the sick server. Names that need quoting are among them.
func ills() []ill {
	return []ill{
		{kind: "postgres/setting_fsync", subject: map[string]string{"setting": "fsync"}, sql: true},
		{kind: "postgres/setting_full_page_writes", subject: map[string]string{"setting": "full_page_writes"}, sql: true},
		{kind: "postgres/setting_autovacuum", subject: map[string]string{"setting": "autovacuum"}, sql: true},
		{kind: "postgres/setting_shared_buffers", subject: map[string]string{"setting": "shared_buffers"}},
		{kind: "postgres/pending_restart", subject: map[string]string{"setting": "max_worker_processes"},
			do: []string{"alter system set max_worker_processes = 9", "select pg_reload_conf()"}},
		{kind: "postgres/table_bloat", subject: table("bloated"), action: "postgres/repack", do: []string{
			"create table bloated (id int, pad text)",
			"insert into bloated select i, md5(i::text) || md5((i * 7)::text) from generate_series(1, 200000) i",
			"create index bloated_pad on bloated (pad)",
			"delete from bloated where id % 10 <> 0", "vacuum (analyze) bloated"}},
		{kind: "postgres/index_bloat", subject: index("bloated_pad"), action: "postgres/reindex"},
		{kind: "postgres/unused_index", subject: index("bloated_pad"), later: true},
		{kind: "postgres/dead_rows", subject: table("Dead Rows"), action: "postgres/vacuum", do: []string{
			`create table "Dead Rows" as select i as id from generate_series(1, 50000) i`, `analyze "Dead Rows"`,
			`delete from "Dead Rows" where id % 2 = 0`}},
		{kind: "postgres/sequential_scans", subject: table("scanned"), do: slices.Concat([]string{
			"create table scanned as select i as id, i % 1000 as customer, repeat('x', 60) as pad from generate_series(1, 120000) i",
			"analyze scanned"}, slices.Repeat([]string{"select count(*) from scanned where customer = -1"}, 25))},
		{kind: "postgres/duplicate_index", subject: index("twice one"), action: "postgres/drop_index", do: []string{
			`create index "twice one" on scanned (id)`, `create index "twice two" on scanned (id)`}},
		{kind: "postgres/invalid_index", subject: index("half done"), action: "postgres/drop_index"},
		{kind: "postgres/never_analyzed", subject: table("never"), action: "postgres/analyze", do: []string{
			"create table never as select i as id, repeat('x', 100) as pad from generate_series(1, 90000) i"}},
		{kind: "postgres/foreign_key_without_index", subject: table("child"), sql: true, do: []string{
			"create table parent (id int primary key)", "insert into parent select generate_series(1, 20000)",
			"create table child (id int primary key, parent int constraint child_parent references parent)",
			"insert into child select i, i from generate_series(1, 20000) i", "analyze parent", "analyze child"}},
		{kind: "postgres/invalid_constraint", subject: of("shop", "table", "child", "constraint", "positive"), sql: true,
			do: []string{"alter table child add constraint positive check (parent > 0) not valid"}},
		{kind: "postgres/disabled_trigger", subject: table("parent"), sql: true, do: []string{
			"create function nothing() returns trigger language plpgsql as 'begin return new; end'",
			`create trigger "on'change" before update on parent for each row execute function nothing()`,
			`alter table parent disable trigger "on'change"`}},
		{kind: "postgres/sequence_near_end", subject: of("shop", "sequence", "numbers"), do: []string{
			"create sequence numbers maxvalue 1000", "select setval('numbers', 970)"}},
		{kind: "postgres/replication_slot", subject: map[string]string{"slot": "gone"}, do: []string{
			"select pg_create_physical_replication_slot('gone', true)"}},
		{kind: "postgres/archive_failing", do: []string{"select pg_switch_wal()"}},
		{kind: "postgres/prepared_transaction", subject: of("shop", "transaction", "left 'over'"), do: []string{
			"create table plain (id int primary key, n int)", "insert into plain values (1, 0), (2, 0)",
			"begin; update plain set n = 1 where id = 1; prepare transaction 'left ''over'''"}},
		{kind: "postgres/slow_statement", subject: of("shop", "user", "web")},
		{kind: "postgres/idle_in_transaction", subject: of("shop", "user", "web"), action: "postgres/terminate"},
		{kind: "postgres/blocking_session", subject: of("shop", "user", "web"), action: "postgres/terminate"},
		{kind: "postgres/connections"},
		{kind: "postgres/log_temporary", do: []string{
			"select count(*) from (select repeat(md5(i::text), 40) as pad from generate_series(1, 30000) i order by pad) x"}},
	}
}

// startFor starts a server with roles and a database for a test, and returns the URL of the superuser there.
func startFor(t *testing.T, set map[string]string) (p *sandbox.Postgres, shop string) {
	t.Helper()
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if p, err = servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{Dir: filepath.Join(dir, "pg"),
		Settings: set}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	servertest.Exec(t, p.URL, "create role watcher login", "grant pg_monitor, pg_read_all_data to watcher",
		"create role web login", `create role "Poor" login`, `create database "clo""sed"`,
		`revoke connect on database "clo""sed" from public`, `grant connect on database "clo""sed" to watcher`)
	servertest.NewDatabase(t, p.URL, "shop")
	shop = as(t, p, "upkeep", "shop")
	servertest.Exec(t, shop, "create extension pg_stat_statements", "grant all on schema public to web")
	return p, shop
}

// as is the URL of a user and a database.
func as(t *testing.T, p *sandbox.Postgres, user, database string) string {
	t.Helper()
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.User(user), "/"+database
	return u.String()
}

// session opens one that stays until the end of the test.
func session(t *testing.T, at string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) }) // its server ends then
	return c
}

// sicken makes everything wrong that is on the list.
func sicken(t *testing.T) *sandbox.Postgres {
	t.Helper()
	p, shop := startFor(t, sickSettings())
	c := session(t, shop)
	for _, i := range ills() {
		for _, sql := range i.do {
			if _, err := c.Exec(t.Context(), sql); err != nil {
				t.Fatalf("%s: %s: %v", i.kind, sql, err)
			}
		}
	}
	// A unique index over equal rows is left invalid.
	if _, err := c.Exec(t.Context(), `create unique index concurrently "half done" on scanned (customer)`); err == nil {
		t.Fatal("an index over equal rows was built")
	}
	_ = c.Close(t.Context()) // the server counts now what it did
	servertest.Exec(t, shop, "grant select, update on plain to web", "select pg_stat_statements_reset()")
	servertest.Exec(t, as(t, p, "web", "shop"), "select pg_sleep(1.2)")
	idle := session(t, as(t, p, "web", "shop"))
	if _, err := idle.Exec(t.Context(), "begin; update plain set n = 2 where id = 2"); err != nil {
		t.Fatal(err)
	}
	waits, blocked := session(t, as(t, p, "web", "shop")), make(chan struct{})
	go func() {
		defer close(blocked)
		_, _ = waits.Exec(context.Background(), "update plain set n = 3 where id = 2") // ends with its blocker
	}()
	t.Cleanup(func() { _ = idle.Close(context.Background()); <-blocked })
	for range 26 { // of 37, with two above, and some of upkeep's own
		session(t, as(t, p, "web", "postgres"))
	}
	return p
}

// keepWell makes the twin: the same objects, as they should be.
func keepWell(t *testing.T) *sandbox.Postgres {
	t.Helper()
	p, shop := startFor(t, map[string]string{"shared_preload_libraries": "pg_stat_statements", "max_connections": "60",
		"max_prepared_transactions": "4", "logging_collector": "on", "log_temp_files": "0"})
	servertest.Exec(t, shop,
		"create table sound (id int primary key, pad text)",
		"insert into sound select i, md5(i::text) || md5((i * 7)::text) from generate_series(1, 100000) i",
		"create index sound_pad on sound (pad)", "vacuum (analyze) sound",
		"select count(*) from sound where pad = 'x'",
		"create table parent (id int primary key)", "insert into parent select generate_series(1, 20000)",
		"create table child (id int primary key, parent int constraint child_parent references parent)",
		"create index child_parent_index on child (parent)",
		"insert into child select i, i from generate_series(1, 20000) i", "vacuum (analyze) parent",
		"vacuum (analyze) child", "alter table child add constraint positive check (parent > 0)",
		"create sequence numbers maxvalue 1000", "select setval('numbers', 70)", "checkpoint",
		"select pg_stat_statements_reset()")
	servertest.Exec(t, as(t, p, "web", "shop"), "select pg_sleep(0.01)")
	return p
}

// A server that was never seen before, with all of that wrong: the first look has everything, with its
// evidence and the action or the statement that mends it. Of its healthy twin there is nothing to say. What a role
// may not read is not known, with the statement that grants it. A Redis is looked at beside them.
func TestLook(t *testing.T) {
	t.Parallel()
	sick, twin := sicken(t), keepWell(t)
	cache := servertest.Redis(t, "--slowlog-log-slower-than", "0")
	began := time.Now()
	l := looked(t, fmt.Sprintf(`
  postgres:
  - {name: sick, url: %q}
  - {name: twin, url: %q}
  - {name: poor, url: %q}
  redis: [{name: cache, url: %q}]
`, as(t, sick, "watcher", "postgres"), as(t, twin, "watcher", "postgres"), as(t, sick, "Poor", "postgres"), cache.URL))
	var r look.Report
	servertest.Eventually(t, "everything that is wrong is found", func() error {
		r = l.look(t)
		if !r.Complete {
			return fmt.Errorf("not read yet: %+v", r.Targets)
		}
		var missing []string
		for _, i := range ills() {
			if find(r, "sick", i) == nil {
				missing = append(missing, i.kind)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("%v in %s", missing, summary(r))
		}
		return nil
	})
	t.Logf("everything was found %s after the start", time.Since(began).Round(time.Second))
	for _, i := range ills() {
		i.check(t, *find(r, "sick", i))
	}
	for _, f := range r.Findings {
		if f.Server == "twin" {
			t.Errorf("the twin is well: %+v", f)
		}
	}
	for _, u := range r.Unknown {
		if u.Server != "poor" {
			t.Errorf("not known: %+v", u)
		}
	}
	if !slices.ContainsFunc(r.Unknown, func(u look.Unknown) bool {
		return u.Server == "poor" && u.What == "postgres/sessions" && u.SQL == `GRANT pg_read_all_stats TO "Poor";`
	}) {
		t.Errorf("what the poor role may not read: %+v", r.Unknown)
	}
	if !slices.ContainsFunc(r.Unknown, func(u look.Unknown) bool {
		return u.Server == "poor" && u.SQL == `GRANT CONNECT ON DATABASE "clo""sed" TO "Poor";`
	}) {
		t.Errorf("a database that the poor role sees nothing of: %+v", r.Unknown)
	}
	for _, kind := range []string{"redis/no_limit", "redis/slow_log"} {
		if find(r, "cache", ill{kind: kind}) == nil {
			t.Errorf("no %s in %s", kind, summary(r))
		}
	}
	if !slices.IsSortedFunc(r.Findings, func(a, b look.Finding) int {
		order := []string{"critical", "warning", "info"}
		return cmp.Compare(slices.Index(order, a.Severity), slices.Index(order, b.Severity))
	}) {
		t.Errorf("not the worst first: %s", summary(r))
	}
	l.pages(t)
}

// looked is an upkeep with some targets, which are a part of its configuration.
func looked(t *testing.T, targets string) *life {
	t.Helper()
	text := fmt.Appendf(nil, "data_dir: %q\nweb: {listen: '127.0.0.1:0'}\nembedded: {enabled: false}\ntargets:%s",
		filepath.Join(t.TempDir(), "data"), targets)
	c, err := config.Parse("test", text, app.Known())
	if err != nil {
		t.Fatal(err)
	}
	l := &life{log: new(log)}
	a, err := app.New(t.Context(), c, app.Options{Version: "test", Logger: slog.New(slog.NewTextHandler(l.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	l.url, l.admin = "http://"+a.Addr(), admin(t, a)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return l
}

func (l *life) look(t *testing.T) (r look.Report) {
	t.Helper()
	status, text := l.send(t, http.MethodGet, console.Prefix+"/look", "", "")
	if err := json.Unmarshal([]byte(text), &r); err != nil || status != http.StatusOK {
		t.Fatal(status, text, err)
	}
	if strings.Contains(text, "null") || strings.Contains(text, "0001-01-01") {
		t.Errorf("a list or a time is missing: %s", text)
	}
	return r
}

// find returns what the look says of an ill of a server, or nil.
func find(r look.Report, server string, i ill) *look.Finding {
	for _, f := range r.Findings {
		has := f.Server == server && f.Kind == i.kind
		for name, value := range i.subject {
			has = has && f.Subject[name] == value
		}
		if has {
			return &f
		}
	}
	return nil
}

// check compares what is said of an ill with what can be done about it.
func (i ill) check(t *testing.T, f look.Finding) {
	t.Helper()
	action := ""
	if f.Plan != nil {
		action = f.Plan.Action
		if !strings.HasPrefix(f.Plan.Command, "upkeep plan "+action+" server=sick") {
			t.Errorf("%s: its command is %q", i.kind, f.Plan.Command)
		}
	}
	if action != i.action || i.sql != strings.HasSuffix(f.ByHand, ";") || i.later != (f.Candidate != nil) ||
		f.Title == "" || f.Cost == "" || f.Subject["server"] != "sick" {
		t.Errorf("%s: %+v", i.kind, f)
	}
	for _, e := range f.Evidence {
		if e.What == "" || e.Value == "" || e.From == "" || e.At.IsZero() {
			t.Errorf("%s: its evidence is %+v", i.kind, e)
		}
	}
	if len(f.Evidence) == 0 {
		t.Errorf("%s has no evidence", i.kind)
	}
}

func summary(r look.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s %s %v: %s\n", f.Severity, f.Server, f.Kind, f.Subject, f.Title)
	}
	fmt.Fprintf(&b, "unknown: %+v", r.Unknown)
	return b.String()
}

// pages asks for the page of the look, and for the plan of what mends something.
func (l *life) pages(t *testing.T) {
	t.Helper()
	status, text := l.send(t, http.MethodGet, "/look?server=sick", "", "")
	for _, want := range []string{"Dead Rows", "fsync is off", "GRANT pg_read_all_stats", "enough on",
		`name="subject.table" value="Dead Rows"`, "upkeep plan postgres/vacuum server=sick"} {
		if status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("/look: %d, no %q in %s", status, want, text)
		}
	}
	form := url.Values{"action": {"postgres/vacuum"}, "subject.server": {"sick"}, "subject.database": {"shop"},
		"subject.schema": {"public"}, "subject.table": {"Dead Rows"}}
	status, text = l.send(t, http.MethodPost, "/look/plan", "", form.Encode(), "Content-Type",
		"application/x-www-form-urlencoded", "Origin", l.url)
	if status != http.StatusOK || !strings.Contains(text, "VACUUM (") || !strings.Contains(text, "Nothing was done") ||
		!strings.Contains(text, "upkeep run postgres/vacuum server=sick database=shop schema=public") {
		t.Errorf("/look/plan: %d %s", status, text)
	}
}

package postgres_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

func TestActivity(t *testing.T) {
	collectortest.Postgres(t, postgres.Activity, "testdata/activity.txtar")
}

// On a server without others: one session idle in its transaction with a lock,
// one that waits for it, and one that does nothing.
func TestActivityOfSessions(t *testing.T) {
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	server, err := servertest.StartPostgres(t.Context(),
		sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"),
			Settings: map[string]string{"max_connections": "23", "superuser_reserved_connections": "3"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	open := func(sql string) *pgx.Conn {
		t.Helper()
		c, err := pgx.Connect(t.Context(), server.URL)
		if err == nil {
			_, err = c.Exec(t.Context(), sql)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.Background()) }) // and it stays open until then
		return c
	}
	open("create table t (id int)")
	open("begin; lock table t")
	waits := open("select 1")
	go func() { _, _ = waits.Exec(context.WithoutCancel(t.Context()), "select * from t") }() // ends with the server
	p, err := target.NewPostgres(target.PostgresConfig{Name: "s", URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	c := postgres.Activity(p)
	var got string
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		w := collectors.NewWriter(c)
		if err := c.Collect(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		if got = string(w.Text()); strings.Contains(got, `blocked_sessions{server="s"} 1`) {
			break
		}
	}
	for _, want := range []string{
		`connections{server="s",state="active"} 1`, `connections{server="s",state="idle"} 1`,
		`connections{server="s",state="idle_in_transaction"} 1`, `connections{server="s",state="other"} 0`,
		`connections_max{server="s"} 20`, `connections_used_ratio{server="s"} 0.2`, `blocked_sessions{server="s"} 1`,
	} {
		if !strings.Contains(got, "upkeep_postgres_"+want+"\n") {
			t.Errorf("no %s in:\n%s", want, got)
		}
	}
	var oldest, idle float64
	for line := range strings.Lines(got) {
		if rest, ok := strings.CutPrefix(line, `upkeep_postgres_oldest_transaction_seconds{server="s"} `); ok {
			_, err = fmt.Sscan(rest, &oldest)
		}
		if rest, ok := strings.CutPrefix(line, `upkeep_postgres_oldest_idle_in_transaction_seconds{server="s"} `); ok {
			_, err = fmt.Sscan(rest, &idle)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if idle <= 0 || oldest < idle || oldest > 60 {
		t.Errorf("oldest transaction %v s, idle within it %v s", oldest, idle)
	}
}

// Without the right the limit is still reported, with the missing grant.
func TestActivityHidden(t *testing.T) {
	address, _ := servertest.Database(t)
	other, err := pgx.Connect(t.Context(), address) // a session of somebody else
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close(context.Background()) }) // idle
	servertest.Exec(t, address, "create role blind login")
	t.Cleanup(func() { servertest.Exec(t, address, "drop role blind") })
	p, err := target.NewPostgres(target.PostgresConfig{Name: "s",
		URL: strings.Replace(address, "upkeep@", "blind@", 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	c := postgres.Activity(p)
	w := collectors.NewWriter(c)
	err = c.Collect(t.Context(), w)
	if err == nil || !strings.Contains(err.Error(), "grant pg_read_all_stats") {
		t.Errorf("Collect: %v", err)
	}
	if got := string(w.Text()); !strings.Contains(got, "connections_used_ratio") ||
		strings.Contains(got, "oldest_transaction") {
		t.Errorf("an unknown value was reported:\n%s", got)
	}
}

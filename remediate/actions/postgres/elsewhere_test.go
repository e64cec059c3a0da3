package postgres_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// An errand is one action with something to do on a furnished server.
type errand struct {
	action  func(*target.Postgres) remediate.Action
	table   string
	more    map[string]string // of the subject
	params  map[string]string
	entries func(t *testing.T) []target.Archive
}

// furnish gives each action something to do.
func furnish(t *testing.T, s *sandbox.Postgres) {
	t.Helper()
	bloated := func(name string) []string {
		return []string{
			"create table public." + name +
				" (id int primary key, at timestamptz not null default now() - interval '2 days', note text) with " +
				"(autovacuum_enabled = off)",
			"insert into public." + name + " (id, note) select i, md5(i::text) from generate_series(1, 5000) i",
			"delete from public." + name + " where id % 10 <> 0", "vacuum (analyze, truncate off) public." + name,
			"insert into public." + name + " (id, note) select i, 'more' from generate_series(100001, 100100) i",
			"delete from public." + name + " where id > 100050",
		}
	}
	// so that catalogs are old
	servertest.Exec(t, s.URL, "do $$ begin for i in 1..300 loop perform pg_current_xact_id(); commit; end loop; end $$")
	servertest.Exec(t, s.URL, bloated("t")...)
	servertest.Exec(t, s.URL, "create table public.t_archive (like public.t)",
		"insert into public.t_archive select 1000000 + i, now() - interval '2 days', 'old' from generate_series(1, "+
			"100) i", "create index one on public.t (note)", "create index two on public.t (note)",
		"create extension pg_stat_statements", "select 1", "select pg_stat_force_next_flush()")
}

func errands(now time.Time) []errand {
	entry := func(to target.Destination, purge bool) func(*testing.T) []target.Archive {
		return func(*testing.T) []target.Archive {
			return []target.Archive{{Database: "postgres", Schema: "public", Table: "t", Column: "at",
				After: 24 * time.Hour, To: to, Purge: purge}}
		}
	}
	aside := target.Destination{Schema: "public", Table: "t_archive"}
	when := map[string]string{"since": now.Add(-72 * time.Hour).UTC().Format(time.RFC3339),
		"until": now.Add(-time.Hour).UTC().Format(time.RFC3339)}
	return []errand{
		{action: postgres.Vacuum, table: "t"},
		{action: postgres.Analyze, table: "t"},
		{action: postgres.Freeze},
		{action: postgres.Reindex, table: "t", more: map[string]string{"index": "one"}},
		{action: postgres.DropIndex, table: "t", more: map[string]string{"index": "one"}, params: because("duplicate")},
		{action: postgres.Repack, table: "t"},
		{action: postgres.VacuumFull, table: "t"},
		{action: postgres.Archive, table: "t", entries: entry(aside, false)},
		{action: postgres.Archive, table: "t", entries: func(t *testing.T) []target.Archive {
			return entry(target.Destination{Store: depot.Folder(t.TempDir()), Label: "folder"}, false)(t)
		}},
		{action: postgres.Purge, table: "t", entries: entry(target.Destination{}, true)},
		{action: postgres.RestoreArchived, table: "t", params: when, entries: entry(aside, false)},
		{action: postgres.Terminate, params: map[string]string{"of": "transaction"}},
		{action: postgres.ResetStatements},
		{action: postgres.AdviseIndexes},
	}
}

// changing is what no session of ours says that was opened for a step and refused.
func changing() *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b(vacuum|analyze|reindex|drop|delete|update|insert|lock table|create|alter|terminate_backend|_reset\(|advisory|set_config\('(lock|statement))`)
}

// said is what sessions of upkeep have said to a server from a place of its log on.
func said(t *testing.T, s *sandbox.Postgres, from int) (lines []string, end int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(string(text[from:]), "<<upkeep postgres/")[1:] {
		l, _, _ = strings.Cut(l[strings.Index(l, ">>"):], "<<")
		if changing().MatchString(l) {
			lines = append(lines, l)
		}
	}
	return lines, len(text)
}

// What was planned for a server is done on no other that has its address since, and
// through no pooler: each step of each action is refused, and nothing is said to the server
// but the question who it is.
func TestNothingIsDoneElsewhere(t *testing.T) {
	t.Parallel()
	settings := map[string]string{"shared_preload_libraries": "pg_stat_statements", "log_statement": "all",
		"log_line_prefix": "<<%a>>"}
	planned, other := own(t, "", settings), own(t, "", settings)
	furnish(t, planned)
	furnish(t, other)
	address := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	name := servertest.NewName(t, address(planned.Port))
	pooler := servertest.Pooler(t, planned,
		"pool_mode = session\nignore_startup_parameters = search_path,extra_float_digits")
	pooled := pooler[strings.Index(pooler, "@")+1 : strings.LastIndex(pooler, "/")]
	idle := servertest.Connect(t, planned.URL)
	exec(t, idle, "begin", "select txid_current()")
	busy := servertest.Connect(t, other.URL)
	exec(t, busy, "begin", "select txid_current()")
	for i, e := range errands(time.Now()) {
		var entries []target.Archive
		if e.entries != nil {
			entries = e.entries(t)
		}
		p, err := target.NewPostgres(target.PostgresConfig{
			Name: "main", URL: strings.Replace(planned.URL, address(planned.Port), name.Address, 1), Archives: entries,
			Advice: t.TempDir(),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		action := e.action(p)
		t.Run(fmt.Sprint(i, " ", action.Name), func(t *testing.T) {
			name.Point(address(planned.Port))
			limit := 200.0 // of freeze
			r := remediate.Request{Action: action.Name, Subject: map[string]string{"server": "main",
				"database": "postgres", "schema": "public"}, Params: e.params, Limit: &limit, Mode: remediate.Auto,
				By: "user/test"}
			if e.table != "" {
				r.Subject["table"] = e.table
			}
			maps.Copy(r.Subject, e.more)
			plan, err := action.Plan(t.Context(), r)
			if err != nil || len(plan.Steps) == 0 {
				t.Fatalf("Plan: %+v, %v", plan, err)
			}
			for _, place := range []struct {
				server  *sandbox.Postgres
				address string
				reason  string
			}{{other, address(other.Port), remediate.ReasonTarget}, {planned, pooled, remediate.ReasonPooler}} {
				_, from := said(t, place.server, 0)
				name.Point(place.address)
				for _, s := range plan.Steps[:min(3, len(plan.Steps))] { // of freeze there are many
					if s.Args["system"] == "" || s.Args["timeline"] == "" {
						t.Errorf("the step says not which server it is for: %+v", s)
					}
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
					err := action.Apply(ctx, remediate.Fence{Token: 1, Held: held}, s)
					cancel()
					if no, ok := remediate.Refused(err); !ok || no.Reason != place.reason {
						t.Errorf("%s: %v, want the refusal %s", s.Do, err, place.reason)
					}
				}
				if lines, _ := said(t, place.server, from); len(lines) > 0 {
					t.Errorf("%s: said to the server: %q", place.reason, lines)
				}
			}
			if _, err := action.Plan(t.Context(), r); !refusedFor(err, remediate.ReasonPooler, "own address") {
				t.Errorf("Plan through a pooler: %v", err)
			}
		})
	}
	for _, c := range []interface{ IsClosed() bool }{idle, busy} {
		if c.IsClosed() {
			t.Error("a session was ended")
		}
	}
}

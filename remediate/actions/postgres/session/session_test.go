package session_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

func start(t *testing.T, settings map[string]string) *sandbox.Postgres {
	t.Helper()
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return again(t, filepath.Join(dir, "postgres"), settings)
}

// again starts the server of a folder, where it has another port.
func again(t *testing.T, dir string, settings map[string]string) *sandbox.Postgres {
	t.Helper()
	settings["fsync"], settings["autovacuum"] = "off", "off"
	s, err := servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{Dir: dir, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() }) // some tests have stopped it
	return s
}

func targetOf(t *testing.T, url string) *target.Postgres {
	t.Helper()
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// ours are what a session of upkeep sets, holds or prepares, and what a client that has set
// nothing sees of it.
const ours = `select concat_ws(' ', current_setting('application_name'), current_setting('search_path'), current_setting('lock_timeout'), current_setting('statement_timeout'),
	current_setting('idle_in_transaction_session_timeout'), current_setting('idle_session_timeout'), current_setting('row_security'), current_setting('default_transaction_read_only'),
	current_setting('jit'), current_setting('plan_cache_mode'), (select count(*) from pg_prepared_statements), (select count(*) from pg_locks where locktype = 'advisory'))`

func sees(t *testing.T, c *pgx.Conn) (text string) {
	t.Helper()
	if err := c.QueryRow(t.Context(), ours).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// Through PgBouncer in each of its modes, with whatever it ignores of the startup
// packet, nothing is opened or planned, and the client that gets the same session of the
// server afterwards finds it as it was. What reads goes on.
func TestPooler(t *testing.T) {
	s := start(t, map[string]string{})
	for _, mode := range []string{"session", "transaction", "statement"} {
		for _, ignored := range []string{"", "\nignore_startup_parameters = " +
			"search_path,options,extra_float_digits,application_name"} {
			for _, options := range []string{"", "&options=-c%20geqo%3Doff", "&search_path=public",
				"&application_name=mine"} {
				if options != "" && options != "&application_name=mine" && ignored == "" {
					continue // PgBouncer itself refuses these
				}
				t.Run(fmt.Sprintf("%s %q %q", mode, ignored, options), func(t *testing.T) {
					url := servertest.Pooler(t, s, "default_pool_size = 1\npool_mode = "+mode+ignored)
					p := targetOf(t, url+options)
					refused := func() {
						t.Helper()
						c, err := session.Open(t.Context(), p,
							session.Request{Database: "postgres", Application: "upkeep test fence 1"})
						if r, ok := remediate.Refused(err); !ok || r.Reason != remediate.ReasonPooler ||
							!strings.Contains(r.Detail, "main") {
							t.Errorf("Open: %v, %v; want a refusal for the pooler", c, err)
						}
					}
					refused() // before any other client has come
					client := servertest.Connect(t, url)
					fresh := servertest.Connect(t, s.URL)
					want := sees(t, fresh)
					if got := sees(t, client); got != want {
						t.Errorf("a client of the pool sees %q, want %q", got, want)
					}
					if mode == "session" {
						_ = client.Close(t.Context()) // else it has the pool's only session
					}
					refused()
					_, err := session.Plan(t.Context(), p, remediate.Request{},
						func(context.Context, remediate.Request) (remediate.Plan, error) {
							t.Error("what was to be planned was looked at through the pooler")
							return remediate.Plan{}, nil
						})
					if r, ok := remediate.Refused(err); !ok || r.Reason != remediate.ReasonPooler {
						t.Errorf("Plan: %v, want a refusal for the pooler", err)
					}
					if mode != "statement" { // in which no transaction can be held to be read-only
						if names, err := p.Databases(t.Context()); err != nil || len(names) == 0 {
							t.Errorf("Databases: %q, %v", names, err)
						}
					}
					p.Close()
					if mode == "session" {
						client = servertest.Connect(t, url)
					}
					if got := sees(t, client); got != want {
						t.Errorf("a client of the pool sees %q afterwards, want %q", got, want)
					}
				})
			}
		}
	}
}

// Pgpool-II hands out the server's own process id. Nothing is opened or planned through
// it all the same, and what reads goes on.
func TestPgpool(t *testing.T) {
	s := start(t, map[string]string{})
	p := targetOf(t, servertest.Pgpool(t, s))
	c, err := session.Open(t.Context(), p, session.Request{Database: "postgres", Application: "upkeep test fence 1"})
	if r, ok := remediate.Refused(err); !ok || r.Reason != remediate.ReasonPooler {
		t.Errorf("Open: %v, %v; want a refusal for the pooler", c, err)
	}
	_, err = session.Plan(t.Context(), p, remediate.Request{},
		func(context.Context, remediate.Request) (remediate.Plan, error) { return remediate.Plan{}, nil })
	if r, ok := remediate.Refused(err); !ok || r.Reason != remediate.ReasonPooler {
		t.Errorf("Plan: %v, want a refusal for the pooler", err)
	}
	if names, err := p.Databases(t.Context()); err != nil || len(names) == 0 {
		t.Errorf("Databases: %q, %v", names, err)
	}
}

// A server whose strings are read in the old way is served too.
func TestOldStrings(t *testing.T) {
	s := start(t, map[string]string{"standard_conforming_strings": "off"})
	c, err := session.Open(t.Context(), targetOf(t, s.URL),
		session.Request{Database: "postgres", Application: "upkeep test fence 1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A name that leads to another server, to a replica, or to the same server after a
// promotion or a restore is refused for a plan.
func TestOpenIsBoundToTheServer(t *testing.T) {
	s := start(t, map[string]string{})
	name := servertest.NewName(t, fmt.Sprintf("127.0.0.1:%d", s.Port))
	url := strings.Replace(s.URL, fmt.Sprintf("127.0.0.1:%d", s.Port), name.Address, 1)
	p := targetOf(t, url)
	plan, err := session.Plan(t.Context(), p, remediate.Request{},
		func(context.Context, remediate.Request) (remediate.Plan, error) {
			return remediate.Plan{Steps: []remediate.Step{{Do: "one"}, {Do: "two", Args: map[string]string{"a": "b"}}}},
				nil
		})
	if err != nil {
		t.Fatal(err)
	}
	opens := func(reason string) {
		t.Helper()
		for _, step := range plan.Steps {
			c, err := session.Open(t.Context(), p, session.Request{Database: "postgres", Application: "upkeep test",
				Server: session.Planned(step)})
			if err == nil {
				_ = c.Close(t.Context()) // nothing was done
			}
			is := "open"
			if r, ok := remediate.Refused(err); ok {
				is = r.Reason
			} else if err != nil {
				is = err.Error()
			}
			if is != reason {
				t.Errorf("%s: %s, want %s: %v", step.Do, is, reason, err)
			}
		}
		if err := session.Same(t.Context(), p, session.Planned(plan.Steps[0])); (err == nil) != (reason == "open") {
			t.Errorf("Same: %v, and a session was %s", err, reason)
		}
	}
	opens("open")
	other := start(t, map[string]string{})
	name.Point(fmt.Sprintf("127.0.0.1:%d", other.Port))
	opens(remediate.ReasonTarget)
	if n := sessions(t, other); n != 0 {
		t.Errorf("%d sessions are left on the other server", n)
	}
	pooled := servertest.Pooler(t, s, "pool_mode = session")
	name.Point(strings.TrimSuffix(strings.TrimPrefix(pooled, "postgres://upkeep@"), "/postgres?sslmode=disable"))
	opens(remediate.ReasonPooler)
	restart := func(signal string, settings map[string]string) {
		t.Helper()
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		data := filepath.Join(s.Dir, "data")
		_ = os.Remove(filepath.Join(data, "standby.signal")) // where it was there
		if signal != "" {
			if err := os.WriteFile(filepath.Join(data, signal), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		s = again(t, s.Dir, settings)
		name.Point(fmt.Sprintf("127.0.0.1:%d", s.Port))
	}
	restart("", map[string]string{}) // the same server, started anew
	opens("open")
	restart("standby.signal", map[string]string{})
	opens(remediate.ReasonTarget)
	restart("recovery.signal", map[string]string{"restore_command": "false"})
	conn := servertest.Connect(t, s.URL)
	for recovering := true; recovering; time.Sleep(20 * time.Millisecond) {
		if err := conn.QueryRow(t.Context(), "select pg_is_in_recovery()").Scan(&recovering); err != nil {
			t.Fatal(err)
		}
	}
	opens(remediate.ReasonTarget)
}

func sessions(t *testing.T, s *sandbox.Postgres) (n int) {
	t.Helper()
	if err := servertest.Connect(t, s.URL).QueryRow(t.Context(),
		"select count(*) from pg_stat_activity where application_name like 'upkeep test%'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Actions open their sessions by Open, so that none is with another server.
func TestNobodyElseOpensSessions(t *testing.T) {
	files, err := filepath.Glob("../*.go")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files of the actions: %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") && strings.Contains(string(text), ".Session(ctx") {
			t.Errorf("%s opens a session that may be with any server: use session.Open", file)
		}
	}
}

// The limits of a role are not those of upkeep's sessions, and none of its first questions
// waits for them: whatever is asked before a session has its own limits brings them along,
// and lets them go with the message.
func TestLimitsComeFirst(t *testing.T) {
	t.Parallel()
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := again(t, dir, map[string]string{"log_statement": "all", "log_line_prefix": "%u "})
	servertest.Exec(t, s.URL, "create role hurried superuser login", "alter role hurried set statement_timeout = '77s'")
	p := targetOf(t, strings.Replace(s.URL, "upkeep@", "hurried@", 1))
	c, err := p.Session(t.Context(), "postgres", "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(t.Context()) }() // nothing was written
	var limit string
	if err := c.QueryRow(t.Context(), "select current_setting('statement_timeout')").Scan(&limit); err != nil ||
		limit != "1min" {
		t.Errorf("the session's limit is %q, %v", limit, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	asked, own := 0, false
	for line := range strings.Lines(string(text)) {
		statement, ok := strings.CutPrefix(line, "hurried LOG:  statement: ")
		if !ok {
			continue
		}
		asked++
		if own = own || strings.HasPrefix(statement, "set statement_timeout"); !own &&
			!strings.HasPrefix(statement, "set local statement_timeout = '60s'; ") {
			t.Errorf("asked under the role's own limits: %s", statement)
		}
	}
	if asked < 2 || !own {
		t.Errorf("%d statements before the first in another protocol, limits set: %v", asked, own)
	}
}

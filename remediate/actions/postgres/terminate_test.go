package postgres_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

// hurts is an application_name that hurts.
const hurts = `wo"rst', 1); DROP TABLE victim; --`

// as connects under an application_name and says something.
func (c *fixture) as(t *testing.T, application string, statements ...string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(c.url)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["application_name"] = application
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(ctx) }) // it may have been ended
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return conn
}

// alive reports whether the session of a connection is there.
func (c *fixture) alive(t *testing.T, conn *pgx.Conn) bool {
	t.Helper()
	return c.number(t, "select count(*) from pg_stat_activity where pid = $1::text::int and datname = "+
		"current_database()", fmt.Sprint(conn.PgConn().PID())) == 1
}

func (c *fixture) terminate(of string) remediate.Request {
	r := remediate.Request{Subject: c.subject("server", "database")}
	if of != "" {
		r.Params = map[string]string{"of": of}
	}
	return r
}

func TestTerminate(t *testing.T) {
	t.Parallel()
	c := open(t)
	action := postgres.Terminate(c.server)
	look, whole := c.connect(t), t
	var sessions []int32
	ended := func(t *testing.T) int {
		t.Helper()
		var left int
		if err := look.QueryRow(t.Context(),
			"select count(*) from pg_stat_activity where pid = any($1) and datname = current_database()", sessions).
			Scan(&left); err != nil {
			t.Fatal(err)
		}
		return len(sessions) - left
	}
	actiontest.Run(t, actiontest.Case{
		Action: postgres.Terminate(c.server), Subject: c.subject("server", "database"), Limit: 0.05, Child: c.url,
		Degrade: func(t *testing.T) {
			if ended(t) == len(sessions) {
				s := c.as(whole, hurts, "begin", "insert into "+c.qTable+" values (1, 'secret')")
				sessions = append(sessions, int32(s.PgConn().PID()))
			}
			servertest.Eventually(t, "a session idle for long enough", func() bool {
				v, err := action.Measure(t.Context(), c.terminate(""))
				return err == nil && v > 0.05
			})
		},
		State:   func(t *testing.T) string { return fmt.Sprint(ended(t), len(sessions)) },
		Effects: ended,
	})
	if n := c.number(t, "select count(*) from "+c.qTable); n != 0 {
		t.Errorf("%d rows of sessions that were ended", n)
	}
}

// Of three in a queue the head is ended, and only it; the plan says whose
// session it is, who waits for it, and what it ran, without literals.
func TestTerminateBlocker(t *testing.T) {
	c := open(t)
	head := c.as(t, hurts, "begin", "update public.victim set id = 1 where id = 1 and 'hunter2' = 'hunter2'")
	done := make(chan error, 2)
	for _, name := range []string{"second", "third"} {
		waits := c.as(t, name)
		go func() {
			_, err := waits.Exec(context.WithoutCancel(t.Context()), "update public.victim set id = 1")
			done <- err
		}()
	}
	action := postgres.Terminate(c.server)
	var plan remediate.Plan
	servertest.Eventually(t, "two that wait", func() (both bool) {
		p, err := action.Plan(t.Context(), c.terminate("blocker"))
		plan = p
		return err == nil && strings.Contains(strings.Join(p.Facts, "\n"), "2 sessions wait for it")
	})
	facts := strings.Join(plan.Facts, "\n")
	for _, want := range []string{fmt.Sprintf("session %d of user \"upkeep\" (application %q, from 127.0.0.1)",
		head.PgConn().PID(), hurts), "idle in transaction", "rolled back",
		"update public.victim set id = ? where id = ? and ? = ?"} {
		if !strings.Contains(facts, want) {
			t.Errorf("the facts do not tell %q:\n%s", want, facts)
		}
	}
	if strings.Contains(facts, "hunter2") {
		t.Errorf("a literal is shown:\n%s", facts)
	}
	t.Log(facts)
	carryPlan(t, action, plan)
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("one that waited: %v", err)
		}
	}
	if c.alive(t, head) {
		t.Error("the head of the queue is still there")
	}
}

func carryPlan(t *testing.T, action remediate.Action, plan remediate.Plan) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, s := range plan.Steps {
		if err := action.Apply(ctx, remediate.Fence{Token: 1, Held: held}, s); err != nil {
			t.Fatalf("%s: %v", s.Do, err)
		}
	}
}

// A session that has moved on since the plan is left alone, and so is another that
// has the same number.
func TestTerminateLeavesAnother(t *testing.T) {
	c := open(t)
	action := postgres.Terminate(c.server)
	session := c.as(t, "app", "begin", "select 1")
	plan := func() remediate.Plan {
		p, err := action.Plan(t.Context(), c.terminate("idle"))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	moved := plan()
	exec(t, session, "select 2")
	carryPlan(t, action, moved)
	for _, arg := range []string{"started", "transaction"} {
		p := plan()
		p.Steps[0].Args = maps.Clone(p.Steps[0].Args)
		p.Steps[0].Args[arg] = "2020-01-01T00:00:00.000000Z"
		carryPlan(t, action, p)
	}
	p := plan()
	p.Steps[0].Args["pid"] = "0 or true"
	if err := action.Apply(t.Context(), remediate.Fence{Held: held}, p.Steps[0]); err == nil ||
		!strings.Contains(err.Error(), `argument "pid"`) {
		t.Errorf("Apply: %v", err)
	}
	if !c.alive(t, session) {
		t.Error("a session was ended that was not in the plan")
	}
}

// Who must not be ended is named, and is there afterwards.
func TestTerminateRefuses(t *testing.T) {
	t.Parallel() // on a server of its own
	s := own(t, "", map[string]string{"max_prepared_transactions": "2"})
	servertest.Exec(t, s.URL, "create role weak login in role pg_read_all_stats",
		"create role signals login in role pg_read_all_stats, pg_signal_backend", "create role blind login",
		"create role app login",
		"create table public.victim (id int)", "insert into public.victim values (1)",
		"grant all on public.victim to app")
	as := func(role string) *fixture {
		t.Helper()
		url := strings.Replace(s.URL, "upkeep@", role+"@", 1)
		p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return &fixture{server: p, url: url, database: "postgres"}
	}
	super, app := as("upkeep"), as("app")
	const holds = "begin; update public.victim set id = 2"
	for _, test := range []struct {
		name, role, of string
		degraded       func(t *testing.T) *pgx.Conn
		reason, names  string
	}{
		{"no session", "upkeep", "idle", nil, remediate.ReasonNothing, "no session blocks"},
		{"an unknown kind", "upkeep", "all", nil, remediate.ReasonSubject, "idle, transaction, blocker or horizon"},
		{"what cannot be seen", "blind", "idle", func(t *testing.T) *pgx.Conn {
			return super.as(t, "forgotten",
				holds)
		}, remediate.ReasonPrivilege, "grant pg_read_all_stats"},
		{"without the right", "weak", "idle", func(t *testing.T) *pgx.Conn { return app.as(t, "forgotten", holds) },
			remediate.ReasonPrivilege, "grant pg_signal_backend"},
		{"a superuser's", "signals", "horizon", func(t *testing.T) *pgx.Conn { return super.as(t, "forgotten", holds) },
			remediate.ReasonPrivilege, "superuser"},
		{"a dump", "upkeep", "transaction", func(t *testing.T) *pgx.Conn {
			return app.as(t, "pg_dump", "begin isolation level repeatable read", "select 1")
		}, remediate.ReasonUnfit, "backup"},
		{"a backup", "upkeep", "idle", func(t *testing.T) *pgx.Conn { return app.as(t, "pgBackRest [backup]", holds) },
			remediate.ReasonUnfit, "backup"},
		{"one of upkeep", "upkeep", "horizon", func(t *testing.T) *pgx.Conn {
			return super.as(t,
				"upkeep postgres/reindex fence 3", holds)
		}, remediate.ReasonUnfit, "of upkeep"},
		{"a prepared transaction", "upkeep", "horizon", func(t *testing.T) *pgx.Conn {
			t.Cleanup(func() { servertest.Exec(t, s.URL, `rollback prepared 'it''s'`) })
			return super.as(t, "x", holds, `prepare transaction 'it''s'`)
		}, remediate.ReasonUnfit, `prepared transaction "it's"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var session *pgx.Conn
			if test.degraded != nil {
				session = test.degraded(t)
			}
			c := as(test.role)
			plan, err := postgres.Terminate(c.server).Plan(t.Context(), c.terminate(test.of))
			refusal, refused := remediate.Refused(err)
			if !refused || refusal.Reason != test.reason || !strings.Contains(refusal.Detail, test.names) {
				t.Fatalf("Plan: %+v %v, want the refusal %q that names %q", plan, err, test.reason, test.names)
			}
			t.Log(refusal.Detail)
			if session == nil {
				return
			}
			if test.reason == remediate.ReasonUnfit && test.of != "horizon" &&
				!strings.Contains(refusal.Detail, fmt.Sprintf("session %d of user %q", session.PgConn().PID(), "app")) {
				t.Errorf("it does not say who that is: %s", refusal.Detail)
			}
			if !super.alive(t, session) {
				t.Error("the session was ended by a plan")
			}
			_ = session.Close(context.WithoutCancel(t.Context()))
			servertest.Eventually(t, "the session has ended", func() bool { return !super.alive(t, session) })
		})
	}
	// With the right, and no more, a session of another role is ended.
	session := app.as(t, "forgotten", holds)
	c := as("signals")
	action := postgres.Terminate(c.server)
	plan, err := action.Plan(t.Context(), c.terminate("horizon"))
	if err != nil {
		t.Fatal(err)
	}
	carryPlan(t, action, plan)
	if super.alive(t, session) {
		t.Error("the session is still there")
	}
	if !action.Asks {
		t.Error("a session could be ended without asking")
	}
}

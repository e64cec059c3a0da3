package postgres_test

import (
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

func asRole(t *testing.T, url, role string) *target.Postgres {
	t.Helper()
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: strings.Replace(url, "upkeep@", role+"@", 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// The server is degraded when its statistics are two seconds old, so that what comes
// after a reset is well within them on a busy machine too.
func TestResetStatements(t *testing.T) {
	t.Parallel() // on a server of its own
	s := own(t, "", map[string]string{"shared_preload_libraries": "pg_stat_statements"})
	p := asRole(t, s.URL, "upkeep")
	action := postgres.ResetStatements(p)
	c := &fixture{server: p, url: s.URL, database: "postgres"}
	t.Run("keeps the review", c.keepsTheReview)
	servertest.Exec(t, s.URL, `drop extension pg_stat_statements`, `create schema "Odd; --"`,
		`create extension pg_stat_statements schema "Odd; --"`)
	since := func(t *testing.T) string {
		t.Helper()
		return c.text(t, `select stats_reset::text from "Odd; --".pg_stat_statements_info`)
	}
	effects, last := 0, since(t)
	r := remediate.Request{Subject: map[string]string{"server": "main"}}
	actiontest.Run(t, actiontest.Case{
		Action: postgres.ResetStatements(p), Subject: r.Subject, Limit: 2, Child: s.URL,
		Degrade: func(t *testing.T) {
			servertest.Eventually(t, "statistics that are old enough", func() bool {
				v, err := action.Measure(t.Context(), r)
				return err == nil && v > 2
			})
			last = since(t)
		},
		State: since,
		Effects: func(t *testing.T) int {
			if now := since(t); now != last {
				effects, last = effects+1, now
			}
			return effects
		},
	})
}

// What is thrown away is written down before: the slowest statements with their costs
// and without literals.
func (c *fixture) keepsTheReview(t *testing.T) {
	action := postgres.ResetStatements(c.server)
	r := remediate.Request{Subject: map[string]string{"server": "main"}}
	refuses := func(p *target.Postgres, reason, names string) {
		t.Helper()
		plan, err := postgres.ResetStatements(p).Plan(t.Context(), r)
		if refusal, refused := remediate.Refused(err); !refused || refusal.Reason != reason ||
			!strings.Contains(refusal.Detail, names) {
			t.Errorf("Plan: %+v %v, want the refusal %q that names %q", plan, err, reason, names)
		}
	}
	refuses(c.server, remediate.ReasonUnfit, "no database of the server has the extension")
	servertest.Exec(t, c.url, "create extension pg_stat_statements",
		"create role resets login", "grant execute on function pg_stat_statements_reset to resets",
		"create role sees login in role pg_read_all_stats",
		"create table public.secrets (id int, v text)",
		"insert into public.secrets select n, 'hunter2-' || n from generate_series(1, 1000) n",
		"select pg_sleep(0.3), count(*) from public.secrets where v = 'hunter2-literal'",
		"create role app password 'hunter2-in-a-command'")
	refuses(asRole(t, c.url, "resets"), remediate.ReasonPrivilege, "grant pg_read_all_stats")
	refuses(asRole(t, c.url, "sees"), remediate.ReasonPrivilege,
		`grant execute on function "public".pg_stat_statements_reset`)
	plan, err := action.Plan(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	facts := strings.Join(plan.Facts, "\n")
	t.Log(facts)
	if !strings.Contains(facts, "in 1 calls") || !strings.Contains(facts,
		"select pg_sleep($1), count(*) from public.secrets where v = $2") || strings.Contains(facts, "hunter2") {
		t.Errorf("the review is not as it should be:\n%s", facts)
	}
	carryPlan(t, action, plan)
	if n := c.number(t, "select count(*) from pg_stat_statements where query like '%secrets%' and query not like "+
		"'%pg_stat_statements%'"); n != 0 {
		t.Errorf("%d statements are still counted", n)
	}
	if after, err := action.Plan(t.Context(), r); err != nil || after.Hash() == plan.Hash() {
		t.Errorf("the next plan is the same: %v", err)
	}
}

// Before 14 the server does not tell when its statistics were reset, and a server
// without the library counts nothing: both are said.
func TestResetStatementsRefuses(t *testing.T) {
	t.Parallel() // on a server of its own
	for version, names := range map[string]string{"13": "older than 1.9", "": "shared_preload_libraries"} {
		url := own(t, version, nil).URL
		servertest.Exec(t, url, "create extension pg_stat_statements")
		plan, err := postgres.ResetStatements(asRole(t, url, "upkeep")).Plan(t.Context(),
			remediate.Request{Subject: map[string]string{"server": "main"}})
		if refusal, refused := remediate.Refused(err); !refused || refusal.Reason != remediate.ReasonUnfit ||
			!strings.Contains(refusal.Detail, names) {
			t.Errorf("Plan: %+v %v", plan, err)
		}
	}
}

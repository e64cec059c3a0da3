package postgres_test

import (
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// On a server that knows MAINTAIN, a role with just the rights that the actions name
// carries them out, and without them the refusal names them.
func TestMaintain(t *testing.T) {
	t.Parallel() // on a server of its own
	s := own(t, "18", map[string]string{"shared_preload_libraries": "pg_stat_statements"})
	servertest.Exec(t, s.URL, "create schema "+quoted(schema),
		"create table "+quoted(schema, table)+" (id int, v text)",
		"insert into "+quoted(schema, table)+" select i, i::text from generate_series(1, 1000) i",
		"delete from "+quoted(schema, table),
		"create extension pg_stat_statements", "create role app login", "grant all on schema public to app",
		"create role upkeeper login in role pg_read_all_stats, pg_signal_backend",
		"create role bare login in role pg_read_all_stats",
		"grant maintain on table "+quoted(schema, table)+" to upkeeper",
		"grant usage on schema "+quoted(schema)+" to upkeeper",
		"grant execute on function pg_stat_statements_reset to upkeeper")
	c := &fixture{server: asRole(t, s.URL, "upkeeper"), url: s.URL, database: "postgres", qTable: quoted(schema, table)}
	bare := asRole(t, s.URL, "bare")
	limit := 0.0
	for _, test := range []struct {
		action, without remediate.Action
		degraded        func()
		reason          string // of the one without the right
	}{
		{postgres.Vacuum(c.server), postgres.Vacuum(bare), nil, "GRANT MAINTAIN"},
		{postgres.Analyze(c.server), postgres.Analyze(bare), func() {
			servertest.Exec(t, s.URL, "insert into "+c.qTable+" values (1)", "select pg_stat_force_next_flush()")
		}, "GRANT MAINTAIN"},
		{postgres.Terminate(c.server), postgres.Terminate(bare), func() {
			(&fixture{url: strings.Replace(s.URL, "upkeep@", "app@", 1)}).as(t, "forgotten", "begin", "select 1")
		}, "grant pg_signal_backend"},
		{postgres.ResetStatements(c.server), postgres.ResetStatements(bare), nil, "grant execute on function"},
		{postgres.Freeze(c.server), postgres.Freeze(bare), func() {
			servertest.Exec(t, s.URL, "vacuum (freeze)", "grant pg_maintain to upkeeper")
			c.spend(t, 50)
		}, "grant pg_maintain"},
	} {
		t.Run(test.action.Name, func(t *testing.T) {
			if test.degraded != nil {
				test.degraded()
			}
			r := remediate.Request{Subject: c.subject(test.action.Subject...), Limit: &limit}
			plan, err := test.without.Plan(t.Context(), r)
			if refusal, refused := remediate.Refused(err); !refused || refusal.Reason != remediate.ReasonPrivilege ||
				!strings.Contains(refusal.Detail, test.reason) {
				t.Errorf("without the right: %+v %v", plan, err)
			}
			if plan, err = test.action.Plan(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			plan.Steps = plan.Steps[:min(3, len(plan.Steps))] // of many tables
			carryPlan(t, test.action, plan)
			if len(test.action.Rights) == 0 {
				t.Error("the action does not name its rights")
			}
		})
	}
}

package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

func TestAnalyze(t *testing.T) {
	t.Parallel()
	c := open(t)
	action := postgres.Analyze(c.server)
	subject := c.subject(action.Subject...)
	look, count := c.connect(t), "select coalesce(sum(pg_stat_get_analyze_count(c.oid)), 0)::int from pg_class c "+
		"join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2"
	analyzes := func(t *testing.T) (n int) {
		t.Helper()
		if err := look.QueryRow(t.Context(), count, schema, table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	actiontest.Run(t, actiontest.Case{
		Action: postgres.Analyze(c.server), Subject: subject, Limit: 1000, Child: c.url,
		Degrade: func(t *testing.T) {
			servertest.Exec(t, c.url, "truncate "+c.qTable,
				"insert into "+c.qTable+" select i, i::text from generate_series(1, 5000) i",
				"select pg_stat_force_next_flush()")
			servertest.Eventually(t, "the changes are known", func() bool {
				v, err := action.Measure(t.Context(), remediate.Request{Subject: subject})
				return err == nil && v > 1000
			})
		},
		State:   func(t *testing.T) string { return fmt.Sprint(analyzes(t)) },
		Effects: analyzes,
	})
}

func TestAnalyzeRefuses(t *testing.T) {
	c := open(t)
	servertest.Exec(t, c.url, "create role idler login", "grant usage on schema "+quoted(schema)+" to idler",
		"create table public.p (id int) partition by range (id)", "analyze "+c.qTable,
		"insert into public.victim select 1 where false", "analyze public.victim")
	t.Cleanup(func() {
		servertest.Exec(t, c.url, "revoke usage on schema "+quoted(schema)+" from idler", "drop role idler")
	})
	idler, err := target.NewPostgres(target.PostgresConfig{Name: "main",
		URL: strings.Replace(c.url, "upkeep@", "idler@", 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(idler.Close)
	public := func(name string) map[string]string {
		s := c.subject("server", "database")
		s["schema"], s["table"] = "public", name
		return s
	}
	for _, test := range []struct {
		name    string
		action  remediate.Action
		subject map[string]string
		reason  string
	}{
		{"without the right", postgres.Analyze(idler), c.subject("server", "database", "schema", "table"),
			remediate.ReasonPrivilege},
		{"a partitioned table", postgres.Analyze(c.server), public("p"), remediate.ReasonUnfit},
		{"what was not changed", postgres.Analyze(c.server), public("victim"), remediate.ReasonNothing},
	} {
		t.Run(test.name, func(t *testing.T) {
			plan, err := test.action.Plan(t.Context(), remediate.Request{Subject: test.subject})
			if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != test.reason {
				t.Errorf("Plan: %+v, %v, want the refusal %q", plan.Steps, err, test.reason)
			}
		})
	}
}

// The statistics of a server that has crashed are empty and prove nothing: there is no
// measure, and a person who asks for it has the table analyzed all the same.
func TestAnalyzeAfterACrash(t *testing.T) {
	c := open(t)
	// leaves what a crash leaves
	servertest.Exec(t, c.url, "insert into "+c.qTable+" select i, i::text from generate_series(1, 1000) i",
		"analyze "+c.qTable, "select pg_stat_force_next_flush()", "select pg_stat_reset()")
	action := postgres.Analyze(c.server)
	r := remediate.Request{Subject: c.subject(action.Subject...)}
	if v, err := action.Measure(t.Context(), r); err == nil || !strings.Contains(err.Error(), "are empty") {
		t.Errorf("Measure: %v %v", v, err)
	}
	plan, err := action.Plan(t.Context(), r)
	if err != nil || !strings.Contains(strings.Join(plan.Facts, "\n"), "as a crash leaves them") {
		t.Fatalf("Plan: %+v %v", plan, err)
	}
	carryPlan(t, action, plan)
	servertest.Eventually(t, "the server knows of the table again", func() bool {
		v, err := action.Measure(t.Context(), r)
		return err == nil && v == 0
	})
}

package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// Where somebody has set the database, or the role in it, to read-only, what writes is
// refused in the plan, and in the step where it was set since. What changes no row and
// no definition goes on.
func TestReadOnlyByDefault(t *testing.T) {
	t.Parallel()
	url, database := servertest.Database(t)
	c := fixture{url: url, database: database}
	servertest.Exec(t, url, "create table logs (id bigint primary key, at timestamptz not null)",
		"create table logs_old (id bigint primary key, at timestamptz not null)",
		"insert into logs select i, now() - interval '1 year' from generate_series(1, 4000) i",
		"insert into logs_old select i, now() - interval '2 years' from generate_series(-100, -1) i",
		"delete from logs where id % 4 <> 0", "vacuum analyze logs, logs_old")
	entry := target.Archive{Database: database, Schema: "public", Table: "logs", Column: "at", After: 1e9,
		To: target.Destination{Schema: "public", Table: "logs_old"}}
	gone := entry
	gone.To, gone.Purge = target.Destination{}, true
	type try struct {
		action remediate.Action
		r      remediate.Request
		writes bool
		plan   remediate.Plan
	}
	span := requestFor(database, "logs")
	span.Params = map[string]string{"since": "2000-01-01", "until": "2100-01-01"}
	tries := map[string]*try{
		"archive": {action: postgres.Archive(configured(t, url, entry)), r: requestFor(database, "logs"), writes: true},
		"purge":   {action: postgres.Purge(configured(t, url, gone)), r: requestFor(database, "logs"), writes: true},
		"restore": {action: postgres.RestoreArchived(configured(t, url, entry)), r: span, writes: true},
		"repack":  {action: postgres.Repack(configured(t, url, entry)), r: requestFor(database, "logs"), writes: true},
		"vacuum":  {action: postgres.Vacuum(configured(t, url, entry)), r: requestFor(database, "logs")},
		"analyze": {action: postgres.Analyze(configured(t, url, entry)), r: requestFor(database, "logs")},
	}
	for name, s := range tries {
		var err error
		if s.plan, err = s.action.Plan(t.Context(), s.r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, set := range []string{"alter database DB set default_transaction_read_only = %s",
		"alter role current_user in database DB set default_transaction_read_only = %s"} {
		set = strings.ReplaceAll(set, "DB", `"`+database+`"`)
		servertest.Exec(t, url, strings.ReplaceAll(set, "%s", "on"))
		for name, s := range tries {
			p, planned := s.action.Plan(t.Context(), s.r)
			refusedReadOnly(t, name+": plan", planned, remediate.ReasonPrivilege, s.writes)
			if len(p.Steps) != len(s.plan.Steps) {
				t.Errorf("%s: people see %d of %d steps", name, len(p.Steps), len(s.plan.Steps))
			}
			if s.writes {
				err := s.action.Apply(deadline(t), remediate.Fence{Held: func(context.Context) error { return nil }},
					s.plan.Steps[0])
				refusedReadOnly(t, name+": apply", err, remediate.ReasonReadOnly, true)
			}
		}
		servertest.Exec(t, url, "begin read write", strings.ReplaceAll(set, "%s", "off"), "commit")
	}
	if n, m := c.number(t, "select count(*) from logs"), c.number(t, "select count(*) from logs_old"); n != 1000 ||
		m != 100 {
		t.Errorf("%d and %d rows, want 1000 and 100", n, m)
	}
	for _, name := range []string{"archive", "restore"} {
		if _, err := tries[name].action.Plan(t.Context(), tries[name].r); err != nil {
			t.Errorf("%s, where it is off again: %v", name, err)
		}
	}
}

func refusedReadOnly(t *testing.T, what string, err error, reason string, want bool) {
	t.Helper()
	r, refused := remediate.Refused(err)
	if got := refused && r.Reason == reason && strings.Contains(r.Detail,
		"set default_transaction_read_only = off"); got != want {
		t.Errorf("%s: %v, want a refusal for %s that says what to do: %v", what, err, reason, want)
	}
}

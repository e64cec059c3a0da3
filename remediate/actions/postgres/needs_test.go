package postgres_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// A role that may only read sees the whole plan of every action, and which right is
// missing: the same steps as a role with the right.
func TestPlansWithReadOnlyRights(t *testing.T) {
	c := open(t)
	servertest.Exec(t, c.url,
		"create extension pg_stat_statements", "create role looker login in role pg_monitor, pg_read_all_data",
		"create table t (id int, a int, at timestamptz, b text)",
		"insert into t select n, n, '2020-01-01', repeat('x', 100) from generate_series(1, 20000) n",
		"create index t_a on t (a)", "create index t_a_again on t (a)", "create table t_old (like t including all)",
		"insert into t_old values (1, 1, '2020-01-01', 'x')", "create table filed (id int, at timestamptz)",
		"insert into filed values (1, '2020-01-01')")
	t.Cleanup(func() { servertest.Exec(t, c.url, "drop role looker") })
	servertest.Exec(t, c.url, "delete from t where id % 10 <> 0", "vacuum (analyze) t",
		"delete from t where id % 20 = 0")
	idle := c.connect(t)
	exec(t, idle, "begin", "insert into filed values (2, now())")
	folder := t.TempDir()
	as := func(role string) *target.Postgres {
		entry := func(table string, to target.Destination, purge bool) target.Archive {
			return target.Archive{Database: c.database, Schema: "public", Table: table, Column: "at", After: time.Hour,
				To: to, Purge: purge}
		}
		p, err := target.NewPostgres(target.PostgresConfig{Name: "main",
			URL: strings.Replace(c.url, "upkeep@", role+"@", 1), Archives: []target.Archive{
				entry("t", target.Destination{Schema: "public", Table: "t_old"}, false),
				entry("filed", target.Destination{Store: depot.Folder(folder), Label: "folder"}, false),
				entry("t_old", target.Destination{}, true),
			}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	limit := float64(c.number(t, "select max(age(relfrozenxid)) / 2 from pg_class where relkind = 'r'"))
	for _, test := range []struct {
		name   string
		action func(*target.Postgres) remediate.Action
		table  string
		index  string
		params map[string]string
		limit  *float64
		needs  string
	}{
		{"vacuum", postgres.Vacuum, "t", "", nil, nil, "may not vacuum the table"},
		{"analyze", postgres.Analyze, "t", "", nil, nil, "may not analyze the table"},
		{"freeze", postgres.Freeze, "", "", nil, &limit, "may not vacuum"},
		{"reindex", postgres.Reindex, "t", "t_a", nil, nil, "may not reindex"},
		{"drop_index", postgres.DropIndex, "t", "t_a", because("duplicate"), nil, "may not drop the index"},
		{"repack", postgres.Repack, "t", "", nil, nil, "may not update the table"},
		{"vacuum_full", postgres.VacuumFull, "t", "", nil, nil, "may not vacuum the table"},
		{"archive", postgres.Archive, "t", "", nil, nil, "grant delete on table"},
		{"archive to files", postgres.Archive, "filed", "", nil, nil, "create schema upkeep"},
		{"purge", postgres.Purge, "t_old", "", nil, nil, "grant delete on table"},
		{"restore_archived", postgres.RestoreArchived, "t", "",
			map[string]string{"since": "2019-01-01", "until": "2021-01-01"}, nil, "grant insert on table"},
		{"reset_statements", postgres.ResetStatements, "", "", nil, nil, "grant execute on function"},
		{"terminate", postgres.Terminate, "", "", map[string]string{"of": "idle"}, nil, "only superusers may end it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := remediate.Request{Action: "postgres/" + test.name, Params: test.params, Limit: test.limit,
				Subject: map[string]string{"server": "main", "database": c.database, "schema": "public",
					"table": test.table, "index": test.index}}
			p, err := test.action(as("looker")).Plan(t.Context(), r)
			if !refusedFor(err, remediate.ReasonPrivilege, "before it may act it needs: ") || len(p.Steps) == 0 ||
				len(p.Facts) == 0 && test.name != "freeze" {
				t.Fatalf("Plan: %+v, %v", p, err)
			}
			if !slices.ContainsFunc(p.Needs, func(n string) bool { return strings.Contains(n, test.needs) }) {
				t.Errorf("it needs %q, want %q", p.Needs, test.needs)
			}
			if test.name == "repack" || test.name == "freeze" { // with more rights there is another way, and more to do
				return
			}
			all, err := test.action(as("upkeep")).Plan(t.Context(), r)
			for i, s := range p.Steps {
				if i >= len(all.Steps) || all.Steps[i].Do != s.Do {
					t.Errorf("who may do it does not do %s: %+v", s.Do, all.Steps)
				}
			}
			if err != nil || len(all.Needs) != 0 {
				t.Errorf("who may do it: %v, %q", err, all.Needs)
			}
		})
	}
}

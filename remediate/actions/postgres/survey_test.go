package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// What would lose, change or reject rows is refused before anything is done, and
// the refusal says what to do.
func TestArchiveRefusals(t *testing.T) {
	t.Parallel()
	url, database := servertest.Database(t)
	servertest.Exec(t, url,
		"create function nothing() returns trigger language plpgsql as $$ begin return null; end $$",
		"create table plain (id int primary key, at timestamptz not null, v varchar(20))")
	for _, test := range []struct {
		name, sql, reason, want string
	}{
		{"no destination", "", remediate.ReasonUnfit, "create table"},
		{"a column is missing", "create table $to (id int, at timestamptz)", remediate.ReasonUnfit,
			`alter table "public"."$to" add column "v" character varying(20)`},
		{"another type", "create table $to (id bigint, at timestamptz, v varchar(20))", remediate.ReasonUnfit,
			`type integer`},
		{"a shorter type", "create table $to (id int, at timestamptz, v varchar(10))", remediate.ReasonUnfit,
			`type character varying(20)`},
		{"a column more", "create table $to (like $from, more int not null)", remediate.ReasonUnfit,
			"NOT NULL and has no default"},
		{"not null", "create table $to (like $from); alter table $to alter v set not null", remediate.ReasonUnfit,
			"drop not null"},
		{"generated", "create table $to (id int, at timestamptz, v varchar(20) generated always as ('x') stored)",
			remediate.ReasonUnfit, "would be lost"},
		{"unique", "create table $to (like $from); create unique index on $to (v)", remediate.ReasonUnfit, "demands"},
		{"unlogged", "create unlogged table $to (like $from)", remediate.ReasonUnfit, "set logged"},
		{"a view", "create view $to as select * from $from", remediate.ReasonUnfit, "no table"},
		{"insert trigger", "create table $to (like $from); create trigger t before insert on $to for each row " +
			"execute function nothing()", remediate.ReasonUnfit, `trigger "t" for INSERT`},
		{"insert rule", "create table $to (like $from); create rule r as on insert to $to do instead nothing",
			remediate.ReasonUnfit, `rule "r" for INSERT`},
		{"a child", "create table $to () inherits ($from)", remediate.ReasonUnfit, "inherit"},
		{"a partition", "drop table $from; create table $from (id int, at timestamptz, v varchar(20)) partition by " +
			"range (at); create table $to partition of $from default", remediate.ReasonUnfit, "parts of one table"},
		{"delete trigger", "create table $to (like $from); create trigger t before delete on $from for each row " +
			"execute function nothing()", remediate.ReasonUnfit, `trigger "t" for DELETE`},
		{"delete rule", "create table $to (like $from); create rule r as on delete to $from do instead nothing",
			remediate.ReasonUnfit, `rule "r" for DELETE`},
		{"truncate trigger", "create table $to (like $from); create trigger t before truncate on $from for each " +
			"statement execute function nothing()", "", ""},
		{"cascade", "create table $to (like $from); create table $ref (id int references $from on delete cascade)",
			remediate.ReasonUnfit, "ON DELETE CASCADE"},
		{"set null", "create table $to (like $from); create table $ref (id int references $from on delete set null)",
			remediate.ReasonUnfit, "ON DELETE SET NULL"},
		{"no index", "create table $to (like $from); create table $ref (x int, id int references $from); create " +
			"index on $ref (x, id)", remediate.ReasonUnfit, `create index concurrently on "public"."$ref" ("id")`},
		{"an index", "create table $to (like $from); create table $ref (x int, id int references $from); create " +
			"index on $ref (id, x)", "", ""},
		{"no column", "create table $to (like $from); alter table $from drop column at", remediate.ReasonUnfit,
			`no column "at"`},
		{"no moment", "create table $to (like $from); alter table $from alter at type int using 1; alter table $to " +
			"alter at type int using 1", remediate.ReasonUnfit, "no timestamp or date"},
		{"published", "create table $to (like $from); alter table $from drop constraint $from_pkey; create " +
			"publication p_$from for table $from", remediate.ReasonUnfit, "replica identity"},
		{"cascade to a partition", "drop table $from; create table $from (id int, at timestamptz, v varchar(20)) " +
			"partition by range (at); create table $from_a partition of $from default; create table $to (like " +
			"$from); alter table $from_a add constraint $from_u unique (id); create table $ref (id int references " +
			"$from_a (id) on delete cascade)", remediate.ReasonUnfit, "ON DELETE CASCADE"},
		{"trigger of a partition", "drop table $from; create table $from (id int, at timestamptz, v varchar(20)) " +
			"partition by range (at); create table $from_a partition of $from default; create table $to (like " +
			"$from); create trigger t after delete on $from_a for each row execute function nothing()",
			remediate.ReasonUnfit, `trigger t for DELETE`},
		{"constraint trigger", "create table $to (like $from); create constraint trigger t after delete on $from " +
			"deferrable for each row execute function nothing()", remediate.ReasonUnfit, `trigger "t" for DELETE`},
		{"trigger of the other", "create table $to (like $from) partition by range (at); create table $to_a " +
			"partition of $to default; create trigger t before insert on $to_a for each row execute function nothing()",
			remediate.ReasonUnfit, `trigger t for INSERT`},
		{"a deeper partition", "create table $to (like $from) partition by range (at); create table $to_a partition " +
			"of $to default partition by range (at); create table $to_b partition of $to_a default; create trigger t " +
			"before insert on $to_b for each row execute function nothing()", remediate.ReasonUnfit,
			`trigger t for INSERT`},
		{"rule of the other", "create table $to (like $from) partition by range (at); create table $to_a partition " +
			"of $to default; create rule r as on insert to $to_a do instead nothing", remediate.ReasonUnfit,
			`rule r for INSERT`},
		{"unlogged partition", "create table $to (like $from) partition by range (at); create unlogged table $to_a " +
			"partition of $to default", remediate.ReasonUnfit, "set logged"},
		{"unlogged on both sides", "alter table $from set unlogged; create unlogged table $to (like $from)", "", ""},
		{"foreign partition", "create foreign data wrapper none; create server none foreign data wrapper none; " +
			"create table $to (like $from) partition by range (at); create foreign table $to_a partition of $to " +
			"default server none", remediate.ReasonUnfit, "foreign table"},
		{"keys off", "create table $to (like $from); create table $ref (id int references $from); create index on " +
			"$ref (id); alter table $from disable trigger all", remediate.ReasonUnfit, "enable trigger all"},
		{"of an extension", "create table $to (like $from); alter extension plpgsql add table $to",
			remediate.ReasonUnfit, "extension plpgsql"},
		{"published schema", "create schema $from_s; create table $to (like $from); alter table $from drop " +
			"constraint $from_pkey; create table $from_s.t (like $from); create publication p_$from for tables in " +
			"schema $from_s; alter table $from rename to x_$from; alter table $from_s.t rename to $from; alter table " +
			"$from_s.$from set schema public; alter publication p_$from set tables in schema public",
			remediate.ReasonUnfit, "replica identity"},
		{"the same", "create table $to (v varchar(20), more timestamptz not null default now(), id int primary key, " +
			"at timestamptz)", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			from := "f_" + strings.ReplaceAll(test.name, " ", "_")
			fill := strings.NewReplacer("$from", from, "$to", from+"_old", "$ref", from+"_ref")
			servertest.Exec(t, url, "create table "+from+" (like plain including all)")
			if test.sql != "" {
				servertest.Exec(t, url, strings.Split(fill.Replace(test.sql), "; ")...)
			}
			plan, err := archiving(t, url, database, from).Plan(t.Context(),
				remediate.Request{Subject: map[string]string{"server": "main", "database": database, "schema": "public",
					"table": from}})
			refusal, refused := remediate.Refused(err)
			switch {
			case test.reason == "" && err != nil:
				t.Errorf("Plan: %v", err)
			case test.reason != "" && (!refused || refusal.Reason != test.reason ||
				!strings.Contains(refusal.Detail, fill.Replace(test.want))):
				t.Errorf("Plan: %v, %v, want the refusal %q with %q", plan, err, test.reason, fill.Replace(test.want))
			}
		})
	}
}

func archiving(t *testing.T, url, database, from string) remediate.Action {
	t.Helper()
	entry := target.Archive{Database: database, Schema: "public", Table: from, Column: "at", After: time.Hour,
		To: target.Destination{Schema: "public", Table: from + "_old"}}
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: url, Archives: []target.Archive{entry}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return postgres.Archive(p)
}

// The missing rights of a role are named, one after the other, and then it can act.
func TestArchiveRights(t *testing.T) {
	url, database := servertest.Database(t)
	servertest.Exec(t, url, "create schema s", "create table s.logs (id int primary key, at timestamptz)",
		"create table s.old (like s.logs)", "create table s.refs (id int references s.logs)",
		"create index on s.refs (id)",
		"insert into s.logs select i, now() - interval '1 year' from generate_series(1, 10) i",
		"insert into s.refs values (3)", "create role mover login", "create role keeper",
		"alter table s.logs owner to keeper", "grant usage on schema s to keeper", "grant select on s.old to public")
	t.Cleanup(func() {
		servertest.Exec(t, url, "drop table s.refs", "drop owned by mover, keeper", "drop role mover",
			"drop role keeper")
	})
	entry := target.Archive{Database: database, Schema: "s", Table: "logs", Column: "at", After: time.Hour,
		To: target.Destination{Schema: "s", Table: "old"}}
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: strings.Replace(url, "upkeep@", "mover@", 1),
		Archives: []target.Archive{entry}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	a, r := postgres.Archive(p), remediate.Request{Subject: map[string]string{"server": "main", "database": database,
		"schema": "s", "table": "logs"}}
	for _, right := range []struct{ reported, grant string }{
		{`grant usage on schema "s" to "mover"`, "grant usage on schema s to mover"},
		{`grant delete on table "s"."logs" to "mover"`, "grant delete on table s.logs to mover"},
		{`grant select on table "s"."logs" to "mover"`, "grant select on table s.logs to mover"},
		{`grant update on table "s"."logs"`, "grant update on table s.logs to mover"},
		{`grant select on table "s"."refs" to "mover"`, "grant select on table s.refs to mover"},
		{`grant insert on table "s"."old" to "mover"`, "grant insert on table s.old to mover"},
		{`own it`, "grant keeper to mover"},
	} {
		_, err := a.Plan(t.Context(), r)
		if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonPrivilege ||
			!strings.Contains(refusal.Detail, right.reported) {
			t.Fatalf("%v, want %q", err, right.reported)
		}
		servertest.Exec(t, url, right.grant)
	}
	plan, err := a.Plan(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"everybody", `"s"."refs" refers to`} {
		if facts := strings.Join(plan.Facts, "\n"); !strings.Contains(facts, want) {
			t.Errorf("facts: %s, want %q", facts, want)
		}
	}
	if err := carryOut(t, a, r); err != nil {
		t.Fatal(err)
	}
	c := fixture{url: url, database: database}
	if left, moved := c.number(t, "select sum(id) from s.logs"), c.number(t, "select count(*) from s.old"); left != 3 ||
		moved != 9 {
		t.Errorf("row %d is left, and %d were moved; want row 3, which another refers to, and 9", left, moved)
	}
}

// What has changed between the plan and the work stops the work: a table that took
// the name of another, a trigger, row security.
func TestArchiveChangedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][]string{
		"source": {"alter table logs rename to logs_2", "create table logs (like logs_2 including all)",
			"insert into logs select * from logs_2"},
		"destination": {"alter table logs_old rename to logs_3", "create table logs_old (like logs)"},
		"trigger": {"create function nothing() returns trigger language plpgsql as $$ begin return null; end $$",
			"create trigger t before insert on logs_old for each row execute function nothing()"},
		"column": {"alter table logs add column more text", "update logs set more = 'x'"},
		"gone":   {"drop table logs_old"},
	} {
		t.Run(name, func(t *testing.T) {
			url, database := servertest.Database(t)
			servertest.Exec(t, url, "create table logs (id int primary key, at timestamptz)",
				"create table logs_old (like logs)",
				"insert into logs select i, now() - interval '1 year' from generate_series(1, 10) i")
			a := archiving(t, url, database, "logs")
			plan, err := a.Plan(t.Context(), remediate.Request{Subject: map[string]string{"server": "main",
				"database": database, "schema": "public", "table": "logs"}})
			if err != nil {
				t.Fatal(err)
			}
			servertest.Exec(t, url, change...)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			c := fixture{url: url, database: database}
			if err := a.Apply(ctx, remediate.Fence{Held: held}, plan.Steps[0]); err == nil ||
				c.number(t, "select count(*) from logs") != 10 {
				t.Errorf("Apply: %v, and %d rows are left of 10", err, c.number(t, "select count(*) from logs"))
			}
		})
	}
}

// Few rows of many are found by the index, with rows of one moment that others hold
// or refer to among them; and a timestamp, a date and a partitioned destination will
// do as well.
func TestArchiveByIndex(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"timestamp", "date", "timestamptz"} {
		t.Run(kind, func(t *testing.T) {
			url, database := servertest.Database(t)
			servertest.Exec(t, url, "create table logs (id int primary key, at "+kind+")", "create index on logs (at)",
				"create table logs_old (at "+kind+", id int) partition by list (id)",
				"create table logs_old_1 partition of logs_old default",
				"insert into logs select i, case when i % 20 = 0 then now() - interval '1 year' when i % 3 > 0 then "+
					"now() + interval '2 days' end from generate_series(1, 40000) i", "analyze logs",
				"create table refs (id int references logs)", "create index on refs (id)",
				"insert into refs select i from generate_series(20, 30000, 20) i")
			c := fixture{url: url, database: database}
			holder := c.connect(t)
			if _, err := holder.Exec(t.Context(), "begin; update logs set id = id where id = 40000"); err != nil {
				t.Fatal(err)
			}
			a, r := archiving(t, url, database, "logs"),
				remediate.Request{Subject: map[string]string{"server": "main", "database": database, "schema": "public",
					"table": "logs"}}
			plan, err := a.Plan(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			if err := a.Apply(ctx, remediate.Fence{Held: held}, plan.Steps[0]); err != nil {
				t.Fatal(err)
			}
			if n := c.number(t, "select count(*) from logs_old"); n != 499 {
				t.Errorf("%d rows were moved beside one that holds a row, want 499", n)
			}
			if _, err := holder.Exec(t.Context(), "commit"); err != nil {
				t.Fatal(err)
			}
			servertest.Exec(t, url, "delete from refs where id > 10000")
			if err := a.Apply(ctx, remediate.Fence{Held: held}, plan.Steps[0]); err != nil {
				t.Fatal(err)
			}
			if moved, left := c.number(t, "select count(*) from logs_old"),
				c.number(t, "select count(*) from logs where at < now() - interval '1 day'"); moved != 1500 ||
				left != 500 {
				t.Errorf("%d rows were moved and %d are left, want 1500 and 500", moved, left)
			}
		})
	}
}

// The archive of the configuration decides which action may, and a table that has
// none is left alone.
func TestArchiveSaysWhat(t *testing.T) {
	url, database := servertest.Database(t)
	servertest.Exec(t, url, "create table counted (at timestamptz)", "create table purged (at timestamptz)",
		"create table other (at timestamptz)")
	entry := func(table string, purge bool) target.Archive {
		return target.Archive{Database: database, Schema: "public", Table: table, Column: "at", After: time.Hour,
			Purge: purge}
	}
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: url,
		Archives: []target.Archive{entry("counted", false), entry("purged", true)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	for _, test := range []struct {
		action remediate.Action
		table  string
		want   string
	}{
		{postgres.Archive(p), "counted", "targets.postgres[].archives[].to"},
		{postgres.Purge(p), "counted", "purge: true"},
		{postgres.Archive(p), "purged", "postgres/purge"},
		{postgres.RestoreArchived(p), "purged", "no table"},
		{postgres.Archive(p), "other", "no archive of the configuration"},
		{postgres.Purge(p), "other", "no archive of the configuration"},
		{postgres.RestoreArchived(p), "other", "no archive of the configuration"},
	} {
		_, err := test.action.Plan(t.Context(), remediate.Request{Params: map[string]string{"since": "2000-01-01",
			"until": "2001-01-01"}, Subject: map[string]string{"server": "main", "database": database,
			"schema": "public", "table": test.table}})
		if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonUnfit ||
			!strings.Contains(refusal.Detail, test.want) {
			t.Errorf("%s of %s: %v, want %q", test.action.Name, test.table, err, test.want)
		}
	}
	for _, wrong := range []map[string]string{{"lag": "soon"}, {"wal": "-1"}, {"wal": "1; drop table purged"}} {
		_, err := postgres.Purge(p).Plan(t.Context(), remediate.Request{Params: wrong,
			Subject: map[string]string{"server": "main", "database": database, "schema": "public", "table": "purged"}})
		if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonSubject {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}

// With a budget of WAL the run takes its time, and the session stays its own.
func TestArchivePace(t *testing.T) {
	url, database := servertest.Database(t)
	servertest.Exec(t, url, "create table logs (id int primary key, at timestamptz, v text)",
		"create table logs_old (like logs)",
		"insert into logs select i, now() - interval '1 year', repeat('x', 400) from generate_series(1, 8000) i",
		"analyze logs")
	a := archiving(t, url, database, "logs")
	plan, err := a.Plan(t.Context(), remediate.Request{Params: map[string]string{"wal": "1"},
		Subject: map[string]string{"server": "main", "database": database, "schema": "public", "table": "logs"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	if err := a.Apply(ctx, remediate.Fence{Held: held}, plan.Steps[0]); err != nil {
		t.Fatal(err)
	}
	c := fixture{url: url, database: database}
	if n := c.number(t, "select count(*) from logs_old"); n != 8000 {
		t.Errorf("%d rows were moved", n)
	}
	t.Log(fmt.Sprint(time.Since(began)))
}

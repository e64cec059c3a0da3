package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// A yard is a database with a table "t" of partitions of a year each, and one that
// takes them, "t_archive". Rows of before 2024 are past their age.
type yard struct {
	*fixture
}

func yards(t *testing.T, version string, purge bool, more ...string) *yard {
	t.Helper()
	url, database := serving(t, version)
	y := &yard{&fixture{url: url, database: database}}
	const columns = "(id bigint not null, at timestamptz not null, body text, primary key (id, at)) partition by " +
		"range (at)"
	sql := []string{"create table t " + columns, "create table t_archive " + columns}
	for year := 2020; year < 2024; year++ {
		sql = append(sql, fmt.Sprintf("create table t_%d partition of t for values from ('%d-01-01Z') to ('%d-01-01Z')",
			year, year, year+1))
	}
	sql = append(sql, "create table t_now partition of t for values from ('2024-01-01Z') to (maxvalue)",
		"insert into t select i, timestamptz '2020-01-01 12:00Z' + i * interval '1 day', md5(i::text) from "+
			"generate_series(0, 1999) i")
	servertest.Exec(t, url, append(append(sql, more...), "analyze t")...)
	y.use(t, purge)
	return y
}

func (y *yard) use(t *testing.T, purge bool) {
	t.Helper()
	e := target.Archive{Database: y.database, Schema: "public", Table: "t", Column: "at",
		After: time.Since(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)) - time.Hour, Purge: purge}
	if !purge {
		e.To = target.Destination{Schema: "public", Table: "t_archive"}
	}
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: y.url, Archives: []target.Archive{e}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	y.server = p
}

func (y *yard) request(params ...string) remediate.Request {
	r := remediate.Request{Subject: map[string]string{"server": "main", "database": y.database, "schema": "public",
		"table": "t"}, Params: map[string]string{}}
	for i := 0; i < len(params); i += 2 {
		r.Params[params[i]] = params[i+1]
	}
	return r
}

func (y *yard) plan(t *testing.T, a remediate.Action, params ...string) remediate.Plan {
	t.Helper()
	plan, err := a.Plan(t.Context(), y.request(params...))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// parts returns the steps of a plan on partitions, as "drop t_2020".
func parts(p remediate.Plan) (all []string) {
	for _, s := range p.Steps {
		if s.Args["part_table"] != "" {
			all = append(all, s.Args["part"]+" "+s.Args["part_table"])
		}
	}
	return all
}

func apply(t *testing.T, a remediate.Action, f remediate.Fence, steps ...remediate.Step) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, s := range steps {
		if err := a.Apply(ctx, f, s); err != nil {
			t.Fatalf("%s: %v", s.Do, err)
		}
	}
}

// loose is what is detached, half or wholly, or marked, and in no plan.
func (y *yard) loose(t *testing.T) string {
	t.Helper()
	pending := "inhdetachpending"
	if y.number(t, "select current_setting('server_version_num')::int") < 140000 {
		pending = "false"
	}
	return y.text(t, `select concat_ws(' ', (select string_agg(inhrelid::regclass::text || ' is pending', ', ') from pg_inherits where `+pending+`),
		(select string_agg(oid::regclass::text || ' is detached', ', ') from pg_class c where relkind = 'r' and relname like 't\_2%' and not exists (select from pg_inherits where inhrelid = c.oid)),
		(select string_agg(conrelid::regclass::text || ' has ' || conname, ', ') from pg_constraint where contype = 'c' and conrelid <> 0))`)
}

// after is a fence that does something at its n-th check, from 1 on.
func after(n int32, do func()) remediate.Fence {
	var checks atomic.Int32
	return remediate.Fence{Token: 1, Held: func(context.Context) error {
		if checks.Add(1) == n {
			do()
		}
		return nil
	}}
}

// until waits for a state of the server.
func (y *yard) until(t *testing.T, sql string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); y.text(t,
		"select ("+sql+")::text") != "true"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", sql)
		}
	}
}

// What would hinder the DROP keeps a partition from being detached: its rows go one by
// one. What falls with a table keeps nothing.
func TestPurgeHinderedPartitions(t *testing.T) {
	hindering := map[string]string{
		"view v":              "create view v as select * from %s",
		"materialized view m": "create materialized view m as select id from %s",
		"constraint k": "create unique index on %[1]s (id); create table child (id bigint constraint k " +
			"references %[1]s (id)); create index on child (id)",
		"function f":                "create function f(%s) returns int language sql as 'select 1'",
		"column one of table typed": "create table typed (one %s)",
		"policy p": "create table other (id bigint); create policy p on other using (exists " +
			"(select from %s))",
		"rule r": "create table ruled (id bigint); create rule r as on insert to ruled do also " +
			"delete from only %s where false",
		"default value for column n": "create sequence owned owned by %s.id; create table using_it (n bigint default " +
			"nextval('owned'))",
	}
	falling := []string{
		"create index on %s (body)", "create statistics st on id, body from %s",
		"create policy mine on %s using (body <> '')", "create publication pub for table %s",
		"create function tf() returns trigger language plpgsql as 'begin return new; end'; create trigger tr after " +
			"insert on %s for each row when (new.id < 0) execute function tf()",
		"comment on table %s is 'x'", "alter table %s add constraint c check (id is not null)",
		"grant select on %s to public",
	}
	for _, version := range []string{"13", "", "18"} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			y := yards(t, version, true, "drop table t_2020, t_2021, t_2022, t_2023")
			var sql []string
			made := 0
			leaf := func() string {
				made++
				name := fmt.Sprintf("t_%d", 2000+made)
				sql = append(sql, fmt.Sprintf("create table %s partition of t for values from ('%d-01-01') to "+
					"('%d-01-01')", name, 1990-made, 1991-made))
				return name
			}
			by := map[string]string{}
			for _, what := range slices.Sorted(maps.Keys(hindering)) {
				name := leaf()
				by[what] = name
				sql = append(sql, fmt.Sprintf(hindering[what], name))
			}
			// The server would drop it too, though a function may use it by its name.
			owner := leaf()
			sql = append(sql, "create sequence its owned by "+owner+".id")
			hindered := made
			for _, f := range falling {
				sql = append(sql, fmt.Sprintf(f, leaf()))
			}
			servertest.Exec(t, y.url, sql...)
			plan := y.plan(t, postgres.Purge(y.server))
			facts := strings.Join(plan.Facts, "\n")
			for what, name := range by {
				if slices.Contains(parts(plan), "drop "+name) {
					t.Errorf("%s would be dropped, on which %s depends", name, what)
				}
				y.refused(t, name)
			}
			if slices.Contains(parts(plan), "drop "+owner) {
				t.Errorf("%s would be dropped, and its sequence with it", owner)
			}
			if n := len(parts(plan)); n != made-hindered {
				t.Fatalf("%d steps on partitions, want %d: %v\n%s", n, made-hindered, parts(plan), facts)
			}
			if !strings.Contains(facts, "depends on it") || !strings.Contains(facts, "go one by one") {
				t.Errorf("the facts do not say what hinders: %s", facts)
			}
			apply(t, postgres.Purge(y.server), remediate.Fence{Held: held}, plan.Steps[:made-hindered]...)
			if left := y.number(t,
				"select count(*) from pg_inherits where inhparent = 't'::regclass"); left != hindered+1 {
				t.Errorf("%d partitions are left, want %d", left, hindered+1)
			}
		})
	}
}

// refused checks that the server would not drop a partition.
func (y *yard) refused(t *testing.T, name string) {
	t.Helper()
	c := y.connect(t)
	_, err := c.Exec(t.Context(), "begin; alter table t detach partition "+name+"; drop table "+name)
	if err == nil {
		t.Errorf("the server drops %s", name)
	}
	if _, err := c.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
}

// What comes to depend on a partition after the plan was made, or after it was
// detached, leaves it in its table.
func TestPurgeHinderedMeanwhile(t *testing.T) {
	t.Parallel()
	y := yards(t, "", true)
	a := postgres.Purge(y.server)
	for _, check := range []int32{1, 2, 3, 4} { // at the beginning, before the mark, before DETACH, before DROP
		plan := y.plan(t, a)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		err := a.Apply(ctx, after(check, func() { servertest.Exec(t, y.url, "create view v as select * from t_2020") }),
			plan.Steps[0])
		cancel()
		if r, ok := remediate.Refused(err); !ok || r.Reason != remediate.ReasonChanged ||
			!strings.Contains(r.Detail, "view public.v") {
			t.Errorf("check %d: %v", check, err)
		}
		if n, loose := y.number(t, "select count(*) from t"), y.loose(t); n != 2000 || loose != "" {
			t.Errorf("check %d: %d rows, %s", check, n, loose)
		}
		servertest.Exec(t, y.url, "drop view v")
	}
	// So does a person who detaches it, or gives its name to another.
	plan := y.plan(t, a)
	servertest.Exec(t, y.url, "alter table t detach partition t_2020", "alter table t_2021 rename to x",
		"alter table t_2022 rename to t_2021", "alter table x rename to t_2022")
	for _, s := range plan.Steps[:3] {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		if r, ok := remediate.Refused(a.Apply(ctx, remediate.Fence{Held: held}, s)); !ok ||
			r.Reason != remediate.ReasonChanged {
			t.Errorf("%s: %v", s.Do, r)
		}
		cancel()
	}
	if n := y.number(t, "select count(*) from t_2020") + y.number(t, "select count(*) from t"); n != 2000 {
		t.Errorf("%d rows", n)
	}
}

// A run may drop so much and no more.
func TestPurgePartitionsWithin(t *testing.T) {
	t.Parallel()
	for _, fallback := range []bool{false, true} {
		more := []string{}
		if fallback {
			more = append(more, "create table t_rest partition of t default")
		}
		y := yards(t, "", true, more...)
		a := postgres.Purge(y.server)
		plan := y.plan(t, a)
		for i, test := range []struct {
			step int
			most remediate.Amount
			want string
		}{{0, remediate.Amount{Rows: 1460}, "holds 1461 rows"}, {0, remediate.Amount{Bytes: 8192}, "holds"},
			{1, remediate.Amount{Rows: 364}, "holds 365 rows"}, {1, remediate.Amount{Bytes: 8192}, "holds"}} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			err := a.Apply(ctx, remediate.Fence{Held: held, Most: &test.most}, plan.Steps[test.step])
			cancel()
			if r, ok := remediate.Refused(err); !ok || r.Reason != remediate.ReasonAmount ||
				!strings.Contains(r.Detail, test.want) {
				t.Errorf("%d: %v", i, err)
			}
			if n, loose := y.number(t, "select count(*) from t"), y.loose(t); n != 2000 || loose != "" {
				t.Errorf("%d: %d rows, %s", i, n, loose)
			}
		}
		// Rows that come in between are counted too.
		most := remediate.Amount{Rows: 365}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		err := a.Apply(ctx, remediate.Fence{Most: &most,
			Held: after(2, func() { servertest.Exec(t, y.url, "insert into t values (-1, '2021-05-05')") }).Held},
			plan.Steps[1])
		cancel()
		if r, ok := remediate.Refused(err); !ok || r.Reason != remediate.ReasonAmount ||
			y.number(t, "select count(*) from t") != 2001 || y.loose(t) != "" {
			t.Errorf("rows that came: %v, %s", err, y.loose(t))
		}
		apply(t, a, remediate.Fence{Held: held, Most: &most}, plan.Steps[2])
	}
}

// reader opens a transaction that has read the table, and returns what ends it.
func (y *yard) reader(t *testing.T) (end func()) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), y.url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "begin; select count(*) from t"); err != nil {
		t.Fatal(err)
	}
	return func() { _ = c.Close(context.WithoutCancel(t.Context())) } // a second time does nothing
}

// Stopped while somebody reads the table, a purge leaves all as it was. Where the
// detachment has begun it is undone when the reader has gone; where he does not go,
// the error says so with the statements, and the next run goes on.
func TestPurgeStopped(t *testing.T) {
	t.Parallel()
	y := yards(t, "", true)
	a := postgres.Purge(y.server)
	const pending = "select exists (select from pg_inherits where inhdetachpending)"
	intact := func(name string) {
		t.Helper()
		if n, loose := y.number(t, "select count(*) from t"), y.loose(t); n != 2000 || loose != "" {
			t.Errorf("%s: %d rows, %s", name, n, loose)
		}
	}
	step := y.plan(t, a).Steps[0]

	end := y.reader(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	err := a.Apply(ctx, remediate.Fence{Held: held}, step)
	cancel()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside a reader: %v", err)
	}
	if n := y.number(t, "select count(*) from t"); n != 2000 {
		t.Errorf("beside a reader: %d rows", n)
	}
	end()
	intact("the reader has gone")

	for _, name := range []string{"stopped", "its session ended"} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		var end func()
		stopped := make(chan error, 1)
		go func() { stopped <- a.Apply(ctx, after(3, func() { end = y.reader(t) }), step) }()
		y.until(t, pending)
		if name == "stopped" {
			cancel()
		} else {
			servertest.Exec(t, y.url, "select pg_terminate_backend(pid) from pg_stat_activity where query like "+
				"'%CONCURRENTLY' and datname = current_database() and pid <> pg_backend_pid()") // others' tests go on
		}
		time.Sleep(300 * time.Millisecond) // it tries while the reader is there
		end()
		if err := <-stopped; err == nil || strings.Contains(err.Error(), "was not undone") {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		intact(name)
	}

	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- a.Apply(ctx, after(3, func() { end = y.reader(t) }), step) }()
	y.until(t, pending)
	cancel()
	err = <-stopped
	if err == nil || !strings.Contains(err.Error(), `DETACH PARTITION "public"."t_2020" FINALIZE`) ||
		!strings.Contains(err.Error(), "DROP CONSTRAINT IF EXISTS upkeep_bounds") ||
		!strings.Contains(err.Error(),
			`ATTACH PARTITION "public"."t_2020" FOR VALUES FROM ('2020-01-01T00:00:00+00:00')`) {
		t.Errorf("the error does not say how it is undone: %v", err)
	}
	end()
	// Rows that are not to go any more are seen again, and else the purge goes on.
	y.server.Archives[0].After *= 3
	if plan := y.plan(t, a); !slices.Equal(parts(plan), []string{"attach t_2020"}) ||
		!strings.Contains(strings.Join(plan.Facts, "\n"), "did not end") {
		t.Errorf("the plan of the next run: %v %v", parts(plan), plan.Facts)
	} else {
		apply(t, a, remediate.Fence{Held: held}, plan.Steps[0], plan.Steps[0])
	}
	intact("attached by the next run")
}

// deadline is a context with the deadline that a step needs.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// An event trigger that refuses the drop, and would refuse to undo a detachment too,
// leaves the partition in its table.
func TestPurgeDropRefused(t *testing.T) {
	t.Parallel()
	y := yards(t, "15", true,
		`create function no() returns event_trigger language plpgsql as $$ begin raise exception 'nothing is dropped here'; end $$`,
		"create event trigger no on sql_drop execute function no()")
	err := carryOut(t, postgres.Purge(y.server), y.request())
	if err == nil || !strings.Contains(err.Error(), "nothing is dropped here") {
		t.Errorf("%v, want the trigger's word", err)
	}
	if n := y.number(t, "select count(*) from t"); n != 2000 {
		t.Errorf("%d rows are in the table, of 2000", n)
	}
	if left := y.text(t, "select coalesce(string_agg(conname, ' '), '') from pg_constraint where conname = "+
		"'upkeep_bounds'"); left != "" {
		t.Errorf("%s is left", left)
	}
	servertest.Exec(t, y.url, "drop event trigger no")
	if err := carryOut(t, postgres.Purge(y.server), y.request()); err != nil {
		t.Error(err)
	}
}

package postgres_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// shape is everything that a person has made of a partition, and what the server has
// made of it.
func (y *yard) shape(t *testing.T) string {
	t.Helper()
	return y.text(t, `select concat_ws(e'\n',
		(select string_agg(concat_ws(' ', inhrelid::regclass, inhparent::regclass, pg_get_expr(relpartbound, oid), relacl, relrowsecurity, relforcerowsecurity, relowner), e'\n' order by inhrelid::regclass::text) from pg_inherits join pg_class on oid = inhrelid where relkind = 'r'),
		(select string_agg(concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid), conislocal, coninhcount, convalidated), e'\n' order by conrelid::regclass::text, conname) from pg_constraint where conrelid <> 0 and connamespace = 'public'::regnamespace),
		(select string_agg(concat_ws(' ', indexrelid::regclass, indisvalid, inhparent::regclass), e'\n' order by indexrelid::regclass::text) from pg_index left join pg_inherits on inhrelid = indexrelid where indrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace)),
		(select string_agg(concat_ws(' ', tgrelid::regclass, tgname), e'\n' order by tgrelid::regclass::text, tgname) from pg_trigger where tgconstraint = 0),
		(select string_agg(concat_ws(' ', polrelid::regclass, polname), e'\n' order by 1) from pg_policy),
		(select md5(string_agg(concat_ws(' ', id, at, body), e'\n' order by id)) from t))`)
}

// A partition that was handed over is handed back as it was. A row of it alone is not
// brought back into a table that has no partition for it: the plan says what to do.
func TestHandOverAndBack(t *testing.T) {
	for _, version := range []string{"13", "", "18"} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			y := yards(t, version, false,
				"create table ref (body text primary key)", "insert into ref select distinct body from t",
				"create index on t (body)",
				"alter table t add constraint c check (id >= 0), add constraint f foreign key (body) references ref",
				"create function tf() returns trigger language plpgsql as 'begin return new; end'",
				"create trigger tr after update on t for each row execute function tf()",
				"alter table t_2021 enable row level security, force row level security",
				"create policy mine on t_2021 using (true)", "grant select on t_2021 to public",
				"grant select on t_2020 to pg_monitor",
				"create table t_first partition of t for values from (minvalue) to ('2020-01-01Z')",
				"insert into t select 5000, '2010-01-01', body from t limit 1")
			before := y.shape(t)
			archive, back := postgres.Archive(y.server), postgres.RestoreArchived(y.server)
			plan := y.plan(t, archive)
			want := []string{"hand over t_2020", "hand over t_2021", "hand over t_2022", "hand over t_2023",
				"hand over t_first"}
			if !slices.Equal(parts(plan), want) || plan.Amount == nil || plan.Amount.Rows < 1462 {
				t.Fatalf("the plan: %v %v %v", parts(plan), plan.Facts, plan.Amount)
			}
			apply(t, archive, remediate.Fence{Held: held}, plan.Steps...)
			if n := y.number(t, "select count(*) from t_archive"); n != 1462 ||
				y.number(t, "select count(*) from pg_inherits where inhparent = 't_archive'::regclass") != 5 {
				t.Errorf("%d rows were handed over", n)
			}

			// A part of a partition.
			_, err := back.Plan(t.Context(), y.request("since", "2021-05-01", "until", "2023-01-01"))
			if r, ok := remediate.Refused(err); !ok || r.Reason != remediate.ReasonUnfit ||
				!strings.Contains(r.Detail, "since=2021-01-01T00:00:00Z until=2022-01-01T00:00:00Z") ||
				!strings.Contains(r.Detail,
					`CREATE TABLE "public"."t_2021_05" PARTITION OF "public"."t" FOR VALUES FROM ('2021-01-01T00:00:00+00:00') TO ('2022-01-01T00:00:00+00:00')`) {
				t.Errorf("a part of a partition: %v", err)
			}
			// A column that the table has lost.
			servertest.Exec(t, y.url, "alter table t add column more text")
			_, err = back.Plan(t.Context(), y.request("since", "2021-01-01", "until", "2022-01-01"))
			if r, ok := remediate.Refused(err); !ok || r.Reason != remediate.ReasonUnfit ||
				!strings.Contains(r.Detail, "columns are not exactly the same") {
				t.Errorf("another column: %v", err)
			}
			servertest.Exec(t, y.url, "alter table t drop column more")

			plan = y.plan(t, back, "since", "2021-01-01", "until", "2022-01-01T00:00:00Z")
			if !slices.Equal(parts(plan), []string{"hand back t_2021"}) {
				t.Fatalf("the plan: %v", parts(plan))
			}
			apply(t, back, remediate.Fence{Held: held}, plan.Steps...)
			plan = y.plan(t, back, "since", "0001-01-01", "until", "2024-01-01")
			if len(parts(plan)) != 4 {
				t.Fatalf("the plan: %v", parts(plan))
			}
			for _, s := range plan.Steps {
				apply(t, back, remediate.Fence{Held: held}, s, s)
			}
			if diff := cmp.Diff(before, y.shape(t)); diff != "" {
				t.Errorf("not as it was:\n%s", diff)
			}
		})
	}
}

// On a server that is busy a statement takes longer than others may be kept waiting: then all is as it was, and
// the step is tried again.
func TestHandOverOfABusyServer(t *testing.T) {
	t.Parallel()
	y := yards(t, "", false, "create sequence tries", // a rollback does not turn it back
		"create function busy() returns event_trigger language plpgsql as "+
			"'begin if current_setting(''statement_timeout'') = ''500ms'' and nextval(''public.tries'') <= 2 then "+
			"perform pg_sleep(60); end if; end'")
	a := postgres.Archive(y.server)
	plan := y.plan(t, a)
	servertest.Exec(t, y.url, "create event trigger busy on ddl_command_start when tag in ('ALTER TABLE') "+
		"execute function busy()")
	apply(t, a, remediate.Fence{Held: held}, plan.Steps[0])
	if n := y.number(t, "select last_value from tries"); n < 3 {
		t.Errorf("it was tried %d times", n)
	}
	if n := y.number(t, "select count(*) from pg_inherits where inhparent = 't_archive'::regclass"); n != 1 {
		t.Errorf("%d partitions were handed over, want 1", n)
	}
}

// What is in the way of a partition has its rows go one by one, and what comes in its
// way after the plan stops the step, with all as it was.
func TestHandOverInTheWay(t *testing.T) {
	t.Parallel()
	y := yards(t, "", false, "create table t_archive_rest partition of t_archive default",
		"insert into t_archive values (-1, '2020-05-05Z', '')",
		"create table t_archive_2021 partition of t_archive for values from ('2021-06-01Z') to ('2021-07-01Z')",
		`create schema "ot""her"`, `alter table t_2022 set schema "ot""her"`)
	a := postgres.Archive(y.server)
	plan := y.plan(t, a)
	if !slices.Equal(parts(plan), []string{"hand over t_2022", "hand over t_2023"}) ||
		!strings.Contains(strings.Join(plan.Facts, "\n"), "holds rows of that time") ||
		!strings.Contains(strings.Join(plan.Facts, "\n"), "has a partition for that time") {
		t.Fatalf("the plan: %v\n%s", parts(plan), strings.Join(plan.Facts, "\n"))
	}
	for name, sql := range map[string][2]string{
		"a partition": {"create table x partition of t_archive for values from ('2022-06-01Z') to ('2022-07-01Z')",
			"drop table x"},
		"rows": {"insert into t_archive values (-2, '2022-05-05Z', '')",
			"delete from t_archive where id = -2"},
		"a column": {"alter table t_archive add column x int", "alter table t_archive drop column x"},
		"a trigger": {"create function tf() returns trigger language plpgsql as 'begin return null; end'; " +
			"create trigger tr before insert on t_archive for each row execute function tf()",
			"drop function tf cascade"},
		"a rule": {"create rule r as on delete to t do instead nothing", "drop rule r on t"},
		"a key": {"create table child (id bigint, at timestamptz, foreign key (id, at) references t); " +
			"create index on child (id, at)", "drop table child"},
		"another name": {`alter table "ot""her".t_2022 rename to t_2022_`,
			`alter table "ot""her".t_2022_ rename to t_2022`},
		"another parent": {"alter table t rename to t_; create table t (like t_)",
			"drop table t; alter table t_ rename to t"},
	} {
		servertest.Exec(t, y.url, sql[0])
		err := a.Apply(deadline(t), remediate.Fence{Held: held}, plan.Steps[0])
		if _, ok := remediate.Refused(err); !ok {
			t.Errorf("%s: %v", name, err)
		}
		servertest.Exec(t, y.url, sql[1])
		if n := y.number(t, "select count(*) from t"); n != 2000 {
			t.Errorf("%s: %d rows", name, n)
		}
		if loose := y.loose(t); loose != "" {
			t.Errorf("%s: %s", name, loose)
		}
	}
	// A trigger that is off for one partition would be on after it was handed back.
	servertest.Exec(t, y.url, "create function off() returns trigger language plpgsql as 'begin return new; end'",
		"create trigger off after update on t for each row execute function off()",
		"alter table t_2023 disable trigger off")
	if plan := y.plan(t, a); !slices.Equal(parts(plan), []string{"hand over t_2022"}) ||
		!strings.Contains(strings.Join(plan.Facts, "\n"), "a trigger of the partition is disabled") {
		t.Errorf("the plan beside a trigger that is disabled: %v\n%s", parts(plan), strings.Join(plan.Facts, "\n"))
	}
	servertest.Exec(t, y.url, "drop function off() cascade")
	if err := carryOut(t, a, y.request()); err != nil {
		t.Error(err)
	}
	if n, m := y.number(t, "select count(*) from t"), y.number(t, "select count(*) from t_archive"); n != 539 ||
		m != 1462 || y.loose(t) != "" {
		t.Errorf("%d and %d rows, %s", n, m, y.loose(t))
	}
}

// Somebody's ANALYZE or VACUUM makes no other plan, and has no step left out.
func TestArchiveAnalyzedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"analyze": "analyze t", "of a partition": "analyze t_2020", "vacuum": "vacuum t",
		"vacuum analyze": "vacuum analyze t; analyze t_archive", "reset": "select pg_stat_reset()",
	} {
		y := yards(t, "", false, "drop table t_2020",
			"create table t_2020 partition of t for values from ('2020-01-01Z') to ('2021-01-01Z') with "+
				"(autovacuum_enabled = off)",
			"insert into t select i, timestamptz '2020-01-01Z' + i * interval '1 day', 'x' from generate_series(0, "+
				"300) i", "alter table t_archive add column beside int",
			"create table t_archive_rest partition of t_archive default")
		a := postgres.Archive(y.server)
		plan := y.plan(t, a)
		for _, s := range plan.Steps {
			servertest.Exec(t, y.url, strings.Split(sql, "; ")...)
			if s.Args["part"] == "rows" {
				if now := y.plan(t, a); now.Hash() != plan.Hash() {
					t.Errorf("%s: the plan is another", name)
				}
			}
			apply(t, a, remediate.Fence{Held: held}, s)
		}
		servertest.Exec(t, y.url, "select pg_stat_force_next_flush()")
		y.until(t, "select coalesce(sum(n_dead_tup), 0) = 0 and sum(n_mod_since_analyze) = 0 from "+
			"pg_stat_user_tables where relname in ('t_2020', 't_2021')")
		v, err := a.Measure(t.Context(), y.request())
		if err != nil || v > 10 {
			t.Errorf("%s: measured %v, %v", name, v, err)
		}
	}
}

// A batch locks what is above the rows' own table too, on both sides: else a definition
// could change there between the comparison and the commit.
func TestBatchLocksWhatIsAbove(t *testing.T) {
	t.Parallel()
	y := yards(t, "", false, "create table t_archive_rest partition of t_archive default",
		"insert into t_archive values (-1, '2020-05-05Z', '')")
	a := postgres.Archive(y.server)
	plan := y.plan(t, a)
	i := slices.IndexFunc(plan.Steps, func(s remediate.Step) bool { return s.Args["part"] == "rows" })
	if i < 0 {
		t.Fatalf("the plan: %v", plan.Steps)
	}
	// A batch waits where another session is about to write its rows there.
	blocker := servertest.Connect(t, y.url)
	tx, err := blocker.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _,
		err := tx.Exec(t.Context(),
		"insert into t_archive select id, at, '' from t where at < '2021-01-01Z'"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx := deadline(t)
	go func() { done <- a.Apply(ctx, remediate.Fence{Held: held}, plan.Steps[i]) }()
	const locksSQL = `select concat_ws(' ', bool_or(relation = 't'::regclass), bool_or(relation = 't_2020'::regclass), bool_or(relation = 't_archive'::regclass))
		from pg_locks l join pg_stat_activity s using (pid) where s.application_name like 'upkeep postgres/archive fence%' and s.datname = current_database() and l.mode = 'RowExclusiveLock' and l.granted`
	for y.text(t, locksSQL) != "t t t" {
		select {
		case err := <-done:
			t.Fatalf("the step has ended, and did not lock what is above its rows: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := y.number(t, "select count(*) from t where at < '2021-01-01Z'"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

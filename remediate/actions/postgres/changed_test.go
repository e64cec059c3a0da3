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

// oldRows is how many rows the tests of this file move: several batches of them.
const oldRows = 6000

// A meanwhile is what somebody does between two batches, and what must be true after.
type meanwhile struct {
	name  string
	shape string // of the tables: plain, or with partitions on one side
	do    string // statements
	want  string // the refusal names it
	holds string // a query that gives true
}

func plain() []string {
	return []string{"create table logs (id int primary key, at timestamptz not null, body text)",
		"create table logs_old (like logs including all)"}
}

// shapes are the tables that rows go from and to.
func shapes() map[string][]string {
	return map[string][]string{
		"plain": plain(),
		"from": {"create table logs (id int, at timestamptz not null, body text) partition by list (body)",
			"create table logs_a partition of logs for values in ('x') ", "create unique index on logs_a (id)",
			"create table logs_b partition of logs default", "create table logs_old (like logs)"},
		"to": {"create table logs (id int primary key, at timestamptz not null, body text)",
			"create table logs_old (like logs) partition by range (id)",
			"create table logs_old_a partition of logs_old for values from (0) to (100000)",
			"create table logs_old_b partition of logs_old default"},
	}
}

func meanwhiles() []meanwhile {
	const kept = "(select count(*) from logs) + (select count(*) from logs_old) = 6000 and (select count(*) from " +
		"logs) > 0"
	const mangle = "create function mangle() returns trigger language plpgsql as $$ begin new.body := 'anonymised'; " +
		"return new; end $$"
	const audit = "create table audit (id int); create function audited() returns trigger language plpgsql as $$ " +
		"begin insert into public.audit values (old.id); return old; end $$"
	return []meanwhile{
		{"column", "plain", "alter table logs add column hold text; update logs set hold = 'x' where id > 5000",
			"column hold text was added", "(select count(hold) from logs) = 1000"},
		{"column exchanged", "plain", "alter table logs rename body to body_2; alter table logs add column body " +
			"text; update logs set body = 'new'", "column",
			"(select count(*) from logs where body_2 is null) = 0 and " + kept},
		{"column of a partition", "from",
			"alter table logs add column hold text; update logs set hold = 'x' where id > 5000",
			"column hold text was added", "(select count(hold) from logs) = 1000"},
		{"another type", "plain", "alter table logs alter id type bigint", "column id bigint", kept},
		{"renamed", "plain", "alter table logs rename to logs_2; create table logs (like logs_2 including all); " +
			"insert into logs select * from logs_2", "renamed",
			kept + " and (select count(*) from logs) = (select count(*) from logs_2)"},
		{"destination renamed", "plain", "alter table logs_old rename to logs_3; create table logs_old (like logs_3 " +
			"including all)", "renamed", "(select count(*) from logs) + (select count(*) from logs_3) = 6000 and " +
			"(select count(*) from logs_old) = 0"},
		{"destination dropped", "plain", "create table copy as select * from logs_old; drop table logs_old", "dropped",
			"(select count(*) from logs) + (select count(*) from copy) = 6000"},
		{"names exchanged", "plain", "alter table logs rename to x; alter table logs_old rename to logs; alter table " +
			"x rename to logs_old", "renamed",
			"(select count(*) from logs) + (select count(*) from logs_old) = 6000 and (select count(*) from " +
				"logs_old) > 0"},
		{"cascade", "plain", "create table child (id int references logs on delete cascade); create index on child " +
			"(id); insert into child select id from logs", "foreign key",
			"(select count(*) from child) = (select count(*) from logs) and " + kept},
		{"cascade to a partition", "from",
			"create table child (id int references logs_a (id) on delete cascade); create index on child (id); " +
				"insert into child select id from logs_a", "foreign key",
			"(select count(*) from child) = (select count(*) from logs_a) and " + kept},
		{"trigger", "plain", audit + "; create trigger t after delete on logs for each row execute function audited()",
			"trigger t", "(select count(*) from audit) = 0 and " + kept},
		{"trigger of a partition", "from",
			audit + "; create trigger t after delete on logs_a for each row execute function audited()", "trigger t",
			"(select count(*) from audit) = 0 and " + kept},
		{"inherited trigger", "from", audit + "; create trigger t after delete on logs for each row execute function " +
			"audited()", "trigger t", "(select count(*) from audit) = 0 and " + kept},
		{"destination's trigger", "plain",
			mangle + "; create trigger t before insert on logs_old for each row execute function mangle()", "trigger t",
			"(select count(*) from logs_old where body = 'anonymised') = 0 and " + kept},
		{"trigger of a destination's partition", "to", mangle +
			"; create trigger t before insert on logs_old_a for each row execute function mangle()", "trigger t",
			"(select count(*) from logs_old where body = 'anonymised') = 0 and " + kept},
		{"another partition attached", "to",
			mangle + "; alter table logs_old detach partition logs_old_a; create table logs_old_c (like logs); " +
				"create trigger t before insert on logs_old_c for each row execute function mangle(); alter table " +
				"logs_old attach partition logs_old_c for values from (0) to (100000)", "was attached",
			"(select count(*) from logs_old_c) = 0 and (select count(*) from logs) + (select count(*) from logs_old) " +
				"+ (select count(*) from logs_old_a) = 6000 and (select count(*) from logs) > 0"},
		{"unlogged partition", "to", "alter table logs_old_a set unlogged", "persistence", kept},
		{"rule", "plain", "create rule r as on insert to logs_old do instead nothing", "rule r", kept},
		{"row security", "plain", "alter table logs_old enable row level security", "row security", kept},
		{"publication", "plain", "create publication meanwhile for all tables", "publication meanwhile", kept},
		{"publication of a schema", "plain", "create publication meanwhile for tables in schema public",
			"publication meanwhile", kept},
		{"replica identity", "plain", "alter table logs replica identity nothing", "replica identity", kept},
		{"constraint off", "plain", "alter table logs_old add constraint c check (body = 'y') not valid",
			"constraint c", kept},
		{"owner", "plain", "alter table logs_old owner to pg_monitor", "owner", kept},
	}
}

// What somebody changes between two batches stops the run before the next one, and
// nothing is lost by it.
func TestArchiveChangedBetweenBatches(t *testing.T) {
	t.Parallel()
	url, database := servertest.Database(t)
	for _, m := range meanwhiles() {
		t.Run(m.name, func(t *testing.T) {
			m.lay(t, url)
			m.run(t, url, archiving(t, url, database, "logs"), database)
		})
	}
}

// The same for what is only deleted.
func TestPurgeChangedBetweenBatches(t *testing.T) {
	t.Parallel()
	url, database := servertest.Database(t)
	for _, m := range meanwhiles() {
		switch m.name {
		case "cascade", "cascade to a partition", "trigger", "trigger of a partition", "inherited trigger",
			"publication of a schema", "column":
		default:
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			m.lay(t, url)
			m.holds = strings.NewReplacer("(select count(*) from logs) + (select count(*) from logs_old) = 6000",
				"true").Replace(m.holds)
			m.run(t, url, purging(t, url, database, "logs"), database)
		})
	}
}

func purging(t *testing.T, url, database, from string) remediate.Action {
	t.Helper()
	return postgres.Purge(configured(t, url, target.Archive{Database: database, Schema: "public", Table: from,
		Column: "at", After: time.Hour, Purge: true}))
}

// configured is a server with one archive.
func configured(t *testing.T, url string, entry target.Archive) *target.Postgres {
	t.Helper()
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: url, Archives: []target.Archive{entry}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func requestFor(database, table string) remediate.Request {
	return remediate.Request{Subject: map[string]string{"server": "main", "database": database, "schema": "public",
		"table": table}}
}

// rowsStep is the step of a plan that moves rows.
func rowsStep(t *testing.T, plan remediate.Plan) remediate.Step {
	t.Helper()
	for _, s := range plan.Steps {
		if s.Args["part"] == "rows" {
			return s
		}
	}
	t.Fatalf("no step of %+v moves rows", plan.Steps)
	return remediate.Step{}
}

// lay makes the tables anew.
func (m meanwhile) lay(t *testing.T, url string) {
	t.Helper()
	servertest.Exec(t, url, "drop publication if exists meanwhile", "drop schema public cascade",
		"create schema public")
	servertest.Exec(t, url, shapes()[m.shape]...)
	servertest.Exec(t, url, fmt.Sprintf("insert into logs select i, now() - interval '1 year', 'x' from "+
		"generate_series(1, %d) i", oldRows), "analyze logs")
}

func (m meanwhile) run(t *testing.T, url string, a remediate.Action, database string) {
	t.Helper()
	plan, err := a.Plan(t.Context(), requestFor(database, "logs"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	asked := 0
	between := func(context.Context) error {
		if asked++; asked == 3 { // once before all, and once before each batch
			servertest.Exec(t, url, statements(m.do)...)
		}
		return nil
	}
	err = a.Apply(ctx, remediate.Fence{Token: 1, Held: between}, rowsStep(t, plan))
	refusal, refused := remediate.Refused(err)
	if !refused || refusal.Reason != remediate.ReasonChanged || !strings.Contains(refusal.Detail, m.want) {
		t.Errorf("Apply: %v, want that %q changed", err, m.want)
	}
	c := fixture{url: url, database: database}
	if c.text(t, "select ("+m.holds+")::text") != "true" {
		t.Errorf("after it, not %s", m.holds)
	}
}

// statements are the statements of a text, one by one.
func statements(text string) (all []string) {
	for i, part := range strings.Split(text, "$$") {
		if i%2 == 1 {
			all[len(all)-1] += "$$" + part + "$$"
			continue
		}
		for j, s := range strings.Split(part, ";") {
			if i > 0 && j == 0 {
				all[len(all)-1] += s
				continue
			}
			all = append(all, s)
		}
	}
	return all
}

// On servers before 15 a trigger that a partition inherits is one of people too; and
// session_replication_role, under which no foreign key is kept, stops a run under way.
func TestArchiveOn14(t *testing.T) {
	t.Parallel()
	s := own(t, "14", nil)
	servertest.Exec(t, s.URL,
		"create table ev (id int, at timestamptz not null) partition by range (at)",
		"create table ev_old partition of ev default", "create table ev_archive (like ev)",
		"insert into ev select i, now() - interval '1 year' from generate_series(1, 10) i",
		"create function nothing() returns trigger language plpgsql as $$ begin return null; end $$",
		"create trigger audit after delete on ev for each row execute function nothing()")
	entry := target.Archive{Database: "postgres", Schema: "public", Table: "ev_old", Column: "at", After: time.Hour,
		To: target.Destination{Schema: "public", Table: "ev_archive"}}
	_, err := postgres.Archive(configured(t, s.URL, entry)).Plan(t.Context(), requestFor("postgres", "ev_old"))
	if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonUnfit ||
		!strings.Contains(refusal.Detail, "audit") {
		t.Errorf("a trigger that a partition inherits: %v", err)
	}

	servertest.Exec(t, s.URL, plain()...)
	servertest.Exec(t, s.URL, fmt.Sprintf("insert into logs select i, now() - interval '1 year', 'x' from "+
		"generate_series(1, %d) i", oldRows), "analyze logs")
	meanwhile{do: "alter system set session_replication_role = replica; select pg_reload_conf(); select pg_sleep(0.3)",
		want: "session_replication_role",
		holds: "(select count(*) from logs) > 0 and (select count(*) from logs) + (select count(*) from logs_old) = " +
			"6000"}.
		run(t, s.URL, archiving(t, s.URL, "postgres", "logs"), "postgres")
}

// What a plan says of a table whose deletes go to subscribers, whose rows come from
// one, and whose column has no time zone.
func TestArchiveFacts(t *testing.T) {
	url, database := servertest.Database(t)
	servertest.Exec(t, url, "create table logs (id int primary key, at timestamp not null)",
		"insert into logs select i, now() - interval '1 year' from generate_series(1, 1000) i", "analyze logs",
		"create publication p for tables in schema public", "alter database "+database+" set timezone = 'Asia/Tokyo'",
		"create subscription s_"+database+" connection 'dbname=nowhere' publication p with (connect = false)",
		"set allow_system_table_mods = on")
	c := fixture{url: url, database: database}
	conn := c.connect(t)
	if _, err := conn.Exec(t.Context(), "set allow_system_table_mods = on"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "insert into pg_subscription_rel select s.oid, 'logs'::regclass, 'r', null "+
		"from pg_subscription s where subname = 's_"+database+"'"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		servertest.Exec(t, url, "alter subscription s_"+database+" set (slot_name = none)",
			"drop subscription s_"+database)
	})
	plan, err := purging(t, url, database, "logs").Plan(t.Context(), requestFor(database, "logs"))
	if err != nil {
		t.Fatal(err)
	}
	facts := strings.Join(plan.Facts, "\n")
	for _, want := range []string{"its subscribers lose the rows too", "logical subscription", "without a time zone",
		"Asia/Tokyo", "+09 (Asia/Tokyo) would go now"} {
		if !strings.Contains(facts, want) {
			t.Errorf("facts: %s, want %q", facts, want)
		}
	}
	if a := plan.Amount; a == nil || a.Rows < 900 || a.OfRows < a.Rows || a.Bytes <= 0 || a.OfBytes < a.Bytes {
		t.Errorf("the amount is %+v", a)
	}
	// It goes by the zone of the plan, whatever the database is set to since.
	servertest.Exec(t, url, "alter database "+database+" set timezone = 'America/Lima'")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	err = purging(t, url, database, "logs").Apply(ctx, remediate.Fence{Token: 1, Held: held}, rowsStep(t, plan))
	if left := c.number(t, "select count(*) from logs"); err != nil || left != 0 {
		t.Errorf("in another time zone: %v, %d rows are left", err, left)
	}
}

// A run takes no more than it may, in every way of reading the table.
func TestPurgeTakesNoMore(t *testing.T) {
	t.Parallel()
	for _, index := range []bool{false, true} {
		t.Run(fmt.Sprintf("index %v", index), func(t *testing.T) {
			url, database := servertest.Database(t)
			servertest.Exec(t, url, "create table logs (id int primary key, at timestamptz not null)",
				"insert into logs select i, now() - case when i % 20 = 0 then interval '1 year' else interval '1 "+
					"minute' end from generate_series(1, 60000) i", "analyze logs")
			if index {
				servertest.Exec(t, url, "create index on logs (at)", "analyze logs")
			}
			a, c := purging(t, url, database, "logs"), fixture{url: url, database: database}
			plan, err := a.Plan(t.Context(), requestFor(database, "logs"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			for _, most := range []remediate.Amount{{Rows: 1000}, {Bytes: 20_000}, {Rows: 100, Bytes: 1 << 30}} {
				before := c.number(t, "select count(*) from logs")
				err := a.Apply(ctx, remediate.Fence{Token: 1, Held: held, Most: &most}, rowsStep(t, plan))
				gone, limit := before-c.number(t, "select count(*) from logs"), 1000
				if most.Rows > 0 {
					limit = int(most.Rows)
				}
				if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonAmount ||
					gone > limit || gone < limit/3 {
					t.Errorf("at most %+v: %d rows are gone: %v", most, gone, err)
				}
			}
			if err := a.Apply(ctx, remediate.Fence{Token: 1, Held: held, Most: &remediate.Amount{Rows: 3000}},
				rowsStep(t, plan)); err != nil {
				t.Errorf("all rows may go: %v", err)
			}
		})
	}
}

// While the clocks disagree, no age decides what goes.
func TestArchiveClock(t *testing.T) {
	t.Parallel()
	url, database := servertest.Database(t)
	servertest.Exec(t, url, plain()...)
	servertest.Exec(t, url, "insert into logs values (1, now() - interval '1 year', 'x')")
	entry := target.Archive{Database: database, Schema: "public", Table: "logs", Column: "at", After: time.Hour,
		To: target.Destination{Schema: "public", Table: "logs_old"}}
	purge := entry
	purge.Purge, purge.To = true, target.Destination{}
	for name, off := range map[string]time.Duration{"behind": -time.Hour, "ahead": 6 * time.Minute} {
		clock := func() time.Time { return time.Now().Add(off) }
		for _, pair := range [][2]remediate.Action{
			{postgres.Archive(configured(t, url, entry)), postgres.ArchiveAt(configured(t, url, entry), clock)},
			{postgres.Purge(configured(t, url, purge)), postgres.PurgeAt(configured(t, url, purge), clock)},
		} {
			_, err := pair[1].Plan(t.Context(), requestFor(database, "logs"))
			if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonClock {
				t.Errorf("%s, %s: Plan: %v", name, pair[0].Name, err)
			}
			plan, err := pair[0].Plan(t.Context(), requestFor(database, "logs"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			err = pair[1].Apply(ctx, remediate.Fence{Token: 1, Held: held}, rowsStep(t, plan))
			cancel()
			if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonClock {
				t.Errorf("%s, %s: Apply: %v", name, pair[0].Name, err)
			}
		}
	}
}

// A step whose archive the configuration does not ask for any more does nothing.
func TestArchiveConfigured(t *testing.T) {
	url, database := servertest.Database(t)
	servertest.Exec(t, url, plain()...)
	servertest.Exec(t, url, "insert into logs select i, now() - interval '1 year', 'x' from generate_series(1, 10) i",
		"insert into logs_old select i + 100, now() - interval '2 years', 'x' from generate_series(1, 10) i",
		"create table logs_3 (like logs)", "analyze logs")
	entry := target.Archive{Database: database, Schema: "public", Table: "logs", Column: "at", After: time.Hour,
		To: target.Destination{Schema: "public", Table: "logs_old"}}
	with := func(change func(e *target.Archive)) target.Archive {
		e := entry
		change(&e)
		return e
	}
	purge := with(func(e *target.Archive) { e.Purge, e.To = true, target.Destination{} })
	of := func(name string, p *target.Postgres) remediate.Action {
		return map[string]func(*target.Postgres) remediate.Action{"archive": postgres.Archive, "purge": postgres.Purge,
			"restore": postgres.RestoreArchived}[name](p)
	}
	r := requestFor(database, "logs")
	r.Params = map[string]string{"since": "2000-01-01", "until": "2100-01-01"}
	c := fixture{url: url, database: database}
	for _, test := range []struct {
		action    string
		was, is   target.Archive
		unchanged bool
	}{
		{"archive", entry, entry, true},
		{"archive", entry, with(func(e *target.Archive) { e.Table = "other" }), false},
		{"archive", entry, with(func(e *target.Archive) { e.After = 2 * time.Hour }), false},
		{"archive", entry, with(func(e *target.Archive) { e.Column = "body" }), false},
		{"archive", entry, with(func(e *target.Archive) { e.To.Table = "logs_3" }), false},
		{"archive", entry, with(func(e *target.Archive) { e.To = target.Destination{} }), false},
		{"archive", entry, purge, false},
		{"purge", purge, purge, true},
		{"purge", purge, with(func(e *target.Archive) { e.Table = "other" }), false},
		{"purge", purge, with(func(e *target.Archive) {
			e.Purge, e.To, e.After = true, target.Destination{},
				2*time.Hour
		}), false},
		{"purge", purge, entry, false},
		{"restore", entry, entry, true},
		{"restore", entry, with(func(e *target.Archive) { e.To.Table = "logs_3" }), false},
		{"restore", entry, with(func(e *target.Archive) { e.Database = "other" }), false},
	} {
		plan, err := of(test.action, configured(t, url, test.was)).Plan(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		now := of(test.action, configured(t, url, test.is))
		err = now.Executor.(remediate.Configurer).Configured(r, rowsStep(t, plan))
		if test.unchanged {
			if err != nil {
				t.Errorf("%s: %v", test.action, err)
			}
			continue
		}
		if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonConfiguration {
			t.Errorf("%s of %+v under %+v: %v", test.action, test.was, test.is, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		err = now.Apply(ctx, remediate.Fence{Token: 1, Held: held}, rowsStep(t, plan))
		cancel()
		if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonConfiguration ||
			c.number(t, "select (select count(*) from logs) * 100 + (select count(*) from logs_old)") != 1010 {
			t.Errorf("%s: Apply: %v, and rows went", test.action, err)
		}
	}
}

// What the archive has and the table does not take is not lost when rows come back.
func TestRestoreArchivedSpares(t *testing.T) {
	t.Parallel()
	url, database := servertest.Database(t)
	for _, test := range []struct{ name, do, without, want string }{
		{"lost column", "update logs_old set note = 'precious ' || id where id > 5; alter table logs drop column note",
			"", `has no column "note"`},
		{"all of the default", "alter table logs drop column note", "", ""},
		{"null", "update logs_old set note = null; alter table logs drop column note", "", ""},
		{"another default by now", "update logs_old set note = 'precious'; alter table logs drop column note; alter " +
			"table logs_old alter note set default 'new'", "", `has no column "note"`},
		{"a default that moves", "alter table logs drop column seen", "", `no column "seen"`},
		{"the archive's own", "alter table logs drop column seen", "seen", ""},
		{"no default", "alter table logs_old alter note drop default; alter table logs drop column note", "",
			`no column "note"`},
		{"made anew, otherwise", "alter table logs drop column n; alter table logs add column n int generated always " +
			"as (id * 2) stored", "", "generates column"},
		{"made anew, the same", "alter table logs drop column n; alter table logs add column n int generated always " +
			"as (id + 1) stored", "", ""},
		{"generated from a column that is missing in the archive",
			"alter table logs drop column n; alter table logs add column m int default 1; alter table logs add " +
				"column n int generated always as (m) stored", "", "generates column"},
	} {
		t.Run(test.name, func(t *testing.T) {
			servertest.Exec(t, url, "drop table if exists logs, logs_old",
				"create table logs (id int primary key, at timestamptz not null, note text default '', seen "+
					"timestamptz default now(), n int)", "create table logs_old (like logs including defaults)",
				"insert into logs_old (id, at, n) select i, now() - interval '1 year', i + 1 from generate_series(1, "+
					"10) i", "alter table logs_old alter note drop not null", "analyze logs_old")
			servertest.Exec(t, url, statements(test.do)...)
			p := configured(t, url, target.Archive{Database: database, Schema: "public", Table: "logs", Column: "at",
				After: time.Hour, To: target.Destination{Schema: "public", Table: "logs_old"}})
			r := requestFor(database, "logs")
			r.Params = map[string]string{"since": "2000-01-01", "until": "2100-01-01", "without": test.without}
			c := fixture{url: url, database: database}
			err := carryOut(t, postgres.RestoreArchived(p), r)
			if test.want == "" {
				if err != nil || c.number(t, "select count(*) from logs") != 10 {
					t.Errorf("%v", err)
				}
				return
			}
			if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonUnfit ||
				!strings.Contains(refusal.Detail, test.want) || c.number(t, "select count(*) from logs_old") != 10 {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

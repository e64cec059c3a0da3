package relation_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
)

// world is what the statements of the tests work on: a table, a tree of partitions,
// and others that refer to them.
func world() string {
	return `
create domain positive as int default 1 check (value > 0);
create type mood as (a int);
create table s (id int primary key, at timestamptz not null, body text default 'x', n positive, m mood, gen int generated always as (id + 1) stored);
create table p (id int not null, at timestamptz not null, body text) partition by range (at);
create table p1 partition of p for values from ('2020-01-01') to ('2021-01-01');
create table p2 (id int not null, at timestamptz not null, body text);
alter table p1 add constraint p1_id unique (id);
create unique index s_body on s (body);
create index s_at on s (at);
create table other (id int, s int);
create table elsewhere (like s);
create schema away;
create publication pub for table elsewhere;
create function touch() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger present before delete on s for each row execute function touch();
create rule present as on update to s where old.id < 0 do also select 1;
create policy present on s using (true);
alter table s add constraint present check (id > -10);
create role somebody;
create role upkeep_test_owner;
insert into s (id, at, body) select i, now(), i from generate_series(1, 50) i`
}

// A change is a statement and what takes it back.
type change struct {
	kind, on string // kind of line that differs, of which relation; on "" where nothing may differ
	do, undo string
	since    int // versions
}

func changes() []change {
	return []change{
		{kind: "column", on: "s", do: "alter table s add column hold text", undo: "alter table s drop column hold"},
		{kind: "column", on: "s", do: "alter table s rename body to body_old; alter table s add column body text " +
			"default 'x'", undo: "alter table s drop column body; alter table s rename body_old to body; create " +
			"unique index if not exists s_body on s (body)"},
		{kind: "column", on: "p1", do: "alter table p add column hold text", undo: "alter table p drop column hold"},
		{kind: "column", on: "s", do: "alter table s alter body type varchar(100)",
			undo: "alter table s alter body type text"},
		{kind: "column", on: "s", do: "alter table s alter body set default 'y'",
			undo: "alter table s alter body set default 'x'"},
		{kind: "column", on: "s", do: "alter table s alter body set not null",
			undo: "alter table s alter body drop not null"},
		{kind: "column", on: "s", do: "alter table s alter id add generated always as identity",
			undo: "alter table s alter id drop identity"},
		{kind: "column", on: "s", do: "alter table s alter body type text collate \"C\"",
			undo: "alter table s alter body type text collate \"default\""},
		{kind: "column", on: "s", do: "alter domain positive add constraint small check (value < 100)",
			undo: "alter domain positive drop constraint small"},
		{kind: "column", on: "s", do: "alter domain positive add constraint small check (value < 100) not valid",
			undo: "alter domain positive drop constraint small"},
		{kind: "column", on: "s", do: "alter domain positive set default 2",
			undo: "alter domain positive set default 1"},
		{kind: "column", on: "s", do: "alter domain positive set not null",
			undo: "alter domain positive drop not null"},
		{kind: "column", on: "s", do: "alter type mood rename to temper", undo: "alter type temper rename to mood"},
		{kind: "trigger", on: "s", do: "create trigger t after delete on s for each row execute function touch()",
			undo: "drop trigger t on s"},
		{kind: "trigger", on: "p1", do: "create trigger t after delete on p for each row execute function touch()",
			undo: "drop trigger t on p"},
		{kind: "trigger", on: "p1", do: "create trigger t before insert on p1 for each row execute function touch()",
			undo: "drop trigger t on p1"},
		{kind: "trigger", on: "s", do: "create constraint trigger t after delete on s deferrable for each row " +
			"execute function touch()", undo: "drop trigger t on s"},
		{kind: "trigger", on: "s", do: "alter table s disable trigger present",
			undo: "alter table s enable trigger present"},
		{kind: "trigger", on: "s", do: "alter table s enable always trigger present",
			undo: "alter table s enable trigger present"},
		{kind: "rule", on: "s", do: "create rule r as on delete to s do instead nothing", undo: "drop rule r on s"},
		{kind: "rule", on: "s", do: "alter table s disable rule present", undo: "alter table s enable rule present"},
		{kind: "rule", on: "p1", do: "create rule r as on insert to p1 do instead nothing", undo: "drop rule r on p1"},
		{kind: "table", on: "s", do: "alter table s enable row level security",
			undo: "alter table s disable row level security"},
		{kind: "table", on: "s", do: "alter table s force row level security",
			undo: "alter table s no force row level security"},
		{kind: "policy", on: "s", do: "create policy hide on s using (id > 3)", undo: "drop policy hide on s"},
		{kind: "policy", on: "s", do: "alter policy present on s using (false)",
			undo: "alter policy present on s using (true)"},
		{kind: "constraint", on: "s", do: "alter table s add constraint c check (id > 0) not valid",
			undo: "alter table s drop constraint c"},
		{kind: "constraint", on: "other", do: "alter table other add constraint f foreign key (s) references s",
			undo: "alter table other drop constraint f"},
		{kind: "reference", on: "s", do: "alter table other add constraint f foreign key (s) references s on delete " +
			"cascade", undo: "alter table other drop constraint f"},
		{kind: "reference", on: "s", do: "alter table other add constraint f foreign key (s) references s on delete " +
			"set null not valid", undo: "alter table other drop constraint f"},
		{kind: "reference", on: "p1", do: "create table child (id int references p1 (id) on delete cascade)",
			undo: "drop table child"},
		{kind: "unique", on: "s", do: "create unique index u on s (at, id)", undo: "drop index u"},
		{kind: "unique", on: "s", do: "create unique index concurrently u on s (at, id)",
			undo: "drop index concurrently u"},
		{kind: "unique", on: "s", do: "drop index s_body", undo: "create unique index s_body on s (body)"},
		{kind: "publication", on: "s", do: "create publication everything for all tables",
			undo: "drop publication everything"},
		{kind: "publication", on: "s", do: "alter publication pub add table s",
			undo: "alter publication pub drop table s"},
		{kind: "publication", on: "p1", do: "create publication root for table p with (publish_via_partition_root)",
			undo: "drop publication root"},
		{kind: "publication", on: "elsewhere", do: "alter publication pub set (publish = 'insert')",
			undo: "alter publication pub set (publish = 'insert, update, delete, truncate')"},
		{kind: "publication", on: "s", do: "create publication ofschema for tables in schema public",
			undo: "drop publication ofschema", since: 15},
		{kind: "publication", on: "elsewhere", do: "alter publication pub set table elsewhere where (id > 3)",
			undo: "alter publication pub set table elsewhere", since: 15},
		{kind: "subscription", on: "s", do: "set allow_system_table_mods = on; create subscription sub connection " +
			"'dbname=nowhere' publication pub with (connect = false); insert into pg_subscription_rel select s.oid, " +
			"'s'::regclass, 'r', null from pg_subscription s where subname = 'sub'",
			undo: "alter subscription sub set (slot_name = none); drop subscription sub"},
		{kind: "table", on: "s", do: "alter table s replica identity full",
			undo: "alter table s replica identity default"},
		{kind: "table", on: "s", do: "alter table s rename to s2", undo: "alter table s2 rename to s"},
		{kind: "table", on: "s", do: "alter table s set schema away", undo: "alter table away.s set schema public"},
		{kind: "table", on: "s", do: "alter schema public rename to hidden",
			undo: "alter schema hidden rename to public"},
		{kind: "table", on: "s", do: "alter table s owner to upkeep_test_owner", undo: "alter table s owner to upkeep"},
		{kind: "table", on: "s", do: "alter table s set unlogged", undo: "alter table s set logged"},
		{kind: "parent", on: "p1", do: "alter table p detach partition p1",
			undo: "alter table p attach partition p1 for values from ('2020-01-01') to ('2021-01-01')"},
		{kind: "parent", on: "p2", do: "alter table p attach partition p2 for values from ('2021-01-01') to " +
			"('2022-01-01')", undo: "alter table p detach partition p2"},
		{kind: "table", on: "p1", do: "alter table p detach partition p1; alter table p attach partition p1 for " +
			"values from ('2020-01-01') to ('2020-06-01')",
			undo: "alter table p detach partition p1; alter table p attach partition p1 for values from " +
				"('2020-01-01') to ('2021-01-01')"},
		{kind: "key", on: "p", do: "create table pd partition of p default", undo: "drop table pd"},
		{kind: "extension", on: "s", do: "alter extension plpgsql add table s",
			undo: "alter extension plpgsql drop table s"},
		{kind: "setting", on: "s", do: "set session_replication_role = replica",
			undo: "set session_replication_role = origin"},

		{do: "vacuum s"},
		{do: "vacuum full s"},
		{do: "analyze s"},
		{do: "cluster s using s_pkey"},
		{do: "reindex table concurrently s"},
		{do: "reindex table s"},
		{do: "comment on table s is 'a'; comment on column s.body is 'b'"},
		{do: "alter table s alter body set statistics 500", undo: "alter table s alter body set statistics -1"},
		{do: "alter table s set (fillfactor = 70)", undo: "alter table s reset (fillfactor)"},
		{do: "alter table s alter body set storage external", undo: "alter table s alter body set storage extended"},
		{do: "grant select, delete on s to somebody", undo: "revoke all on s from somebody"},
		{do: "alter table s add column passing int; alter table s drop column passing"},
		{do: "create table p3 partition of p for values from ('2030-01-01') to ('2031-01-01')", undo: "drop table p3"},
		{do: "create index concurrently i on s (n)", undo: "drop index i"},
		{do: "create view v as select * from s", undo: "drop view v"},
		{do: "create statistics st on id, at from s", undo: "drop statistics st"},
		{do: "insert into s (id, at, body) values (1000, now(), 'new'); update s set at = now() where id = 1000",
			undo: "delete from s where false"},
		{do: "truncate other"},
		{do: "alter table s alter body set default 'x'"}, // the same, typed anew
		{do: "alter table p detach partition p1;\n\n\n alter  table   p attach partition p1 for  values   from " +
			"('2020-01-01') to ('2021-01-01')"},
	}
}

// Every statement that an action must notice changes the contract of the relation it
// is about, in the kind that a person would name; harmless ones change nothing; and
// taken back, all is as before.
func TestContract(t *testing.T) {
	for _, version := range []string{"13", "14", "", "16", "17", "18"} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			c := serve(t, version)
			run(t, c, world())
			reader, err := relation.NewReader(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			oids := oidsOf(t, c, "s", "p", "p1", "p2", "other", "elsewhere")
			all := make([]int64, 0, len(oids))
			for _, oid := range oids {
				all = append(all, oid)
			}
			now := func() relation.Contract {
				t.Helper()
				now, err := reader.Read(t.Context(), c, all)
				if err != nil {
					t.Fatal(err)
				}
				return now
			}
			for _, change := range changes() {
				if change.since*10000 > reader.Version {
					continue
				}
				before := now()
				said, err := relation.Parse(before.String())
				if err != nil {
					t.Fatal(err)
				}
				run(t, c, change.do)
				after := now()
				for name, oid := range oids {
					same := before.Relations[oid].Hash() == after.Relations[oid].Hash()
					if change.on == "" && !same {
						t.Errorf("%s: the contract of %s is another: %v", change.do, name, before.Check(after))
					}
				}
				if change.on != "" {
					judge(t, change, before.Only(oids[change.on]), said.Only(oids[change.on]), after)
				}
				if change.undo != "" {
					run(t, c, change.undo)
				}
				if change.undo != "" && !strings.Contains(change.do, "add column body") {
					if err := before.Check(now()); err != nil {
						t.Errorf("%s, taken back: %v", change.do, err)
					}
				}
			}
			stranger(t, c, reader, all)
		})
	}
}

// judge asks that a difference is refused and named, to what was read before and to
// what a step has of it.
func judge(t *testing.T, change change, before, said, after relation.Contract) {
	t.Helper()
	words := map[string]string{"reference": "foreign key", "unique": "unique index", "policy": "polic",
		"key": "partition key", "setting": "session_replication_role", "table": ""}
	word, ok := words[change.kind]
	if !ok {
		word = change.kind
	}
	for from, err := range map[string]error{"read": before.Check(after), "step": said.Check(after)} {
		refusal, refused := remediate.Refused(err)
		switch {
		case !refused || refusal.Reason != remediate.ReasonChanged:
			t.Errorf("%s (%s): %v, want that it changed", change.do, from, err)
		case from == "read" && !strings.Contains(refusal.Detail, word):
			t.Errorf("%s: %q does not name the %s", change.do, refusal.Detail, change.kind)
		}
	}
}

// stranger reads the contract as a role without any right: the lines are the same
// but for its rights.
func stranger(t *testing.T, c *pgx.Conn, r relation.Reader, oids []int64) {
	t.Helper()
	before, err := r.Read(t.Context(), c, oids)
	if err != nil {
		t.Fatal(err)
	}
	run(t, c, "set role somebody")
	after, err := r.Read(t.Context(), c, oids)
	if err != nil {
		t.Fatal(err)
	}
	if refusal, ok := remediate.Refused(before.Check(after)); !ok || !strings.Contains(refusal.Detail, "the right") {
		t.Errorf("%v, want that the rights changed", refusal)
	}
	for _, oid := range oids {
		if before, after := before.Relations[oid].Lines, after.Relations[oid].Lines; len(before) != len(after) {
			t.Errorf("%d lines for the owner and %d for a stranger", len(before), len(after))
		}
	}
}

// Another server and a table that was dropped are distinguished, and a text that is no
// contract is an error.
func TestContractOfAnother(t *testing.T) {
	c := serve(t, "")
	run(t, c, "create table s (id int); create table other (id int)")
	oids := oidsOf(t, c, "s", "other")
	before, err := relation.Read(t.Context(), c, []int64{oids["s"], oids["other"]})
	if err != nil {
		t.Fatal(err)
	}
	other := before
	other.System = "1"
	if refusal, ok := remediate.Refused(other.Check(before)); !ok || refusal.Reason != remediate.ReasonTarget {
		t.Errorf("another server: %v", refusal)
	}
	if refusal, ok := remediate.Refused(before.Check(before.Only(oids["s"]))); !ok ||
		refusal.Reason != remediate.ReasonChanged || !strings.Contains(refusal.Detail, "dropped") {
		t.Errorf("a table that is gone: %v", refusal)
	}
	for _, text := range []string{"", "system=1", "1=2", "system=1 x=y", "system=1 12", "system= 1=2"} {
		if c, err := relation.Parse(text); err == nil {
			t.Errorf("%q is the contract %v", text, c)
		}
	}
}

// The parts of a tree are found with what is above and below, without a lock.
func TestTree(t *testing.T) {
	c := serve(t, "")
	run(t, c, `create table r (a int, b int) partition by list (a); create table r1 partition of r for values in (1) partition by list (b);
		create table r11 partition of r1 for values in (1); create table r12 partition of r1 for values in (2); create table r2 partition of r for values in (2);
		create table kin (a int); create table child () inherits (kin)`)
	oids := oidsOf(t, c, "r", "r1", "r11", "kin")
	for name, want := range map[string]string{"r": "r r1 r2 r11 r12", "r1": "r1 r11 r12 ^r", "r11": "r11 ^r ^r1",
		"kin": "kin child"} {
		tree, err := relation.ReadTree(t.Context(), c, oids[name])
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]bool)
		for _, n := range tree {
			word := n.Table
			if n.Above {
				word = "^" + word
			}
			got[word] = true
		}
		for word := range strings.FieldsSeq(want) {
			if !got[word] {
				t.Errorf("the tree of %s: %+v, want %s", name, tree, want)
			}
		}
		if len(got) != len(strings.Fields(want)) || len(tree) != len(got) {
			t.Errorf("the tree of %s: %+v, want %s", name, tree, want)
		}
	}
	tree, err := relation.ReadTree(t.Context(), c, oids["r1"])
	if err != nil {
		t.Fatal(err)
	}
	line := relation.Lineage(tree, oids["r11"])
	if len(line) != 2 || line[0].Table != "r1" || line[1].Table != "r" {
		t.Errorf("the lineage of r11 is %+v", line)
	}
	run(t, c, "begin; "+relation.LockText(append(line, tree[0])...))
	var locks int
	if err := c.QueryRow(t.Context(), "select count(*) from pg_locks where pid = pg_backend_pid() and mode = "+
		"'RowExclusiveLock' and relation in ('r'::regclass, 'r1'::regclass, 'r11'::regclass)").
		Scan(&locks); err != nil || locks != 2 {
		t.Errorf("%d locks: %v", locks, err)
	}
}

func serve(t *testing.T, version string) *pgx.Conn {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	url := ""
	if version == "" {
		url, _ = servertest.Database(t)
	} else {
		dir, err := servertest.Dir()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		s, err := servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"),
			Bin: servertest.Versions(t)[version], Settings: map[string]string{"fsync": "off", "autovacuum": "off"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Stop() })
		url = s.URL
	}
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Roles are those of all databases of a server.
		_, err := c.Exec(ctx, "reset role; drop owned by somebody, upkeep_test_owner; drop role somebody, "+
			"upkeep_test_owner", pgx.QueryExecModeSimpleProtocol)
		if refused, ok := errors.AsType[*pgconn.PgError](err); err != nil && (!ok || refused.Code != "42704") {
			t.Error(err)
		}
		_ = c.Close(ctx) // it has read
	})
	return c
}

// run runs statements one by one, where CONCURRENTLY and VACUUM are no part of a
// transaction.
func run(t *testing.T, c *pgx.Conn, sql string) {
	t.Helper()
	parts := []string{sql}
	if !strings.Contains(sql, "$$") {
		parts = strings.Split(sql, ";")
	}
	for _, one := range parts {
		if _, err := c.Exec(t.Context(), one, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", one, err)
		}
	}
}

func oidsOf(t *testing.T, c *pgx.Conn, names ...string) map[string]int64 {
	t.Helper()
	all := make(map[string]int64)
	for _, name := range names {
		var oid int64
		if err := c.QueryRow(t.Context(), "select $1::text::regclass::oid::int8", name).Scan(&oid); err != nil {
			t.Fatal(err)
		}
		all[name] = oid
	}
	return all
}

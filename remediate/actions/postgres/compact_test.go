package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// What the one way cannot do the other may; where neither can, both say why.
func TestRepackRefuses(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.withKey(t)
	servertest.Exec(t, c.url, "create function public.touch() returns trigger language plpgsql as 'begin return new; "+
		"end'",
		"create role clerk login", "grant usage on schema "+quoted(schema)+" to clerk")
	t.Cleanup(func() { servertest.Exec(t, c.url, "drop owned by clerk", "drop role clerk") })
	clerk, err := target.NewPostgres(target.PostgresConfig{Name: "main",
		URL: strings.Replace(c.url, "upkeep@", "clerk@", 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(clerk.Close)
	odd, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: c.url,
		Password: func() (string, error) { return "pass word", nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(odd.Close)
	c.bloat(t, 10_000)
	trigger := "create trigger " + quoted(`touch "it"`) + " before update on " + c.qTable +
		" for each row execute function public.touch()"
	for _, test := range []struct {
		name         string
		do, undo     []string
		server       *target.Postgres
		schema       string
		table        string
		reason, says string // reason "" is a plan, whose facts or way say
	}{
		{name: "sound", says: "the way is pg_repack"},
		{name: "trigger", do: []string{trigger}, undo: []string{"drop trigger " + quoted(`touch "it"`) + " on " +
			c.qTable}, says: "the way is pg_repack"},
		{name: "key with a quote", do: []string{"alter table " + c.qTable + " rename id to " + quoted(`i'd`)},
			undo: []string{"alter table " + c.qTable + " rename " + quoted(`i'd`) + " to id"},
			says: "the way is to move rows"},
		{
			name: "key with a quote, and a trigger", do: []string{trigger,
				"alter table " + c.qTable + " rename id to " + quoted(`i'd`)},
			undo: []string{"drop trigger " + quoted(`touch "it"`) + " on " + c.qTable,
				"alter table " + c.qTable + " rename " + quoted(`i'd`) + " to id"},
			reason: remediate.ReasonUnfit, says: "would fire for each row",
		},
		{name: "column with a quote", do: []string{"alter table " + c.qTable + " rename key to " + quoted(`k'"; \ $1`)},
			undo: []string{"alter table " + c.qTable + " rename " + quoted(`k'"; \ $1`) + " to key"},
			says: "the way is pg_repack"},
		{name: "index that says WHERE", do: []string{"create index odd on " + c.qTable +
			" (id) where key <> ' WHERE TABLESPACE'"}, undo: []string{"drop index " + quoted(schema, "odd")},
			says: "the way is to move rows"},
		{name: "published to all", do: []string{"create publication everything for all tables"},
			undo: []string{"drop publication everything"}, says: "is sent to the subscribers of everything"},
		{name: "no key", do: []string{"alter table " + c.qTable + " drop constraint " + quoted(c.key(t))},
			undo: []string{"alter table " + c.qTable + " add primary key (id)"}, says: "the way is to move rows"},
		{
			name: "no key, published", do: []string{"alter table " + c.qTable + " drop constraint " + quoted(c.key(t)),
				"create publication few for table " + c.qTable},
			undo:   []string{"drop publication few", "alter table " + c.qTable + " add primary key (id)"},
			reason: remediate.ReasonUnfit, says: "without a replica identity",
		},
		{
			name: "no key, a constraint that is not validated",
			do: []string{"alter table " + c.qTable + " drop constraint " + quoted(c.key(t)),
				"alter table " + c.qTable + " add constraint small check (id < 5) not valid"},
			undo: []string{"alter table " + c.qTable + " drop constraint small",
				"alter table " + c.qTable + " add primary key (id)"}, reason: remediate.ReasonUnfit,
			says: "not validated",
		},
		{
			name: "unlogged", schema: "public", table: "u", do: []string{
				"create unlogged table public.u (id int primary key, note text)",
				"insert into public.u select i, md5(i::text) from generate_series(1, 10000) i",
				"delete from public.u where id % 10 <> 0", "vacuum (analyze, truncate off) public.u",
			}, undo: []string{"drop table public.u"}, says: "the table is unlogged",
		},
		{
			name: "rows that divide a page badly", schema: "public", table: "wide",
			do: []string{
				"create table public.wide (id int primary key, a char(2100))",
				"alter table public.wide alter a set storage plain",
				"insert into public.wide select i, 'x' from generate_series(1, 1000) i",
				"vacuum analyze public.wide",
			}, undo: []string{"drop table public.wide"}, reason: remediate.ReasonCannotHelp,
			says: "3 of such rows fit on a page",
		},
		{name: "never analyzed", schema: "public", table: "young",
			do: []string{"create table public.young (id int primary key)",
				"insert into public.young select generate_series(1, 1000)"}, undo: []string{"drop table public.young"},
			reason: remediate.ReasonCannotHelp, says: "never analyzed"},
		{name: "materialized view", schema: "public", table: "m",
			do:   []string{"create materialized view public.m as select 1 as id"},
			undo: []string{"drop materialized view public.m"}, reason: remediate.ReasonUnfit,
			says: "postgres/vacuum_full"},
		{name: "catalog", schema: "pg_catalog", table: "pg_class", reason: remediate.ReasonUnfit,
			says: "the server's own"},
		{name: "a password of two words", server: odd, says: "the password has a space"},
		{name: "without the right", server: clerk, reason: remediate.ReasonPrivilege, says: "role clerk may not"},
		{
			name: "of another owner", server: clerk, do: []string{"alter table " + c.qTable + " owner to clerk"},
			undo: []string{"alter table " + c.qTable + " owner to upkeep"},
			says: "only a superuser can hold back",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			servertest.Exec(t, c.url, test.do...)
			defer servertest.Exec(t, c.url, test.undo...)
			server := test.server
			if server == nil {
				server = c.server
			}
			action := postgres.Repack(server)
			r := c.order(action)
			if test.table != "" {
				r.Subject["schema"], r.Subject["table"] = test.schema, test.table
			}
			plan, err := action.Plan(t.Context(), r)
			switch {
			case test.reason != "":
				if !refusedFor(err, test.reason, test.says) {
					t.Errorf("Plan: %+v, %v; want the refusal %q that says %q", plan, err, test.reason, test.says)
				}
			case err != nil:
				t.Error(err)
			default:
				wants(t, plan, test.says)
			}
		})
	}
	// What was planned last is done, too, after all of this.
	before := c.pages(t)
	c.do(t, postgres.Repack(c.server))
	if after := c.pages(t); after > before/2 {
		t.Errorf("%d pages, and before %d", after, before)
	}
	c.sound(t)
}

// key is the name of the primary key's constraint.
func (c *fixture) key(t *testing.T) string {
	t.Helper()
	return c.text(t, "select conname from pg_constraint where conrelid = $1::regclass and contype = 'p'", c.qTable)
}

// Columns with every kind of name, of every kind, come through a pg_repack whole.
func TestRepackKeepsEveryColumn(t *testing.T) {
	t.Parallel()
	c := open(t)
	servertest.Exec(t, c.url, "create extension pg_repack", "create extension amcheck", "drop table "+c.qTable,
		fmt.Sprintf(`create table %s (gone int, %s int generated always as identity, %s text, %s int generated always as (1 + 2) stored, wide text, primary key (%[2]s)) with (fillfactor = 90, autovacuum_enabled = off)`,
			c.qTable, quoted(`Id "x"; --`), quoted(`k'"; \ $1`), quoted("gen\nerated")),
		"alter table "+c.qTable+" drop column gone",
		fmt.Sprintf("create unique index %s on %s (lower(%s), %s) include (%s) where %[3]s <> 'it''s'", quoted(index),
			c.qTable, quoted(`k'"; \ $1`), quoted(`Id "x"; --`), quoted("gen\nerated")),
		fmt.Sprintf("insert into %s (%s, wide) select i || '\"''', repeat(md5(i::text), 200) from generate_series(1, "+
			"5000) i", c.qTable, quoted(`k'"; \ $1`)),
		fmt.Sprintf("delete from %s where %s %% 10 <> 0", c.qTable, quoted(`Id "x"; --`)),
		"vacuum (analyze, truncate off) "+c.qTable)
	rows, definition := c.rows(t), c.text(t, "select string_agg(pg_get_indexdef(indexrelid), ';' order by 1) from "+
		"pg_index where indrelid = $1::regclass", c.qTable)
	before := c.pages(t)
	wants(t, c.do(t, postgres.Repack(c.server)), "the way is pg_repack")
	if after := c.pages(t); after > before/2 {
		t.Errorf("%d pages, and before %d", after, before)
	}
	if got := c.rows(t); got != rows {
		t.Errorf("the rows were %s and are %s", rows, got)
	}
	if got := c.text(t, "select string_agg(pg_get_indexdef(indexrelid), ';' order by 1) from pg_index where indrelid "+
		"= $1::regclass", c.qTable); got != definition {
		t.Errorf("the indexes were %s and are %s", definition, got)
	}
	c.sound(t)
}

// It waits for a locked row at the end, and no session waits for us.
func TestRepackPassesHeldRowsOver(t *testing.T) {
	t.Parallel()
	c := open(t)
	servertest.Exec(t, c.url, "create extension amcheck")
	c.bloat(t, 10_000)
	rows := c.rows(t)
	action := postgres.Repack(c.server)
	plan, err := action.Plan(t.Context(), c.order(action))
	if err != nil {
		t.Fatal(err)
	}
	holder := c.connect(t)
	exec(t, holder, "begin", "select id from "+c.qTable+" order by ctid desc limit 1 for update")
	ended := make(chan error, 1)
	go func() { ended <- applied(t, action, plan.Steps[0]) }()
	c.until(t, "the other rows have moved",
		"select case when (select count(distinct (ctid::text::point)[0]) from "+c.qTable+") <= "+plan.Steps[0].Args["goal"]+" + 1 then 1 else 0 end")
	exec(t, holder, "commit")
	if err := <-ended; err != nil {
		t.Error(err)
	}
	var goal int
	if _, err := fmt.Sscan(plan.Steps[0].Args["goal"], &goal); err != nil {
		t.Fatal(err)
	}
	if n := c.pages(t); n > goal {
		t.Errorf("%d pages, wanted %d", n, goal)
	}
	if got := c.rows(t); got != rows {
		t.Errorf("the rows were %s and are %s", rows, got)
	}
	c.sound(t)
}

// On the oldest and the newest major version too.
func TestRepackOfOtherVersions(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"13", "18"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			w := own(t, version, nil)
			p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: w.URL})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			servertest.Exec(t, w.URL, "create table public.t (id int primary key, note text)",
				"insert into public.t select i, md5(i::text) from generate_series(1, 20000) i",
				"delete from public.t where id % 10 <> 0", "vacuum (analyze, truncate off) public.t")
			c := &fixture{server: p, url: w.URL, database: "postgres", qTable: "public.t"}
			for _, action := range []remediate.Action{postgres.Repack(p), postgres.VacuumFull(p)} {
				before := c.pages(t)
				r := remediate.Request{Subject: map[string]string{"server": "main", "database": "postgres",
					"schema": "public", "table": "t"}}
				plan, err := action.Plan(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				if err := applied(t, action, plan.Steps[0]); err != nil {
					t.Fatal(err)
				}
				if after := c.pages(t); after > before/2 {
					t.Errorf("%s: %d pages, and before %d", action.Name, after, before)
				}
				servertest.Exec(t, w.URL, "delete from public.t where id > 100000",
					"insert into public.t select i, md5(i::text) from generate_series(100002, 120000) i",
					"delete from public.t where id > 100000 and id < 119990", "analyze public.t")
			}
		})
	}
}

// Clients that read and write go on meanwhile: no error, no lost write.
func TestRepackUnderLoad(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"pg_repack", "rows"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			c := open(t)
			servertest.Exec(t, c.url, "create extension amcheck", "alter table "+c.qTable+" add primary key (id)")
			if way == "pg_repack" {
				servertest.Exec(t, c.url, "create extension pg_repack")
			}
			c.fill(t, 50_000, "vacuum (analyze, truncate off) "+c.qTable)
			servertest.Exec(t, c.url, "alter table "+c.qTable+" add column n int not null default 0",
				"vacuum (analyze, truncate off) "+c.qTable)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var done, inserted atomic.Int64
			var longest atomic.Int64
			var clients sync.WaitGroup
			for i := range 4 {
				conn := c.connect(t)
				clients.Go(func() {
					for n := 0; ctx.Err() == nil; n++ {
						began := time.Now()
						id := 10 * (1 + (n*7919+i*31)%5000)
						_, err := conn.Exec(t.Context(), "update "+c.qTable+" set n = n + 1 where id = $1", id)
						if err == nil && n%10 == 0 {
							_, err = conn.Exec(t.Context(),
								"insert into "+c.qTable+" (id, key, n) values ($1, 'new', 0)", 100_000+4*n+i)
							inserted.Add(1)
						}
						if err != nil {
							t.Errorf("a client: %v", err)
							return
						}
						done.Add(1)
						if took := time.Since(began).Microseconds(); took > longest.Load() {
							longest.Store(took)
						}
						time.Sleep(5 * time.Millisecond)
					}
				})
			}
			before := c.pages(t)
			plan := c.do(t, postgres.Repack(c.server))
			stop()
			clients.Wait()
			if plan.Steps[0].Args["way"] != way {
				t.Errorf("the way was %s", plan.Steps[0].Args["way"])
			}
			t.Logf("%d pages of %d; %d transactions, the longest %.0f ms", c.pages(t), before, done.Load(),
				float64(longest.Load())/1000)
			if sum := c.number(t, "select sum(n) from "+c.qTable); int64(sum) != done.Load() {
				t.Errorf("%d updates are there, %d were made", sum, done.Load())
			}
			if n := c.number(t, "select count(*) from "+c.qTable); int64(n) != 5000+inserted.Load() {
				t.Errorf("%d rows, want %d", n, 5000+inserted.Load())
			}
			if after := c.pages(t); after > before/2 {
				t.Errorf("%d pages, and before %d", after, before)
			}
			c.sound(t)
		})
	}
}

// A long reader keeps vacuum_full from its lock, but no other session from reading for
// longer than that is waited for. It is named when the time is over.
func TestVacuumFullDoesNotQueue(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.bloat(t, 10_000)
	action := postgres.VacuumFull(c.server)
	plan, err := action.Plan(t.Context(), c.order(action))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, plan, "the table is locked for reads and writes for about")
	reader, other := c.connect(t), c.connect(t)
	exec(t, reader, "set application_name = 'report'", "begin", "select count(*) from "+c.qTable)
	plan, err = action.Plan(t.Context(), c.order(action))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, plan, "1 sessions use the table now")
	before := c.file(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- action.Apply(ctx, remediate.Fence{Token: 1, Held: held}, plan.Steps[0]) }()
	reads, asked := 0, 0 // reads since it was seen to ask for its lock: it lets them pass
	for ctx.Err() == nil {
		if asked == 0 {
			asked = c.number(t, "select count(*) from pg_locks where not granted and relation = "+literal(c.qTable)+
				"::regclass and mode = 'AccessExclusiveLock'")
		}
		if exec(t, other, "select 1 from "+c.qTable+" limit 1"); asked > 0 {
			reads++
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "report") {
		t.Errorf("Apply: %v, want who was in the way", err)
	}
	if reads < 3 {
		t.Errorf("%d reads while it waited: it does not let others pass", reads)
	}
	if c.file(t) != before {
		t.Error("the table was written anew beside a reader")
	}
	exec(t, reader, "commit")
	if err := applied(t, action, plan.Steps[0]); err != nil || c.file(t) == before {
		t.Errorf("after the reader: %v", err)
	}
}

func TestVacuumFullInsists(t *testing.T) {
	if a := postgres.VacuumFull(&target.Postgres{Name: "main"}); !a.Asks || !a.Windowed {
		t.Error("it neither asks nor waits for a window")
	}
}

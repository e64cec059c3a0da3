package postgres_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/collectors/postgres/usage"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

const twin = `twin '; DROP TABLE victim; --"` + "\\"

// indexes reports all that is known of the indexes outside of the catalogs.
func (c *fixture) indexes(t *testing.T) string {
	t.Helper()
	return c.text(t, `select coalesce(string_agg(concat_ws(' ', c.oid, n.nspname, c.relname, i.indisvalid, i.indisready, i.indislive, pg_get_indexdef(c.oid)), E'\n' order by c.oid), '')
		from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
		where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')`)
}

// drops counts how often an index was there and then was not.
func (c *fixture) drops(name string) (see func(t *testing.T) int) {
	there, effects := false, 0
	return func(t *testing.T) int {
		t.Helper()
		is := c.number(t, "select count(*) from pg_class where relname = $1", name) == 1
		if there && !is {
			effects++
		}
		there = is
		return effects
	}
}

// because is the parameter of that name, and more.
func because(why string, more ...string) map[string]string {
	params := map[string]string{"because": why}
	for i := 0; i < len(more); i += 2 {
		params[more[i]] = more[i+1]
	}
	return params
}

func TestDropIndex(t *testing.T) {
	c := open(t)
	see := c.drops(index)
	c.fill(t, 4_000)
	actiontest.Run(t, actiontest.Case{
		Action: postgres.DropIndex(c.server), Subject: c.subject("server", "database", "schema", "table", "index"),
		Params: because("duplicate"), Limit: 8192, Child: c.url,
		Degrade: func(t *testing.T) {
			servertest.Exec(t, c.url, "drop index if exists "+c.qIndex, "drop index if exists "+quoted(schema, twin),
				"create index "+quoted(index)+" on "+c.qTable+" (key)",
				"create index "+quoted(twin)+" on "+c.qTable+" (key)")
			see(t)
		},
		State: c.indexes, Effects: see,
	})
	if n := c.number(t, "select count(*) from pg_class where relname = $1", twin); n != 1 {
		t.Error("the twin is gone too")
	}
}

// An interrupted build leaves an index that may have no page at all, and is there.
func TestDropIndexInvalid(t *testing.T) {
	c := open(t)
	c.fill(t, 2_000, "insert into "+c.qTable+" values (1, 'same'), (2, 'same')", "drop index "+c.qIndex)
	see := c.drops(index)
	actiontest.Run(t, actiontest.Case{
		Action: postgres.DropIndex(c.server), Subject: c.subject("server", "database", "schema", "table", "index"),
		Params: because("invalid"), Limit: 0, Child: c.url,
		Degrade: func(t *testing.T) {
			if see(t); c.number(t, "select count(*) from pg_class where relname = $1", index) == 0 {
				if _, err := c.connect(t).Exec(t.Context(),
					"create unique index concurrently "+quoted(index)+" on "+c.qTable+" (key)"); err == nil {
					t.Fatal("the build did not fail: the test shows nothing")
				}
			}
			see(t)
		},
		State: c.indexes, Effects: see,
	})
}

// request asks for a drop of an index of public.t.
func (c *fixture) dropRequest(name string, params map[string]string) remediate.Request {
	return remediate.Request{
		Action: "postgres/drop_index", Params: params,
		Subject: map[string]string{"server": "main", "database": c.database, "schema": "public", "table": "t",
			"index": name},
	}
}

// later is a clock that shows by how much the statistics have aged meanwhile.
func later(d time.Duration) func() time.Time {
	return func() time.Time { return time.Now().Add(d) }
}

const month = 31 * 24 * time.Hour

// seen is a first look at the indexes of a fixture: what is not known by then is younger.
func (c *fixture) seen(t *testing.T) {
	t.Helper()
	db, err := c.server.Database(c.database)
	if err == nil {
		_, err = usage.Read(t.Context(), c.server, c.database, db, time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDropIndexRefusals(t *testing.T) {
	c := open(t)
	servertest.Exec(t, c.url,
		"create table other (id int primary key)",
		`create table t (id int primary key, a int, b int, c text, d int references other, r int4range,
			constraint t_b unique (b), constraint t_r exclude using gist (r with &&))`,
		"create index unused on t (a)", "create index used on t (c)", "create index of_expression on t (lower(c))",
		"create index for_key on t (d)",
		"create unique index uni on t (a, b)", "create unique index ident on t (id)",
		"alter table t replica identity using index ident",
		"create index prefix on t (b, a)", "create index longer on t (b, a, c)",
		"create table st (ts timestamptz, w text[])",
		"create index brin_fine on st using brin (ts) with (pages_per_range = 1)",
		"create index brin_coarse on st using brin (ts) with (pages_per_range = 128)",
		"create index gin_fast on st using gin (w)",
		"create index gin_slow on st using gin (w) with (fastupdate = off)",
		"create table clu (a int)", "create index clu_a on clu (a)", "cluster clu using clu_a",
		"create table p (a int) partition by range (a)", "create index p_a on p (a)",
		"create table p_1 partition of p for values from (0) to (9)",
		"insert into t (id, a, b, c) select n, n, n, n::text from generate_series(1, 1000) n",
		"analyze t", "set enable_seqscan = off")
	conn := c.connect(t)
	exec(t, conn, "set enable_seqscan = off", "select count(*) from t where c = '5'",
		"select pg_stat_force_next_flush()")
	c.seen(t)
	servertest.Exec(t, c.url, "create role stranger login", "create role holder login",
		"alter schema public owner to upkeep", "alter database "+c.database+" owner to holder")
	t.Cleanup(func() {
		servertest.Exec(t, c.url, "alter database "+c.database+" owner to upkeep", "drop role stranger",
			"drop role holder")
	})
	as := func(role string) *target.Postgres {
		p, err := target.NewPostgres(target.PostgresConfig{Name: "main",
			URL: strings.Replace(c.url, "upkeep@", role+"@", 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		p.Notes = c.server.Notes
		return p
	}
	for _, test := range []struct {
		name   string
		action remediate.Action
		index  string
		params map[string]string
		reason string
		says   string
	}{
		{"no reason", postgres.DropIndexAt(c.server, later(month)), "unused", nil, remediate.ReasonSubject,
			"unused, duplicate or invalid"},
		{"another reason", postgres.DropIndexAt(c.server, later(month)), "unused", because("unused; drop table victim"),
			remediate.ReasonSubject, "because"},
		{"no time", postgres.DropIndexAt(c.server, later(month)), "unused", because("unused", "patience", "1 week'"),
			remediate.ReasonSubject, "patience"},
		{"too little counted", postgres.DropIndexAt(c.server, later(month)), "unused",
			because("unused", "counted", "1d"), remediate.ReasonSubject, "30d at least"},
		{"young statistics", postgres.DropIndex(c.server), "unused", because("unused"), remediate.ReasonUnfit, "young"},
		{"young for this policy", postgres.DropIndexAt(c.server, later(month)), "unused",
			because("unused", "counted", "100d"), remediate.ReasonUnfit, "100 days"},
		{"used", postgres.DropIndexAt(c.server, later(month)), "used", because("unused"), remediate.ReasonNothing,
			"have used"},
		{"the database's owner", postgres.DropIndexAt(as("holder"), later(month)), "unused", because("unused"),
			remediate.ReasonPrivilege, "must own the table"},
		{"a stranger", postgres.DropIndexAt(as("stranger"), later(month)), "unused", because("unused"),
			remediate.ReasonPrivilege, `grant "upkeep"`},
		{"primary key", postgres.DropIndexAt(c.server, later(month)), "t_pkey", because("unused"),
			remediate.ReasonUnfit, "primary key"},
		{"unique constraint", postgres.DropIndexAt(c.server, later(month)), "t_b", because("unused"),
			remediate.ReasonUnfit, "constraint t_b"},
		{"exclusion", postgres.DropIndexAt(c.server, later(month)), "t_r", because("unused"), remediate.ReasonUnfit,
			"exclusion"},
		{"unique", postgres.DropIndexAt(c.server, later(month)), "uni", because("unused"), remediate.ReasonUnfit,
			"unique"},
		{"replica identity", postgres.DropIndexAt(c.server, later(month)), "ident", because("duplicate"),
			remediate.ReasonUnfit, "replication"},
		{"expression", postgres.DropIndexAt(c.server, later(month)), "of_expression", because("unused"),
			remediate.ReasonUnfit, "CREATE STATISTICS"},
		{"foreign key", postgres.DropIndexAt(c.server, later(month)), "for_key", because("unused"),
			remediate.ReasonUnfit, "t_d_fkey"},
		{"only the first keys", postgres.DropIndexAt(c.server, later(month)), "prefix", because("duplicate"),
			remediate.ReasonUnfit, "first of longer"},
		{"no duplicate", postgres.DropIndexAt(c.server, later(month)), "longer", because("duplicate"),
			remediate.ReasonNothing, "identical"},
		{"another granularity", postgres.DropIndexAt(c.server, later(month)), "st/brin_fine", because("duplicate"),
			remediate.ReasonNothing, "identical"},
		{"another storage parameter", postgres.DropIndexAt(c.server, later(month)), "st/gin_fast", because("duplicate"),
			remediate.ReasonNothing, "identical"},
		{"valid", postgres.DropIndexAt(c.server, later(month)), "unused", because("invalid"), remediate.ReasonNothing,
			"valid"},
		{"gone", postgres.DropIndexAt(c.server, later(month)), "nowhere", because("unused"), remediate.ReasonGone,
			"nowhere"},
		{"a table", postgres.DropIndexAt(c.server, later(month)), "t", because("unused"), remediate.ReasonGone, ""},
		{"clustered", postgres.DropIndexAt(c.server, later(month)), "clu/clu_a", because("unused"),
			remediate.ReasonUnfit, "CLUSTER"},
		{"partitioned", postgres.DropIndexAt(c.server, later(month)), "p/p_a", because("unused"), remediate.ReasonUnfit,
			"partitioned"},
		{"partition", postgres.DropIndexAt(c.server, later(month)), "p_1/p_1_a_idx", because("unused"),
			remediate.ReasonUnfit, "part of an index"},
		{"catalog", postgres.DropIndexAt(c.server, later(month)), "pg_catalog/pg_class/pg_class_relname_nsp_index",
			because("unused"), remediate.ReasonUnfit, "catalogs"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := c.dropRequest(test.index, test.params)
			switch parts := strings.Split(test.index, "/"); len(parts) {
			case 3:
				r.Subject["schema"], r.Subject["table"], r.Subject["index"] = parts[0], parts[1], parts[2]
			case 2:
				r.Subject["table"], r.Subject["index"] = parts[0], parts[1]
			}
			plan, err := test.action.Plan(t.Context(), r)
			if test.reason == remediate.ReasonPrivilege { // it is shown all the same
				if len(plan.Steps) != 1 || len(plan.Needs) != 1 {
					t.Errorf("Plan: %+v, want all of it", plan)
				}
			}
			if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != test.reason ||
				!strings.Contains(refusal.Detail, test.says) {
				t.Errorf("Plan: %+v, %v, want the refusal %q that says %q", plan.Steps, err, test.reason, test.says)
			}
		})
	}
}

// What the actions on indexes say to a server is right on each version: one server
// is enough for all of it, which ends with a crash.
func TestIndexesOfEveryVersion(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"13", "", "18"} {
		t.Run("version "+version, func(t *testing.T) {
			s := own(t, version, map[string]string{"track_commit_timestamp": "on"})
			for _, test := range []struct {
				name string
				run  func(t *testing.T, c *fixture, s *sandbox.Postgres)
			}{{"undo", undone}, {"toast", ofToast}, {"advice", advised}, {"unused", unused}} {
				t.Run(test.name, func(t *testing.T) {
					servertest.NewDatabase(t, s.URL, test.name)
					c := serverClinic(t, strings.Replace(s.URL, "/postgres?", "/"+test.name+"?", 1))
					c.database = test.name
					test.run(t, c, s)
				})
			}
			crashed(t, s, version)
		})
	}
}

// unused: an index that no query used for a month is dropped. One that a query uses
// between the plan and the drop stays.
func unused(t *testing.T, c *fixture, _ *sandbox.Postgres) {
	servertest.Exec(t, c.url, "create table t (a int, b int)",
		"insert into t select n, n from generate_series(1, 5000) n", "create index one on t (a)",
		"create index two on t (b)", "analyze t")
	c.seen(t)
	refuses(t, postgres.DropIndexAt(c.server, later(month-2*24*time.Hour)), c.dropRequest("one", because("unused")),
		remediate.ReasonUnfit, "prove nothing", false)
	action := postgres.DropIndexAt(c.server, later(month))
	for _, name := range []string{"one", "two"} {
		r := c.dropRequest(name, because("unused"))
		plan, err := action.Plan(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := action.Measure(t.Context(), r); err != nil || v <= 8192 {
			t.Errorf("Measure: %v %v", v, err)
		}
		if name == "two" {
			c.use(t, "select count(*) from t where b = 7", name)
		}
		err = applyAll(t, action, plan)
		there := c.number(t, "select count(*) from pg_class where relname = $1", name) == 1
		if name == "one" && (err != nil || there) {
			t.Errorf("Apply: %v; the index is there: %v", err, there)
		}
		if name == "two" && (err == nil || !there || !strings.Contains(err.Error(), "have used the index")) {
			t.Errorf("Apply: %v; the index is there: %v", err, there)
		}
	}
}

// use lets a query use an index of public.t, and waits until the statistics say so.
func (c *fixture) use(t *testing.T, query, name string) {
	t.Helper()
	conn := c.connect(t)
	exec(t, conn, "set enable_seqscan = off", query)
	_ = conn.Close(t.Context()) // the statistics of a session arrive with its end
	for end := time.Now().Add(2 * time.Minute); c.number(t, "select pg_stat_get_numscans($1::text::regclass)",
		name) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not use %s", query, name)
		}
	}
}

// crashed: the statistics after a crash are empty, and nothing says since when.
func crashed(t *testing.T, s *sandbox.Postgres, version string) {
	t.Helper()
	at := func(url string) *fixture {
		c := serverClinic(t, strings.Replace(url, "/postgres?", "/unused?", 1))
		c.database = "unused"
		return c
	}
	before := at(s.URL)
	before.seen(t)
	c := at(crash(t, s, version).URL)
	c.server.Notes = before.server.Notes
	if n := c.number(t, "select count(*) from pg_stat_user_indexes where idx_scan <> 0"); n != 0 {
		t.Fatalf("%d indexes have scans after a crash: the test shows nothing", n)
	}
	refuses(t, postgres.DropIndexAt(c.server, later(month-2*24*time.Hour)), c.dropRequest("two", because("unused")),
		remediate.ReasonUnfit, "crash", false)
}

// serverClinic is the database postgres of a server of the test's own.
func serverClinic(t *testing.T, url string) *fixture {
	t.Helper()
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &fixture{server: p, url: url, database: "postgres"}
}

func applyAll(t *testing.T, a remediate.Action, p remediate.Plan) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, s := range p.Steps {
		if err := a.Apply(ctx, remediate.Fence{Token: 1, Held: held}, s); err != nil {
			return err
		}
	}
	return nil
}

// crash ends a server as a failure does, and starts it again on the same data.
func crash(t *testing.T, s *sandbox.Postgres, version string) *sandbox.Postgres {
	t.Helper()
	quit(t, s)
	bin := ""
	if version != "" {
		bin = servertest.Versions(t)[version]
	}
	again, err := servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{Dir: s.Dir, Bin: bin,
		Settings: map[string]string{"fsync": "off", "autovacuum": "off", "track_commit_timestamp": "on"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := again.Stop(); err != nil {
			t.Error(err)
		}
	})
	return again
}

// Of two that are identical one may go, and then the other is no longer a duplicate.
// The one that stays is the one that the planner uses.
func TestDropIndexOfPair(t *testing.T) {
	c := open(t)
	servertest.Exec(t, c.url, "create table t (a int, b int)",
		"insert into t select n, n from generate_series(1, 5000) n", "create index older on t (a)",
		"create index younger on t (a)", "analyze t")
	c.use(t, "select count(*) from t where a = 7", "younger") // so the planner takes the younger
	action := postgres.DropIndexAt(c.server, later(month))
	if _, err := action.Plan(t.Context(), c.dropRequest("younger", because("duplicate"))); err == nil {
		t.Error("both may go")
	}
	plan, err := action.Plan(t.Context(), c.dropRequest("older", because("duplicate")))
	if err != nil || !strings.Contains(strings.Join(plan.Facts, "\n"), `"public"."younger" is identical and stays`) {
		t.Fatalf("Plan: %q %v", plan.Facts, err)
	}
	servertest.Exec(t, c.url, "drop index younger") // meanwhile, by somebody
	if err := applyAll(t, action, plan); err == nil || !strings.Contains(err.Error(), "no other index") {
		t.Errorf("Apply without the one that was to stay: %v", err)
	}
	servertest.Exec(t, c.url, "create index younger on t (a)")
	if err := applyAll(t, action, plan); err == nil || !strings.Contains(err.Error(),
		"another index than the plan says") {
		t.Errorf("Apply with another one that would stay: %v", err)
	}
	if plan, err = action.Plan(t.Context(), c.dropRequest("older", because("duplicate"))); err != nil {
		t.Fatal(err)
	}
	if err := applyAll(t, action, plan); err != nil {
		t.Fatal(err)
	}
	if _, err := action.Plan(t.Context(), c.dropRequest("younger", because("duplicate"))); err == nil {
		t.Error("the one that is left may go as a duplicate")
	}
	// Where the older one is used, the one that would stay is a candidate itself.
	servertest.Exec(t, c.url, "create index youngest on t (a)", "create table u (a int)")
	_, err = action.Plan(t.Context(), c.dropRequest("younger", because("duplicate")))
	if n := c.number(t, "select pg_stat_get_numscans('younger'::regclass)"); n != 0 {
		t.Fatalf("%d scans: the test shows nothing", n)
	}
	if err != nil {
		t.Errorf("neither is used, and one may not go: %v", err)
	}
	conn := c.connect(t)
	exec(t, conn, "set enable_seqscan = off", "begin", "drop index youngest", "select count(*) from t where a = 7",
		"rollback", "select pg_stat_force_next_flush()")
	_ = conn.Close(t.Context()) // so that its statistics arrive
	for end := time.Now().Add(2 * time.Minute); c.number(t,
		"select pg_stat_get_numscans('younger'::regclass)") == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the index was not used")
		}
	}
	_, err = action.Plan(t.Context(), c.dropRequest("younger", because("duplicate")))
	if r, ok := remediate.Refused(err); !ok || !strings.Contains(r.Detail, "both would go") {
		t.Errorf("Plan of the used one, whose twin counts as unused: %v", err)
	}
}

// Two that read the same and are stored in another way are two indexes, also where the one
// that was to stay is altered after the plan was made.
func TestDropIndexOfAnotherStorage(t *testing.T) {
	c := open(t)
	servertest.Exec(t, c.url, "create table t (a int)",
		"create index older on t using brin (a) with (autosummarize = on, pages_per_range = 16)",
		"create index younger on t using brin (a) with (pages_per_range = 16, autosummarize = on)")
	action := postgres.DropIndexAt(c.server, later(month))
	plan, err := action.Plan(t.Context(), c.dropRequest("older", because("duplicate")))
	if err != nil {
		t.Fatal(err)
	}
	servertest.Exec(t, c.url, "alter index younger set (pages_per_range = 128)")
	if err := applyAll(t, action, plan); err == nil || !strings.Contains(err.Error(),
		"no other index of the table is identical") {
		t.Errorf("Apply: %v", err)
	}
	for _, name := range []string{"older", "younger"} {
		if v, err := action.Measure(t.Context(), c.dropRequest(name, because("duplicate"))); err != nil || v != 0 {
			t.Errorf("%s is a duplicate of %v bytes, %v", name, v, err)
		}
	}
}

// A unique index that is checked at once is more than that of a deferrable constraint: no
// ON CONFLICT is answered by the second.
func TestDropIndexBesideADeferredOne(t *testing.T) {
	c := open(t)
	servertest.Exec(t, c.url, "create table t (a int unique deferrable, b int unique)",
		"create unique index at_once on t (a)", "create unique index twice on t (b)")
	for name, want := range map[string]float64{"at_once": 0, "twice": 8192} {
		v, err := postgres.DropIndex(c.server).Measure(t.Context(), c.dropRequest(name, because("duplicate")))
		if err != nil || v != want {
			t.Errorf("%s is a duplicate of %v bytes, want %v (%v)", name, v, want, err)
		}
	}
}

// An index that takes nulls for equal keeps other rows apart than one that does not.
func TestDropIndexNullsNotDistinct(t *testing.T) {
	c := open(t)
	servertest.Exec(t, c.url, "create table t (a int)", "create unique index one_null on t (a) nulls not distinct",
		"create unique index many_nulls on t (a)")
	for _, name := range []string{"one_null", "many_nulls"} {
		v, err := postgres.DropIndex(c.server).Measure(t.Context(), c.dropRequest(name, because("duplicate")))
		if err != nil || v != 0 {
			t.Errorf("%s is a duplicate of %v bytes, %v", name, v, err)
		}
	}
}

// While somebody reads, a drop waits, and no session waits behind it. Given up, it says
// what it has left; taken up again, it ends.
func TestDropIndexBehindReader(t *testing.T) {
	c := open(t)
	servertest.Exec(t, c.url, "create table t (a int, b int)",
		"insert into t select n, n from generate_series(1, 5000) n", "create index older on t (a)",
		"create index younger on t (a)")
	action := postgres.DropIndex(c.server)
	r := c.dropRequest("older", because("duplicate", "patience", "3s"))
	reader := c.connect(t)
	exec(t, reader, "set application_name = 'report'", "begin", "select count(*) from t")
	plan, err := action.Plan(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- applyAll(t, action, plan) }()
	waits := func() bool {
		return c.number(t, "select count(*) from pg_stat_activity where application_name like 'upkeep "+
			"postgres/drop_index%' and wait_event_type = 'Lock'") > 0
	}
	for end := time.Now().Add(2 * time.Minute); !waits(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the drop does not wait")
		}
	}
	other := c.connect(t)
	exec(t, other, "set lock_timeout = '500ms'", "insert into t values (0, 0)", "update t set b = 1 where a = 1",
		"delete from t where a = 2", "select count(*) from t")
	err = <-ended
	if err == nil || !strings.Contains(err.Error(), "the index is invalid now, behind session") ||
		!strings.Contains(err.Error(), "report") {
		t.Fatalf("Apply: %v", err)
	}
	if got := c.invalid(t); got != "older" {
		t.Fatalf("invalid is %q: the test shows nothing", got)
	}
	// A person who looks at it now sees the same, and may request it as invalid.
	if _, err := action.Plan(t.Context(), c.dropRequest("older", because("invalid", "patience", "1s"))); err == nil ||
		!strings.Contains(err.Error(), "report") {
		t.Errorf("Plan behind the reader: %v", err)
	}
	// A run that must not go on says what it has left, and leaves it to people.
	undo := func() (string, error) {
		return action.Executor.(remediate.Undoer).Undo(deadline(t), remediate.Fence{Token: 1, Held: held},
			plan.Steps[0])
	}
	if found, err := undo(); found != "" || err == nil || !strings.Contains(err.Error(), "is invalid") ||
		!strings.Contains(plan.Steps[0].Left, "REINDEX INDEX CONCURRENTLY") {
		t.Errorf("Undo of a drop that was given up: %q, %v; left: %q", found, err, plan.Steps[0].Left)
	}
	exec(t, reader, "rollback")
	if _, err := action.Plan(t.Context(), c.dropRequest("older", because("invalid"))); err != nil {
		t.Errorf("Plan: %v", err)
	}
	for range 2 {
		if err := applyAll(t, action, plan); err != nil {
			t.Fatalf("Apply, taken up again: %v", err)
		}
	}
	if got := c.invalid(t); got != "" || c.number(t, "select count(*) from pg_class where relname = 'older'") != 0 {
		t.Errorf("invalid is %q", got)
	}
	if found, err := undo(); found != "the index is dropped" || err != nil {
		t.Errorf("Undo of a drop that has ended: %q, %v", found, err)
	}
}

// An index that was built anew or renamed since is not the one of the plan.
func TestDropIndexOfAnother(t *testing.T) {
	c := open(t)
	servertest.Exec(t, c.url, "create table t (a int)", "create index older on t (a)", "create index younger on t (a)")
	action := postgres.DropIndex(c.server)
	plan, err := action.Plan(t.Context(), c.dropRequest("older", because("duplicate")))
	if err != nil {
		t.Fatal(err)
	}
	before := c.indexes(t)
	for _, change := range [][2]string{
		{"alter index older rename to oldest", "alter index oldest rename to older"},
		{"alter table t rename to u", "alter table u rename to t"},
	} {
		servertest.Exec(t, c.url, change[0])
		if err := applyAll(t, action, plan); err == nil {
			t.Errorf("%s: the drop was done", change[0])
		}
		servertest.Exec(t, c.url, change[1])
	}
	if diff := cmp.Diff(before, c.indexes(t)); diff != "" {
		t.Error(diff)
	}
	servertest.Exec(t, c.url, "reindex index concurrently older")
	if err := applyAll(t, action, plan); err == nil || !strings.Contains(err.Error(),
		"another than the plan was made for") {
		t.Errorf("Apply: %v", err)
	}
}

// undone: what the plan keeps makes the same index again.
func undone(t *testing.T, c *fixture, s *sandbox.Postgres) {
	space := filepath.Join(s.Dir, "space")
	info, err := os.Stat(filepath.Join(s.Dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	who := info.Sys().(*syscall.Stat_t)
	if err := os.Mkdir(space, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(space, int(who.Uid), int(who.Gid)); err != nil {
		t.Fatal(err)
	}
	name := quoted(index)
	create := "create index %s on t ((lower(b)) text_pattern_ops, (a + 1) desc nulls last) include (a) with " +
		"(fillfactor = 70) tablespace \"Fast 'Disk'\" where b <> 'it''s \\ %%s'"
	servertest.Exec(t, c.url, "create tablespace \"Fast 'Disk'\" location '"+space+"'",
		"create table t (a int, b text collate \"C\")",
		fmt.Sprintf(create, name), fmt.Sprintf(create, "keeper"),
		"alter index "+name+" alter column 2 set statistics 777", "comment on index "+name+` is 'it''s "needed" \ %s'`)
	tells := func() string {
		return c.text(t, `select concat_ws(E'\n', pg_get_indexdef(c.oid), (select spcname from pg_tablespace where oid = c.reltablespace), obj_description(c.oid, 'pg_class'),
					(select string_agg(attnum || '=' || attstattarget, ' ' order by attnum) from pg_attribute where attrelid = c.oid and attstattarget >= 0), i.indisvalid)
					from pg_class c join pg_index i on i.indexrelid = c.oid where c.relname = $1`, index)
	}
	before := tells()
	action := postgres.DropIndex(c.server)
	plan, err := action.Plan(t.Context(), c.dropRequest(index, because("duplicate")))
	if err != nil {
		t.Fatal(err)
	}
	if err := applyAll(t, action, plan); err != nil {
		t.Fatal(err)
	}
	conn := c.connect(t)
	for statement := range strings.SplitSeq(strings.TrimSuffix(plan.Steps[0].Undo, ";"), ";\n") {
		exec(t, conn, statement)
	}
	if diff := cmp.Diff(before, tells()); diff != "" {
		t.Errorf("made again, it is another:\n%s", diff)
	}
}

// ofToast: an interrupted rebuild of a whole table leaves indexes of its TOAST table
// too.
func ofToast(t *testing.T, c *fixture, _ *sandbox.Postgres) {
	servertest.Exec(t, c.url, "create table t (a int, b text)", "insert into t values (1, 'x')")
	toast := c.text(t, "select relname from pg_class where oid = (select reltoastrelid from pg_class where relname = "+
		"'t')")
	older, builder := c.connect(t), c.connect(t)
	exec(t, older, "begin isolation level repeatable read", "select count(*) from t")
	exec(t, builder, "set statement_timeout = '300ms'")
	if _, err := builder.Exec(t.Context(), "reindex table concurrently t"); err == nil {
		t.Fatal("the build was not interrupted")
	}
	exec(t, older, "rollback")
	left := c.text(t, "select coalesce(string_agg(indexrelid::regclass::text, ' '), '') from pg_index where not "+
		"indisvalid")
	action := postgres.DropIndex(c.server)
	r := c.dropRequest(toast+"_index_ccnew", because("invalid"))
	r.Subject["schema"], r.Subject["table"] = "pg_toast", toast
	plan, err := action.Plan(t.Context(), r)
	if err != nil {
		t.Fatalf("Plan: %v (left: %s)", err, left)
	}
	if err := applyAll(t, action, plan); err != nil {
		t.Fatal(err)
	}
	if left := c.invalid(t); left != "" {
		t.Errorf("left: %s", left)
	}
}

// What a standby's queries use is in use, and a standby that is not asked may use
// anything. Nothing is changed on a standby itself.
func TestDropIndexAndStandby(t *testing.T) {
	primary := own(t, "", map[string]string{"wal_level": "replica"})
	servertest.Exec(t, primary.URL, "create table t (a int, b int)",
		"insert into t select n, n from generate_series(1, 5000) n", "create index here on t (a)",
		"create index there on t (b)", "analyze t")
	second := replica(t, primary)
	c, standby := serverClinic(t, primary.URL), serverClinic(t, second.URL)
	for end := time.Now().Add(2 * time.Minute); c.number(t,
		"select count(*) from pg_stat_replication where state = 'streaming' and replay_lsn = pg_current_wal_lsn()") != 1; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the replica does not follow")
		}
	}
	c.seen(t)
	action := postgres.DropIndexAt(c.server, later(month))
	refuses(t, action, c.dropRequest("here", because("unused")), remediate.ReasonUnfit, "1 standbys may use the index",
		false)
	standby.use(t, "select count(*) from t where b = 7", "there")
	c.server.Replicas = []*target.Postgres{standby.server}
	if _, err := action.Plan(t.Context(), c.dropRequest("here", because("unused"))); err != nil {
		t.Errorf("Plan: %v", err)
	}
	refuses(t, action, c.dropRequest("there", because("unused")), remediate.ReasonNothing, "in use on a standby", false)
	for _, a := range []remediate.Action{postgres.DropIndex(standby.server), postgres.Reindex(standby.server)} {
		refuses(t, a, c.dropRequest("here", because("unused")), remediate.ReasonReadOnly, "primary", false)
	}
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: second.URL, Advice: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	refuses(t, postgres.AdviseIndexes(p), remediate.Request{Subject: map[string]string{"server": "main"}},
		remediate.ReasonReadOnly, "primary", false)
}

// What has come to need the index since the plan was made keeps it, and so does a name
// that is another's now.
func TestDropIndexLooksAgain(t *testing.T) {
	c := open(t)
	servertest.Exec(t, c.url, "create table other (id int primary key)", "create table t (id int primary key, a int)",
		"create index unused on t (a)",
		"insert into t (id) select generate_series(1, 100)", "analyze t", "select pg_stat_force_next_flush()")
	c.seen(t)
	action := postgres.DropIndexAt(c.server, later(month))
	for _, test := range []struct{ name, do, undo, says string }{
		{"a foreign key", "alter table t add constraint refers foreign key (a) references other",
			"alter table t drop constraint refers", "refers"},
		{"a foreign key that is not validated",
			"alter table t add constraint refers foreign key (a) references other not valid",
			"alter table t drop constraint refers", "refers"},
		{"CLUSTER", "alter table t cluster on unused", "alter table t set without cluster", "CLUSTER"},
		{"another name", "alter index unused rename to mine", "alter index mine rename to unused", "has become"},
		{"built anew", "reindex index concurrently unused", "select 1", "another than the plan"},
		{"of another", "alter index unused rename to mine; create index unused on t (id, a)",
			"drop index unused; alter index mine rename to unused", "has become"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.seen(t)
			plan, err := action.Plan(t.Context(), c.dropRequest("unused", because("unused")))
			if err != nil {
				t.Fatal(err)
			}
			servertest.Exec(t, c.url, strings.Split(test.do, "; ")...)
			before := c.indexes(t)
			if err := applyAll(t, action, plan); !refusedFor(err, remediate.ReasonChanged, test.says) {
				t.Errorf("Apply: %v, want a refusal that says %q", err, test.says)
			}
			if after := c.indexes(t); after != before {
				t.Errorf("the indexes were %s and are %s", before, after)
			}
			servertest.Exec(t, c.url, strings.Split(test.undo, "; ")...)
		})
	}
}

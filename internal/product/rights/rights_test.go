package rights_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/rights"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Names that need quoting: without it one grants something else.
const (
	schema = `My "Schema"`
	table  = `täble"; drop table victim; --\ '`
)

func quoted(names ...string) string { return pgx.Identifier(names).Sanitize() }

// A fixture is what one action is planned on.
type fixture struct {
	setup   []string          // statements, after the table was made
	subject map[string]string // beside server, database, schema and table, or in their place
	params  map[string]string
	limit   *float64 // of the request
	tables  []string // of the schema, that the rights are granted on beside the table

	// prepare makes what cannot be made by statements alone.
	prepare func(t *testing.T, w *ownedDatabase)

	// later are parts of the statements of rights that a plan does without: only its
	// carrying out needs them, or it tells more with them.
	later []string

	// open says that the plan is made without any of the rights, as far as it goes.
	open bool

	// since is the first major version of the server that the action can be done on.
	since int

	// planOnly says that the steps are not done here, and why.
	planOnly string
}

func TestMain(m *testing.M) {
	servertest.KeepSessions()
	os.Exit(m.Run())
}

// A ownedDatabase is a database with a table, which belongs to a role that is no superuser.
type ownedDatabase struct {
	server   string // URL of its superuser
	url      string // of the superuser in the database
	database string
	owner    string
	version  int
	purge    bool   // rows that are past their age may be deleted for good
	advice   string // folder of the list of index advice
}

// full makes the database that those of owned databases are copied from, which takes longer than to
// copy it.
func full(t *testing.T, server string) (database string) {
	t.Helper()
	database = fmt.Sprintf(`full "%08x"`, rand.Uint32())
	servertest.NewDatabase(t, server, quoted(database))
	t.Cleanup(func() { servertest.Exec(t, server, "drop database "+quoted(database)+" with (force)") })
	servertest.Exec(t, in(t, server, database),
		"create table public.victim (id int)",
		"create schema "+quoted(schema),
		"create table "+quoted(schema, table)+` (
			id bigint generated always as identity primary key, key text, created_at timestamptz not null default now()
		) with (autovacuum_enabled = off)`,
		"create index i on "+quoted(schema, table)+" (key)",
		"insert into "+quoted(schema, table)+` (key, created_at)
			select md5(i::text), now() - i * interval '1 hour' from generate_series(1, 20000) i`)
	return database
}

// in is the URL of a database of a server.
func in(t *testing.T, server, database string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + database
	return u.String()
}

// open makes a ownedDatabase on a server like a full database, and all that it made goes at the end.
func open(t *testing.T, server, like string) *ownedDatabase {
	t.Helper()
	n := rand.Uint32()
	w := &ownedDatabase{server: server, advice: t.TempDir(), database: fmt.Sprintf(`ownedDatabase "%08x"`, n),
		owner: fmt.Sprintf(`ow"ner '%08x`, n)}
	w.url = in(t, server, w.database)
	servertest.CopyDatabase(t, server, quoted(w.database), quoted(like))
	servertest.Exec(t, server, "create role "+quoted(w.owner))
	t.Cleanup(func() {
		servertest.Exec(t, server, "drop database "+quoted(w.database)+" with (force)", "drop role "+quoted(w.owner))
	})
	servertest.Exec(t, w.url,
		"analyze "+quoted(schema, table),
		"delete from "+quoted(schema, table)+" where id % 10 <> 0",
		"alter table "+quoted(schema, table)+" owner to "+quoted(w.owner),
		"grant usage on schema "+quoted(schema)+" to "+quoted(w.owner)) // the owner of a table can reach it
	w.version = w.number(t, "select current_setting('server_version_num')::int / 10000")
	return w
}

func (w *ownedDatabase) number(t *testing.T, sql string) int {
	t.Helper()
	n, err := strconv.Atoi(servertest.Ask(t, w.url, sql))
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// role makes a role without rights, and removes it again.
func (w *ownedDatabase) role(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf(`up"keep; drop table public.victim; --\ '%08x`, rand.Uint32())
	servertest.Exec(t, w.server, "create role "+quoted(name)+" login")
	t.Cleanup(func() { servertest.Exec(t, w.url, "drop owned by "+quoted(name), "drop role "+quoted(name)) })
	return name
}

// as returns the server as a role sees it.
func (w *ownedDatabase) as(t *testing.T, role string) *target.Postgres {
	t.Helper()
	u, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	c := target.PostgresConfig{Name: "main", URL: u.String()}
	aging(&c, w)
	p, err := target.NewPostgres(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// grant runs a script by psql.
func (w *ownedDatabase) grant(t *testing.T, script string, vars map[string]string) (said string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), servertest.Client("psql"), "--no-psqlrc", "--quiet")
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		cmd.Args = append(cmd.Args, "-v", name+"="+vars[name])
	}
	cmd.Args = append(cmd.Args, w.url)
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// allow grants rights to a role, as an action's or the collectors'.
func (w *ownedDatabase) allow(t *testing.T, role string, f fixture, all ...remediate.Right) {
	t.Helper()
	script := rights.PostgresScript(role, []rights.Need{{By: "test", Kind: rights.Postgres, Rights: all}})
	for _, name := range append([]string{table}, f.tables...) {
		if said, err := w.grant(t, script, map[string]string{"schema": schema, "table": name}); err != nil ||
			said != "" {
			t.Fatalf("psql: %v\n%s\n%s", err, said, script)
		}
	}
}

// applies reports whether a right is for a version of the server.
func applies(r remediate.Right, version int) bool {
	return (r.Since == 0 || version >= r.Since) && (r.Until == 0 || version <= r.Until)
}

// names reports whether a refusal names a missing right, as a person would
// look for it.
func names(detail string, r remediate.Right) bool {
	words := regexp.MustCompile(`^grant (.*?) (?:on|to) `).FindStringSubmatch(line(r.Grant))
	if words == nil {
		return strings.Contains(detail, r.Grant) // a command of Redis
	}
	detail = strings.ToLower(detail)
	for what := range strings.SplitSeq(words[1], ",") {
		what = strings.TrimSpace(strings.ToLower(what))
		what, _, _ = strings.Cut(what, "(")
		if strings.TrimSpace(what) == `:"owner"` {
			what = "own"
		}
		if strings.Contains(detail, strings.TrimSpace(what)) {
			return true
		}
	}
	return false
}

func line(s string) string { return strings.Join(strings.Fields(s), " ") }

// byName finds an action of the catalog for one target.
func byName(t *testing.T, s target.Set, name string) remediate.Action {
	t.Helper()
	for _, a := range catalog.Actions(s) {
		if a.Name == name {
			return a
		}
	}
	t.Fatalf("no action %q", name)
	return remediate.Action{}
}

// of returns the actions of a kind of target.
func of(k rights.Kind) (all []remediate.Action) {
	for _, a := range catalog.EveryAction() {
		if strings.HasPrefix(a.Name, string(k)+"/") {
			all = append(all, a)
		}
	}
	return all
}

func held() remediate.Fence {
	return remediate.Fence{Token: 1, Held: func(context.Context) error { return nil }}
}

func (f fixture) request(a remediate.Action, w *ownedDatabase) remediate.Request {
	all := map[string]string{"server": "main", "database": w.database, "schema": schema, "table": table}
	maps.Copy(all, f.subject)
	r := remediate.Request{Action: a.Name, Params: f.params, Limit: f.limit, Mode: remediate.Auto, By: "user/test",
		Subject: make(map[string]string)}
	for _, l := range a.Subject {
		r.Subject[l] = all[l]
	}
	return r
}

// refusedFor checks that a plan is refused because of missing rights, and that one of them
// is named.
func refusedFor(t *testing.T, err error, missing []remediate.Right) {
	t.Helper()
	r, refused := remediate.Refused(err)
	if !refused || r.Reason != remediate.ReasonPrivilege {
		t.Errorf("without %v: %v, want the refusal %q", missing, err, remediate.ReasonPrivilege)
		return
	}
	if !slices.ContainsFunc(missing, func(m remediate.Right) bool { return names(r.Detail, m) }) {
		t.Errorf("the refusal names none of %v: %s", missing, r.Detail)
	}
}

// With exactly the rights that an action says it needs it can be planned and
// carried out; with none, or with one less, the plan is refused and says which.
func TestPostgres(t *testing.T) { everyAction(t, servertest.Postgres(t)) }

// The same on every other major version; from 17 on MAINTAIN takes the place of the owner.
func TestPostgresVersions(t *testing.T) {
	for _, major := range []string{"13", "14", "16", "17", "18"} {
		t.Run(major, func(t *testing.T) {
			t.Parallel()
			everyAction(t, version(t, major))
		})
	}
}

// version starts a server of another major version.
func version(t *testing.T, major string) string {
	t.Helper()
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	p, err := servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{
		Dir: filepath.Join(dir, "postgres"), Bin: servertest.Versions(t)[major],
		Settings: map[string]string{"fsync": "off", "autovacuum": "off",
			"shared_preload_libraries": "pg_stat_statements"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir) // as far as it is ours
	})
	return p.URL
}

func everyAction(t *testing.T, server string) {
	all, like := fixtures(), full(t, server)
	for _, a := range of(rights.Postgres) {
		t.Run(strings.TrimPrefix(a.Name, "postgres/"), func(t *testing.T) {
			f, ok := all[a.Name]
			if !ok {
				t.Fatal("no fixture: say in fixtures_test.go what it is planned on")
			}
			if len(a.Rights) == 0 {
				t.Fatal("the action says no rights")
			}
			oneAction(t, open(t, server, like), a.Name, f)
		})
	}
}

func oneAction(t *testing.T, w *ownedDatabase, name string, f fixture) {
	servertest.Exec(t, w.url, f.setup...)
	if f.prepare != nil {
		f.prepare(t, w)
	}
	on := func(role string) remediate.Action {
		return byName(t, target.Set{Postgres: []*target.Postgres{w.as(t, role)}}, name)
	}
	var needed []remediate.Right
	for _, r := range on("unknown").Rights {
		if applies(r, w.version) {
			needed = append(needed, r)
		}
	}
	if w.version < f.since {
		role := w.role(t)
		w.allow(t, role, f, needed...)
		a := on(role)
		_, err := a.Plan(t.Context(), f.request(a, w))
		if r, _ := remediate.Refused(err); r == nil || r.Reason != remediate.ReasonUnfit {
			t.Errorf("Plan: %v, want the refusal %q", err, remediate.ReasonUnfit)
		}
		return
	}
	t.Run("with none", func(t *testing.T) {
		a := on(w.role(t))
		_, err := a.Plan(t.Context(), f.request(a, w))
		if !f.open {
			refusedFor(t, err, needed)
		}
	})
	for i, less := range needed {
		if f.open || implied(less, needed) || slices.ContainsFunc(f.later,
			func(part string) bool { return strings.Contains(less.Grant, part) }) {
			continue
		}
		t.Run("without "+less.Grant, func(t *testing.T) {
			role := w.role(t)
			w.allow(t, role, f, slices.Delete(slices.Clone(needed), i, i+1)...)
			a := on(role)
			_, err := a.Plan(t.Context(), f.request(a, w))
			refusedFor(t, err, needed[i:i+1])
		})
	}
	t.Run("with all", func(t *testing.T) {
		role := w.role(t)
		w.allow(t, role, f, needed...)
		a := on(role)
		if f.planOnly != "" {
			if _, err := a.Plan(t.Context(), f.request(a, w)); err != nil {
				t.Fatalf("Plan: %v", err)
			}
			return
		}
		carryOut(t, a, f.request(a, w))
	})
	if n := w.number(t, "select count(*)::int from pg_class where relname = 'victim'"); n != 1 {
		t.Error("the victim is gone: a name was not quoted")
	}
}

// implied reports whether a right is among those that another one lends: an owner
// may do with the table what anybody may be granted on it.
func implied(r remediate.Right, all []remediate.Right) bool {
	return strings.Contains(r.Grant, `:"schema"`) && slices.ContainsFunc(all,
		func(o remediate.Right) bool { return strings.HasPrefix(o.Grant, `grant :"owner"`) })
}

// carryOut plans and does each step.
func carryOut(t *testing.T, a remediate.Action, r remediate.Request) {
	t.Helper()
	plan, err := a.Plan(t.Context(), r)
	if err != nil {
		t.Fatalf("Plan: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
	defer cancel()
	for _, s := range plan.Steps {
		if err := a.Apply(ctx, held(), s); err != nil {
			t.Errorf("%s: %v", s.Do, err)
		}
	}
}

// What the script grants for monitoring is enough for every collector.
func TestWatchingPostgres(t *testing.T) {
	w := open(t, servertest.Postgres(t), full(t, servertest.Postgres(t)))
	destination(t, w)
	servertest.Exec(t, w.url, "create extension pg_stat_statements",
		"revoke connect on database "+quoted(w.database)+" from public")
	role := w.role(t)
	script := rights.PostgresScript(role, rights.Of(rights.Postgres, nil))
	if said, err := w.grant(t, script, nil); err != nil || said != "" {
		t.Fatalf("psql: %v\n%s\n%s", err, said, script)
	}
	collect(t, catalog.Collectors(target.Set{Postgres: []*target.Postgres{w.as(t, role)}}))
}

func collect(t *testing.T, all []collectors.Collector) {
	t.Helper()
	if len(all) == 0 {
		t.Fatal("there are no collectors")
	}
	for _, c := range all {
		ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
		if err := c.Collect(ctx, collectors.NewWriter(c)); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		cancel()
	}
}

// A superuser's rights are not lent, a table that is not there is said, and one that
// was not named is left out with a message.
func TestPostgresScriptRefuses(t *testing.T) {
	w := open(t, servertest.Postgres(t), full(t, servertest.Postgres(t)))
	servertest.Exec(t, w.url, "create table public.ours (id int)")
	role := w.role(t)
	script := rights.PostgresScript(role, []rights.Need{{By: "postgres/x",
		Rights: []remediate.Right{{Grant: `grant :"owner" to :"role"`, For: "to\nwork"}}}})
	for _, test := range []struct {
		vars map[string]string
		says string
		ok   bool
	}{
		{map[string]string{"table": "ours"}, "the table belongs to a superuser", false},
		{map[string]string{"table": "none"}, "there is no table of that name", false},
		{nil, "postgres/x: rights are left out that name the table; give psql -v table=", true},
		{map[string]string{"table": table, "schema": schema}, "", true},
		{map[string]string{"table": table, "schema": schema}, "", true},
	} {
		said, err := w.grant(t, script, test.vars)
		if !strings.Contains(said, test.says) || (err == nil) != test.ok || test.says == "" && said != "" {
			t.Errorf("%v: %q %v", test.vars, said, err)
		}
	}
	if n := w.number(t, "select count(*)::int from pg_auth_members m join pg_roles r on r.oid = m.member where "+
		"r.rolname = "+literal(role)); n != 1 {
		t.Errorf("the role is a member of %d roles, want the table's owner alone", n)
	}
}

func literal(s string) string {
	return "e'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// What was given to psql holds where the script names no role.
func TestRoleOfPsql(t *testing.T) {
	w := open(t, servertest.Postgres(t), full(t, servertest.Postgres(t)))
	role := w.role(t)
	script := rights.PostgresScript("", rights.Of(rights.Postgres, nil)[:1])
	if said, err := w.grant(t, script, map[string]string{"role": role}); err != nil || said != "" {
		t.Errorf("%s %v", said, err)
	}
	if said, err := w.grant(t, script, map[string]string{"role": "no such role"}); err == nil {
		t.Errorf("a role that is not there was granted rights: %s", said)
	}
}

func TestCheck(t *testing.T) {
	long := strings.Repeat("x", 64)
	for _, test := range []struct {
		kind rights.Kind
		role string
		ok   bool
	}{
		{rights.Postgres, "upkeep", true},
		{rights.Postgres, "a b'\"\\\n", true},
		{rights.Postgres, "", false},
		{rights.Postgres, "a\x00b", false},
		{rights.Postgres, "\xff", false},
		{rights.Postgres, long, false},
		{rights.Redis, "upkeep", true},
		{rights.Redis, long, true},
		{rights.Redis, "a b", false},
		{rights.Redis, "a\nuser default on nopass", false},
		{rights.Redis, "", false},
		{rights.Redis, `a"b`, false},
	} {
		if err := rights.Check(test.kind, test.role); (err == nil) != test.ok {
			t.Errorf("%s %q: %v", test.kind, test.role, err)
		}
	}
}

// Redis: as on PostgreSQL, with the line in a file that a server reads.
func TestRedis(t *testing.T) {
	all := redisFixtures()
	for _, a := range of(rights.Redis) {
		t.Run(strings.TrimPrefix(a.Name, "redis/"), func(t *testing.T) {
			f, ok := all[a.Name]
			if !ok {
				t.Fatal("no fixture: say in fixtures_test.go what it is planned on")
			}
			if len(a.Rights) == 0 {
				t.Fatal("the action says no rights")
			}
			oneRedis(t, a.Name, f)
		})
	}
}

func oneRedis(t *testing.T, name string, f redisFixture) {
	needed := byName(t, target.Set{Redis: []*target.Redis{{}}}, name).Rights
	plan := func(t *testing.T, rules []remediate.Right) (remediate.Action, remediate.Request, error) {
		t.Helper()
		a := byName(t, target.Set{Redis: []*target.Redis{allowed(t, f, []rights.Need{{Rights: rules}})}}, name)
		r := remediate.Request{Action: name, Subject: map[string]string{"server": "cache"}, Params: f.params,
			Mode: remediate.Auto, By: "user/test"}
		p, err := a.Plan(t.Context(), r)
		if lacks := p.Missing(); lacks != nil {
			err = lacks // the plan reports it even if something else blocks it
		}
		return a, r, err
	}
	connect := remediate.Right{Grant: "+client|setname"} // how every session begins
	t.Run("with none", func(t *testing.T) {
		_, _, err := plan(t, []remediate.Right{connect})
		refusedFor(t, err, needed)
	})
	for i, less := range needed {
		t.Run("without "+less.Grant, func(t *testing.T) {
			if less == connect || slices.Contains(f.later, less.Grant) ||
				strings.Contains(less.Grant, "client|setname") {
				return
			}
			_, _, err := plan(t, slices.Delete(slices.Clone(needed), i, i+1))
			refusedFor(t, err, needed[i:i+1])
		})
	}
	t.Run("with all", func(t *testing.T) {
		a, r, err := plan(t, needed)
		if err != nil {
			if refusal, ok := remediate.Refused(err); ok && refusal.Reason == f.refuses {
				return
			}
			t.Fatalf("Plan: %v", err)
		}
		if !f.planOnly {
			carryOut(t, a, r)
		}
	})
}

// allowed starts a server whose file of users has one with these needs alone.
func allowed(t *testing.T, f redisFixture, needs []rights.Need) *target.Redis {
	t.Helper()
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "users.acl")
	if err := os.WriteFile(file, []byte(rights.RedisLine("ops", needs)), 0o644); err != nil {
		t.Fatal(err)
	}
	s := servertest.Redis(t, append([]string{"--aclfile", file}, f.args...)...)
	admin, err := target.NewRedis(target.RedisConfig{Name: "cache", URL: s.URL})
	if err == nil {
		err = admin.Client.Do(t.Context(), "acl", "setuser", "ops", ">word").Err()
	}
	if err == nil && f.prepare != nil {
		f.prepare(t, admin)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	r, err := target.NewRedis(target.RedisConfig{Name: "cache",
		URL:      strings.Replace(s.URL, "redis://", "redis://ops@", 1),
		Password: func() (string, error) { return "word", nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// A user of the line has no password, no key, and no command but those.
func TestWatchingRedis(t *testing.T) {
	r := allowed(t, redisFixture{}, rights.Of(rights.Redis, nil))
	collect(t, catalog.Collectors(target.Set{Redis: []*target.Redis{r}}))
	for _, command := range [][]any{{"get", "x"}, {"flushall"}, {"config", "get", "requirepass"}, {"shutdown"},
		{"acl", "list"}} {
		if err := r.Client.Do(t.Context(), command...).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%v: %v", command, err)
		}
	}
}

// A user of the line cannot log in before it has a password.
func TestRedisLineHasNoPassword(t *testing.T) {
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "users.acl")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(file,
		[]byte(rights.RedisLine("", rights.Of(rights.Redis, catalog.EveryAction()))), 0o644)); err != nil {
		t.Fatal(err)
	}
	s := servertest.Redis(t, "--aclfile", file)
	r, err := target.NewRedis(target.RedisConfig{Name: "cache", URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	for _, password := range []string{"", "upkeep"} {
		if err := r.Client.Do(t.Context(), "auth", "upkeep", password).Err(); err == nil ||
			!strings.HasPrefix(err.Error(), "WRONGPASS") {
			t.Errorf("somebody logs in with the password %q: %v", password, err)
		}
	}
}

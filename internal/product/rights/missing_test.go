package rights_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/rights"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
)

// as is a server as a role of it sees it that may log in, with one database of it.
func as(t *testing.T, address, role, database string) *target.Postgres {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if role != "" {
		u.User = url.User(role)
	}
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: u.String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	all, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = all.Close(t.Context()) }() // nothing was written
	rows, err := all.Query(t.Context(), "select datname::text from pg_database where datname <> $1", database)
	if err != nil {
		t.Fatal(err)
	}
	if p.Exclude, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		t.Fatal(err)
	}
	return p
}

// What is missing is found, with SQL that grants it: carried out, nothing is missing any more but what no
// statement can grant. Names do nothing.
func TestMissing(t *testing.T) {
	address, database := servertest.Database(t)
	n := rand.Uint32()
	role, owner, gone := fmt.Sprintf(`we"ak; drop table victim; -- %08x`, n), fmt.Sprintf(`own"er %08x`, n), "Other Schema"
	servertest.Exec(t, address, "create role "+quoted(role)+" login", "create role "+quoted(owner),
		"create table public.victim (id int)", "create schema "+quoted(schema), "create schema "+quoted(gone),
		"create table "+quoted(schema, table)+" (id int)", "create table "+quoted(schema, "second")+" (id int)",
		"create table "+quoted(gone, table)+" (id int)", "create view "+quoted(gone, "a view")+" as select 1",
		"alter table "+quoted(schema, table)+" owner to "+quoted(owner),
		"alter table "+quoted(gone, table)+" owner to "+quoted(owner),
		"revoke temporary on database "+quoted(database)+" from public")
	t.Cleanup(func() {
		servertest.Exec(t, address, "drop owned by "+quoted(role),
			"drop owned by "+quoted(owner), "drop role "+quoted(role), "drop role "+quoted(owner))
	})
	needs := rights.Of(rights.Postgres, catalog.EveryAction())
	p := as(t, address, role, database)
	m, err := rights.Find(t.Context(), p, needs)
	if err != nil || m.Role != role || m.Superuser || len(m.Unread) > 0 || len(m.Databases) != 1 || len(m.Unseen) == 0 {
		t.Fatalf("%+v (%v)", m, err)
	}
	said := rights.SQL(append(m.Server, m.Databases[0].All()...)...)
	for _, want := range []string{"BEGIN;\n", `GRANT pg_monitor TO "we""ak;`, "GRANT pg_read_all_data TO",
		"GRANT USAGE ON SCHEMA " + quoted(schema) + " TO", "GRANT " + quoted(owner) + " TO " + quoted(role) + ";\n",
		"GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA " + quoted(gone) + " TO", "GRANT TEMPORARY ON DATABASE",
		"-- 1 table in the schema \"public\" belongs to the superuser", "COMMIT;\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	if n := strings.Count(said, "GRANT "+quoted(owner)); n != 1 {
		t.Errorf("a grant is there %d times:\n%s", n, said)
	}
	// one schema alone
	i := slices.IndexFunc(m.Databases[0].Schemas, func(s rights.Schema) bool { return s.Name == schema })
	if i < 0 || m.Databases[0].Schemas[i].Tables != 2 {
		t.Fatalf("%+v", m.Databases[0].Schemas)
	}
	granted(t, address, rights.SQL(m.Databases[0].Schemas[i].Gaps...))
	after, err := rights.Find(t.Context(), p, needs)
	if err != nil || !slices.ContainsFunc(after.Databases[0].Schemas, func(s rights.Schema) bool { return s.Name == gone }) {
		t.Fatalf("%+v (%v)", after, err)
	}
	granted(t, address, said)
	after, err = rights.Find(t.Context(), p, needs)
	if err != nil || len(after.Server) > 0 {
		t.Fatalf("%+v (%v)", after, err)
	}
	for _, w := range after.Databases {
		for _, l := range w.All() {
			if !strings.HasPrefix(l.SQL, "-- ") {
				t.Errorf("still missing: %+v", l)
			}
		}
	}
	servertest.Exec(t, address, "table public.victim")
	if m, err := rights.Find(t.Context(), as(t, address, "", database), needs); err != nil || !m.Superuser || !m.Nothing() {
		t.Errorf("a superuser: %+v (%v)", m, err)
	}
}

// granted carries statements out as psql would: all of a text.
func granted(t *testing.T, address, text string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(t.Context()) }() // it was said what became of them
	if _, err := c.PgConn().Exec(t.Context(), text).ReadAll(); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
}

// A database that the role may not connect to is said to need that right, and a server without anything to say
// is well.
func TestMissingConnect(t *testing.T) {
	address, database := servertest.Database(t)
	role := fmt.Sprintf("shut out %08x", rand.Uint32())
	servertest.Exec(t, address, "create role "+quoted(role)+" login", "revoke connect on database "+quoted(database)+
		" from public")
	t.Cleanup(func() { servertest.Exec(t, address, "drop role "+quoted(role)) })
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/postgres"
	p := as(t, u.String(), role, database)
	m, err := rights.Find(t.Context(), p, nil)
	if err != nil || len(m.Server) != 1 || m.Server[0].SQL != "GRANT CONNECT ON DATABASE "+quoted(database)+" TO "+
		quoted(role)+";" {
		t.Errorf("%+v (%v)", m, err)
	}
}

// On Redis one command grants everything that is missing.
func TestMissingRedis(t *testing.T) {
	needs := rights.Of(rights.Redis, catalog.EveryAction())
	r := allowed(t, redisFixture{}, []rights.Need{{Rights: []remediate.Right{{Grant: "+ping"}, {Grant: "+multi"},
		{Grant: "+discard"}, {Grant: "+client|setname"}, {Grant: "+hello"}, {Grant: "+acl|whoami"}}}})
	m, err := rights.FindRedis(t.Context(), r, needs)
	if err != nil || m.Role != "ops" || len(m.Server) != 1 || !strings.HasPrefix(m.Server[0].SQL, "ACL SETUSER ops +") ||
		!strings.Contains(m.Server[0].SQL, "+slowlog|get") || strings.Contains(m.Server[0].SQL, "+ping") {
		t.Fatalf("%+v (%v)", m, err)
	}
	full := allowed(t, redisFixture{}, needs)
	if m, err := rights.FindRedis(t.Context(), full, needs); err != nil || !m.Nothing() {
		t.Errorf("%+v (%v)", m, err)
	}
}

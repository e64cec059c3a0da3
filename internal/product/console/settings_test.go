package console_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/rights"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
)

// loaded is a configuration whose names are hostile, with a secret where it may have none.
func loaded() console.Loaded {
	return console.Loaded{Config: &config.Config{
		DataDir: "/var/lib/" + hostile,
		Targets: config.Targets{Postgres: []config.Postgres{{Name: "main", PasswordFile: "hunter2",
			URL: "postgres://upkeep:hunter2@10.0.0.7/db?password=hunter2"}}},
		Collectors: config.Collectors{Settings: map[string]config.Collector{"postgres/locks": {Disabled: true}}},
		Embedded:   config.Embedded{Enabled: true, RemoteWrite: "- url: https://u:hunter2@push.example/hunter2\n"},
		Store:      config.Store{URL: "postgres://upkeep@10.0.0.9/upkeep"},
	}}
}

// unfit is a server of each kind of answer.
func unfit() page.Rights {
	gap := func(sql, by string) rights.Gap { return rights.Gap{SQL: sql, For: by} }
	wide := rights.Schema{Name: strings.Repeat("a_long_name_", 12), Tables: 3, Gaps: []rights.Gap{
		gap(`GRANT MAINTAIN ON ALL TABLES IN SCHEMA "`+strings.Repeat("a_long_name_", 12)+`" TO "upkeep";`, "postgres/vacuum")}}
	return page.Rights{At: time.Now(), Servers: []page.ServerRights{
		{Name: "main", Kind: rights.Postgres, Missing: rights.Missing{Role: "upkeep",
			Server: []rights.Gap{gap(`GRANT pg_monitor TO "upkeep";`, "monitoring, postgres/vacuum")},
			Databases: []rights.Within{{Database: hostile, Schemas: []rights.Schema{{Name: hostile, Tables: 12, Gaps: []rights.Gap{
				gap(`GRANT "`+hostile+`" TO "upkeep";`, "postgres/vacuum")}}, wide}, More: 4}},
			Unread: []string{"other: permission denied"},
			Unseen: []string{`postgres/repack: create schema if not exists upkeep authorization :"role"`}}},
		{Name: "theirs", Kind: rights.Postgres, Missing: rights.Missing{Role: "upkeep",
			Databases: []rights.Within{{Database: "shop", Schemas: []rights.Schema{{Name: "public", Tables: 1, Gaps: []rights.Gap{
				gap(`-- 1 table in the schema "public" belongs to the superuser "root": give another owner`, "postgres/vacuum"),
				gap(`-- 1 table in the schema "public" belongs to the superuser "root": give another owner`, "postgres/reindex")}}}}}}},
		{Name: "root", Kind: rights.Postgres, Missing: rights.Missing{Role: "postgres", Superuser: true}},
		{Name: "well", Kind: rights.Postgres, Missing: rights.Missing{Role: "upkeep"}},
		{Name: "cache", Kind: rights.Redis, Missing: rights.Missing{Role: "upkeep",
			Server: []rights.Gap{gap("ACL SETUSER upkeep +slowlog|get", "monitoring")}}},
		{Name: "away", Kind: rights.Redis, Err: "connection refused"},
	}}
}

// inOrder fails where a page has not all of some texts, one after the other.
func inOrder(t *testing.T, text string, wants ...string) {
	t.Helper()
	last := 0
	for _, want := range wants {
		i := strings.Index(text[last:], want)
		if i < 0 {
			t.Fatalf("no %q after %d in\n%s", want, last, text)
		}
		last += i
	}
	if strings.Contains(text, "<script>alert") || strings.Contains(text, "style=") {
		t.Errorf("a name is not escaped, or a style is in the page:\n%s", text)
	}
}

// The settings have the targets with their state and since when, the collectors with those that fail first and
// those that are off, the configuration for those who may operate, and no secret.
func TestSettings(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	text, _ := c.unzipped(t, "/settings")
	inOrder(t, text, `aria-current="page">Settings`, ">Targets<", "shop-api", ">down<", "connection refused", ">cache<",
		">partly read<", "NOPERM this user", ">main<", ">answers<", `href="/settings/rights"`, ">Collectors<", ">cache<",
		">failing<", ">1 min<", "NOPERM this user", "postgres/locks", ">off<", "data_dir: ", "&lt;script&gt;",
		"postgres://"+"&lt;redacted&gt;", "push.example", ">Versions<", "1.2.3", "PostgreSQL, store.url")
	if strings.Contains(text, "hunter2") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	one, _ := c.unzipped(t, "/settings?server=main#collectors")
	inOrder(t, one, ">Collectors of main<", ">test/one<", ">test/two<", "Those of all targets")
	if strings.Count(one, "NOPERM") != 1 { // of the target
		t.Error(one)
	}
	status, text, _ := as(t, "view", http.MethodGet, c.page.URL+"/settings", nil)
	if status != http.StatusOK || !strings.Contains(text, "needs the role operate") || strings.Contains(text, "data_dir") {
		t.Errorf("who may only view: %d %s", status, text)
	}
	if status, _, _ := as(t, "deliver", http.MethodGet, c.page.URL+"/settings", nil); status != http.StatusForbidden {
		t.Errorf("who may only deliver: %d", status)
	}
}

// The state of a target has its time: since when the first of its collectors fails, or since all of them are well.
func TestSince(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	var lines []console.TargetLine
	c.call(t, http.MethodGet, "/targets", "", &lines)
	for _, l := range lines {
		if l.Since.IsZero() || l.Since.After(time.Now()) || l.Since.After(l.Answered) {
			t.Errorf("%+v", l)
		}
	}
	first := c.scraper.Status()
	c.scraper.Refresh("upkeep_test_up", "cache")
	servertest.Eventually(t, "the collector is asked again", func() bool {
		for i, s := range c.scraper.Status() {
			if s.Server == "cache" && s.At.After(first[i].At) {
				return true
			}
		}
		return false
	})
	for i, s := range c.scraper.Status() {
		if !s.Since.Equal(first[i].Since) || (s.Err == "") != s.Good.Equal(s.At) {
			t.Errorf("a state that goes on: %+v, was %+v", s, first[i])
		}
	}
}

// The missing rights have the SQL that grants them, at once and schema by schema, in one transaction each.
func TestRights(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	text, _ := c.unzipped(t, "/settings/rights")
	inOrder(t, text, "Rights are missing on 3 servers", "for monitoring, postgres/vacuum:", "BEGIN;\nGRANT pg_monitor TO",
		"COMMIT;", "15 tables in 6 schemas", "BEGIN;\nGRANT &#34;t&#34;&gt;&lt;script&gt;", "ALL TABLES IN SCHEMA", "COMMIT;",
		"4 schemas are left out", "12 tables</summary>", "other: permission denied", "create schema if not exists",
		"Missing on 1 table in 1 schema, for postgres/vacuum, postgres/reindex. No statement grants it:", "<li>1 table in",
		">superuser<", "nothing is missing", "ACL SETUSER upkeep +slowlog|get", "not known: connection refused")
	if strings.Count(text, "give another owner") != 1 || strings.Contains(text, "BEGIN;\n--") {
		t.Errorf("what no statement grants is not said once, or is a block to copy:\n%s", text)
	}
	if status, _, _ := as(t, "deliver", http.MethodGet, c.page.URL+"/settings/rights", nil); status != http.StatusForbidden {
		t.Errorf("who may only deliver: %d", status)
	}
}

// A server that does not answer is not known to be well.
func TestRightsOfServersThatAreAway(t *testing.T) {
	t.Parallel()
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: "postgres://upkeep@127.0.0.1:1/postgres"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	r, err := target.NewRedis(target.RedisConfig{Name: "cache", URL: "redis://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	in := loaded()
	in.Targets = target.Set{Postgres: []*target.Postgres{p}, Redis: []*target.Redis{r}}
	found := console.FindRights(context.Background(), in, []remediate.Action{})
	for _, s := range found.Servers {
		if s.Err == "" || strings.Contains(s.Err, "\n") {
			t.Errorf("%+v", s)
		}
	}
	if len(found.Servers) != 2 || found.At.IsZero() {
		t.Errorf("%+v", found)
	}
}

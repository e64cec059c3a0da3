package postgres_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

// adviser is the fixture's server with a folder for its list.
func (c *fixture) adviser(t *testing.T, name string) (p *target.Postgres, file string) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "advice [x]*")
	p, err := target.NewPostgres(target.PostgresConfig{Name: name, URL: c.url, Advice: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, filepath.Join(folder, "indexes-"+name+".md")
}

func TestAdviseIndexes(t *testing.T) {
	c := open(t)
	p, file := c.adviser(t, "main")
	effects, last := 0, time.Time{}
	changed := func(t *testing.T) time.Time {
		t.Helper()
		info, err := os.Stat(file)
		if err != nil {
			return time.Time{}
		}
		return info.ModTime()
	}
	state := func(t *testing.T) string {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(t.TempDir(), "*"))
		if err != nil {
			t.Fatal(err)
		}
		more, err := os.ReadDir(filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range more {
			text, err := os.ReadFile(filepath.Join(filepath.Dir(file), m.Name()))
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, fmt.Sprintf("%s %x", m.Name(), sha256.Sum256(text)))
		}
		return strings.Join(names, "\n") + changed(t).String()
	}
	actiontest.Run(t, actiontest.Case{
		Action: postgres.AdviseIndexes(p), Subject: map[string]string{"server": "main"}, Limit: 35 * 24 * 3600,
		Child: c.url,
		Degrade: func(t *testing.T) {
			if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(file); err != nil {
				if err := os.WriteFile(file, []byte("an old list"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			old := time.Now().Add(-40 * 24 * time.Hour)
			if err := os.Chtimes(file, old, old); err != nil {
				t.Fatal(err)
			}
			last = changed(t)
		},
		State: state,
		Effects: func(t *testing.T) int {
			if now := changed(t); !now.Equal(last) {
				effects, last = effects+1, now
			}
			return effects
		},
	})
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 2 {
		t.Errorf("in the folder are %v, %v, want the list twice", entries, err)
	}
}

// advised: the list has what is degraded, with what it costs and the statements for both
// ways, and no name in it says anything but itself.
func advised(t *testing.T, c *fixture, _ *sandbox.Postgres) {
	const evil = "e|v`i```l\n# Heading <b>; drop table victim; --"
	name := quoted(evil)
	servertest.Exec(t, c.url,
		"create table victim ()", "create table "+name+" (id int primary key, "+name+" int, other int, third int)",
		"insert into "+name+" select n, n % 100, 1, n from generate_series(1, 20000) n",
		"update "+name+" set other = 2 where id <= 5000",
		"create index "+quoted(evil+" unused")+" on "+name+" (third, "+name+")",
		"create index older on "+name+" (other)", "create index younger on "+name+" (other)",
		"create index longer on "+name+" (other, third)",
		"create table refers (id int, "+name+" int references "+name+")",
		"insert into refers select n, n from generate_series(1, 1000) n",
		"analyze "+name, "analyze refers")
	if _,
		err := c.connect(t).Exec(t.Context(),
		"create unique index concurrently broken on "+name+" (other)"); err == nil {
		t.Fatal("the build did not fail")
	}
	p, file := c.adviser(t, "ma..in")
	action := postgres.AdviseIndexesAt(p, later(month))
	r := remediate.Request{Action: action.Name, Subject: map[string]string{"server": "ma..in"}}
	for end := time.Now().Add(2 * time.Minute); c.number(t,
		"select pg_stat_get_tuples_updated(oid) from pg_class where relname = $1",
		evil) != 5000; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the statistics do not arrive")
		}
	}
	young := postgres.AdviseIndexes(p)
	plan, err := young.Plan(t.Context(), r)
	if err == nil {
		err = applyAll(t, young, plan)
	}
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text),
		"DROP INDEX CONCURRENTLY "+quoted("public", evil+" unused")) ||
		strings.Contains(string(text), `DROP INDEX CONCURRENTLY "public"."younger"`) ||
		!strings.Contains(string(text), "no DROP before "+time.Now().Add(thirtyDays).UTC().Format("2006-01-")) {
		t.Errorf("a list of young statistics says to drop what is unused or redundant, or not from when on: %v\n%s",
			err, text)
	}
	for _, f := range []string{file, strings.TrimSuffix(file, ".md") + ".json"} {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := action.Measure(t.Context(), r); err != nil || v < 9*365*24*3600 {
		t.Errorf("Measure of a list that was never written: %v %v", v, err)
	}
	plan, err = action.Plan(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	facts := strings.Join(plan.Facts, "\n")
	for _, want := range []string{"1 invalid", "1 foreign keys without an index", "redundant", "unused"} {
		if !strings.Contains(facts, want) {
			t.Errorf("the facts do not say %q: %s", want, facts)
		}
	}
	if err := applyAll(t, action, plan); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "## Database advice\n")
	list, _, _ = strings.Cut(list, "\n## Database ")
	for _, want := range []string{
		"### Unused: ", "### Redundant: 2", "### Invalid: 1", "### Foreign keys without an index: 1",
		"DROP INDEX CONCURRENTLY " + quoted("public", evil+" unused") + ";",
		"CREATE INDEX CONCURRENTLY " + quoted(evil+" unused") + " ON public." + name,
		"CREATE INDEX CONCURRENTLY ON " + quoted("public", "refers") + " (" + name + ");", "beside longer",
	} {
		if !strings.Contains(list, want) {
			t.Errorf("the list does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(list)
	}
	fenced := ""
	for line := range strings.SplitSeq(list, "\n") {
		switch {
		case fenced == "" && strings.HasPrefix(line, "```"):
			fenced = strings.TrimSuffix(line, "sql")
		case line == fenced:
			fenced = ""
		case fenced == "" && (strings.Contains(line, "e|v") || strings.Contains(line, "<b>") ||
			strings.HasPrefix(line, "# Heading") || strings.Contains(line, "; drop") &&
			strings.HasPrefix(line, "drop")):
			t.Errorf("a name got out: %s", line)
		}
	}
	if fenced != "" {
		t.Error("a block does not end")
	}
	type one struct {
		Index   string
		Hot     *float64 `json:"hot_update_ratio"`
		Entries *float64 `json:"entries_per_day"`
		Bytes   *float64 `json:"bytes_per_day"`
		Do      string
	}
	var data struct {
		Databases []struct {
			Database string
			Unused   []one
		}
	}
	text, err = os.ReadFile(strings.TrimSuffix(file, ".md") + ".json")
	if err == nil {
		err = json.Unmarshal(text, &data)
	}
	var all []one
	for _, d := range data.Databases {
		if d.Database == c.database {
			all = d.Unused
		}
	}
	if err != nil || !slices.ContainsFunc(all, func(u one) bool {
		return u.Index == evil+" unused" && u.Hot != nil && *u.Hot == 0 && u.Entries != nil && *u.Entries > 800 &&
			*u.Entries <= 807 &&
			u.Bytes != nil && *u.Bytes > 20*800 && *u.Bytes < 200*807 &&
			u.Do == "DROP INDEX CONCURRENTLY "+quoted("public", u.Index)+";"
	}) {
		t.Errorf("as JSON: %v\n%s", err, text)
	}
	if n := strings.Count(list, "DROP INDEX CONCURRENTLY "+quoted("public", "older")); n != 1 {
		t.Errorf("one drop is advised %d times", n)
	}
	// What is advised can be done, and taken back.
	for _, u := range all {
		servertest.Exec(t, c.url, strings.TrimSuffix(u.Do, ";"))
	}
	servertest.Exec(t, c.url, "select from victim")
}

// After all advised statements every used index still has a substitute.
func TestAdviseIndexesKeepsOne(t *testing.T) {
	c := open(t)
	servertest.Exec(t, c.url, "create table t (a int, b int)",
		"insert into t select n, n from generate_series(1, 5000) n", "create index short on t (a)", "analyze t")
	c.use(t, "select count(*) from t where a = 7", "short")
	servertest.Exec(t, c.url, "create index longer on t (a, b)")
	p, file := c.adviser(t, "main")
	c.server = p
	c.seen(t)
	action := postgres.AdviseIndexesAt(p, later(month))
	plan, err := action.Plan(t.Context(), remediate.Request{Subject: map[string]string{"server": "main"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := applyAll(t, action, plan); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, ours, _ := strings.Cut(string(text), "## Database "+strings.ReplaceAll(c.database, "_", `\_`))
	ours, _, _ = strings.Cut(ours, "\n## ")
	if !strings.Contains(ours, `DROP INDEX CONCURRENTLY "public"."longer"`) ||
		strings.Contains(ours, `DROP INDEX CONCURRENTLY "public"."short"`) ||
		!strings.Contains(ours, "only one of the two may go") {
		t.Errorf("the list:\n%s", ours)
	}
}

// Without a folder, and on a replica, there is no list.
func TestAdviseIndexesRefusals(t *testing.T) {
	c := open(t)
	_, err := postgres.AdviseIndexes(c.server).Plan(t.Context(),
		remediate.Request{Subject: map[string]string{"server": "main"}})
	if r, ok := remediate.Refused(err); !ok || r.Reason != remediate.ReasonUnfit {
		t.Errorf("Plan: %v", err)
	}
}

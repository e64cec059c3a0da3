package postgres_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// A crash empties the counters. What they do not know of a table is left out, and never
// zero; where they know something again, the catalog says of how many rows that is.
func TestVacuumAfterCrash(t *testing.T) {
	for _, version := range []string{"13", "", "18"} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			dir, err := servertest.Dir()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			s := began(t, dir, version)
			servertest.Exec(t, s.URL,
				"create table empty (id int)", "create table emptied (id int)",
				"insert into emptied select generate_series(1, 100)", "delete from emptied",
				"create table large (id int, a int)", "insert into large select n, 0 from generate_series(1, 100000) n",
				"create table never (id int, a int)", "insert into never select n, 0 from generate_series(1, 12000) n",
				"delete from never where id <= 6000",
				"create table indexed (id int)", "insert into indexed select generate_series(1, 1000)",
				"create index on indexed (id)", "delete from indexed where id <= 500")
			// what a session has counted comes with its end, and before 15 through a process of its
			// own
			time.Sleep(time.Second)
			servertest.Exec(t, s.URL, "vacuum emptied", "vacuum (analyze) large")
			c := postgres.Vacuum(looked(t, target.PostgresConfig{URL: s.URL}))
			awaitRatios(t, func() string { return collectortest.Answer(t, c) },
				map[string]float64{"empty": 0, "emptied": 0, "large": 0, "never": 0.5, "indexed": 0.5})
			crash(t, s)
			s = began(t, dir, version)
			answer := func() string {
				return collectortest.Answer(t, postgres.Vacuum(looked(t, target.PostgresConfig{URL: s.URL})))
			}
			awaitRatios(t, answer, map[string]float64{"empty": 0, "emptied": 0})
			for _, table := range []string{"large", "never", "indexed"} {
				for _, metric := range []string{"dead_rows", "changed_rows"} {
					if strings.Contains(answer(),
						fmt.Sprintf(`upkeep_postgres_table_%s{server="s",database="postgres",schema="public",table="%s"}`, metric, table)) {
						t.Errorf("the counters are gone, and %s of %s are:\n%s", metric, table, answer())
					}
				}
			}
			if n := value(t, answer(),
				`upkeep_postgres_table_live_rows{server="s",database="postgres",schema="public",table="large"`); n != 100000 {
				t.Errorf("the catalog knows of 100000 rows, live_rows is %v", n)
			}
			// A few changes are no whole count: 2 % are dead, not all that were counted.
			servertest.Exec(t, s.URL, "update large set a = 1 where id <= 2000", "insert into never values (0, 0)",
				"insert into indexed values (0)")
			awaitRatios(t, answer, map[string]float64{"empty": 0, "emptied": 0, "large": 2000.0 / 102000})
			servertest.Exec(t, s.URL, "update never set a = 1 where id > 11000")
			time.Sleep(time.Second)
			awaitRatios(t, answer, map[string]float64{"empty": 0, "emptied": 0, "large": 2000.0 / 102000})
			servertest.Exec(t, s.URL, "analyze never", "vacuum large", "analyze indexed", "vacuum emptied")
			awaitRatios(t, answer, map[string]float64{"empty": 0, "emptied": 0, "large": 0, "never": 7000.0 / 13001,
				"indexed": 500.0 / 1001})
		})
	}
}

// crash ends a server as a failure does.
func crash(t *testing.T, s *sandbox.Postgres) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil { // the test's own server
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); syscall.Kill(pid, 0) == nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the server does not end")
		}
	}
}

func began(t *testing.T, dir, version string) *sandbox.Postgres {
	t.Helper()
	bin := ""
	if version != "" {
		bin = servertest.Versions(t)[version]
	}
	s, err := servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"),
		Bin: bin, Settings: map[string]string{"fsync": "off", "autovacuum": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() }) // it may have crashed
	return s
}

// awaitRatios waits until the tables have these shares of dead rows, and no others have
// any.
func awaitRatios(t *testing.T, answer func() string, want map[string]float64) {
	t.Helper()
	var text string
	is := func() bool {
		text = answer()
		if strings.Count(text, "\nupkeep_postgres_table_dead_ratio{")+strings.Count(text[:min(len(text), 33)],
			"upkeep_postgres_table_dead_ratio{") != len(want) {
			return false
		}
		for table, ratio := range want {
			name := `upkeep_postgres_table_dead_ratio{server="s",database="postgres",schema="public",table="` + table +
				`"`
			if !strings.Contains(text, name) || math.Abs(value(t, text, name)-ratio) > 0.005 {
				return false
			}
		}
		return true
	}
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the shares of dead rows are not %v:\n%s", want, text)
		}
	}
}

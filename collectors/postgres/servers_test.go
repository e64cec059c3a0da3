package postgres_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// every returns each collector of a server.
func every(p *target.Postgres) []collectors.Collector {
	return []collectors.Collector{
		postgres.Activity(p), postgres.Database(p), postgres.DatabaseSize(p), postgres.DuplicateIndex(p),
		postgres.IndexBloat(p), postgres.InvalidIndex(p), postgres.Locks(p),
		postgres.Progress(p), postgres.Replication(p), postgres.Retention(p), postgres.Sequences(p), postgres.Server(p),
		postgres.Sessions(p), postgres.Settings(p), postgres.Statements(p),
		postgres.TableBloat(p), postgres.TableSize(p), postgres.UnusedIndex(p), postgres.Vacuum(p), postgres.WAL(p),
	}
}

// names returns the metrics of an answer.
func names(text string) map[string]bool {
	all := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^\w+`).FindAllString(text, -1) {
		all[m] = true
	}
	return all
}

// prepare makes what there is to see, and a role with the rights that the
// reference pages ask for and no others.
func prepare(t *testing.T, s *sandbox.Postgres) {
	t.Helper()
	servertest.Exec(t, s.URL, "create extension pg_stat_statements", "create extension pgstattuple",
		"create table t (id serial primary key, a int, b text)",
		"insert into t (a, b) select n, md5(n::text) from generate_series(1, 200000) n", "create index t_a on t (a)",
		"create index t_a_again on t (a)",
		"delete from t where id % 10 <> 0", "vacuum (analyze) t",
		"select pg_create_physical_replication_slot('waits', true)",
		"select pg_create_logical_replication_slot('thinks', 'pgoutput')",
		"create table parted (at timestamptz) partition by range (at)",
		"create table parted_1 partition of parted for values from ('2020-01-01') to ('2030-01-01')",
		"insert into parted select '2021-01-01' from generate_series(1, 1000)", "analyze parted",
		"create role watcher login in role pg_monitor", "grant select on all tables in schema public to watcher",
		"grant select on all sequences in schema public to watcher", "alter role watcher set log_statement = 'none'")
}

func watching(t *testing.T, url string) *target.Postgres {
	t.Helper()
	return looked(t, target.PostgresConfig{URL: strings.Replace(url, "upkeep@", "watcher@", 1),
		Archives: []target.Archive{{Database: "postgres", Schema: "public", Table: "parted", Column: "at",
			After: time.Hour}}})
}

// Every collector answers on every major version, to a role with no more rights
// than its page says, and says the same there.
func TestEveryVersion(t *testing.T) {
	settings := map[string]string{"shared_preload_libraries": "pg_stat_statements", "wal_level": "logical",
		"archive_mode": "on", "archive_command": "true", "fsync": "off", "autovacuum": "off"}
	bins := servertest.Versions(t)
	bins["15"] = ""
	said := make(map[string]map[string]bool)
	for _, version := range slices.Sorted(maps.Keys(bins)) {
		t.Run(version, func(t *testing.T) {
			dir, err := servertest.Dir()
			if err != nil {
				t.Fatal(err)
			}
			s, err := servertest.StartPostgres(t.Context(),
				sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"), Bin: bins[version], Settings: settings})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Stop(); err != nil {
					t.Error(err)
				}
				_ = os.RemoveAll(dir)
			})
			prepare(t, s)
			// and is idle until the end
			if _, err := connect(t, s.URL).Exec(t.Context(), "begin; insert into t (a) values (1)"); err != nil {
				t.Fatal(err)
			}
			p := watching(t, s.URL)
			time.Sleep(time.Second) // before 15 the statistics come after a while
			var all string
			for _, c := range every(p) {
				w := collectors.NewWriter(c)
				if err := c.Collect(t.Context(), w); err != nil {
					t.Errorf("%s: %v", c.Name, err)
				}
				all += string(w.Text())
			}
			if !strings.Contains(all, `upkeep_postgres_info{server="s",version="`+version+".") {
				t.Errorf("it is not version %s", version)
			}
			if bloat := value(t, all,
				`upkeep_postgres_index_bloat_ratio{server="s",database="postgres",schema="public",table="t",index="t_a_again",method="estimate"`); bloat < 0.6 {
				t.Errorf("nine of ten entries are gone, and the index has %v bloat", bloat)
			}
			if n := value(t, all, `upkeep_postgres_retention_rows{`); n < 900 || n > 1100 {
				t.Errorf("%v rows of a partitioned table are past their age, want about 1000", n)
			}
			said[version] = names(all)
			if version == "13" || version == "18" { // and 15, by itself
				servertest.NewDatabase(t, s.URL, "odd")
				oddDatabase(t, strings.Replace(s.URL, "/postgres?", "/odd?", 1), "odd")
			}
		})
	}
	// Servers before 15 tell when their statistics began, and 18 has checksums unless
	// configured otherwise.
	differs := []string{"upkeep_postgres_database_statistics_reset_timestamp_seconds",
		"upkeep_postgres_database_checksum_failures_total"}
	for version, is := range said {
		for name := range said["15"] {
			// 13 does not tell when they were reset
			if !is[name] && (version != "13" || name != "upkeep_postgres_statements_age_seconds") {
				t.Errorf("version %s says nothing of %s", version, name)
			}
		}
		for name := range is {
			if !said["15"][name] && !slices.Contains(differs, name) {
				t.Errorf("version %s says %s, which 15 does not", version, name)
			}
		}
	}
}

// standby makes a standby of a server and starts it.
func standby(t *testing.T, primary *sandbox.Postgres, settings map[string]string) *sandbox.Postgres {
	t.Helper()
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	folder := filepath.Join(dir, "standby")
	owner, err := os.Stat(filepath.Join(primary.Dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	who := owner.Sys().(*syscall.Stat_t)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(folder, int(who.Uid), int(who.Gid)); err != nil {
		t.Fatal(err)
	}
	copied := exec.CommandContext(t.Context(), servertest.Client("pg_basebackup"), "--pgdata",
		filepath.Join(folder, "data"), "--dbname", strings.Replace(primary.URL, "?", "?application_name=two&", 1),
		"--write-recovery-conf", "--checkpoint=fast", "--no-sync")
	if os.Geteuid() == 0 {
		copied.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: who.Uid, Gid: who.Gid}}
	}
	copied.Dir = folder
	if out, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	s, err := servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{Dir: folder, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A primary and its standby report each other; what only the standby's queries
// use is in use; and what a standby cannot say it does not.
func TestStandby(t *testing.T) {
	one := server(t, map[string]string{"shared_preload_libraries": "pg_stat_statements", "wal_level": "logical",
		"fsync": "off", "autovacuum": "off"})
	prepare(t, one)
	receivers(t, one)
	alone(t, standby(t, one, map[string]string{"primary_conninfo": "", "restore_command": "false"}))
	two := standby(t, one, map[string]string{"shared_preload_libraries": "pg_stat_statements"})
	primary, replica := watching(t, one.URL), watching(t, two.URL)

	text := collectortest.Answer(t, postgres.Replication(primary))
	if n := value(t, text, `upkeep_postgres_slot_age_xids{server="s",slot="thinks",type="logical"`); n < 0 {
		t.Errorf("the age of a slot is %v", n)
	}
	for end := time.Now().Add(2 * time.Minute); !strings.Contains(text,
		`standby_lag_bytes{server="s",standby="two",address="127.0.0.1"} 0`); text = collectortest.Answer(t,
		postgres.Replication(primary)) {
		if time.Now().After(end) {
			t.Fatalf("the standby never catches up:\n%s", text)
		}
	}
	// a primary logs on its own as well, so that a standby may be behind at any
	// moment, and says for how long only once it has replayed a commit
	for end := time.Now().Add(2 * time.Minute); ; {
		text = collectortest.Answer(t, postgres.Replication(replica))
		if strings.Contains(text, `upkeep_postgres_replay_lag_seconds{server="s"} 0`+"\n") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the standby says:\n%s", text)
		}
	}
	if value(t, text, "upkeep_postgres_in_recovery{") != 1 ||
		value(t, text, "upkeep_postgres_receiver_streaming{") != 1 {
		t.Errorf("the standby says:\n%s", text)
	}
	for _, c := range every(replica) {
		w := collectors.NewWriter(c)
		if err := c.Collect(t.Context(), w); err != nil {
			t.Errorf("%s on a standby: %v", c.Name, err)
		}
	}
	cascade(t, one, two)
	unused := postgres.UnusedIndex(primary)
	const sample = `index_unused_bytes{server="s",database="postgres",schema="public",table="t",index="t_a`
	// and a slot for one that is away
	if text = collectortest.Answer(t, unused); strings.Count(text, sample) != 2 ||
		value(t, text, "upkeep_postgres_index_usage_standbys_unmonitored{") != 2 {
		t.Errorf("a standby that is no target:\n%s", text)
	}
	db := connect(t, two.URL)
	for _, sql := range []string{"set enable_seqscan = off", "select count(*) from t where a = 5"} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	_ = db.Close(t.Context()) // its statistics are reported at the end of the session
	primary.Replicas = []*target.Postgres{replica}
	for end := time.Now().Add(2 * time.Minute); strings.Count(text, sample) != 1 ||
		value(t, text, "upkeep_postgres_index_usage_standbys_unmonitored{") != 1; text = collectortest.Answer(t,
		unused) {
		if time.Now().After(end) {
			t.Fatalf("what the standby uses is unused:\n%s", text)
		}
	}
	if err := two.Stop(); err != nil {
		t.Fatal(err)
	}
	w := collectors.NewWriter(unused)
	if err := unused.Collect(t.Context(), w); err == nil || strings.Contains(string(w.Text()), "index_unused") {
		t.Errorf("the standby cannot be asked, and %v:\n%s", err, w.Text())
	}
}

// Behind a pooler that gives the server's session to another after each
// transaction, every collector answers as without, all at once and again.
func TestPooler(t *testing.T) {
	s := server(t, map[string]string{"shared_preload_libraries": "pg_stat_statements", "wal_level": "logical",
		"fsync": "off", "autovacuum": "off"})
	prepare(t, s)
	url := servertest.Pooler(t, s, "pool_mode = transaction\ndefault_pool_size = 2")
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		p := looked(t, target.PostgresConfig{URL: url})
		if _, err := p.Databases(t.Context()); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	p := looked(t, target.PostgresConfig{URL: url, Archives: []target.Archive{{Database: "postgres", Schema: "public",
		Table: "parted", Column: "at", After: time.Hour}}})
	direct := looked(t, target.PostgresConfig{URL: s.URL, Archives: p.Archives})
	var all sync.WaitGroup
	for i, c := range every(p) {
		plain := every(direct)[i]
		all.Go(func() {
			for range 5 {
				w, d := collectors.NewWriter(c), collectors.NewWriter(plain)
				ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
				err := c.Collect(ctx, w)
				fault := plain.Collect(ctx, d)
				cancel()
				if err != nil || fault != nil {
					t.Errorf("%s: %v, %v without a pooler", c.Name, err, fault)
					return
				}
				if got, want := len(names(string(w.Text()))), len(names(string(d.Text()))); got != want &&
					c.Name != "postgres/activity" && c.Name != "postgres/locks" && c.Name != "postgres/sessions" {
					t.Errorf("%s: %d metrics, %d without a pooler", c.Name, got, want)
				}
			}
		})
	}
	all.Wait()
}

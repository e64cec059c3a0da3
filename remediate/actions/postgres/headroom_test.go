package postgres_test

import (
	"fmt"
	"os"
	command "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// roomOf asks an action of each kind, as a role, and wants the same of both.
func roomOf(t *testing.T, url, role string) remediate.Headroom {
	t.Helper()
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: strings.Replace(url, "upkeep@", role+"@", 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	var h remediate.Headroom
	for _, a := range []remediate.Action{postgres.Reindex(p), postgres.Vacuum(p)} {
		roomer, ok := a.Executor.(remediate.Roomer)
		if !ok {
			t.Fatalf("%s cannot tell how much room there is", a.Name)
		}
		if h, err = roomer.Headroom(t.Context(), remediate.Request{}); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// What holds others up is found in every database, from the oldest to the newest
// major version, and what a role may not see it does not take for enough.
func TestHeadroom(t *testing.T) {
	for _, version := range []string{"13", "", "18"} {
		t.Run("version "+version, func(t *testing.T) {
			s := own(t, version, map[string]string{"max_prepared_transactions": "1"})
			servertest.Exec(t, s.URL, "create role watcher login in role pg_monitor", "create role stranger login",
				"create database elsewhere")
			h := roomOf(t, s.URL, "upkeep")
			if h.FreeDisk == nil || *h.FreeDisk <= 0 || *h.FreeDisk >= 1 || !near(*h.FreeDisk, freeOf(t, s.Dir)) {
				t.Errorf("free disk %v, want %v", show(h.FreeDisk), freeOf(t, s.Dir))
			}
			if h.Lag == nil || *h.Lag != 0 || h.Transaction == nil || *h.Transaction != 0 || h.Who != "" {
				t.Errorf("nothing goes on, and the server says: lag %v, transaction %v of %q", show(h.Lag),
					show(h.Transaction), h.Who)
			}
			c := &fixture{url: s.URL}
			elsewhere := &fixture{url: strings.Replace(s.URL, "/postgres?", "/elsewhere?", 1)}
			// Our own session counts only to a role that is not its own.
			ours, old, young := c.connect(t), elsewhere.connect(t), c.connect(t)
			exec(t, ours, "set application_name = 'upkeep postgres/vacuum fence 3'", "begin", "select 1")
			exec(t, old, "set application_name = 'report'", "begin", "select 1")
			exec(t, young, "begin", "select 1")
			for _, test := range []struct {
				role   string
				oldest *pgx.Conn
				who    string
			}{
				{"upkeep", old, "of upkeep in database elsewhere (report, idle in transaction)"},
				{"watcher", ours, "of upkeep in database postgres (upkeep postgres/vacuum fence 3, idle in " +
					"transaction)"},
			} {
				least := c.age(t, test.oldest)
				h := roomOf(t, s.URL, test.role)
				most := c.age(t, test.oldest)
				if h.Transaction == nil || *h.Transaction < least || *h.Transaction > most {
					t.Errorf("%s: the oldest transaction is %v old, want %s to %s", test.role, show(h.Transaction),
						least, most)
				}
				if want := fmt.Sprintf("session %d %s", test.oldest.PgConn().PID(), test.who); h.Who != want {
					t.Errorf("%s: it is %q, want %q", test.role, h.Who, want)
				}
			}
			if h = roomOf(t, s.URL, "stranger"); h.Transaction != nil || h.Who != "" || h.FreeDisk != nil {
				t.Errorf("a role that may not look says: transaction %v of %q, free disk %v", show(h.Transaction),
					h.Who, show(h.FreeDisk))
			}
			exec(t, young, "rollback") // a prepared transaction counts from when it was prepared
			exec(t, old, "prepare transaction 'for''gotten'")
			if h = roomOf(t, s.URL, "upkeep"); h.Transaction == nil ||
				!strings.Contains(h.Who, "prepared transaction 'for''gotten' of upkeep in database elsewhere") {
				t.Errorf("the oldest transaction is %q", h.Who)
			}
			exec(t, old, "rollback prepared 'for''gotten'")
		})
	}
}

// age is how long a session's transaction lasts.
func (c *fixture) age(t *testing.T, of *pgx.Conn) time.Duration {
	t.Helper()
	micros := c.number(t, "select trunc(extract(epoch from clock_timestamp() - xact_start) * 1000000)::int8 from "+
		"pg_stat_activity where pid = $1::int8", int64(of.PgConn().PID()))
	return time.Duration(micros) * time.Microsecond
}

func exec(t testing.TB, c *pgx.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := c.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func show[T any](v *T) any {
	if v == nil {
		return "not known"
	}
	return *v
}

func near(a, b float64) bool { return a-b < 0.05 && b-a < 0.05 }

// freeOf is the free share of the disk that a folder is on, as df tells it.
func freeOf(t *testing.T, folder string) float64 {
	t.Helper()
	out, err := command.CommandContext(t.Context(), "df", "--output=used,avail", "--block-size=1", folder).Output()
	if err != nil {
		t.Fatal(err)
	}
	var used, free float64
	if _, err := fmt.Sscan(strings.SplitN(string(out), "\n", 2)[1], &used, &free); err != nil {
		t.Fatal(err)
	}
	return free / (used + free)
}

// A folder of the same name that is another server's is not looked at.
func TestHeadroomOfAnotherServersDisk(t *testing.T) {
	s := own(t, "", nil)
	if h := roomOf(t, s.URL, "upkeep"); h.FreeDisk == nil {
		t.Fatal("the disk is not known before: the test shows nothing")
	}
	file := filepath.Join(s.Dir, "data", "postmaster.pid")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Error(err)
		}
	})
	lines := strings.Split(string(text), "\n")
	for name, change := range map[string]func([]string){
		"another start":  func(l []string) { l[2] = "1700000000" },
		"another port":   func(l []string) { l[3] = "1" },
		"another folder": func(l []string) { l[1] = "/elsewhere" },
	} {
		changed := append([]string(nil), lines...)
		change(changed)
		// The server looks at its file once a minute and needs its first line only.
		if err := os.WriteFile(file, []byte(strings.Join(changed, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		if h := roomOf(t, s.URL, "upkeep"); h.FreeDisk != nil {
			t.Errorf("%s: the disk is reported all the same: %v", name, *h.FreeDisk)
		}
	}
}

// A frozen replica is behind, and how far is not known to a role that
// may not look.
func TestHeadroomLag(t *testing.T) {
	primary := own(t, "", map[string]string{"wal_level": "replica"})
	servertest.Exec(t, primary.URL, "create role stranger login", "create table t (id int)")
	second := replica(t, primary)
	c := &fixture{url: primary.URL}
	for end := time.Now().Add(servertest.Patience); c.number(t,
		"select count(*) from pg_stat_replication where state = 'streaming' and replay_lsn = pg_current_wal_lsn()") != 1; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the replica does not follow")
		}
	}
	paused := time.Now()
	servertest.Exec(t, second.URL, "select pg_wal_replay_pause()")
	servertest.Exec(t, primary.URL, "insert into t select generate_series(1, 1000)")
	h := roomOf(t, primary.URL, "upkeep")
	for end := time.Now().Add(servertest.Patience); (h.Lag == nil || *h.Lag < 2*time.Second) &&
		time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		h = roomOf(t, primary.URL, "upkeep")
	}
	if h.Lag == nil || *h.Lag < 2*time.Second || *h.Lag > time.Since(paused)+time.Second {
		t.Errorf("the lag is %v", show(h.Lag))
	}
	if h := roomOf(t, primary.URL, "stranger"); h.Lag != nil {
		t.Errorf("a role that may not look says that the lag is %v", *h.Lag)
	}
	servertest.Exec(t, second.URL, "select pg_wal_replay_resume()")
}

// replica makes a replica of a server and starts it.
func replica(t *testing.T, primary *sandbox.Postgres) *sandbox.Postgres {
	t.Helper()
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	folder := filepath.Join(dir, "replica")
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
	copied := command.CommandContext(t.Context(), "pg_basebackup", "--pgdata", filepath.Join(folder, "data"),
		"--dbname", primary.URL, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
	if os.Geteuid() == 0 {
		copied.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: who.Uid, Gid: who.Gid}}
	}
	copied.Dir = folder
	if out, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	s, err := servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{Dir: folder,
		Settings: map[string]string{"hot_standby": "on", "wal_receiver_status_interval": "1s"}})
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

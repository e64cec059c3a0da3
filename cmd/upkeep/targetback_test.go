package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
)

// removed takes the target out of the configuration, and waits until the run says so.
func (o *reloaded) removed(t *testing.T) {
	t.Helper()
	o.apply(t, "target removed")
	o.until(t, "it says that the target is gone", func() bool { return o.run(t).Reason == remediate.ReasonTarget })
}

// back puts the target into the configuration again.
func (o *reloaded) back(t *testing.T) {
	t.Helper()
	o.target = "main"
	o.write(t)
	if code, said := o.post(t, "/-/reload", nil); code != http.StatusOK {
		t.Fatalf("reload: %d %s", code, said)
	}
}

// ended waits for the end of the run.
func (o *reloaded) ended(t *testing.T) (run remediate.Run) {
	t.Helper()
	o.until(t, "the run has ended", func() bool { run = o.run(t); return run.State.Ended() })
	return run
}

// judged reports whether a run was judged by a measure. An estimate may be a little above
// the limit of these alerts, which is zero.
func judged(run remediate.Run) bool {
	return (run.State == remediate.Resolved || run.State == remediate.Unresolved) && run.After != nil && *run.After <= 1
}

// A target that is removed while a run acts, and that comes back, ends the run with what
// is true on the server: the work was done once, and whole.
func TestTargetComesBack(t *testing.T) {
	for _, situation := range []string{"in VACUUM", "in REINDEX", "in a batch", "after kill -9"} {
		t.Run(situation, func(t *testing.T) {
			t.Parallel()
			o := newReloaded(t, situation)
			o.begin(t)
			if situation == "in a batch" || situation == "after kill -9" { // what goes on afterwards is short
				if _, err := o.conn.Exec(t.Context(), "delete from t where id > 5000"); err != nil {
					t.Fatal(err)
				}
			}
			o.removed(t)
			switch situation {
			case "in VACUUM":
				if run := o.run(t); run.State != remediate.Waiting || !strings.Contains(run.Why, "none of") {
					t.Errorf("%s: %s", run.State, run.Why)
				}
				for _, name := range []string{"delay", "limit"} {
					if _, err := o.conn.Exec(t.Context(),
						"alter database "+o.database+" reset vacuum_cost_"+name); err != nil {
						t.Fatal(err)
					}
				}
			case "in REINDEX":
				if run := o.run(t); run.State != remediate.Allowed || !strings.Contains(run.Why, "runs to its end") {
					t.Errorf("%s: %s", run.State, run.Why)
				}
				if err := o.blocker.Close(t.Context()); err != nil {
					t.Error(err)
				}
				o.until(t, "the statement has ended, and the run says so",
					func() bool { run := o.run(t); return run.Done == len(run.Plan.Steps) && run.Done > 0 })
			default:
				left := o.left(t)
				if run := o.run(t); run.State != remediate.Waiting || !strings.Contains(run.Why, "has removed") {
					t.Errorf("%s: %s", run.State, run.Why)
				}
				time.Sleep(time.Second)
				if now := o.left(t); now != left {
					t.Errorf("%d rows were left when the run said that the target is gone, and %d a moment later", left,
						now)
				}
			}
			o.back(t)
			run := o.ended(t)
			if situation == "in VACUUM" && run.State != remediate.Resolved || !judged(run) {
				t.Errorf("it ended %s: %s", run.State, run.Why)
			}
			for sql, want := range map[string]int{
				"select vacuum_count from pg_stat_user_tables where relname = 't'": map[bool]int{true: 1}[situation == "in VACUUM"],
				"select count(*) from pg_index where not indisvalid":               0,
			} {
				if situation == "in a batch" || situation == "after kill -9" {
					sql, want = "select count(*) from t", 0
				}
				if situation == "in REINDEX" && strings.Contains(sql, "vacuum_count") {
					continue
				}
				if got := o.query(t, sql); got != want {
					t.Errorf("%s: %d, want %d", sql, got, want)
				}
			}
		})
	}
}

// While another server answers at the address of the target the run waits, and when the
// server of its plan answers again it goes on. The other server is left alone.
func TestAnotherServerAnswers(t *testing.T) {
	t.Parallel()
	o := newReloaded(t, "in a batch")
	own, err := pgx.ParseConfig(o.postgres)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("%s:%d", own.Host, own.Port)
	name := servertest.NewName(t, address)
	o.postgres = strings.Replace(o.postgres, address, name.Address, 1)
	other := anotherServer(t, o.database)
	o.begin(t)
	name.Point(other)
	o.until(t, "it says that another server answers", func() bool {
		run := o.run(t)
		return run.State == remediate.Waiting && run.Reason == remediate.ReasonTarget &&
			strings.Contains(run.Why, "another server answers at the address of main")
	})
	left := o.left(t)
	time.Sleep(6 * time.Second) // it looks every five
	if run := o.run(t); run.State != remediate.Waiting || o.left(t) != left {
		t.Errorf("%s: %s; %d rows are left of %d", run.State, run.Why, o.left(t), left)
	}
	if _, err := o.conn.Exec(t.Context(), "delete from t where id > 5000"); err != nil {
		t.Fatal(err)
	}
	name.Point(address)
	if run := o.ended(t); !judged(run) || o.left(t) != 0 {
		t.Errorf("it ended %s: %s; %d rows are left", run.State, run.Why, o.left(t))
	}
	c, err := pgx.Connect(t.Context(), "postgres://upkeep@"+other+"/"+o.database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(t.Context()) }() // nothing is left to be written
	var n int
	if err := c.QueryRow(t.Context(), "select count(*) from t").Scan(&n); err != nil || n != 1000 {
		t.Errorf("the other server has %d rows, want 1000 (%v)", n, err)
	}
}

// anotherServer starts a server that has such a database too, and returns its address.
func anotherServer(t *testing.T, database string) (address string) {
	t.Helper()
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	s, err := servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{Dir: dir,
		Settings: map[string]string{"fsync": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir) // only room is lost
	})
	servertest.Exec(t, s.URL, "create database "+database)
	address = fmt.Sprintf("127.0.0.1:%d", s.Port)
	servertest.Exec(t, "postgres://upkeep@"+address+"/"+database, "create table t (id int, at timestamptz, pad text)",
		"insert into t select i, now() - interval '2 days', '' from generate_series(1, 1000) i")
	return address
}

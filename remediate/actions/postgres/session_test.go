package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// takeover is within which time another owner must have done the work.
const takeover = 15 * time.Second

// own starts a server of a major version for the test; "" is the installed one.
func own(t *testing.T, version string, settings map[string]string) *sandbox.Postgres {
	t.Helper()
	bin := ""
	if version != "" {
		bin = servertest.Versions(t)[version]
	}
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	all := map[string]string{"fsync": "off", "autovacuum": "off"}
	maps.Copy(all, settings)
	s, err := servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"),
		Bin: bin, Settings: all})
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

// A serverFixture is a server of its own with one table, and the step of a vacuum of it.
type serverFixture struct {
	*fixture
	action remediate.Action
	step   remediate.Step
}

func admit(t *testing.T, url, database string) serverFixture {
	t.Helper()
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	servertest.Exec(t, url, "create table public.logs (id int)",
		"insert into public.logs select generate_series(1, 1000)", "delete from public.logs")
	w := serverFixture{fixture: &fixture{server: p, url: url, database: database}, action: postgres.Vacuum(p)}
	plan, err := w.action.Plan(t.Context(), w.request(database, nil))
	if err != nil {
		t.Fatal(err)
	}
	w.step = plan.Steps[0]
	return w
}

func (serverFixture) request(database string, params map[string]string) remediate.Request {
	return remediate.Request{Subject: map[string]string{"server": "main", "database": database, "schema": "public",
		"table": "logs"}, Params: params}
}

func (w serverFixture) vacuums(t *testing.T) int {
	t.Helper()
	return w.number(t, "select pg_stat_get_vacuum_count('public.logs'::regclass)")
}

// apply carries the step out under a fence, within a time.
func (w serverFixture) apply(t *testing.T, token int64, within time.Duration, held func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return w.action.Apply(ctx, remediate.Fence{Token: token, Held: held}, w.step)
}

func held(context.Context) error { return nil }

// freeze carries the step out as an owner does that freezes after it has
// looked at its fence. It returns when the owner is frozen; thaw wakes it up and
// returns what became of it.
func (w serverFixture) freeze(t *testing.T) (thaw func() error) {
	t.Helper()
	standing, wake, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var looks atomic.Int32
	go func() {
		ended <- w.apply(t, 1, time.Minute, func(context.Context) error {
			if looks.Add(1) == 1 {
				close(standing)
				<-wake
			}
			return nil // what it saw before it froze
		})
	}()
	select {
	case <-standing:
	case err := <-ended:
		t.Fatalf("the owner did not come to its fence: %v", err)
	case <-time.After(takeover):
		t.Fatal("the owner did not come to its fence")
	}
	return func() error {
		close(wake)
		return <-ended
	}
}

// An owner that freezes right before it acts loses its session to the next
// owner. When it wakes up it can do nothing: the effect is there once.
func TestTakeover(t *testing.T) {
	for _, version := range []string{"13", "", "18"} { // before 14 no session ends by itself
		t.Run("version "+version, func(t *testing.T) {
			w := admit(t, own(t, version, nil).URL, "postgres")
			thaw := w.freeze(t)
			if n := w.number(t, "select count(*) from pg_stat_activity where application_name = 'upkeep "+
				"postgres/vacuum fence 1' and state = 'idle'"); n != 1 {
				t.Errorf("%d sessions carry their fence, want 1", n)
			}
			began := time.Now()
			if err := w.apply(t, 2, takeover, held); err != nil {
				t.Fatalf("the next owner: %v", err)
			}
			t.Logf("the next owner was done after %s", time.Since(began).Round(time.Millisecond))
			w.settled(t, 1)
			if err := thaw(); err == nil {
				t.Error("the owner that woke up believes that it has done its step")
			}
			w.settled(t, 1)
			if n := w.number(t, "select count(*) from pg_locks where locktype = 'advisory'"); n != 0 {
				t.Errorf("%d locks are left", n)
			}
		})
	}
}

// settled waits until the statistics count so many vacuums, and a moment longer,
// so that one too many would be seen.
func (w serverFixture) settled(t *testing.T, want int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); w.vacuums(t) < want &&
		time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
	time.Sleep(700 * time.Millisecond) // before 15 they come half a second late
	if n := w.vacuums(t); n != want {
		t.Errorf("%d vacuums, want %d", n, want)
	}
}

// An owner that has lost its fence ends no session.
func TestTakeoverWantsTheFence(t *testing.T) {
	url, database := servertest.Database(t)
	w := admit(t, url, database)
	thaw := w.freeze(t)
	err := w.apply(t, 2, takeover, func(context.Context) error { return remediate.ErrFenced })
	if !errors.Is(err, remediate.ErrFenced) {
		t.Errorf("Apply under a passed fence: %v", err)
	}
	if err := thaw(); err != nil {
		t.Errorf("the owner, whose session must not be ended: %v", err)
	}
	w.settled(t, 1)
}

// hold takes the table's lock as another session would, and plans the step anew.
func (w *serverFixture) hold(t *testing.T, application string) *pgx.Conn {
	t.Helper()
	thaw := w.freeze(t)
	key := w.text(t, "select (l.classid::int8 << 32 | l.objid::int8)::text from pg_locks l join pg_stat_activity a "+
		"using (pid) where l.locktype = 'advisory' and l.objsubid = 1 and a.application_name like 'upkeep %'")
	if err := thaw(); err != nil {
		t.Fatal(err)
	}
	w.settled(t, 1)
	conn := w.connect(t)
	exec(t, conn, "set application_name = '"+application+"'", "select pg_advisory_lock("+key+")")
	plan, err := w.action.Plan(t.Context(), w.request(w.database, nil))
	if err != nil {
		t.Fatal(err)
	}
	w.step = plan.Steps[0]
	return conn
}

// What a killed owner has begun is not ended but waited for, and adopted.
func TestTakeoverWaitsForWork(t *testing.T) {
	url, database := servertest.Database(t)
	w := admit(t, url, database)
	first, ended := w.hold(t, "upkeep postgres/vacuum fence 1"), make(chan error, 1)
	go func() {
		_, err := first.Exec(t.Context(), "select pg_sleep(4); select pg_advisory_unlock_all()")
		ended <- err
	}()
	began := time.Now()
	if err := w.apply(t, 2, takeover, held); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(began); waited < 3*time.Second {
		t.Errorf("the next owner did not wait: %s", waited)
	}
	if err := <-ended; err != nil {
		t.Errorf("the work of the first owner: %v", err)
	}
	w.settled(t, 2)
}

// An owner that freezes after it has sent the statement has done its work:
// its session is ended for the lock, and the step is not done again.
func TestTakeoverAdopts(t *testing.T) {
	url, database := servertest.Database(t)
	w := admit(t, url, database)
	exec(t, w.hold(t, "upkeep postgres/vacuum fence 1"), "vacuum public.logs")
	if err := w.apply(t, 2, takeover, held); err != nil {
		t.Fatal(err)
	}
	w.settled(t, 2)
	if n := w.number(t, "select count(*) from pg_stat_activity where application_name = 'upkeep postgres/vacuum "+
		"fence 1'"); n != 0 {
		t.Errorf("%d sessions of the first owner are left", n)
	}
}

// An interruption between vacuum and analyze leaves the second to be done, and
// the first is not done again.
func TestVacuumAnalyzesTheRest(t *testing.T) {
	url, database := servertest.Database(t)
	w := admit(t, url, database)
	servertest.Exec(t, url, "vacuum public.logs")
	for range 2 {
		if err := w.apply(t, 1, takeover, held); err != nil {
			t.Fatal(err)
		}
		w.settled(t, 1)
		if n := w.number(t, "select pg_stat_get_analyze_count('public.logs'::regclass)"); n != 1 {
			t.Errorf("%d analyzes, want 1", n)
		}
	}
}

// A session that is not upkeep's is never ended, whatever it holds.
func TestTakeoverLeavesStrangers(t *testing.T) {
	url, database := servertest.Database(t)
	w := admit(t, url, database)
	exec(t, w.hold(t, "psql"), "select 1")
	err := w.apply(t, 2, 4*time.Second, held)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Apply: %v, want that it waits for the lock", err)
	}
	if n := w.number(t, "select count(*) from pg_stat_activity where application_name = 'psql' and datname = "+
		"current_database()"); n != 1 {
		t.Errorf("the stranger's session was ended")
	}
	w.settled(t, 1)
}

// Parameters are in the statement that people approve, and nothing else can
// come in by them.
func TestVacuumParameters(t *testing.T) {
	url, database := servertest.Database(t)
	w := admit(t, url, database)
	for _, test := range []struct {
		params map[string]string
		do     string // "" is a refusal
	}{
		{nil, "VACUUM (ANALYZE, TRUNCATE off, PARALLEL 0)"},
		{map[string]string{"parallel": "2", "truncate": "true"}, "VACUUM (ANALYZE, TRUNCATE on, PARALLEL 2)"},
		{map[string]string{"parallel": "8", "truncate": "false"}, "VACUUM (ANALYZE, TRUNCATE off, PARALLEL 8)"},
		{map[string]string{"parallel": "9"}, ""},
		{map[string]string{"parallel": "-1"}, ""},
		{map[string]string{"parallel": "1) public.victim; --"}, ""},
		{map[string]string{"truncate": "on, FULL"}, ""},
		{map[string]string{"index_cleanup": "off"}, "VACUUM (ANALYZE, TRUNCATE off, PARALLEL 0, INDEX_CLEANUP off)"},
		{map[string]string{"index_cleanup": "on", "freeze": "always"},
			"VACUUM (ANALYZE, TRUNCATE off, PARALLEL 0, INDEX_CLEANUP on, FREEZE)"},
		{map[string]string{"index_cleanup": "off) public.victim; --"}, ""},
		{map[string]string{"freeze": "ALWAYS"}, ""},
	} {
		t.Run(fmt.Sprint(test.params), func(t *testing.T) {
			plan, err := w.action.Plan(t.Context(), w.request(database, test.params))
			if test.do == "" {
				if r, refused := remediate.Refused(err); !refused || r.Reason != remediate.ReasonSubject ||
					!strings.Contains(r.Detail, "parameter") {
					t.Fatalf("Plan: %+v %v, want a refusal", plan, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := test.do + ` "public"."logs"`; plan.Steps[0].Do != want {
				t.Fatalf("the step is %s, want %s", plan.Steps[0].Do, want)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			before := w.vacuums(t)
			if err := w.action.Apply(ctx, remediate.Fence{Token: 1, Held: held}, plan.Steps[0]); err != nil {
				t.Fatal(err)
			}
			if n := w.vacuums(t); n != before+1 {
				t.Errorf("%d vacuums, want %d", n, before+1)
			}
		})
	}
}

// With truncate the empty end of a table goes back to the disk, and not without.
func TestVacuumTruncates(t *testing.T) {
	url, database := servertest.Database(t)
	w := admit(t, url, database)
	for _, test := range []struct {
		truncate string
		empty    bool
	}{{"false", false}, {"true", true}} {
		servertest.Exec(t, url, "insert into public.logs select generate_series(1, 100000)", "delete from public.logs")
		plan, err := w.action.Plan(t.Context(), w.request(database, map[string]string{"truncate": test.truncate}))
		if err != nil {
			t.Fatal(err)
		}
		w.step = plan.Steps[0]
		if err := w.apply(t, 1, time.Minute, held); err != nil {
			t.Fatal(err)
		}
		if size := w.number(t, "select pg_relation_size('public.logs')"); (size == 0) != test.empty {
			t.Errorf("with truncate %s the table has %d bytes", test.truncate, size)
		}
	}
}

package postgres_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	command "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/collectors/postgres/usage"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// thirtyDays are what must have been counted.
const thirtyDays = 30 * 24 * time.Hour

// A pair is a primary with a standby that can be started, behind addresses
// that stay.
type pair struct {
	t                *testing.T // at whose end both are stopped
	version, bin     string
	settings         map[string]string
	primary, standby *sandbox.Postgres // nil while it is down
	folder, copied   string            // of their data
	address, of      *servertest.Name
}

// paired makes both from one cluster: the programs of other versions have no
// pg_basebackup.
func paired(t *testing.T, version string) *pair {
	t.Helper()
	first := own(t, version, map[string]string{"wal_level": "replica"})
	p := &pair{t: t, version: version, folder: first.Dir, copied: first.Dir + "-copy",
		settings: map[string]string{"fsync": "off", "autovacuum": "off", "wal_level": "replica",
			"wal_receiver_status_interval": "1s", "wal_keep_size": "2GB"}}
	if version != "" {
		p.bin = servertest.Versions(t)[version]
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	if out, err := command.CommandContext(t.Context(), "cp", "-a", p.folder, p.copied).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	signal := filepath.Join(p.copied, "data", "standby.signal")
	if err := os.WriteFile(signal, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p.primary = p.start(t, p.folder, nil)
	p.address, p.of = servertest.NewName(t, addressOf(p.primary)), servertest.NewName(t, "127.0.0.1:1")
	return p
}

func addressOf(s *sandbox.Postgres) string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

func (p *pair) start(t *testing.T, folder string, more map[string]string) *sandbox.Postgres {
	t.Helper()
	settings := make(map[string]string)
	for _, from := range []map[string]string{p.settings, more} {
		maps.Copy(settings, from)
	}
	s, err := servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{Dir: folder, Bin: p.bin,
		Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = s.Stop() }) // some cases have stopped it
	return s
}

// up starts the standby, which follows the primary, and waits until it does.
func (p *pair) up(t *testing.T) {
	t.Helper()
	p.standby = p.start(t, p.copied, map[string]string{"primary_conninfo": fmt.Sprintf("host=127.0.0.1 port=%d "+
		"user=upkeep application_name=reports", p.primary.Port)})
	p.of.Point(addressOf(p.standby))
	p.caught(t)
}

// caught waits until the standby has all that the primary has.
func (p *pair) caught(t *testing.T) {
	t.Helper()
	c := serverClinic(t, p.primary.URL)
	for end := time.Now().Add(60 * time.Second); c.number(t,
		"select count(*) from pg_stat_replication where state = 'streaming' and replay_lsn = pg_current_wal_lsn()") != 1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the standby does not follow")
		}
	}
}

func (p *pair) down(t *testing.T) {
	t.Helper()
	if p.standby == nil {
		return
	}
	if err := p.standby.Stop(); err != nil {
		t.Fatal(err)
	}
	p.standby = nil
	c := serverClinic(t, p.primary.URL)
	for end := time.Now().Add(60 * time.Second); c.number(t,
		"select count(*) from pg_stat_replication") != 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the primary still sees the standby")
		}
	}
}

// again starts the primary, which has ended, with other settings.
func (p *pair) again(t *testing.T, more map[string]string) {
	t.Helper()
	p.primary = p.start(t, p.folder, more)
	p.address.Point(addressOf(p.primary))
}

// A proof is one database of the pair, with an index that no query uses, and what upkeep
// remembers of it.
type proof struct {
	*fixture
	pair   *pair
	folder string // of upkeep's store
	notes  *store.Store
	asks   bool // the standby is a target
	list   bool // and there is no other
}

func (p *proof) url(of *servertest.Name) string {
	return "postgres://upkeep@" + of.Address + "/" + p.database + "?sslmode=disable"
}

// upkeep starts upkeep, or starts it again.
func (p *proof) upkeep(t *testing.T) {
	t.Helper()
	if p.notes != nil {
		if err := p.notes.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if p.notes, err = store.Open(t.Context(), store.Options{Dir: p.folder}); err != nil {
		t.Fatal(err)
	}
	made := func(of *servertest.Name, name string) *target.Postgres {
		s, err := target.NewPostgres(target.PostgresConfig{Name: name, URL: p.url(of),
			Advice: filepath.Join(p.folder, "advice"), Notes: p.notes, StandbysListed: p.list})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	p.server = made(p.pair.address, "main")
	p.fixture.url = p.url(p.pair.address)
	if p.asks {
		p.server.Replicas = []*target.Postgres{made(p.pair.of, "reports")}
	}
}

// look is one look of the collector, at some moment.
func (p *proof) look(t *testing.T, at time.Time) (usage.Indexes, error) {
	t.Helper()
	db, err := p.server.Database(p.database)
	if err != nil {
		t.Fatal(err)
	}
	return usage.Read(t.Context(), p.server, p.database, db, at)
}

// advised reports whether the list of a moment says to drop the index, which is what the
// alert says too.
func (p *proof) advised(t *testing.T, at time.Time) bool {
	t.Helper()
	known, err := p.look(t, at)
	row := known.Of("public", "unused")
	alert := err == nil && row != nil && len(known.Unasked) == 0 && at.Sub(row.Since) >= thirtyDays
	action := postgres.AdviseIndexesAt(p.server, func() time.Time { return at })
	plan, err := action.Plan(t.Context(), remediate.Request{Action: action.Name,
		Subject: map[string]string{"server": "main"}})
	if err != nil {
		t.Fatalf("advise_indexes: %v", err)
	}
	if err := applyAll(t, action, plan); err != nil {
		t.Fatalf("advise_indexes: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(p.folder, "advice", "indexes-main.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "## Database "+strings.ReplaceAll(p.database, "_", `\_`)+"\n")
	list, _, _ = strings.Cut(list, "\n## Database ")
	says := strings.Contains(list, `DROP INDEX CONCURRENTLY "public"."unused"`)
	if says != alert {
		t.Errorf("the list says to drop the index: %v; the alert: %v\n%s", says, alert, list)
	}
	return says
}

func (p *proof) there(t *testing.T) bool {
	t.Helper()
	return p.number(t, "select count(*) from pg_class where relname = 'unused'") == 1
}

// dropped lets a plan that was made before be carried out, and then a new one.
func (p *proof) dropped(t *testing.T, old remediate.Plan, at time.Time) (bool, error) {
	t.Helper()
	action := postgres.DropIndexAt(p.server, func() time.Time { return at })
	err := applyAll(t, action, old)
	if err == nil && len(old.Steps) > 0 || !p.there(t) {
		return !p.there(t), err
	}
	plan, err := action.Plan(t.Context(), p.dropRequest("unused", because("unused")))
	if err == nil {
		err = applyAll(t, action, plan)
	}
	return !p.there(t), err
}

// A happening is what comes between the first look at an index and the thirtieth day.
type happening struct {
	name    string
	before  func(t *testing.T, p *proof) // the first look
	event   func(t *testing.T, p *proof)
	advised bool // on the thirtieth day
	dropped bool
	says    string        // the refusal
	then    time.Duration // after which time the list says to drop it; 0 for never
}

func runs(sql ...string) func(*testing.T, *proof) {
	return func(t *testing.T, p *proof) {
		t.Helper()
		servertest.Exec(t, p.fixture.url, sql...)
	}
}

// happenings is the table of evidence. What is at the end changes the servers for good.
func happenings() []happening {
	// What is found out by looking is dated by the look, which is on the thirtieth day.
	const month, off = 61 * 24 * time.Hour, "select pg_reload_conf()"
	look := func(t *testing.T, p *proof) {
		t.Helper()
		if _, err := p.look(t, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	counts := func(to string) func(*testing.T, *proof) {
		return func(t *testing.T, p *proof) {
			t.Helper()
			servertest.Exec(t, p.fixture.url, "alter system set track_counts = "+to, off)
			for end := time.Now().Add(2 * time.Minute); p.text(t,
				"show track_counts") != to; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the setting does not come")
				}
			}
		}
	}
	all := func(steps ...func(*testing.T, *proof)) func(*testing.T, *proof) {
		return func(t *testing.T, p *proof) {
			t.Helper()
			for _, s := range steps {
				s(t, p)
			}
		}
	}
	up := func(t *testing.T, p *proof) { t.Helper(); p.pair.up(t) }
	down := func(t *testing.T, p *proof) { t.Helper(); p.pair.down(t) }
	asked := func(t *testing.T, p *proof) { t.Helper(); p.asks = true; up(t, p); p.upkeep(t) }
	return []happening{
		{name: "nothing", advised: true, dropped: true},
		{name: "upkeep restarted", event: func(t *testing.T, p *proof) { p.upkeep(t) }, advised: true, dropped: true},
		{name: "upkeep restarted with another store", event: func(t *testing.T,
			p *proof) {
			p.folder = t.TempDir()
			p.upkeep(t)
		}, says: "first looked", then: month},
		{name: "a query", event: func(t *testing.T, p *proof) {
			p.use(t, "select count(*) from t where a = 7",
				"unused")
		}, says: "have used the index"},
		{name: "reset", event: runs("select pg_stat_reset()"), says: "were reset", then: month},
		{name: "reset of the index alone",
			event: runs("select pg_stat_reset_single_table_counters('unused'::regclass)"), says: "were reset",
			then: month},
		{name: "a query, and a reset of the index alone", event: func(t *testing.T, p *proof) {
			p.use(t, "select count(*) from t where a = 7", "unused")
			look(t, p)
			servertest.Exec(t, p.fixture.url, "select pg_stat_reset_single_table_counters('unused'::regclass)")
		}, says: "young statistics", then: month},
		{name: "track_counts off", event: counts("off"), says: "not counted"},
		{name: "track_counts on again", event: all(counts("off"), look, counts("on"), look),
			says: "track_counts was off", then: month},
		{name: "track_counts off and on while upkeep was away", before: look, event: all(counts("off"), counts("on")),
			says: "did not look for a while", then: month},
		{name: "track_counts off for a role", event: runs("create role uncounted",
			"alter role uncounted set track_counts = 'no'"), says: "not counted"},
		{name: "no role uncounted any more", before: runs("drop role uncounted"), advised: true, dropped: true},
		{name: "track_counts off for the database", event: func(t *testing.T, p *proof) {
			servertest.Exec(t, p.fixture.url, "alter database "+p.database+" set track_counts = off")
		}, says: "not counted"},
		{name: "a fresh index", event: runs("drop index unused", "create index unused on t (a)"),
			says: "first saw the index", then: month},
		{name: "a fresh database of the same name", event: func(t *testing.T, p *proof) {
			servertest.Exec(t, p.pair.primary.URL,
				"select pg_terminate_backend(pid) from pg_stat_activity where datname = '"+p.database+"'",
				"create database again template "+p.database, "drop database "+p.database+" with (force)",
				"alter database again rename to "+p.database)
		}, says: "first looked at the database", then: month},
		{name: "the table of an extension", event: runs("alter extension plpgsql add table t"),
			says: "the extension plpgsql has made its table"},
		{name: "the schema of an extension", event: runs("alter extension plpgsql add schema public"),
			says: "the extension plpgsql has made its schema"},
		{name: "a standby that is no target", before: up, says: "standby reports", then: 0},
		{name: "a standby away for a day", before: up, event: down, says: "last seen at", then: 36 * 24 * time.Hour},
		{name: "a standby with a slot, away", before: runs("select pg_create_physical_replication_slot('away', true)"),
			says: "the standby of slot away"},
		{name: "a standby whose slot was dropped", before: look, event: runs("select pg_drop_replication_slot('away')"),
			says: "the standby of slot away (last seen at", then: 36 * 24 * time.Hour},
		{name: "a standby that is asked", before: asked, advised: true, dropped: true},
		{name: "a query on a standby that is asked", before: asked, event: func(t *testing.T, p *proof) {
			there := &fixture{url: p.url(p.pair.of)}
			there.use(t, "select count(*) from t where a = 7", "unused")
		}, says: "in use on a standby"},
		{name: "a standby that is asked, away", before: asked, event: down, says: "cannot be asked"},
		{name: "a standby that is asked, and one that is not", before: func(t *testing.T, p *proof) {
			servertest.Exec(t, p.fixture.url, "select pg_create_physical_replication_slot('other', true)")
			asked(t, p)
		}, event: runs("select pg_drop_replication_slot('other')"), says: "the standby of slot other (last seen"},
		{name: "a crash of a session", event: crashSession, says: "young statistics", then: month},
		{name: "a crash of the server", event: func(t *testing.T, p *proof) {
			quit(t, p.pair.primary)
			p.pair.again(t, nil)
		}, says: "young statistics", then: month},
		{name: "a WAL archive", event: func(t *testing.T, p *proof) {
			if err := p.pair.primary.Stop(); err != nil {
				t.Fatal(err)
			}
			p.pair.again(t, map[string]string{"archive_mode": "on", "archive_command": "true"})
		}, says: "restores from the WAL archive"},
		{name: "a WAL archive, and no other standby", before: func(t *testing.T,
			p *proof) {
			p.list = true
			p.upkeep(t)
		}, advised: true, dropped: true},
		{name: "failover", before: func(t *testing.T, p *proof) { p.list = true; p.asks = true; up(t, p); p.upkeep(t) },
			event: func(t *testing.T, p *proof) {
				p.pair.promote(t)
				p.asks = false
				p.upkeep(t)
			}, says: "promoted or restored", then: month},
	}
}

// crashSession ends a session so that the server takes all others down with it, and
// recovers without a new start.
func crashSession(t *testing.T, p *proof) {
	t.Helper()
	victim, witness := p.connect(t), p.connect(t)
	if err := syscall.Kill(int(victim.PgConn().PID()), syscall.SIGKILL); err != nil { // of the test's own server
		t.Fatal(err)
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := witness.Exec(t.Context(), "select 1"); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the server does not crash")
		}
	}
	p.answers(t)
}

// answers waits until the server of the pair answers again.
func (p *proof) answers(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := p.answered(t.Context())
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// answered asks a new session first: one that the crash has yet to reach still answers.
func (p *proof) answered(ctx context.Context) error {
	fresh, err := pgx.Connect(ctx, p.fixture.url)
	if err != nil {
		return err
	}
	_ = fresh.Close(ctx) // it has shown what it was for
	db, err := p.server.Database(p.database)
	if err != nil {
		return err
	}
	_, err = db.Version(ctx)
	return err
}

// promote lets the standby take over, and the address lead to it.
func (p *pair) promote(t *testing.T) {
	t.Helper()
	p.caught(t)
	if err := p.primary.Stop(); err != nil {
		t.Fatal(err)
	}
	servertest.Exec(t, p.standby.URL, "select pg_promote()")
	p.primary, p.standby = p.standby, nil
	p.address.Point(addressOf(p.primary))
}

var unusedAll = flag.Bool("unused.all", false, "try each case of TestUnusedIsProven on each version") //nolint:gochecknoglobals // a flag of the test

// An index counts as unused only where nothing can have hidden a query of thirty days.
// The oldest version has the cases without a standby, and the newest those with one.
func TestUnusedIsProven(t *testing.T) {
	for _, version := range []string{"13", "", "18"} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			both := paired(t, version)
			all := happenings()
			standbys := slices.IndexFunc(all, func(h happening) bool { return h.name == "a standby that is no target" })
			for i, h := range all {
				if !*unusedAll && (version == "13" && i >= standbys || version == "18" && i < standbys) {
					continue
				}
				t.Run(h.name, func(t *testing.T) { h.run(t, both, fmt.Sprintf("case_%d", i)) })
			}
		})
	}
}

func (h happening) run(t *testing.T, both *pair, database string) {
	servertest.NewDatabase(t, both.primary.URL, database)
	t.Cleanup(func() {
		both.down(t)
		for _, sql := range []string{"alter system reset all", "select pg_reload_conf()",
			"drop database if exists " + database + " with (force)"} {
			servertest.Exec(t, both.primary.URL, sql)
		}
	})
	p := &proof{fixture: &fixture{database: database}, pair: both, folder: t.TempDir()}
	p.upkeep(t)
	t.Cleanup(func() { _ = p.notes.Close() }) // nothing is left to be written
	servertest.Exec(t, p.fixture.url, "create table t (a int, b int)",
		"insert into t select n, n from generate_series(1, 2000) n", "create index unused on t (a)", "analyze t")
	if h.before != nil {
		h.before(t, p)
	}
	if both.standby != nil {
		both.caught(t)
	}
	known, err := p.look(t, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(thirtyDays)
	var old remediate.Plan
	if h.before == nil { // by then nothing is in the way, and without the event it would go
		if old, err = postgres.DropIndexAt(p.server, func() time.Time { return at }).Plan(t.Context(),
			p.dropRequest("unused", because("unused"))); err != nil {
			t.Fatalf("the case shows nothing: %v (%+v)", err, known)
		}
	}
	if h.event != nil {
		time.Sleep(10 * time.Millisecond) // it is after the first look by every clock
		h.event(t, p)
	}
	if both.version == "13" {
		time.Sleep(time.Second) // its statistics come through a process of their own
	}
	advised := p.advised(t, at)
	dropped, err := p.dropped(t, old, at)
	if advised != h.advised || dropped != h.dropped {
		t.Errorf("advised: %v, dropped: %v, want %v, %v (%v)", advised, dropped, h.advised, h.dropped, err)
	}
	if r, _ := remediate.Refused(err); h.says != "" && (r == nil || !strings.Contains(r.Detail, h.says)) {
		t.Errorf("the refusal is %v, want one that says %q", err, h.says)
	}
	if h.then != 0 && !p.advised(t, time.Now().Add(h.then)) {
		t.Errorf("after %s it is not advised either", h.then)
	}
}

// quit ends a server as a failure does.
func quit(t *testing.T, s *sandbox.Postgres) {
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

// A cascading standby that is no target hides behind one that is.
func TestUnusedBehindCascade(t *testing.T) {
	both := paired(t, "")
	both.up(t)
	second := both.copied + "-copy"
	if err := both.standby.Stop(); err != nil {
		t.Fatal(err)
	}
	if out, err := command.CommandContext(t.Context(), "cp", "-a", both.copied, second).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	both.up(t)
	last := both.start(t, second, map[string]string{"primary_conninfo": fmt.Sprintf("host=127.0.0.1 port=%d "+
		"user=upkeep application_name=last", both.standby.Port)})
	servertest.Exec(t, both.primary.URL, "create table t (a int)", "create index unused on t (a)")
	made := func(name, address string, follows ...*target.Postgres) *target.Postgres {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		s, err := target.NewPostgres(target.PostgresConfig{Name: name, URL: u.String()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		s.Replicas = follows
		return s
	}
	middle := func(follows ...*target.Postgres) *target.Postgres {
		return made("middle", both.standby.URL, follows...)
	}
	end := func() *target.Postgres { return made("last", last.URL) }
	for _, test := range []struct {
		name    string
		follow  []*target.Postgres
		unasked string // "" where none is
	}{
		{"neither is a target", nil, "standby reports"},
		{"the last is not a target", []*target.Postgres{middle()}, "standby last"},
		{"the middle one is not a target", []*target.Postgres{end()}, "standby reports"},
		{"both are", []*target.Postgres{middle(end())}, ""},
		{"both name the primary", []*target.Postgres{middle(), end()}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := made("main", both.primary.URL, test.follow...)
			var unasked string
			for wait := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				db, err := server.Database("postgres")
				if err != nil {
					t.Fatal(err)
				}
				known, err := usage.Read(t.Context(), server, "postgres", db, time.Now())
				unasked = strings.Join(known.Unasked, ", ")
				if err == nil && (unasked == "") == (test.unasked == "") && strings.Contains(unasked, test.unasked) {
					return
				}
				if time.Now().After(wait) {
					t.Fatalf("not asked are %q, want %q: %v", unasked, test.unasked, err)
				}
			}
		})
	}
}

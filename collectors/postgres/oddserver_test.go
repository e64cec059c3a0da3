package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// oddServer is how people run a server and what is in the way there, of the database postgres where none is named.
// QUERY is the queryid of the statement that was marked.
func oddServer() []collectortest.Oddity {
	const (
		hand, psql, absent = collectortest.Hand, "psql", collectortest.Absent

		waits = "select extract(epoch from clock_timestamp() - state_change) from pg_stat_activity where wait_event_type = 'Lock'"
		idles = "select extract(epoch from clock_timestamp() - state_change) from pg_stat_activity where state = 'idle in transaction'"
		locks = "select count(*) from pg_locks l join pg_database d on d.oid = l.database where d.datname = 'postgres' and l.pid is distinct from pg_backend_pid() and "
	)
	is := collectortest.Row
	return []collectortest.Oddity{
		is("connections that are reserved", "connections_max", hand, "90", 0),
		is("a session idle in its transaction", `connections{state="idle_in_transaction"}`, psql,
			"select count(*) from pg_stat_activity where state = 'idle in transaction'", 0),
		is("how long it is idle", "oldest_idle_in_transaction_seconds", psql, idles, 60),
		is("an application's name that hurts",
			`worst_session_seconds{database="postgres",of="idle",user="upkeep",application="wo\"rst', 1); --"}`, psql,
			idles, 60),
		is("locks of a prepared transaction", `locks{database="postgres",mode="RowExclusiveLock",state="held"}`, psql,
			locks+"l.granted and l.mode = 'RowExclusiveLock'", 0),
		is("a session that waits for it", `locks{database="postgres",mode="AccessExclusiveLock",state="waiting"}`, psql,
			locks+"not l.granted and l.mode = 'AccessExclusiveLock'", 0),
		is("what it waits for has no session",
			`blocking_sessions_blocked{database="postgres",user="",application="",state="prepared"}`, hand, "1", 0),
		is("for how long it waits",
			`blocking_longest_wait_seconds{database="postgres",user="",application="",state="prepared"}`, psql, waits, 60),
		is("a prepared transaction's name that hurts",
			`worst_session_seconds{database="postgres",of="blocker",user="upkeep",application="prepared transaction \"it's \\\"mine\\\"\""}`,
			psql, waits, 60),

		is("a slot that no one has used", `slot_active{slot="bare",type="physical"}`, hand, "0", 0),
		is("it retains nothing", `slot_kept_bytes{slot="bare",type="physical"}`, hand, absent, 0),
		is("a slot that retains", `slot_kept_bytes{slot="kept",type="physical"}`, psql,
			"select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) from pg_replication_slots where slot_name = 'kept'",
			0.1),
		is("the size of the WAL", "wal_size_bytes", psql, "select sum(size) from pg_ls_waldir()", 1),
		is("checkpoints by command", `checkpoints_total{cause="requested"}`, psql,
			"select num_requested from pg_stat_checkpointer", 0),

		is("a database's name outside Latin 1", `database_size_bytes{database="Ünï db 😀"}`, psql,
			"select pg_database_size('Ünï db 😀')", 0.05),
		is("a table in it", `table_live_rows{database="Ünï db 😀",schema="public",table="t"}`, hand, "3", 0),
		is("a database whose files are gone", `database_size_bytes{database="half gone"}`, hand, absent, 0),
		is("one that takes no connections", `table_live_rows{database="crowded",schema="public",table="t"}`, hand, absent, 0),
		is("its size all the same", `database_size_bytes{database="crowded"}`, psql, "select pg_database_size('crowded')", 0.05),
		is("a vacuum in a database that is closed",
			`progress_ratio{database="shut",schema="public",table="t",command="VACUUM",phase="scanning heap"}`, hand,
			absent, 0),
		is("the age of that database", `database_freeze_age_xids{database="postgres"}`, psql,
			"select age(datfrozenxid) from pg_database where datname = 'postgres'", 0.05),

		is("an index that no query has used",
			`index_unused_bytes{database="postgres",schema="public",table="held",index="held_id"}`, psql,
			"select pg_relation_size('held_id')", 0),
		is("slots of standbys that are not asked", `index_usage_standbys_unmonitored{database="postgres"}`, psql,
			"select count(*) from pg_replication_slots where slot_type = 'physical' and not active", 0),
		is("an index where scans are not counted",
			`index_unused_bytes{database="uncounted",schema="public",table="t",index="t_id"}`, hand, absent, 0),
		is("since when they are", `index_usage_since_timestamp_seconds{database="uncounted"}`, hand, absent, 0),

		is("a setting in kB", `setting_bytes{name="work_mem"}`, psql, "select pg_size_bytes(current_setting('work_mem'))", 0),
		is("a setting in blocks", `setting_bytes{name="shared_buffers"}`, psql,
			"select pg_size_bytes(current_setting('shared_buffers'))", 0),
		is("a setting in minutes", `setting_seconds{name="checkpoint_timeout"}`, psql,
			"select extract(epoch from current_setting('checkpoint_timeout')::interval)", 0),
		is("a setting in microseconds", `setting_seconds{name="autovacuum_vacuum_cost_delay"}`, psql,
			"select extract(epoch from current_setting('autovacuum_vacuum_cost_delay')::interval)", 1e-9),
		is("a limit of -1", `setting_bytes{name="temp_file_limit"}`, hand, "-1", 0),
		is("a setting of the role", `setting_seconds{name="statement_timeout"}`, hand, "90", 0),
		is("a word for a setting", `setting{name="synchronous_commit"}`, psql,
			"select case current_setting('synchronous_commit') when 'on' then 1 else 0 end", 0),
		is("a setting that waits for a start", `setting_pending_restart{name="max_connections"}`, psql,
			"select count(*) from pg_settings where name = 'max_connections' and pending_restart", 0),

		is("calls of a statement", `statement_calls_total{database="postgres",user="upkeep",queryid="QUERY"}`, psql,
			"select sum(calls) from pg_stat_statements where query = 'select count(*) from marked where id = $1'", 0),
		is("its text, without what it asks for", `statement_info{queryid="QUERY",query="select count(*) from marked where id = $1"}`,
			hand, "1", 0),
		is("a primary", "in_recovery", hand, "0", 0),
	}
}

// A server that is run in odd ways says the same to a role with odd settings, directly and behind a pooler in two
// modes, as psql says to its owner. What cannot be entered costs its own figures alone.
func TestOddServer(t *testing.T) {
	t.Parallel()
	s := oddlyRun(t)
	servertest.Exec(t, s.URL, "create role watcher login in role pg_monitor, pg_read_all_data")
	for _, setting := range []string{"datestyle = 'SQL, DMY'", "client_encoding = 'LATIN1'", "intervalstyle = 'sql_standard'",
		"timezone = 'Asia/Kathmandu'", "extra_float_digits = 0", "standard_conforming_strings = off",
		"bytea_output = 'escape'", "statement_timeout = '90s'", "quote_all_identifiers = on",
		"default_transaction_isolation = 'serializable'", "search_path = 'evil', 'public'", "row_security = off"} {
		servertest.Exec(t, s.URL, "alter role watcher set "+setting)
	}
	marked := servertest.Connect(t, s.URL)
	for range 500 { // more often than any question of ours
		if _, err := marked.Exec(t.Context(), "select count(*) from marked where id = 7"); err != nil {
			t.Fatal(err)
		}
	}
	query := servertest.Ask(t, s.URL,
		"select queryid::text from pg_stat_statements where query = 'select count(*) from marked where id = $1'")
	table := oddServer()
	for i := range table {
		table[i].Series = strings.Replace(table[i].Series, "QUERY", query, 1)
	}
	sources := map[string]collectortest.Source{"psql": collectortest.PSQL(t, s.URL)}
	const retry = "\nserver_login_retry = 0.1" // of the database that takes no connections
	for how, address := range map[string]string{"directly": s.URL,
		"pooled by transaction": servertest.Pooler(t, s, "pool_mode = transaction"+retry),
		"pooled by session":     servertest.Pooler(t, s, "pool_mode = session"+retry)} {
		t.Run(how, func(t *testing.T) {
			p := looked(t, target.PostgresConfig{URL: strings.Replace(address, "upkeep@", "watcher@", 1)})
			text := everything(t, p, every(p), "crowded")
			if err := collectortest.Odd("upkeep_postgres_", text, sources, table); err != nil {
				t.Error(err)
			}
		})
	}
	byStatement(t, servertest.Pooler(t, s, "pool_mode = statement"))
	entered(t, s)
	managed(t, s)
}

// byStatement asks through a pooler that takes no transactions: every collector says why it cannot ask.
func byStatement(t *testing.T, address string) {
	t.Helper()
	p := looked(t, target.PostgresConfig{URL: address})
	for _, c := range every(p) {
		if c.Name == "postgres/retention" {
			continue // without archives it asks nothing
		}
		w := collectors.NewWriter(c)
		err, text := c.Collect(t.Context(), w), string(w.Text())
		if c.Name == "postgres/server" {
			err, text = w.Why(), strings.Replace(text, `upkeep_postgres_up{server="s"} 1
upkeep_postgres_down{server="s",reason="pool_mode"} 1
`, "", 1)
		}
		if !errors.Is(err, target.ErrPoolMode) || text != "" {
			t.Errorf("%s, pooled by statement: %v\n%s", c.Name, err, text)
		}
	}
}

// entered asks which databases cannot be entered and why: it holds for as long as it is so, and is of no database that
// is not asked.
func entered(t *testing.T, s *sandbox.Postgres) {
	t.Helper()
	rules := filepath.Join(s.Dir, "data", "pg_hba.conf")
	before, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(rules, append([]byte("host \"Ünï db 😀\" watcher all reject\n"), before...), 0o600); err != nil {
		t.Fatal(err)
	}
	servertest.Exec(t, s.URL, "select pg_reload_conf()")
	address := strings.Replace(s.URL, "upkeep@", "watcher@", 1)
	servertest.Eventually(t, "one database is closed to the role", func() bool {
		c, err := pgx.Connect(t.Context(), strings.Replace(address, "/postgres?", "/"+url.PathEscape("Ünï db 😀")+"?", 1))
		if err == nil {
			_ = c.Close(t.Context())
		}
		return err != nil
	})
	p := looked(t, target.PostgresConfig{URL: address})
	look := func(want ...string) {
		t.Helper()
		text := everything(t, p, []collectors.Collector{postgres.InvalidIndex(p), postgres.Database(p)}, "crowded",
			"Ünï db 😀")
		var got []string
		for line := range strings.Lines(text) {
			if rest, is := strings.CutPrefix(line, `upkeep_postgres_database_down{server="s",database=`); is {
				got = append(got, strings.TrimSpace(rest))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("databases that cannot be entered: %q, want %q", got, want)
		}
	}
	const crowded, forbidden = `"crowded",reason="connections"} 1`, `"Ünï db 😀",reason="authentication"} 1`
	look(crowded, forbidden)
	servertest.Exec(t, s.URL, "alter database crowded connection limit -1")
	look(forbidden)
	servertest.Exec(t, s.URL, "alter database crowded connection limit 0",
		"select pg_terminate_backend(pid, 60000) from pg_stat_activity where datname = 'crowded'",
		`alter database "Ünï db 😀" allow_connections false`)
	everything(t, p, []collectors.Collector{postgres.InvalidIndex(p)}, "crowded") // which finds that its session has gone
	look(crowded)
	if err := os.WriteFile(rules, before, 0o600); err != nil {
		t.Fatal(err)
	}
	servertest.Exec(t, s.URL, "select pg_reload_conf()", `alter database "Ünï db 😀" allow_connections true`)
}

// managed has roles ask as owners of managed servers give them, last of all one that may not call functions which
// such servers keep for themselves: each collector says as much as to a superuser, or says why not.
func managed(t *testing.T, s *sandbox.Postgres) {
	t.Helper()
	servertest.Exec(t, s.URL, "create role blind login", "create role monitor login in role pg_monitor",
		"create role reader login in role pg_monitor, pg_read_all_data")
	why := regexp.MustCompile(`grant [\w ]+ to (it|the role)|permission denied for function pg_\w+`)
	owner := looked(t, target.PostgresConfig{URL: s.URL, Exclude: []string{"crowded"}})
	for _, as := range []struct {
		role    string
		revoked []string
		fail    []string // collectors
	}{
		{"blind", nil, []string{"activity", "indexbloat", "locks", "progress", "replication", "sequences", "sessions",
			"statements", "tablebloat", "wal"}},
		{"monitor", nil, []string{"indexbloat", "sequences", "tablebloat"}},
		{"reader", nil, nil},
		{"reader", []string{"pg_ls_waldir()", "pg_control_system()"}, []string{"unusedindex", "wal"}},
	} {
		t.Run(fmt.Sprintf("as %s without %q", as.role, as.revoked), func(t *testing.T) {
			for _, f := range as.revoked {
				servertest.Exec(t, s.URL, "revoke execute on function "+f+" from public, pg_monitor")
			}
			p := looked(t, target.PostgresConfig{URL: strings.Replace(s.URL, "upkeep@", as.role+"@", 1),
				Exclude: []string{"crowded"}})
			all := every(owner)
			for i, c := range every(p) {
				w := collectors.NewWriter(c)
				err := c.Collect(t.Context(), w)
				_, name, _ := strings.Cut(c.Name, "/")
				got, want := names(string(w.Text())), names(collectortest.Answer(t, all[i]))
				switch {
				case err != nil && !slices.Contains(as.fail, name):
					t.Errorf("%s: %v", c.Name, err)
				case err != nil && !why.MatchString(err.Error()):
					t.Errorf("%s does not say what is missing: %v", c.Name, err)
				case err == nil && !maps.Equal(got, want):
					t.Errorf("%s says %v, and to its owner %v", c.Name, got, want)
				}
			}
		})
	}
}

// oddlyRun starts the server, with all that is in the way there.
func oddlyRun(t *testing.T) *sandbox.Postgres {
	t.Helper()
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"),
		Bin: servertest.Versions(t)["18"], Settings: map[string]string{
			"shared_preload_libraries": "pg_stat_statements", "max_prepared_transactions": "2", "fsync": "off",
			"autovacuum": "off", "superuser_reserved_connections": "3", "reserved_connections": "7", "work_mem": "3MB",
			"checkpoint_timeout": "7min", "autovacuum_vacuum_cost_delay": "1500us"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	in := func(database string) string {
		return strings.Replace(s.URL, "/postgres?", "/"+url.PathEscape(database)+"?", 1)
	}
	for _, name := range []string{"Ünï db 😀", "half gone", "crowded", "shut", "uncounted"} {
		servertest.NewDatabase(t, s.URL, pgx.Identifier{name}.Sanitize())
	}
	servertest.Exec(t, in("Ünï db 😀"), "create table t as select generate_series(1, 3) id",
		"select pg_stat_force_next_flush()", "vacuum analyze t")
	servertest.Exec(t, in("crowded"), "create table t as select 1 id", "vacuum analyze t")
	servertest.Exec(t, in("shut"), "create table t as select generate_series(1, 100000) id")
	servertest.Exec(t, in("uncounted"), "create table t (id int)", "create index t_id on t (id)")
	servertest.Exec(t, s.URL, "create extension pg_stat_statements", "create table held (id int)", "create table marked (id int)",
		"create index held_id on held (id)", "create sequence loose", "select nextval('loose')", "select pg_create_physical_replication_slot('bare')",
		"select pg_create_physical_replication_slot('kept', true)", "alter database uncounted set track_counts = off",
		"alter database crowded connection limit 0", "update pg_database set datconnlimit = -2 where datname = 'half gone'",
		"alter system set max_connections = 61", "select pg_reload_conf()", "checkpoint")
	gone := servertest.Ask(t, s.URL, "select oid::text from pg_database where datname = 'half gone'")
	if err := os.RemoveAll(filepath.Join(s.Dir, "data", "base", gone)); err != nil {
		t.Fatal(err)
	}
	inTheWay(t, s, in("shut"))
	return s
}

// inTheWay leaves sessions that are in the way of others until the end of the test.
func inTheWay(t *testing.T, s *sandbox.Postgres, shut string) {
	t.Helper()
	begin := func(address, sql string) *pgx.Conn {
		t.Helper()
		c := servertest.Connect(t, address)
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		return c
	}
	begin(s.URL, `begin; lock table held in row exclusive mode; prepare transaction 'it''s "mine"'`)
	begin(s.URL, `set application_name = 'wo"rst'', 1); --'; begin; select 1`)
	// Both end with the server.
	held, slow := begin(s.URL, "begin"), begin(shut, "set vacuum_cost_delay = 100; set vacuum_cost_limit = 1")
	go func() {
		_, _ = held.Exec(context.WithoutCancel(t.Context()), "lock table held in access exclusive mode")
	}()
	go func() { _, _ = slow.Exec(context.WithoutCancel(t.Context()), "vacuum t") }()
	servertest.Eventually(t, "one waits and one vacuums", func() bool {
		return servertest.Ask(t, s.URL, "select ((select count(*) from pg_stat_progress_vacuum) + (select count(*) from "+
			"pg_stat_activity where wait_event_type = 'Lock'))::text") == "2"
	})
	servertest.Exec(t, s.URL, "alter database shut allow_connections false")
}

// What was dropped while a collector asks is left out, and no fault: the catalog of a question's beginning still has
// it, and what functions say of it is null.
func TestDroppedMeanwhile(t *testing.T) {
	t.Parallel()
	address, _ := servertest.Database(t)
	servertest.Exec(t, address, "create table t as select n as id, n::text as name from generate_series(1, 1000) n",
		"create index t_one on t ((lower(name)))", "create index t_two on t ((lower(name)))", "create sequence s",
		"select nextval('s')", "vacuum analyze t")
	c := connect(t, address)
	if _, err := c.Exec(t.Context(), "begin isolation level repeatable read; select count(*) from pg_class"); err != nil {
		t.Fatal(err)
	}
	servertest.Exec(t, address, "drop table t", "drop sequence s")
	for name, read := range postgres.Reads() {
		if err := read(t.Context(), c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What receives WAL and replays none has no lag that is 0, nor has a standby that receives none.
func receivers(t *testing.T, primary *sandbox.Postgres) {
	t.Helper()
	receiver := exec.CommandContext(context.WithoutCancel(t.Context()), servertest.Client("pg_receivewal"),
		"--directory", t.TempDir(), "--dbname", primary.URL, "--no-loop")
	wait, err := sandbox.Start(receiver)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = receiver.Process.Kill() // it runs
		_ = wait()                  // by that signal
		servertest.Eventually(t, "the server sees that it has gone", func() bool {
			return servertest.Ask(t, primary.URL, "select count(*)::text from pg_stat_replication") == "0"
		})
	}()
	servertest.Eventually(t, "it receives", func() bool {
		return servertest.Ask(t, primary.URL, "select count(*)::text from pg_stat_replication where application_name = "+
			"'pg_receivewal' and state = 'streaming'") == "1"
	})
	p := looked(t, target.PostgresConfig{URL: primary.URL})
	if err := collectortest.Odd("upkeep_postgres_", collectortest.Answer(t, postgres.Replication(p)), nil,
		[]collectortest.Oddity{
			collectortest.Row("a receiver that replays nothing", `standby_lag_bytes{standby="pg_receivewal",address="127.0.0.1"}`,
				collectortest.Hand, collectortest.Absent, 0),
			collectortest.Row("nor for how long", `standby_lag_seconds{standby="pg_receivewal",address="127.0.0.1"}`,
				collectortest.Hand, collectortest.Absent, 0),
		}); err != nil {
		t.Error(err)
	}
}

func alone(t *testing.T, standby *sandbox.Postgres) {
	t.Helper()
	p := looked(t, target.PostgresConfig{URL: standby.URL})
	if err := collectortest.Odd("upkeep_postgres_", collectortest.Answer(t, postgres.Replication(p)), nil,
		[]collectortest.Oddity{
			collectortest.Row("a standby that reads archives alone", "in_recovery", collectortest.Hand, "1", 0),
			collectortest.Row("it receives nothing that it has not replayed", "replay_lag_bytes", collectortest.Hand,
				collectortest.Absent, 0),
			collectortest.Row("and streams from no primary", "receiver_streaming", collectortest.Hand, "0", 0),
		}); err != nil {
		t.Error(fmt.Errorf("a standby of archives: %w", err))
	}
}

// cascade has a standby that does not replay what it receives feed another one, which does. Each of the three says what
// psql finds there.
func cascade(t *testing.T, one, two *sandbox.Postgres) {
	t.Helper()
	three := standby(t, two, nil)
	servertest.Exec(t, one.URL, "create table committed ()")
	servertest.Eventually(t, "it has replayed a commit", func() bool {
		return servertest.Ask(t, two.URL, "select (pg_last_xact_replay_timestamp() is not null)::text") == "true"
	})
	servertest.Exec(t, two.URL, "select pg_wal_replay_pause()")
	servertest.Eventually(t, "it is paused", func() bool {
		return servertest.Ask(t, two.URL, "select pg_get_wal_replay_pause_state()") == "paused"
	})
	servertest.Exec(t, one.URL, "create table flood as select n, md5(n::text) from generate_series(1, 30000) n")
	written := servertest.Ask(t, one.URL, "select pg_current_wal_flush_lsn()::text")
	servertest.Eventually(t, "the last one has replayed it", func() bool {
		return servertest.Ask(t, three.URL, fmt.Sprintf("select (pg_last_wal_replay_lsn() >= '%s')::text", written)) == "true"
	})
	const (
		hand, psql, absent = collectortest.Hand, "psql", collectortest.Absent

		received = "select greatest(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), %s), 0)"
	)
	is := collectortest.Row
	for _, at := range []struct {
		name   string
		server *sandbox.Postgres
		table  []collectortest.Oddity
	}{
		{"the primary", one, []collectortest.Oddity{
			is("a standby that is paused", `standby_lag_bytes{standby="two",address="127.0.0.1"}`, psql,
				"select pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) from pg_stat_replication", 0.1),
			is("for how long", `standby_lag_seconds{standby="two",address="127.0.0.1"}`, psql,
				"select extract(epoch from replay_lag) from pg_stat_replication", 300),
			is("it is not behind itself", "replay_lag_bytes", hand, absent, 0),
		}},
		{"the standby that is paused", two, []collectortest.Oddity{
			is("what it has not replayed", "replay_lag_bytes", psql, fmt.Sprintf(received, "pg_last_wal_replay_lsn()"), 0.1),
			is("since when", "replay_lag_seconds", psql,
				"select extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())", 300),
			is("it receives all the same", "receiver_streaming", hand, "1", 0),
			is("a standby of it that has replayed more than it has", `standby_lag_bytes{standby="two",address="127.0.0.1"}`,
				psql, fmt.Sprintf(received, "replay_lsn")+" from pg_stat_replication", 0),
		}},
		{"the last one", three, []collectortest.Oddity{
			is("it has replayed all", "replay_lag_bytes", psql, fmt.Sprintf(received, "pg_last_wal_replay_lsn()"), 0),
			is("which is no lag", "replay_lag_seconds", hand, "0", 0),
			is("it is a standby", "in_recovery", hand, "1", 0),
		}},
	} {
		p := looked(t, target.PostgresConfig{URL: at.server.URL})
		servertest.Eventually(t, at.name, func() error { // servers log a little when no one writes
			return collectortest.Odd("upkeep_postgres_", collectortest.Answer(t, postgres.Replication(p)),
				map[string]collectortest.Source{psql: collectortest.PSQL(t, at.server.URL)}, at.table)
		})
	}
	if behind := servertest.Ask(t, two.URL, "select pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::int8::text"); len(behind) < 6 {
		t.Errorf("the standby is %s bytes behind, too few for the test", behind)
	}
	servertest.Exec(t, two.URL, "select pg_wal_replay_resume()")
	if err := three.Stop(); err != nil {
		t.Fatal(err)
	}
}

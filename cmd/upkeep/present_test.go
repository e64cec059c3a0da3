package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// soakRules runs every cell of the table; without it one cell of each column.
var soakRules = flag.Bool("soakrules", false, "run the whole table of the present rules") //nolint:gochecknoglobals // a flag of the test

// What the run of a real upkeep on a real PostgreSQL says after a change, by the
// situation in which the change meets it: state and reason. A cell in brackets is one
// of the short pass. In a step that may not be cancelled the run says the reason at
// once, and the state when the statement has ended. Between steps: in the first of
// three, which waits for somebody, so that nothing of the next has begun.
//
// n/a: a run that asks already cannot be lowered to ask; VACUUM and REINDEX rest on no
// archive entry; only a run that was asked about has an approval.
const rulesTable = `
change             | waiting          | awaiting approval          | between steps              | in a batch                 | in VACUUM                  | in REINDEX                 | after kill -9
policy removed     | [refused policy] | refused policy             | refused policy             | [refused policy]           | refused policy             | refused policy             | refused policy
lowered to observe | refused policy   | refused policy             | refused policy             | refused policy             | refused policy             | refused policy             | [refused policy]
lowered to ask     | waiting pause    | n/a                        | awaiting_approval approval | awaiting_approval approval | awaiting_approval approval | awaiting_approval approval | awaiting_approval approval
window closed      | waiting pause    | awaiting_approval approval | waiting window             | waiting window             | [waiting window]           | waiting window             | waiting window
paused all         | waiting pause    | awaiting_approval approval | waiting pause              | waiting pause              | waiting pause              | [waiting pause]            | [waiting pause]
paused policy      | waiting pause    | awaiting_approval approval | waiting pause              | waiting pause              | waiting pause              | waiting pause              | waiting pause
paused target      | waiting pause    | awaiting_approval approval | waiting pause              | waiting pause              | waiting pause              | waiting pause              | waiting pause
paused action      | waiting pause    | awaiting_approval approval | [waiting pause]            | waiting pause              | waiting pause              | waiting pause              | waiting pause
target removed     | waiting target   | waiting target             | waiting target             | waiting target             | waiting target             | waiting target             | waiting target
target renamed     | waiting target   | waiting target             | waiting target             | waiting target             | waiting target             | waiting target             | waiting target
entry removed      | waiting pause    | refused configuration      | refused configuration      | refused configuration      | n/a                        | n/a                        | refused configuration
entry of other age | waiting pause    | refused configuration      | refused configuration      | refused configuration      | n/a                        | n/a                        | refused configuration
approval's policy  | n/a              | [refused policy]           | n/a                        | n/a                        | n/a                        | n/a                        | n/a
`

func TestPresentRules(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(rulesTable), "\n")
	columns := strings.Split(lines[0], "|")
	for _, line := range lines[1:] {
		cells := strings.Split(line, "|")
		for n := 1; n < len(cells); n++ {
			change, situation, want := strings.TrimSpace(cells[0]), strings.TrimSpace(columns[n]),
				strings.TrimSpace(cells[n])
			short := strings.HasPrefix(want, "[")
			if want == "n/a" || !short && !*soakRules {
				continue
			}
			t.Run(change+"/"+situation, func(t *testing.T) {
				t.Parallel()
				o := newReloaded(t, situation)
				o.meet(t, change, strings.Trim(want, "[]"))
			})
		}
	}
}

// An reloaded is an upkeep whose configuration changes, with one table to look after.
type reloaded struct {
	site
	situation string
	conn      *pgx.Conn
	blocker   *pgx.Conn // holds up a statement; nil where none does
	cmd       *exec.Cmd

	target, action, mode, window, age, with string
	noPolicy                                bool
}

func newReloaded(t *testing.T, situation string) *reloaded {
	t.Helper()
	o := &reloaded{site: site{dir: t.TempDir(), address: freeAddress(t), token: "t"}, situation: situation,
		target: "main", action: "postgres/purge", mode: "auto", window: "open", age: "1d"}
	o.postgres, o.database = servertest.Database(t)
	old := []string{
		"create table t (id int, at timestamptz, pad text)",
		"insert into t select i, now() - interval '2 days', repeat('x', 20) from generate_series(1, 300000) i",
		"create index on t (at)", "analyze t",
	}
	switch situation {
	case "waiting", "awaiting approval":
		old[1] = strings.ReplaceAll(old[1], "300000", "3000")
		if situation == "awaiting approval" {
			o.mode = "ask"
		}
	case "in VACUUM":
		o.action = "postgres/vacuum"
		old = []string{
			"create table t (id int)", "insert into t select generate_series(1, 50000)",
			"delete from t where id % 2 = 0", "select pg_stat_force_next_flush()",
			"alter database " + o.database + " set vacuum_cost_delay = '100ms'",
			"alter database " + o.database + " set vacuum_cost_limit = 1",
		}
	case "in REINDEX":
		o.action = "postgres/reindex"
		old = []string{
			"create table t (id int, key text)",
			"insert into t select i, md5(i::text) from generate_series(1, 20000) i", "create index t_key on t (key)",
			"delete from t where id % 10 <> 0", "select pg_stat_force_next_flush()", "vacuum t", "analyze t",
		}
	case "between steps":
		old = []string{
			"create table t (id int, at timestamptz not null) partition by range (at)",
			"create table t_old partition of t for values from ('2020-01-01') to ('2021-01-01')",
			"create table t_new partition of t for values from ('2021-01-01') to ('2099-01-01')",
			"insert into t select i, '2020-06-01' from generate_series(1, 1000) i",
			"insert into t select i, now() from generate_series(1, 1000) i", "analyze t",
		}
	default:
		o.with = "wal: '1'"
	}
	servertest.Exec(t, o.postgres, old...)
	o.conn = o.connect(t)
	if situation == "between steps" || situation == "in REINDEX" {
		o.blocker = o.connect(t)
		if _, err := o.blocker.Exec(t.Context(), "begin; lock table t in row exclusive mode"); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func (o *reloaded) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), o.postgres)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) }) // the database is dropped anyway
	return c
}

// write writes the configuration as it is now.
func (o *reloaded) write(t *testing.T) {
	t.Helper()
	var disabled []string
	for _, name := range app.Known().Collectors {
		if strings.HasPrefix(name, "postgres/") || strings.HasPrefix(name, "host/") {
			disabled = append(disabled, name+": {disabled: true}")
		}
	}
	archives, policies := "", ""
	targets := "targets: {host: [{name: this}]}\n" // there must be one
	if o.age != "" {
		archives = fmt.Sprintf("archives: [{database: %s, table: t, column: at, after: %s, purge: true}]", o.database,
			o.age)
	}
	if o.target != "" {
		targets = fmt.Sprintf("targets: {postgres: [{name: %s, url: %q, %s}]}\n", o.target, o.postgres, archives)
	}
	if !o.noPolicy {
		policies = fmt.Sprintf("policies: [{name: p, match: ['alertname=\"A\"'], action: %s, limit: 0, mode: %s, windows: "+
			"[%s], with: {%s}, budget: 0%%, ramp: false, breaker: 0, effect: 0%%, fresh: 0s, cooldown: 0s}]\n",
			o.action, o.mode, o.window, o.with)
	}
	later := strings.ToLower(time.Now().UTC().Add(72 * time.Hour).Weekday().String())
	write(t, filepath.Join(o.dir, "token"), o.token+"\n")
	write(t, filepath.Join(o.dir, "upkeep.yaml"), fmt.Sprintf(`data_dir: data
web: {listen: %q, token_file: token}
collectors: {settings: {%s}}
embedded: {enabled: false}
windows:
  - {name: open, time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]}
  - {name: later, time_intervals: [{weekdays: [%s]}]}
%s%s`, o.address, strings.Join(disabled, ", "), later, targets, policies))
}

func (o *reloaded) start(t *testing.T) {
	t.Helper()
	o.cmd = spawn(t, o.dir, "upkeep", "serve", "--config", "upkeep.yaml")
	o.awaitReady(t)
}

// post sends something to the upkeep and returns the status and the answer.
func (o *reloaded) post(t *testing.T, path string, body any) (int, string) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+o.address+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+o.token)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read only
	var said bytes.Buffer
	if _, err := said.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, said.String()
}

func (o *reloaded) pause(t *testing.T, scope string) {
	t.Helper()
	p := remediate.Pause{Scope: scope, Reason: "r", By: "ann"}
	if o.cmd != nil {
		if code, said := o.post(t, console.Prefix+"/pauses",
			map[string]string{"scope": p.Scope, "reason": p.Reason, "by": p.By}); code >= 300 {
			t.Fatalf("pause %s: %d %s", scope, code, said)
		}
		return
	}
	db, err := store.Open(t.Context(), store.Options{Dir: filepath.Join(o.dir, "data")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // what was written is
	if err := journal.New(journal.Config{Store: db}).SetPause(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

// run is the state of run 1.
func (o *reloaded) run(t *testing.T) remediate.Run {
	t.Helper()
	var s console.RunDetails
	if err := o.get("/runs/1", &s); err != nil {
		return remediate.Run{}
	}
	return s.Run
}

// query asks the database for one number.
func (o *reloaded) query(t *testing.T, sql string) (n int) {
	t.Helper()
	if err := o.conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// until waits for something, and says where the run is if it does not come.
func (o *reloaded) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	defer func() {
		if t.Failed() {
			r := o.run(t)
			t.Logf("the run is %s %s: %s", r.State, r.Reason, r.Why)
		}
	}()
	servertest.Eventually(t, what, is)
}

// alert reports the upkeep what is wrong.
func (o *reloaded) alert(t *testing.T) {
	t.Helper()
	labels := map[string]string{"alertname": "A", "server": "main", "database": o.database, "schema": "public",
		"table": "t"}
	if o.action == "postgres/reindex" {
		labels["index"] = "t_key"
	}
	alert := map[string]any{"version": "4", "alerts": []any{map[string]any{"status": "firing", "labels": labels,
		"annotations": map[string]string{"limit": "0"}, "startsAt": time.Now().UTC().Format(time.RFC3339)}}}
	if code, said := o.post(t, "/webhook/alertmanager", alert); code >= 300 {
		t.Fatalf("alert: %d %s", code, said)
	}
}

// begin brings the run into the situation.
func (o *reloaded) begin(t *testing.T) {
	t.Helper()
	o.write(t)
	o.start(t)
	if o.situation == "waiting" {
		o.pause(t, "action/"+o.action)
	}
	o.alert(t)
	in := map[string]string{
		"in VACUUM": "select count(*) from pg_stat_progress_vacuum where datname = current_database() and relid " +
			"= 't'::regclass",
		"in REINDEX": "select count(*) from pg_stat_progress_create_index where datname = current_database() and " +
			"phase like 'waiting%'",
		"between steps": "select count(*) from pg_stat_activity where datname = current_database() and " +
			"application_name like 'upkeep postgres/purge fence%'",
		"in a batch":    "select (count(*) < 299000)::int from t",
		"after kill -9": "select (count(*) < 299000)::int from t",
	}
	switch o.situation {
	case "waiting":
		o.until(t, "it waits", func() bool { return o.run(t).State == remediate.Waiting })
	case "awaiting approval":
		o.until(t, "it asks", func() bool { return o.run(t).State == remediate.AwaitingApproval })
	default:
		o.until(t, o.situation, func() bool { return o.query(t, in[o.situation]) > 0 })
	}
	if o.situation == "after kill -9" {
		if err := o.cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = o.cmd.Wait() // killed
		o.cmd = nil
		o.until(t, "its session has ended", func() bool {
			return o.query(t, "select count(*) from pg_stat_activity where datname = current_database() and "+
				"application_name like 'upkeep%'") == 0
		})
	}
}

// apply makes the change.
func (o *reloaded) apply(t *testing.T, change string) {
	t.Helper()
	switch change {
	case "policy removed", "approval's policy":
		o.noPolicy = true
	case "lowered to observe":
		o.mode = "observe"
	case "lowered to ask":
		o.mode = "ask"
	case "window closed":
		o.window = "later"
	case "paused all":
		o.pause(t, "all")
	case "paused policy":
		o.pause(t, "policy/p")
	case "paused target":
		o.pause(t, "target/main")
	case "paused action":
		o.pause(t, "action/"+o.action)
	case "target removed":
		o.target = ""
	case "target renamed":
		o.target = "other"
	case "entry removed":
		o.age = ""
	case "entry of other age":
		o.age = "1w"
	}
	o.write(t)
	if o.cmd == nil {
		o.start(t)
		return
	}
	if strings.HasPrefix(change, "paused") {
		return
	}
	if code, said := o.post(t, "/-/reload", nil); code != http.StatusOK {
		t.Fatalf("reload: %d %s", code, said)
	}
}

// left is what of the work is still to be done: it must not become less after the run
// has said that it stopped.
func (o *reloaded) left(t *testing.T) int {
	t.Helper()
	switch o.situation {
	case "in VACUUM":
		return 1 - o.query(t, "select count(*) from pg_stat_progress_vacuum where datname = current_database() and "+
			"relid = 't'::regclass")
	case "in REINDEX":
		return o.query(t, "select count(*) from pg_index where indrelid = 't'::regclass and indisvalid")
	case "between steps":
		return o.query(t, "select count(*) from pg_class where relname = 't_old'")
	}
	return o.query(t, "select count(*) from t")
}

// meet makes the change in the situation and compares what the run says, and what
// the database shows.
func (o *reloaded) meet(t *testing.T, change, want string) {
	o.begin(t)
	state, reason, _ := strings.Cut(want, " ")
	began := time.Now()
	o.apply(t, change)
	says := func(run remediate.Run) bool { return string(run.State) == state && run.Reason == reason }
	if o.situation == "in REINDEX" {
		o.until(t, "it says that the statement is left to end", func() bool {
			run := o.run(t)
			return run.State == remediate.Allowed && run.Reason == reason &&
				strings.Contains(run.Why, "no further step is started")
		})
		t.Logf("%s, %s: the run said so after %s", change, o.situation, time.Since(began).Round(10*time.Millisecond))
		if err := o.blocker.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	o.until(t, want, func() bool {
		run := o.run(t)
		// A last step that was left to end is the end of the work: there is nothing to hold.
		return says(run) || o.situation == "in REINDEX" && run.Done == len(run.Plan.Steps) && run.Done > 0
	})
	if o.blocker == nil {
		t.Logf("%s, %s: the state said so after %s", change, o.situation, time.Since(began).Round(10*time.Millisecond))
	}
	left := o.left(t)
	time.Sleep(1200 * time.Millisecond)
	if now := o.left(t); now != left || now == 0 {
		t.Errorf("%d were left when the run said %q, and %d a moment later", left, want, now)
	}
	if o.situation == "waiting" || o.situation == "awaiting approval" {
		if left != 3000 {
			t.Errorf("%d rows of 3000 are left", left)
		}
	}
	if o.situation == "in VACUUM" &&
		o.query(t, "select vacuum_count from pg_stat_user_tables where relname = 't'") != 0 {
		t.Error("the table was vacuumed")
	}
	if o.query(t, "select count(*) from pg_index where not indisvalid") != 0 {
		t.Error("an invalid index is left")
	}
	o.approve(t, change, state, reason)
}

// approve says yes to what was asked about: where the configuration no longer asks for
// it the yes is refused with the reason, else something holds the run.
func (o *reloaded) approve(t *testing.T, change, state, reason string) {
	t.Helper()
	if o.situation != "awaiting approval" {
		return
	}
	code, said := o.post(t, console.Prefix+"/runs/1/approve", map[string]string{"by": "user/ann"})
	if state != string(remediate.AwaitingApproval) {
		if code != http.StatusConflict {
			t.Errorf("the approval of a run that is %s was answered %d: %s", state, code, said)
		}
		return
	}
	if code != http.StatusOK {
		t.Fatalf("approve: %d %s", code, said)
	}
	next := map[bool]string{true: "window", false: "pause"}[change == "window closed"]
	o.until(t, "after the approval it waits for "+next,
		func() bool { run := o.run(t); return run.State == remediate.Waiting && run.Reason == next })
	if n := o.left(t); n != 3000 {
		t.Errorf("%d rows of 3000 are left", n)
	}
}

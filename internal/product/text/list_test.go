package text_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/platform/terminal"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/text"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// now is when the tests look.
func now() time.Time { return time.Date(2026, 11, 30, 3, 0, 0, 0, time.Local) }

func lines() []console.Line {
	subject := map[string]string{"server": "main", "database": "admindb", "schema": "public", "table": "order_positions"}
	return []console.Line{
		{Lowers: "upkeep_postgres_table_dead_ratio", Run: remediate.Run{ID: 244, State: remediate.AwaitingApproval,
			Changed: now().Add(-2 * time.Minute), Why: "plan dd59 needs approval: the mode is ask",
			Request: remediate.Request{Action: "postgres/vacuum", Subject: subject, By: "alert/PostgresDeadRows",
				Policy: "dead rows", Limit: new(0.2)}, Before: new(0.25)}},
		{Lowers: "upkeep_redis_snapshot_age_seconds", Run: remediate.Run{ID: 7, State: remediate.Resolved,
			Changed: now().Add(-26 * time.Hour), Why: "from never to 3s, limit 1h", After: new(3.0),
			Request: remediate.Request{Action: "redis/bgsave", Subject: map[string]string{"server": "cache"},
				By: "user/ann"}}},
	}
}

// lists writes something on a terminal of 80 columns, and whole.
func lists(t *testing.T, write func(w io.Writer, wide bool) error) (narrow, wide string) {
	t.Helper()
	var b, w bytes.Buffer
	if err := write(terminal.Sized(&b, 80, false), false); err != nil {
		t.Fatal(err)
	}
	if err := write(terminal.Sized(&w, 80, false), true); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if n := terminal.Width(strings.TrimRight(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	return b.String(), w.String()
}

func TestRuns(t *testing.T) {
	narrow, wide := lists(t, func(w io.Writer, wide bool) error { return text.Runs(w, lines(), now(), wide) })
	want := `RUN  AGE     ACTION           STATE              ON              WHY
244  2m ago  postgres/vacuum  awaiting_approval  …tions on main  plan dd59 need…
7    1d ago  redis/bgsave     resolved           cache           from never to …
`
	if diff := cmp.Diff(want, narrow); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, has := range []string{"  25 % → –        20 %  ", `database="admindb",schema="public",server="main",table="order_positions"`,
		"alert/PostgresDeadRows  dead rows  plan dd59 needs approval: the mode is ask", "2026-11-29 01:00:00"} {
		if !strings.Contains(wide, has) {
			t.Errorf("no %q in\n%s", has, wide)
		}
	}
	if narrow, _ = lists(t, func(w io.Writer, wide bool) error { return text.Runs(w, nil, now(), wide) }); narrow !=
		"No runs yet.\n" {
		t.Error(narrow)
	}
	var b strings.Builder
	if err := text.Run(&b, lines()[1]); err != nil || b.String() != "2026-11-29 01:00:00  run 7  redis/bgsave  resolved  "+
		"cache: from never to 3s, limit 1h\n" {
		t.Errorf("%v %q", err, b.String())
	}
}

func TestPolicies(t *testing.T) {
	all := []console.PolicyLine{
		{Name: "dead rows", Match: []string{`alertname="PostgresDeadRows"`, `server="main"`}, Resolved: 4, Judged: 5,
			Steps: []console.PolicyStep{{Action: "postgres/end_transaction", Mode: remediate.Ask},
				{Action: "postgres/vacuum", Mode: remediate.Auto}}},
		{Name: "bloat", Match: []string{`alertname="PostgresIndexBloat"`},
			PolicyState: journal.PolicyState{Demoted: now(), Why: "1 of 5 helped"},
			Steps:       []console.PolicyStep{{Action: "postgres/reindex", Mode: remediate.Auto}}},
	}
	narrow, wide := lists(t, func(w io.Writer, wide bool) error { return text.Policies(w, all, wide) })
	if !strings.Contains(narrow, "demoted since 2026-11-30 03:00:00: 1 of 5 helped") || !strings.Contains(narrow, "…") {
		t.Error(narrow)
	}
	want := `POLICY     MODE       ACTION                                          EFFECT  MATCH
dead rows  ask, auto  postgres/end_transaction, then postgres/vacuum  4 of 5  alertname="PostgresDeadRows", server="main"
bloat      demoted    postgres/reindex                                –       alertname="PostgresIndexBloat"

bloat is demoted since 2026-11-30 03:00:00: 1 of 5 helped
Its runs need approval until: upkeep policy promote "bloat" --why …
`
	if diff := cmp.Diff(want, wide); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTargetsAndActions(t *testing.T) {
	all := []console.TargetLine{
		{Name: "cache", Kinds: []string{"redis"}, State: "down", Why: "dial tcp 10.0.0.7:6379: connect: connection refused",
			Open: 2, Severity: "critical"},
		{Name: "main", Kinds: []string{"postgres", "backup"}, State: "up", Answered: now().Add(-4 * time.Second)},
	}
	_, wide := lists(t, func(w io.Writer, wide bool) error { return text.Targets(w, all, now(), wide) })
	want := `TARGET  KIND              STATE  FIRING      ANSWERED  WHY
cache   redis             down   2 critical  never     dial tcp 10.0.0.7:6379: connect: connection refused
main    postgres, backup  up     –           4s ago
`
	if diff := cmp.Diff(want, wide); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	action := console.ActionLine{Name: "postgres/reindex", Summary: "Rebuilds an index.", Risk: "guarded",
		Targets: []string{"main", "other"}, Labels: []string{"server", "index"}, Exclusive: []string{"index"},
		Lowers: []string{"upkeep_postgres_index_bloat_ratio"}, Timeout: "2h", Asks: true, Windowed: true,
		Effects: map[string]string{"lock": "SHARE UPDATE EXCLUSIVE", "blocks": "DDL", "wal": "the index", "disk": "the index",
			"undo": "–"},
		Params: []console.ParamLine{{Name: "parallel", Type: "int", Default: "0", Doc: "Workers."}, {Name: "x", Type: "bool"}}}
	_, wide = lists(t, func(w io.Writer, wide bool) error { return text.Actions(w, []console.ActionLine{action}, wide) })
	want = `ACTION            RISK     TARGETS  LABELS        SUMMARY
postgres/reindex  guarded  2        server index  Rebuilds an index.
`
	if diff := cmp.Diff(want, wide); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	var b strings.Builder
	text.Action(&b, action)
	want = `postgres/reindex: Rebuilds an index.

  targets    main, other
  labels     server, index
  alone on   index
  lowers     upkeep_postgres_index_bloat_ratio
  risk       guarded
  lock       SHARE UPDATE EXCLUSIVE
  blocks     DDL
  wal        the index
  disk       the index
  undo       –
  timeout    2h for a step
  approval   every run needs it
  window     runs in a maintenance window only

parameters (--with NAME=VALUE):
  parallel (int, default 0): Workers.
  x (bool): ` + `

See what it would do: upkeep plan postgres/reindex server=… index=…
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The first line says how things are; then each is on a line, the most urgent first, and an error once.
func TestStatus(t *testing.T) {
	var b strings.Builder
	refused := `permission denied for view pg_stat_statements\n\t(SQLSTATE 42501)\n\t(SQLSTATE 42501)`
	s := console.Status{
		Open: 3, Firing: map[string]int64{"critical": 1, "warning": 2},
		Targets: []console.TargetLine{{Name: "cache", Kinds: []string{"redis"}, State: "down", Why: "connection refused"},
			{Name: "main", State: "failing"}, {Name: "host", State: "up"}},
		Incidents: []remediate.Incident{{Opened: now().Add(-5 * time.Minute), Alert: remediate.Alert{
			Labels:      map[string]string{"alertname": "RedisDown", "severity": "critical"},
			Annotations: map[string]string{"summary": "cache does not answer"}}}},
		Pauses: []console.PauseLine{{Pause: remediate.Pause{Scope: "target/old", By: "ann", Reason: "a move"},
			Unknown: "the configuration has no such target any more"}},
		Awaiting: []remediate.Run{{ID: 7, Request: remediate.Request{Action: "postgres/vacuum",
			Subject: map[string]string{"table": "t"}}}},
		Stuck: []engine.Stuck{{Run: remediate.Run{ID: 3, State: remediate.Allowed, Request: remediate.Request{
			Action: "postgres/reindex", Subject: map[string]string{"index": "i"}}}, Why: "no progress"}},
		Collectors: []scrape.Status{{Server: "cache", Collector: "redis/up", Err: "connection refused"},
			{Server: "main", Collector: "postgres/a", Err: refused}, {Server: "main", Collector: "postgres/b", Err: refused},
			{Server: "main", Collector: "postgres/c", Err: refused}, {Server: "main", Collector: "postgres/d", Err: refused},
			{Server: "main", Collector: "postgres/e", Err: "division by zero",
				Note: "exclude names \"a\"\nexclude names \"b\""},
			{Server: "host", Collector: "host/cpu", At: now().Add(-3 * time.Second), Samples: 9, Took: time.Millisecond}},
	}
	text.Status(&b, s, now())
	want := `3 targets, 1 down, 1 failing; 3 firing (1 critical, 2 warning); 1 run is stuck; 1 run awaits approval; 1 pause
STUCK run 3: postgres/reindex on index="i" is allowed: no progress. See upkeep show 3; cancel it with upkeep cancel 3 --why …
PAUSED target/old by ann: a move
  the configuration has no such target any more: this pauses nothing
AWAITING APPROVAL run 7: postgres/vacuum on table="t". See upkeep show 7; then upkeep approve 7, or upkeep reject 7 --why …
DOWN cache (redis): connection refused. Start it, or check its address and login: upkeep check --connect
FIRING critical RedisDown, 5m ago: cache does not answer
and 2 more alerts: upkeep alerts
NOTE main: exclude names "a" exclude names "b"
CANNOT READ main postgres/a, main postgres/b, main postgres/c and 1 more: permission denied for view pg_stat_statements (SQLSTATE 42501); upkeep rights prints the grants
CANNOT READ main postgres/e: division by zero; docs/collectors.md says what the collector needs
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for why, do := range map[string]string{
		"status (unexpected): the service answers with the HTTP status 503": "What to do: look at the service's log; ",
		"tls (untrusted): unknown authority.":                               "What to do: name the CA of its certificate in ca_file",
		"connect (refused): connection refused":                             "What to do: start the service, or correct the port",
		"body (timeout): deadline":                                          "What to do: the service accepts connections",
	} {
		b.Reset()
		text.Status(&b, console.Status{Targets: []console.TargetLine{{Name: "api", Kinds: []string{"probe"}, State: "down",
			Why: why}}}, now())
		if !strings.Contains(b.String(), "DOWN api (probe): "+strings.TrimSuffix(why, ".")+". "+do) {
			t.Error(b.String())
		}
	}
	b.Reset()
	text.Status(&b, console.Status{Targets: []console.TargetLine{{Name: "host", State: "up"}}}, now())
	if b.String() != "1 target; no alert is firing\n" {
		t.Error(b.String())
	}
	b.Reset()
	if err := text.Collectors(&b, s, now(), true); err != nil || !strings.Contains(b.String(),
		"host    host/cpu    9        1ms       3s ago    ok\n") || strings.Count(b.String(), "\n") != 8 {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestAlerts(t *testing.T) {
	all := []remediate.Incident{{Opened: now().Add(-90 * time.Second), Alert: remediate.Alert{
		Labels:      map[string]string{"alertname": "RedisDown", "severity": "page", "server": "cache", "job": "upkeep"},
		Annotations: map[string]string{"summary": "cache does not answer"}}}}
	narrow, wide := lists(t, func(w io.Writer, wide bool) error { return text.Alerts(w, all, now(), wide) })
	want := `SEVERITY  ALERT      SINCE   ON              SUMMARY
page      RedisDown  1m ago  server="cache"  cache does not answer
`
	if diff := cmp.Diff(want, narrow); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !strings.Contains(wide, "2026-11-30 02:58:30") {
		t.Error(wide)
	}
}

func TestProgress(t *testing.T) {
	s := console.RunDetails{Run: remediate.Run{ID: 7, State: remediate.Waiting, Created: now().Add(-90 * time.Second)}}
	if got := text.Progress(s, now()); got != "run 7 is waiting, for 1m30s" {
		t.Error(got)
	}
	s.Run.State, s.Run.Plan.Steps, s.Run.Done = remediate.Allowed, make([]remediate.Step, 4), 1
	s.Progress = []console.StatementProgress{{Command: "VACUUM", Phase: "scanning heap", Ratio: 0.4}}
	want := "[#######.............] 1 of 4 steps done; VACUUM, scanning heap: 40 %; run 7 is allowed, for 1m30s"
	if got := text.Progress(s, now()); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

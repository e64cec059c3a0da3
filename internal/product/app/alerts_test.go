package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// settle is a configuration that asks often and holds nothing back by itself.
const settle = `web: {listen: "127.0.0.1:0"}
collectors: {interval: 500ms, settings: {host/updates: {disabled: true}}}
`

// serve runs an app on a configuration until the test ends.
func serve(t *testing.T, text string) *life {
	t.Helper()
	text = settle + fmt.Sprintf("data_dir: %q\n", filepath.Join(t.TempDir(), "data")) + text
	c, err := config.Parse("test", []byte(text), app.Known())
	if err != nil {
		t.Fatal(err)
	}
	l := &life{log: new(log)}
	a, err := app.New(t.Context(), c, app.Options{Version: "test", Logger: slog.New(slog.NewTextHandler(l.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	l.url, l.admin = "http://"+a.Addr(), admin(t, a)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(l.stop)
	return l
}

// fire posts alerts of these kinds to an Alertmanager.
func fire(t *testing.T, amURL string, kinds ...string) {
	t.Helper()
	fireWith(t, http.DefaultClient, amURL, "kind2", kinds...)
}

// fireWith names the kind in a second label, too.
func fireWith(t *testing.T, client *http.Client, amURL, label string, kinds ...string) {
	t.Helper()
	var all []map[string]any
	for _, kind := range kinds {
		all = append(all, map[string]any{
			"labels": map[string]string{"alertname": "RedisSnapshotOld", "server": "cache", "kind": kind,
				label: kind},
			"annotations": map[string]string{"limit": "-1"}, "endsAt": time.Now().Add(time.Hour),
		})
	}
	body, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Post(amURL+"/api/v2/alerts", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close() // nothing is in it
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
}

// kinds returns the kinds of alerts that have an incident.
func (l *life) kinds(t *testing.T) (all []string) {
	t.Helper()
	for _, e := range l.incidents(t) {
		all = append(all, e.Alert.Labels["kind"])
	}
	slices.Sort(all)
	return all
}

func (l *life) incidents(t *testing.T) []remediate.Incident {
	t.Helper()
	var s console.Status
	_, text := l.send(t, "GET", console.Prefix+"/status", "", "")
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s.Incidents
}

// runs returns the runs by the kind of the alert that asked for them.
func (l *life) runs(t *testing.T) map[string]remediate.Run {
	t.Helper()
	var runs []remediate.Run
	_, text := l.send(t, "GET", console.Prefix+"/runs", "", "")
	if err := json.Unmarshal([]byte(text), &runs); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	kinds := make(map[int64]string)
	for _, e := range l.incidents(t) {
		kinds[e.ID] = e.Alert.Labels["kind"]
	}
	all := make(map[string]remediate.Run)
	for _, r := range runs {
		all[kinds[r.Request.Incident]] = r
	}
	return all
}

// confirmed waits until the incident of a kind was listed since a moment.
func (l *life) confirmed(t *testing.T, kind string, since time.Time) {
	t.Helper()
	servertest.Eventually(t, "the listing confirms "+kind, func() bool {
		return slices.ContainsFunc(l.incidents(t),
			func(e remediate.Incident) bool { return e.Alert.Labels["kind"] == kind && e.Seen.After(since) })
	})
}

const saving = `policies:
  - {name: ask, match: ['kind="asked"'], action: redis/bgsave, limit: -1, mode: ask, cooldown: 0s, fresh: 0s}
  - {name: save, match: ['alertname="RedisSnapshotOld"'], action: redis/bgsave, limit: -1, mode: auto, cooldown: 0s, ramp: false, effect: "0%", breaker: 0, budget: "0%", fresh: 0s, HOLD}
`

// What Debian's Alertmanager delivers is acted on, and nothing else: not what it mutes by
// a time interval, inhibits, silences, or holds until the rest of a group is there,
// though its list of alerts has all of it as active or not.
func TestActsOnWhatIsDelivered(t *testing.T) {
	cache := servertest.Redis(t)
	am := servertest.AlertmanagerWith(t, "route: {receiver: upkeep}\nreceivers: [{name: upkeep}]\n")
	l := serve(t, fmt.Sprintf(`targets: {redis: [{name: cache, url: %q}]}
embedded: {enabled: false}
alertmanager: {url: %q, receiver: upkeep}
engine: {reconcile_interval: 200ms, resolve_after: 1h}
%s`, cache.URL, am.URL, strings.Replace(saving, "HOLD", "hold: 0s", 1)))
	am.Reload(fmt.Sprintf(`route:
  receiver: upkeep
  group_by: [kind]
  group_wait: 500ms
  group_interval: 1s
  routes:
    - {matchers: ['kind="muted"'], mute_time_intervals: [always]}
    - {matchers: ['kind="asleep"'], active_time_intervals: [never]}
    - {matchers: ['kind="waits"'], group_wait: 10m}
receivers: [{name: upkeep, webhook_configs: [{url: %q, http_config: {authorization: {credentials: %s}}}]}]
inhibit_rules: [{source_matchers: ['kind="source"'], target_matchers: ['kind="inhibited"']}]
time_intervals:
  - {name: always, time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]}
  - {name: never, time_intervals: [{years: ['1999']}]}
`, l.url+webhook.Alertmanager().Path, l.admin))
	silence := func(kind string) {
		t.Helper()
		if _, err := (prom.Alertmanager{URL: am.URL}).Set(t.Context(), prom.Silence{
			Matchers: []prom.Matcher{prom.Equal("kind", kind)}, StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour),
			CreatedBy: "ann", Comment: "we move it",
		}); err != nil {
			t.Fatal(err)
		}
	}
	silence("silenced")
	fire(t, am.URL, "source", "silenced", "muted", "asleep", "waits", "inhibited", "plain", "asked")
	delivered := []string{"asked", "plain", "source"}
	servertest.Eventually(t, "what is delivered is acted on", func() bool {
		runs := l.runs(t)
		return runs["plain"].Acted() && runs["source"].Acted() && runs["asked"].State == remediate.AwaitingApproval
	})
	now := time.Now()
	l.confirmed(t, "plain", now)
	l.confirmed(t, "source", now.Add(time.Second))
	if diff := cmp.Diff(delivered, l.kinds(t)); diff != "" {
		t.Error(diff)
	}

	// What was delivered, and would not be now, is not acted on either.
	silence("asked")
	asked := l.runs(t)["asked"]
	if code, text := l.send(t, "POST", fmt.Sprint(console.Prefix, "/runs/", asked.ID, "/approve"), "",
		`{"by": "ann"}`); code != 200 {
		t.Fatal(code, text)
	}
	servertest.Eventually(t, "the approved run waits", func() bool {
		r := l.runs(t)["asked"]
		return r.State == remediate.Waiting && r.Reason == "suppressed" && strings.Contains(r.Why, "silenced by ann")
	})
	if runs := l.runs(t); len(runs) != 3 || runs["asked"].Acted() {
		t.Errorf("runs: %+v", runs)
	}
}

// The embedded Alertmanager lists what it still holds, too.
func TestEmbeddedHoldsItsGroup(t *testing.T) {
	cache := servertest.Redis(t)
	l := serve(t, fmt.Sprintf(`targets: {redis: [{name: cache, url: %q}]}
embedded: {group_wait: 10m}
engine: {reconcile_interval: 100ms, resolve_after: 1h}
%s`, cache.URL, strings.Replace(saving, "HOLD", "hold: 0s", 1)))
	servertest.Eventually(t, "it is ready", func() bool {
		code,
			_ := l.send(t, "GET", "/-/ready", "", "")
		return code == 200
	})
	fireWith(t, l.client(), l.url, "kind2", "plain")
	servertest.Eventually(t, "it is listed", func() bool {
		_, text := l.send(t, "GET", "/api/v2/alerts?receiver=upkeep", "", "")
		return strings.Contains(text, `"kind":"plain"`)
	})
	time.Sleep(time.Second) // it is listed ten times more
	if kinds, runs := l.kinds(t), l.runs(t); len(kinds) != 0 || len(runs) != 0 {
		t.Errorf("nothing was delivered; incidents %q, runs %+v", kinds, runs)
	}
}

// A silence in the embedded Alertmanager holds what it has delivered before. Names of
// labels are in UTF-8 in alerts, policies and silences alike.
func TestEmbeddedSilence(t *testing.T) {
	cache := servertest.Redis(t)
	l := serve(t, fmt.Sprintf(`targets: {redis: [{name: cache, url: %q}]}
embedded: {group_wait: 10ms}
engine: {reconcile_interval: 100ms, resolve_after: 1h}
%s`, cache.URL, strings.NewReplacer("HOLD", "hold: 2s", `alertname="RedisSnapshotOld"`, `"my.label"=~"plain|silenced"`).Replace(saving)))
	servertest.Eventually(t, "it is ready", func() bool {
		code,
			_ := l.send(t, "GET", "/-/ready", "", "")
		return code == 200
	})
	fireWith(t, l.client(), l.url, "my.label", "plain", "silenced")
	servertest.Eventually(t, "both are delivered", func() bool { return len(l.kinds(t)) == 2 })
	if _, err := (prom.Alertmanager{URL: l.url, Client: l.client()}).Set(t.Context(), prom.Silence{
		Matchers: []prom.Matcher{prom.Equal("my.label", "silenced")}, StartsAt: time.Now(),
		EndsAt: time.Now().Add(time.Hour), CreatedBy: "ann", Comment: "we move it",
	}); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "one acts and one waits", func() bool {
		runs := l.runs(t)
		return runs["plain"].Acted() && runs["silenced"].Reason == "suppressed"
	})
	if r := l.runs(t)["silenced"]; r.State != remediate.Waiting || r.Acted() {
		t.Errorf("%+v", r)
	}
}

// Grafana's end was lost. What it no longer repeats is over, and the next incident gets a
// run of its own; what Alertmanager would be asked about without a url as well.
func TestLostEndExpires(t *testing.T) {
	cache := servertest.Redis(t)
	l := serve(t, fmt.Sprintf(`targets: {redis: [{name: cache, url: %q}]}
embedded: {enabled: false}
engine: {reconcile_interval: 100ms, expire_after: 2s, flap: 0s}
policies: [{name: watch, match: ['alertname="RedisSnapshotOld"'], action: redis/bgsave}]
`, cache.URL))
	for path, version := range map[string]string{webhook.Grafana().Path: "1", webhook.Alertmanager().Path: "4"} {
		post := func(day string) {
			t.Helper()
			body := fmt.Sprintf(`{"version":%q,"alerts":[{"status":"firing","labels":{"alertname":"RedisSnapshotOld","server":"cache"},"annotations":{"limit":"3"},"startsAt":"2026-11-%sT00:00:00Z"}]}`, version, day)
			if code, text := l.send(t, "POST", path, "", body); code != 200 {
				t.Fatal(code, text)
			}
		}
		runs := func() int {
			_, text := l.send(t, "GET", console.Prefix+"/runs", "", "")
			return strings.Count(text, `"state":"observed"`) + strings.Count(text, `"state":"refused"`)
		}
		before := runs()
		post("22")
		servertest.Eventually(t, "a run", func() bool { return runs() == before+1 })
		post("22")
		servertest.Eventually(t, "the incident expires", func() bool { return len(l.incidents(t)) == 0 })
		post("22")
		servertest.Eventually(t, "a second run", func() bool { return runs() == before+2 })
		servertest.Eventually(t, "the incident expires", func() bool { return len(l.incidents(t)) == 0 })
	}
}

// A database that cannot be entered holds the runs about it, and no others of its server.
func TestOneDatabaseRefuses(t *testing.T) {
	good, _ := servertest.Database(t)
	_, name := servertest.Database(t)
	role := "keeper_of_" + name
	u, err := url.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	servertest.Exec(t, good, "create role "+role+" login in role pg_monitor",
		"alter database "+name+" connection limit 0",
		"create table t (id int) with (autovacuum_enabled = off)", "insert into t select generate_series(1, 10000)",
		"delete from t where id % 2 = 0", "alter table t owner to "+role)
	t.Cleanup(func() { servertest.Exec(t, good, "drop owned by "+role, "drop role "+role) })
	here := strings.Replace(good, "upkeep@", role+"@", 1)
	l := serve(t, fmt.Sprintf(`targets: {postgres: [{name: main, url: %q}]}
embedded: {enabled: false}
engine: {flap: 0s}
policies: [{name: dead rows, match: ['alertname="PostgresDeadRows"'], action: postgres/vacuum, mode: auto, cooldown: 1s}]
`, here))
	servertest.Eventually(t, "the collector answers", func() bool {
		_, text := l.send(t, "GET", "/metrics", "", "")
		return strings.Contains(text, `upkeep_collector_success{collector="postgres/vacuum",server="main"} 0`)
	})
	for kind, database := range map[string]string{"good": strings.TrimPrefix(u.Path, "/"), "bad": name} {
		body := fmt.Sprintf(`{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"PostgresDeadRows","kind":%q,"server":"main","database":%q,"schema":"public","table":"t"},"annotations":{"limit":"0.2"},"startsAt":"2026-11-22T00:00:00Z"}]}`, kind, database)
		if code, text := l.send(t, "POST", webhook.Alertmanager().Path, "", body); code != 200 {
			t.Fatal(code, text)
		}
	}
	servertest.Eventually(t, "the run of the good database acts",
		func() bool { return l.runs(t)["good"].State == remediate.Resolved })
	servertest.Eventually(t, "the run of the database that refuses waits for it", func() error { // the ramp held it before
		if r := l.runs(t)["bad"]; r.State != remediate.Waiting || r.Reason != "freshness" ||
			!strings.Contains(r.Why, name) {
			return fmt.Errorf("%s %s %s", r.State, r.Reason, r.Why)
		}
		return nil
	})
}

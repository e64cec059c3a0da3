package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// shortClocks make the embedded Prometheus and Alertmanager quick. An alert that is not confirmed for four
// times resend_delay ends: on a busy machine an evaluation comes seconds late.
const shortClocks = "  scrape_interval: 300ms\n  evaluation_interval: 300ms\n  group_wait: 10ms\n  group_interval: " +
	"300ms\n  resend_delay: 4s\n  rule_files: ['rules/*.rules.yaml']\n"

// A service is an upkeep with a PostgreSQL of its own, which can be stopped.
type service struct {
	dir, address string
	options      sandbox.PostgresOptions
	postgres     *sandbox.Postgres
}

func newService(t *testing.T) *service {
	t.Helper()
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &service{dir: t.TempDir(), address: freeAddress(t)}
	if err := os.Mkdir(filepath.Join(s.dir, "rules"), 0o700); err != nil {
		t.Fatal(err)
	}
	// The rule as it is shipped waits for a minute. A scrape that a busy machine does not do in time ends every
	// series, and with it what fires; last_over_time looks past that.
	write(t, filepath.Join(s.dir, "rules", "down.rules.yaml"), `groups:
  - name: short
    rules:
      - alert: ServerGone
        expr: last_over_time(upkeep_postgres_up[1m]) == 0
        labels: {severity: critical, team: database}
        annotations: {summary: 'PostgreSQL server {{ $labels.server }} does not answer', limit: "0", action: none}
`)
	s.options = sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"),
		Settings: map[string]string{"fsync": "off"}}
	s.start(t)
	s.options.Port = s.postgres.Port
	t.Cleanup(func() { _ = s.postgres.Stop() }) // it may be stopped
	return s
}

func (s *service) start(t *testing.T) {
	t.Helper()
	var err error
	if s.postgres, err = servertest.StartPostgres(t.Context(), s.options); err != nil {
		t.Fatal(err)
	}
}

func (s *service) stop(t *testing.T) {
	t.Helper()
	if err := s.postgres.Stop(); err != nil {
		t.Fatal(err)
	}
}

// serve starts upkeep and returns when it is ready.
func (s *service) serve(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := spawn(t, s.dir, "upkeep", "serve", "--config", "upkeep.yaml")
	(&site{address: s.address}).awaitReady(t)
	return cmd
}

// beginning returns how many texts begin so.
func beginning(all []string, prefix string) (n int) {
	for _, s := range all {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

// answers reports whether upkeep has seen the server.
func (s *service) answers(t *testing.T) bool {
	t.Helper()
	return strings.Contains(s.read(t, "/metrics"), `upkeep_postgres_up{server="main"} 1`)
}

func (s *service) read(t *testing.T, path string) string {
	t.Helper()
	res, err := http.Get("http://" + s.address + path)
	if err != nil {
		return ""
	}
	defer func() { _ = res.Body.Close() }() // read only
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return ""
	}
	return string(text)
}

// With the shipped example and one place to notify, people hear of a server that has
// stopped, and of its end, though upkeep was killed between the two and the server came
// back meanwhile; each once.
func TestNotifiedOfAlerts(t *testing.T) {
	t.Parallel()
	s, hook := newService(t), servertest.NewHook(t)
	write(t, filepath.Join(s.dir, "url"), hook.URL+"\n")
	text := config.Example()
	for pattern, with := range map[string]string{
		`(?m)^data_dir: .*$`: "data_dir: data\ncollectors: {interval: 300ms, settings: {host/updates: {disabled: " +
			"true}}}", `listen: .*`: "listen: " + s.address,
		`url: postgres://.*`: "url: " + s.postgres.URL, `password_file: /etc.*`: "statement_text: true",
		`(?m)^embedded:\n`:         "embedded:\n" + shortClocks,
		`(?m)^# notify:\n(#.*\n)*`: "notify: [{name: operators, kind: webhook, url_file: url}]\n",
	} {
		changed := regexp.MustCompile(pattern).ReplaceAllString(text, with)
		if changed == text {
			t.Fatalf("the example has no %s", pattern)
		}
		text = changed
	}
	write(t, filepath.Join(s.dir, "upkeep.yaml"), text)
	cmd := s.serve(t)
	servertest.Eventually(t, "the server answers", func() bool { return s.answers(t) })
	s.stop(t)
	const fires, over = "alert critical ServerGone", "resolved resolved: ServerGone"
	servertest.Eventually(t, "people are notified of the alert",
		func() bool { return beginning(hook.Alerts(t), fires) > 0 })
	servertest.Eventually(t, "the command lists it", func() bool {
		out, err := exec.CommandContext(t.Context(), "upkeep", "alerts", "--url", "http://"+s.address).CombinedOutput()
		return err == nil && strings.Contains(string(out), "critical  ServerGone")
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // by that signal
	s.start(t)
	s.serve(t)
	servertest.Eventually(t, "people are notified of its end",
		func() bool { return beginning(hook.Alerts(t), over) > 0 })
	all := hook.Alerts(t)
	if beginning(all, fires) != 1 || beginning(all, over) != 1 {
		t.Errorf("each was to come once:\n%s", strings.Join(all, "\n"))
	}
	if page := s.read(t, "/"); !strings.Contains(page, "upkeep") {
		t.Errorf("the page: %s", page)
	}
}

const teams = `global:
  smtp_smarthost: %[3]s
  smtp_from: upkeep@example.org
  smtp_require_tls: false
route:
  receiver: tech-lead
  group_by: [alertname]
  group_wait: 10ms
  group_interval: 300ms
  repeat_interval: 1h
  routes:
    - {matchers: [team="database"], receiver: database}
    - {matchers: [team="cache"], receiver: cache}
    - {matchers: [team="web"], receiver: web}
    - {matchers: [alertname="Muted"], receiver: web, mute_time_intervals: [always]}
receivers:
  - name: tech-lead
    webhook_configs: [{url: '%[2]s/lead', send_resolved: true}]
  - name: database
    webhook_configs: [{url: '%[1]s/database'}]
  - name: cache
    email_configs: [{to: cache@example.org, send_resolved: true}]
  - name: web
    slack_configs: [{api_url_file: slack-url, channel: '#web', send_resolved: true, title: '{{ template "web.title" . }}'}]
inhibit_rules:
  - {source_matchers: [alertname="ServerGone"], target_matchers: [alertname="Inhibited"]}
time_intervals:
  - {name: always, time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]}
templates: ['*.tmpl']
`

// An ordinary configuration file of Alertmanager, which its own tool passes: each of three
// teams gets its own once, by a webhook, by mail and in Slack, and upkeep every alert,
// though upkeep is killed in between. What a reload finds wrong is refused with file and line.
func TestThreeTeams(t *testing.T) {
	t.Parallel()
	s, database, slack, lead, mail := newService(t), servertest.NewHook(t), servertest.NewHook(t),
		servertest.NewHook(t), servertest.NewMail(t)
	cache := servertest.Redis(t)
	good := fmt.Sprintf(teams, database.URL, lead.URL, mail.Address)
	// What fires is not over while the killed process comes back, however long a busy machine takes.
	clocks := strings.Replace(shortClocks, "resend_delay: 4s", "resend_delay: 1m", 1)
	if err := os.Mkdir(filepath.Join(s.dir, "am"), 0o700); err != nil {
		t.Fatal(err)
	}
	am := filepath.Join(s.dir, "am", "alertmanager.yml")
	write(t, am, good)
	write(t, filepath.Join(s.dir, "am", "slack-url"), slack.URL+"/services/T0\n")
	write(t, filepath.Join(s.dir, "am", "web.tmpl"),
		`{{ define "web.title" }}web team: {{ .CommonLabels.alertname }} {{ .Status }}{{ end }}`)
	if out, err := exec.CommandContext(t.Context(), "amtool", "check-config", am).CombinedOutput(); err != nil {
		t.Fatalf("amtool: %v\n%s", err, out)
	}
	write(t, filepath.Join(s.dir, "upkeep.yaml"), fmt.Sprintf(`data_dir: data
web: {listen: %q}
targets:
  postgres: [{name: main, url: %q}]
  redis: [{name: cache, url: %q}]
collectors: {interval: 300ms, settings: {postgres/settings: {disabled: true}}}
embedded:
  alertmanager_file: am/alertmanager.yml
%s
notify: [{name: tech-lead, on: [ask, helped]}]
policies: [{name: save, match: ['alertname="Unsaved"'], action: redis/bgsave, mode: ask, fresh: 0s, cooldown: 0s}]
`, s.address, s.postgres.URL, cache.URL, clocks))
	cmd := s.serve(t)
	s.test(t, lead)
	servertest.Eventually(t, "the server answers", func() bool { return s.answers(t) })
	s.stop(t)
	s.fire(t, "Hot", "cache")
	s.fire(t, "Slow", "web")
	s.fire(t, "Other", "unassigned")
	s.fire(t, "Muted", "")
	servertest.Eventually(t, "the database team has its alert",
		func() bool { return slices.Contains(database.Alerts(t), "firing ServerGone") })
	servertest.Eventually(t, "the cache team has its alert", func() bool { return beginning(mail.Mails(), "") > 0 })
	servertest.Eventually(t, "the web team has its alert", func() bool {
		return strings.Contains(strings.Join(slack.Bodies(), ""), "web team: Slow firing")
	})
	servertest.Eventually(t, "the lead has the unassigned alert",
		func() bool { return slices.Contains(lead.Alerts(t), "firing Other") })
	servertest.Eventually(t, "upkeep has every alert", s.hasAll(t, "ServerGone", "Hot", "Slow", "Other"))
	// A notification that is sent and not yet recorded when the process dies is sent again.
	servertest.Eventually(t, "what was sent is recorded", func() bool {
		text, err := os.ReadFile(filepath.Join(s.dir, "data", "nflog"))
		return err == nil && !slices.ContainsFunc([]string{"database", "cache", "web", "tech-lead"}, func(to string) bool {
			return !strings.Contains(string(text), "\n"+string(rune(len(to)))+to)
		})
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // by that signal
	s.serve(t)
	s.fire(t, "Inhibited", "web")
	s.fire(t, "Slowest", "web")
	servertest.Eventually(t, "the web team has the next alert",
		func() bool { return strings.Contains(strings.Join(slack.Bodies(), ""), "Slowest") })
	if got := strings.Join(slack.Bodies(), ""); strings.Contains(got, "Inhibited") {
		t.Errorf("what is inhibited was notified: %s", got)
	}
	s.start(t)
	servertest.Eventually(t, "the database team has its end",
		func() bool { return slices.Contains(database.Alerts(t), "resolved ServerGone") })
	servertest.Eventually(t, "upkeep has every alert", s.hasAll(t, "Hot", "Slow", "Other"))
	s.asks(t, lead)
	for what, n := range map[string]int{
		"the database team's alert": beginning(database.Alerts(t), "firing ServerGone"),
		"its end":                   beginning(database.Alerts(t), "resolved ServerGone"),
		"the cache team's":          len(mail.Mails()), "the web team's": strings.Count(strings.Join(slack.Bodies(),
			""),
			"web team: Slow firing"),
		"the lead's": beginning(lead.Alerts(t), "firing Other"),
	} {
		if n != 1 {
			t.Errorf("%s was sent %d times", what, n)
		}
	}
	for who, got := range map[string]string{"database": strings.Join(database.Bodies(), ""),
		"cache": strings.Join(mail.Mails(), ""), "web": strings.Join(slack.Bodies(), "")} {
		for team, alert := range map[string]string{"database": "ServerGone", "cache": "Hot", "web": "Slow"} {
			if strings.Contains(got, alert) != (team == who) {
				t.Errorf("team %s and the alert %s: %s", who, alert, got)
			}
		}
		if strings.Contains(got, "Muted") {
			t.Errorf("team %s was notified of what is muted", who)
		}
	}
	s.rerouted(t, am, good, slack)
}

// hasAll reports whether upkeep has an incident of each alert.
func (s *service) hasAll(t *testing.T, alerts ...string) func() bool {
	return func() bool {
		status := s.read(t, "/api/upkeep/v1/status")
		return !slices.ContainsFunc(alerts, func(name string) bool {
			return !strings.Contains(status,
				fmt.Sprintf("%q", name))
		})
	}
}

// fire posts an alert that ends by itself after a while.
func (s *service) fire(t *testing.T, name, team string) {
	t.Helper()
	body := fmt.Sprintf(`[{"labels":{"alertname":%q,"team":%q,"severity":"warning","server":"cache"},"annotations":{"limit":"-1","summary":"a test"},"endsAt":%q}]`, name, team, time.Now().Add(time.Hour).Format(time.RFC3339))
	res, err := http.Post("http://"+s.address+"/api/v2/alerts", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close() // nothing is in it
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
}

// test sends a test notification, which is taken, and one to an unknown receiver.
func (s *service) test(t *testing.T, lead *servertest.Hook) {
	t.Helper()
	command := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "upkeep", append([]string{"notify", "test"}, args...)...)
		cmd.Dir = s.dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := command("tech-lead"); err != nil || out != "tech-lead/webhook[0]: accepted\n" {
		t.Errorf("%v: %s", err, out)
	}
	if got := lead.Alerts(t); !slices.Equal(got, []string{"firing UpkeepTest", "resolved UpkeepTest"}) {
		t.Errorf("%q", got)
	}
	if out, err := command("support"); err == nil || !strings.Contains(out,
		`unknown place or receiver "support"; the configuration has tech-lead, database, cache, web`) {
		t.Errorf("%v: %s", err, out)
	}
	lead.Answer(func(w http.ResponseWriter, r *http.Request, _ string) bool {
		http.Error(w, "go away from "+r.URL.Path, http.StatusForbidden)
		return false
	})
	if out, err := command("tech-lead"); err == nil || !strings.Contains(out,
		"tech-lead/webhook[0]: not accepted: unexpected status code 403: go away from <redacted>") {
		t.Errorf("%v: %s", err, out)
	}
	lead.Answer(nil)
}

// asks lets a run ask and end, and looks for both at the role that is notified of it: the
// question with its links, and its end as the end of an incident.
func (s *service) asks(t *testing.T, lead *servertest.Hook) {
	t.Helper()
	s.fire(t, "Unsaved", "")
	servertest.Eventually(t, "the lead is asked", func() bool {
		return slices.Contains(lead.Alerts(t),
			"firing UpkeepAwaitingApproval")
	})
	var m struct {
		GroupKey string
		Alerts   []struct{ Labels, Annotations map[string]string }
	}
	for _, body := range lead.Bodies() {
		if strings.Contains(body, "UpkeepAwaitingApproval") {
			if err := json.Unmarshal([]byte(body), &m); err != nil {
				t.Fatal(err)
			}
		}
	}
	a := m.Alerts[0]
	if m.GroupKey != "upkeep/run/1" || !strings.Contains(a.Annotations["approve_url"], "/approve?token=") ||
		a.Annotations["summary"] == "" || a.Labels["policy"] != "save" || a.Labels["server"] != "cache" {
		t.Errorf("%+v", m)
	}
	out, err := exec.CommandContext(t.Context(), "upkeep", "approve", "1", "--why", "before the sale", "--url",
		"http://"+s.address).CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	said, err := exec.CommandContext(t.Context(), "upkeep", "show", "1", "--url", "http://"+s.address).CombinedOutput()
	if err != nil || !strings.Contains(string(said), "before the sale") {
		t.Errorf("the reason is not shown: %v\n%s", err, said)
	}
	servertest.Eventually(t, "the run is over and the lead is notified", func() bool {
		all := lead.Alerts(t)
		return beginning(all, "resolved UpkeepAwaitingApproval")+beginning(all, "resolved UpkeepHelped") > 0
	})
}

// rerouted changes the file: a right one is taken up, a wrong one is refused and says so.
func (s *service) rerouted(t *testing.T, file, good string, slack *servertest.Hook) {
	t.Helper()
	reload := func() (int, string) {
		res, err := http.Post("http://"+s.address+"/-/reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }() // read only
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	write(t, file, strings.Replace(good, "receiver: cache}", "receiver: cahce}", 1))
	if code, text := reload(); code != http.StatusUnprocessableEntity ||
		!strings.Contains(text, `am/alertmanager.yml:13: undefined receiver "cahce"`) ||
		!strings.Contains(text, "the old one stays") {
		t.Errorf("a wrong file: %d %s", code, text)
	}
	out, err := exec.CommandContext(t.Context(), "upkeep", "check", "--config", filepath.Join(s.dir, "upkeep.yaml")).
		CombinedOutput()
	if err == nil || !strings.Contains(string(out), `am/alertmanager.yml:13: undefined receiver "cahce"`) {
		t.Errorf("check: %v %s", err, out)
	}
	before := len(slack.Bodies())
	s.fire(t, "Slower", "web")
	servertest.Eventually(t, "the old routes stay",
		func() bool { return strings.Contains(strings.Join(slack.Bodies()[before:], ""), "Slower") })
	write(t, file, strings.Replace(good, `team="cache"], receiver: cache`, `team="cache"], receiver: web`, 1))
	if code, text := reload(); code != http.StatusOK {
		t.Fatalf("%d %s", code, text)
	}
	s.fire(t, "Hotter", "cache")
	servertest.Eventually(t, "the new routes hold",
		func() bool { return strings.Contains(strings.Join(slack.Bodies()[before:], ""), "Hotter") })
}

// With your own Prometheus and Alertmanager the receiver has the alert and its end from
// Alertmanager, and upkeep's own notifications by the receivers of the same file.
func TestNotifiedOutside(t *testing.T) {
	t.Parallel()
	s, hook := newService(t), servertest.NewHook(t)
	cache := servertest.Redis(t)
	amFile := fmt.Sprintf(`route:
  receiver: support
  group_wait: 10ms
  group_interval: 300ms
  routes:
    - {receiver: delivery, continue: true}
    - {receiver: support}
receivers:
  - name: support
    webhook_configs: [{url: '%s/support', send_resolved: true}]
  - name: delivery
    webhook_configs: [{url: 'http://%s/webhook/alertmanager', http_config: {authorization: {credentials: %s}}}]
`, hook.URL, s.address, adminToken)
	am := servertest.AlertmanagerWith(t, amFile)
	write(t, filepath.Join(s.dir, "alertmanager.yml"), amFile)
	write(t, filepath.Join(s.dir, "upkeep.yaml"), fmt.Sprintf(`data_dir: data
web: {listen: %q}
targets:
  postgres: [{name: main, url: %q}]
  redis: [{name: cache, url: %q}]
collectors: {interval: 300ms, settings: {postgres/settings: {disabled: true}}}
embedded: {enabled: false}
alertmanager: {url: %q, receiver: delivery}
engine: {reconcile_interval: 300ms}
notify: {receivers_file: alertmanager.yml, places: [{name: support, on: [ask]}]}
policies: [{name: save, match: ['alertname="Unsaved"'], action: redis/bgsave, mode: ask, fresh: 0s, cooldown: 0s}]
`, s.address, s.postgres.URL, cache.URL, am.URL))
	s.serve(t)
	rules, err := os.ReadFile(filepath.Join(s.dir, "rules", "down.rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	servertest.Prometheus(t, fmt.Sprintf(`global: {scrape_interval: 300ms, scrape_timeout: 300ms, evaluation_interval: 300ms}
rule_files: [down.rules.yaml]
scrape_configs: [{job_name: upkeep, authorization: {credentials: %q}, static_configs: [{targets: [%q]}]}]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
`, adminToken, s.address, strings.TrimPrefix(am.URL, "http://")), map[string]string{"down.rules.yaml": string(rules)})
	servertest.Eventually(t, "the server answers", func() bool { return s.answers(t) })
	s.stop(t)
	servertest.Eventually(t, "the receiver has the alert",
		func() bool { return slices.Contains(hook.Alerts(t), "firing ServerGone") })
	s.start(t)
	servertest.Eventually(t, "the receiver has its end",
		func() bool { return slices.Contains(hook.Alerts(t), "resolved ServerGone") })
	own := s.address
	s.address = strings.TrimPrefix(am.URL, "http://")
	s.fire(t, "Unsaved", "")
	s.address = own
	servertest.Eventually(t, "the receiver is asked", func() bool {
		return slices.Contains(hook.Alerts(t),
			"firing UpkeepAwaitingApproval")
	})
	out, err := exec.CommandContext(t.Context(), "upkeep", "reject", "1", "--why", "not now", "--url",
		"http://"+s.address).CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	servertest.Eventually(t, "the question is over", func() bool {
		return slices.Contains(hook.Alerts(t),
			"resolved UpkeepAwaitingApproval")
	})
}

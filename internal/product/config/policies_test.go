package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

const outside = target + "embedded: {enabled: false}\n"

func interval(rest string) string {
	return target + "windows:\n- name: w\n  time_intervals:\n  - " + rest + "\n"
}

func oneSchedule(rest string) string {
	return target + "schedules:\n- {name: s, cron: '0 3 * * *', " + rest + "}\n"
}

func TestWrongPolicies(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"steps and action", onePolicy("match: ['a=b'], action: redis/bgsave, steps: [{action: redis/bgsave}]"),
			`f:3: policy "p" has both steps and action; action was expected within a step`},
		{"steps and mode", onePolicy("match: ['a=b'], mode: ask, steps: [{action: redis/bgsave}]"),
			`f:3: policy "p" has both steps and mode; mode was expected within a step`},
		{"a retention below a cooldown", onePolicy("match: ['a=b'], action: redis/bgsave, cooldown: 3d") +
			"store: {retention: 2d}\n", `f:4: store.retention is 2d and cooldown of policy "p" is 3d`},
		{"a retention below flapping", target + "store: {retention: 1m}\n",
			`f:2: store.retention is 1m and engine.flap is 10m`},
		{"no step", onePolicy("match: ['a=b'], steps: []"), `f:3: policy "p" has no step; at least one was expected`},
		{"a matcher in UTF-8 without its value", onePolicy(`match: ['"my.label"'], action: redis/bgsave`),
			`f:3: match "\"my.label\"" does not parse`},
		{"steps that are not a list", onePolicy("match: ['a=b'], steps: redis/bgsave"),
			`f:3: steps is "redis/bgsave"; a list was expected`},
		{"a step without an action", onePolicy("match: ['a=b'], steps: [{mode: auto}]"),
			`f:3: an entry of steps has no "action"; an action was expected`},
		{"unknown action of a step", target + "policies:\n- name: p\n  match: ['a=b']\n  steps:\n  - {action: " +
			"redis/bgsave}\n  - {action: redis/bgsafe}\n",
			`f:7: policy "p": unknown action "redis/bgsafe"; did you mean "redis/bgsave"?`},
		{"unknown parameter", target + "policies:\n- name: p\n  match: ['a=b']\n  steps:\n  - action: redis/trim\n   " +
			" with:\n      cuont: 3\n",
			`f:8: policy "p": redis/trim has no parameter "cuont"; expected one of count, key`},
		{"ill-typed parameter", onePolicy("match: ['a=b'], action: redis/trim, with: {count: 3.5}"),
			`f:3: policy "p": parameter "count" is "3.5"; a whole number of at least 0 was expected`},
		{"parameter of an action without", onePolicy("match: ['a=b'], action: redis/bgsave, with: {count: 3}"),
			`f:3: policy "p": redis/bgsave has no parameter "count"; it has no parameters`},
		{"a dollar", onePolicy("match: ['a=b'], action: redis/trim, with: {key: 'a$'}"),
			`f:3: policy "p": parameter "key": a $ is followed by no label`},
		{"unknown label", onePolicy("match: ['a=b'], action: redis/bgsave, subject: {host: x}"),
			`f:3: policy "p": redis/bgsave has no label "host" in its subject; expected one of server`},
		{"empty label", onePolicy("match: ['a=b'], action: redis/bgsave, subject: {server: ''}"),
			`f:3: policy "p": label "server" is ""; text that is not empty was expected: an empty subject never means all`},
		{"a list as a parameter", onePolicy("match: ['a=b'], action: redis/trim, with: {key: [a]}"),
			`f:3: key of with is a list; text was expected`},
		{"parameters as a list", onePolicy("match: ['a=b'], action: redis/trim, with: [a]"),
			`f:3: with is a list; names and their values were expected`},
		{"a parameter twice", onePolicy("match: ['a=b'], action: redis/trim, with: {key: a, key: b}"),
			`f:3: duplicate key "key"`},
		{"unknown window", target + "policies:\n- name: p\n  match: ['a=b']\n  action: redis/bgsave\n  windows: " +
			"[nigt]\nwindows:\n- {name: night, time_intervals: [{weekdays: [sunday]}]}\n",
			`f:6: policy "p": unknown window "nigt"; did you mean "night"?`},
		{"auto where it always asks", target + "policies:\n- name: p\n  match: ['a=b']\n  windows: [w]\n  steps:\n  " +
			"- action: redis/restart\n    mode: auto\nwindows:\n- {name: w, time_intervals: [{weekdays: [sunday]}]}\n",
			`f:8: policy "p": redis/restart always needs approval; mode must be ask or observe`},
		{"no window where one is needed",
			target + "policies:\n- name: p\n  match: ['a=b']\n  action: redis/restart\n  mode: ask\n",
			`f:5: policy "p": redis/restart needs a maintenance window; name one in windows`},
		{"no window of a schedule where one is needed", target +
			"schedules:\n- name: s\n  cron: '0 1 * * SUN'\n  action: redis/restart\n  subject: {server: here}\n  " +
			"mode: ask\n", `f:5: schedule "s": redis/restart needs a maintenance window; name one in windows`},
		{"window of a step", target + "policies:\n- name: p\n  match: ['a=b']\n  steps:\n  - action: redis/bgsave\n  " +
			"  windows: [night]\n", `f:7: policy "p": unknown window "night"; no windows are defined`},
		{"budget", onePolicy("match: ['a=b'], action: redis/bgsave, budget: 120%"),
			`f:3: budget is "120%"; a share was expected, like 20% or 0.2`},
		{"budget as a number", onePolicy("match: ['a=b'], action: redis/bgsave, budget: 5"),
			`f:3: budget is "5"; a share was expected`},
		{"effect", onePolicy("match: ['a=b'], action: redis/bgsave, effect: .nan"),
			`f:3: effect is ".nan"; a share was expected`},
		{"free disk", onePolicy("match: ['a=b'], action: redis/bgsave, free_disk: -1%"),
			`f:3: free_disk is "-1%"; a share was expected`},
		{"most share", onePolicy("match: ['a=b'], action: redis/bgsave, most_share: 2"),
			`f:3: most_share is "2"; a share was expected`},
		{"most rows", onePolicy("match: ['a=b'], action: redis/bgsave, most_rows: -1"),
			`f:3: most_rows is "-1"; a whole number of at least 0`},
		{"breaker", onePolicy("match: ['a=b'], action: redis/bgsave, breaker: -1"),
			`f:3: breaker is "-1"; a whole number of at least 0`},
		{"ramp", onePolicy("match: ['a=b'], action: redis/bgsave, ramp: 2"), `f:3: ramp is "2"; true or false`},
		{"approval_lifetime", onePolicy("match: ['a=b'], action: redis/bgsave, approval_lifetime: 0s"),
			`f:3: approval_lifetime is 0s; at least 1m was expected`},
		{"unknown key of a policy", onePolicy("match: ['a=b'], action: redis/bgsave, window: [x]"),
			`f:3: unknown key "window"; did you mean "windows"?`},

		{"window without a name", target + "windows: [{time_intervals: [{years: ['2026']}]}]\n",
			`f:2: an entry of windows has no "name"`},
		{"window without a time", target + "windows: [{name: w}]\n",
			`f:2: an entry of windows has no "time_intervals"; at least one time interval`},
		{"window twice", target + "windows:\n- {name: w, time_intervals: [{years: ['2026']}]}\n- {name: w, " +
			"time_intervals: [{years: ['2026']}]}\n", `f:4: a second window is called "w"`},
		{"always open", interval("{}"), `f:5: window "w": the interval is empty and would always be open`},
		{"a place and no time", interval("location: Europe/Berlin"),
			`f:5: window "w": the interval is empty and would always be open`},
		{"never open", interval("{weekdays: [], years: [2030]}"),
			`f:5: window "w": weekdays is empty; an entry was expected`},
		{"unknown key of an interval", interval("weekday: [sunday]"),
			`f:5: unknown key "weekday"; did you mean "weekdays"?`},
		{"an interval that is text", interval("sunday"),
			`f:5: an entry of time_intervals is "sunday"; keys and values were expected: times`},
		{"no such day", interval("weekdays:\n    - monday\n    - sonntag"),
			`f:7: window "w": weekdays "sonntag": want sunday to saturday, or a range like monday:friday`},
		{"days that go backward", interval("weekdays: ['friday:monday']"),
			`f:5: window "w": weekdays "friday:monday": friday comes after monday`},
		{"day 32", interval("days_of_month: ['32']"), `f:5: window "w": days_of_month "32": want 1 to 31`},
		{"month 13", interval("months: ['13']"), `f:5: window "w": months "13": want january to december`},
		{"a day that is a list", interval("weekdays: [[monday]]"),
			"f:5: an entry of weekdays is a list; text was expected"},
		{"time", interval("times: [{start_time: '1:00', end_time: '05:00'}]"),
			`f:5: window "w": start_time "1:00": want 00:00 to 24:00`},
		{"times that go backward", interval("times: [{start_time: '05:00', end_time: '01:00'}]"),
			`f:5: window "w": end_time 01:00 is not after start_time 05:00`},
		{"half a time", interval("times: [{start_time: '05:00'}]"),
			`f:5: an entry of times has no "end_time"; a time like 24:00 was expected`},
		{"unknown key of a time", interval("times: [{start: '05:00'}]"),
			`f:5: unknown key "start"; expected one of start_time, end_time`},
		{"a time that is text", interval("times: ['05:00']"),
			`f:5: an entry of times is "05:00"; keys and values were expected`},
		{"place", interval("{years: ['2026'], location: Mars/Olympus}"),
			`f:5: window "w": time zone "Mars/Olympus" is not known on this machine`},

		{"no cron", target + "schedules: [{name: s, action: redis/bgsave, subject: {server: a}}]\n",
			`f:2: an entry of schedules has no "cron"; a cron expression`},
		{"schedule without a subject", oneSchedule("action: redis/bgsave"),
			`f:3: schedule "s": redis/bgsave needs the label "server" in its subject`},
		{"an ill-typed parameter of a schedule",
			oneSchedule("action: redis/trim, subject: {server: a}, with: {count: $n}"),
			`f:3: schedule "s": parameter "count" is "$n"; a whole number of at least 0 was expected`},
		{"an empty subject of a schedule", oneSchedule("action: redis/bgsave, subject: {server: ''}"),
			`f:3: schedule "s": label "server" is ""; text that is not empty was expected`},
		{"limit", oneSchedule("action: redis/bgsave, subject: {server: a}, limit: .inf"),
			`f:3: limit is ".inf"; a number was expected`},
		{"cron", target + "schedules:\n- name: s\n  action: redis/bgsave\n  subject: {server: a}\n  cron: '0 25 * * " +
			"*'\n", `f:6: schedule "s": `},
		{"zone", oneSchedule("action: redis/bgsave, subject: {server: a}, time_zone: Berlin"),
			`f:3: schedule "s": time zone "Berlin" is not known on this machine`},
		{"missed", oneSchedule("action: redis/bgsave, subject: {server: a}, missed: never"),
			`f:3: missed is "never"; skip or late was expected`},
		{"schedule twice", target + "schedules:\n- &s {name: s, cron: '0 3 * * *', action: redis/bgsave, subject: " +
			"{server: a}}\n- *s\n", `f:3: a second schedule is called "s"`},
		{"window of a schedule", oneSchedule("action: redis/bgsave, subject: {server: a}, windows: [x]"),
			`f:3: schedule "s": unknown window "x"; no windows are defined`},
		{"a query and no Prometheus", outside + "schedules:\n- name: s\n  cron: '0 3 * * *'\n  action: " +
			"redis/bgsave\n  query: up\n", `f:7: schedule "s" has a query, but no Prometheus is configured`},

		{"notify", target + "notify: [{name: n, kind: slack}]\n",
			`f:2: notify "n" has neither url_file nor url_env; one was expected`},
		{"notify twice", target + "notify:\n- name: n\n  kind: slack\n  url_file: a\n  url_env: B\n",
			`f:6: notify "n" has both url_file and url_env`},
		{"notify of a kind", target + "notify: [{name: n, kind: mail, url_env: B}]\n",
			`f:2: kind is "mail"; slack or webhook was expected`},
		{"notify on", target + "notify: [{name: n, kind: slack, url_env: B, on: [ask, alarm]}]\n",
			`f:2: an entry of on is "alarm"; alert or ask or page or info or acted or helped or not_helped was expected`},
		{"notify without a name", target + "notify: [{kind: slack, url_env: B}]\n",
			`f:2: an entry of places has no "name"`},
		{"notify without a kind", target + "notify: [{name: n}]\n",
			`f:2: notify "n" has no kind; slack or webhook was expected, or a file with receivers in embedded.alertmanager_file`},
		{"notify without a kind, outside", outside + "notify: {places: [{name: n}]}\n",
			`f:3: notify "n" has no kind; slack or webhook was expected, or a file with receivers in notify.receivers_file`},
		{"notify with a URL alone", target + "notify: [{name: n, url_env: B}]\n",
			`f:2: notify "n" has a URL and no kind; slack or webhook was expected`},
		{"notify of a kind and a receiver", target + "notify: [{name: n, kind: slack, url_env: B, receiver: r}]\n",
			`f:2: notify "n" has both receiver and kind; one was expected`},
		{"places twice", target + "notify:\n- {name: n, kind: slack, url_env: B}\n- {name: n, kind: slack, url_env: " +
			"B}\n", `f:4: a second place to notify is called "n"`},
		{"receivers of the embedded", target + "notify: {receivers_file: a}\n",
			"f:2: notify.receivers_file is for your own Alertmanager, and embedded mode has one"},
		{"an embedded file outside", target + "embedded:\n  enabled: false\n  alertmanager_file: a\n",
			"f:4: embedded.alertmanager_file is for embedded mode, which is off; name the file in " +
				"notify.receivers_file"},
		{"an Alertmanager file that is not there", target + "embedded: {alertmanager_file: /nowhere/am.yml}\n",
			"f:2: embedded.alertmanager_file: open /nowhere/am.yml: no such file or directory"},
		{"url in the file", target + "notify: [{name: n, kind: slack, url: https://hooks.example/T0/secret}]\n",
			`f:2: unknown key "url"`},

		{"both Prometheus", target + "prometheus:\n  url: http://p:9090\n",
			"f:3: prometheus.url is for your own Prometheus"},
		{"both Alertmanagers of a cluster", target + "alertmanager:\n  urls: ['http://a:9093']\n",
			"f:3: alertmanager.urls is for your own Alertmanager"},
		{"url and urls", outside + "alertmanager:\n  url: http://a:9093\n  urls: ['http://b:9093']\n",
			"f:5: alertmanager has both url and urls; one was expected"},
		{"an invalid member", outside + "alertmanager:\n  urls:\n  - a:9093\n",
			"f:5: an entry of urls is not an HTTP URL"},
		{"an empty member", outside + "alertmanager: {urls: ['']}\n", "f:3: a url of alertmanager.urls is empty"},
		{"two secrets", target + "grafana:\n  secret_file: a\n  secret_env: B\n",
			"f:4: grafana has both secret_file and secret_env"},
		{"a time and no secret", target + "grafana: {timestamp_header: X-Time}\n",
			"f:2: grafana has a timestamp_header and neither secret_file nor secret_env"},
		{"store", target + "store: {url: 'mysql://h/db'}\n",
			"f:2: the store: invalid url: it must start with postgres:// or postgresql://"},
		{"password of the store", target + "store: {url: 'postgres://u:hunter2@h/db'}\n",
			"f:2: the url of the store has a password in it"},
		{"password of no store", target + "store: {password_env: X}\n", "f:2: the store has a password and no url"},
		{"lease", target + "engine: {lease: 100ms}\n", "f:2: lease is 100ms; at least 1s was expected"},
		{"per target", target + "engine: {per_target: 0}\n", `f:2: per_target is "0"; a whole number of at least 1`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := config.Parse("f", []byte(test.text), known())
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("Parse: %v\nwant %s…", err, test.want)
			}
			if err != nil && len(strings.Split(err.Error(), "\nf:")) != 1 {
				t.Errorf("one mistake is reported more than once:\n%v", err)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "T0/secret")) {
				t.Errorf("a secret is shown: %v", err)
			}
		})
	}
}

// chains are policies and windows as people write them.
const chains = target + `policies:
  - name: dead rows
    match: ['alertname="PostgresDeadRows"']
    hold: 5m # less is no trouble yet
    steps: # the next one when the one before did not help; people are notified at the end
      - {action: postgres/vacuum, mode: ask}
      - {action: postgres/vacuum, with: {parallel: 2}, mode: ask, windows: [night]}
  - name: index bloat
    match: ['alertname="PostgresIndexBloat"']
    action: postgres/reindex
    mode: observe
    cooldown: 1d
    windows: [night]
  - name: old snapshot
    match: ['alertname="RedisSnapshotOld"']
    action: redis/bgsave
    mode: observe
windows:
  - name: night
    time_intervals:
      - times: [{start_time: "01:00", end_time: "05:00"}]
        location: UTC # or Europe/Berlin
schedules:
  - name: daily snapshot
    cron: "0 3 * * *" # 03:00
    action: redis/bgsave
    subject: {server: cache}
    mode: observe
  - name: weekly vacuum
    cron: "0 2 * * SUN" # Sundays at 02:00
    query: upkeep_postgres_table_dead_ratio > 0.1 and upkeep_postgres_table_dead_rows > 1000
    action: postgres/vacuum
    mode: observe
  - name: monthly reindex
    cron: "0 1 * * SUN#1" # the first Sunday of a month at 01:00
    query: upkeep_postgres_index_bloat_ratio{method="estimate"} > 0.3 and upkeep_postgres_index_bloat_bytes{method="estimate"} > 16777216
    action: postgres/reindex
    mode: observe
    windows: [night]
    missed: late # skip leaves out what came while no upkeep ran
`

// What a policy says by itself, and what it leaves to the defaults.
func TestBook(t *testing.T) {
	c, err := config.Parse("f", []byte(chains), known())
	if err != nil {
		t.Fatal(err)
	}
	defaults := remediate.Terms{
		Cooldown: time.Hour, Budget: 0.2, Ramp: true, Breaker: 3, BreakerFor: 24 * time.Hour, Effect: 0.5,
		Fresh: 30 * time.Minute, ApprovalLifetime: 24 * time.Hour,
	}
	night, reindex := defaults, defaults
	night.Windows = []string{"night"}
	reindex.Windows, reindex.Cooldown = []string{"night"}, 24*time.Hour
	want := []policy.Policy{
		{Name: "dead rows", Hold: 5 * time.Minute, Steps: []policy.Step{
			{Action: "postgres/vacuum", Mode: remediate.Ask, Terms: defaults},
			{Action: "postgres/vacuum", Mode: remediate.Ask, With: map[string]string{"parallel": "2"}, Terms: night},
		}},
		{Name: "index bloat", Steps: []policy.Step{{Action: "postgres/reindex", Mode: remediate.Observe,
			Terms: reindex}}},
		{Name: "old snapshot", Steps: []policy.Step{{Action: "redis/bgsave", Mode: remediate.Observe,
			Terms: defaults}}},
	}
	book := c.Book(known().Actions)
	got := book.Policies
	for i, m := range []string{`{alertname="PostgresDeadRows"}`, `{alertname="PostgresIndexBloat"}`,
		`{alertname="RedisSnapshotOld"}`} {
		if got[i].Match.String() != m {
			t.Errorf("matchers %s, want %s", got[i].Match, m)
		}
		got[i].Match = nil
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(known().Actions, book.Actions); diff != "" {
		t.Error(diff)
	}
	daily := policy.Step{
		Action: "redis/bgsave", Mode: remediate.Observe, Subject: map[string]string{"server": "cache"},
		Terms: remediate.Terms{Budget: 0.2, Fresh: 30 * time.Minute, ApprovalLifetime: 24 * time.Hour},
	}
	if diff := cmp.Diff(daily, c.Schedules[0].Step()); diff != "" {
		t.Error(diff)
	}
}

func TestTerms(t *testing.T) {
	c, err := config.Parse("f", []byte(target+`
windows:
  - name: night
    time_intervals:
      - {times: [{start_time: 01:00, end_time: "05:00"}], weekdays: ['monday:friday'], location: Europe/Berlin}
      - {days_of_month: [1, '-1'], months: [january, '3:5'], years: [2026]}
  - {name: day, time_intervals: [{times: [{start_time: "08:00", end_time: "24:00"}]}]}
policies:
  - name: long
    match: ['a="c"']
    cooldown: 2h
    decay: 10m
    windows: [night]
    budget: 10%
    ramp: false
    breaker: 5
    breaker_for: 0s
    effect: 0.7
    fresh: 1m
    backup: 1d
    free_disk: 0.15
    most_rows: 100000
    most_share: 20%
    lag: 30s
    transaction: 1h
    silence: true
    approval_lifetime: 2h
    steps:
      - {action: redis/trim, mode: auto, subject: {server: $instance}, with: {count: 100, key: "q-${name}"}}
      - {action: redis/bgsave, mode: ask, windows: [day]}
`), known())
	if err != nil {
		t.Fatal(err)
	}
	all := remediate.Terms{
		Cooldown: 2 * time.Hour, Decay: 10 * time.Minute, Windows: []string{"night"}, Budget: 0.1, Breaker: 5,
		Effect: 0.7, Fresh: time.Minute,
		Backup: 24 * time.Hour, FreeDisk: 0.15, Lag: 30 * time.Second, Transaction: time.Hour, Silence: true,
		ApprovalLifetime: 2 * time.Hour, MostRows: 100000, MostShare: 0.2,
	}
	byDay := all
	byDay.Windows = []string{"day"}
	want := []policy.Step{
		{Action: "redis/trim", Mode: remediate.Auto, Subject: map[string]string{"server": "$instance"},
			With: map[string]string{"count": "100", "key": "q-${name}"}, Terms: all},
		{Action: "redis/bgsave", Mode: remediate.Ask, Terms: byDay},
	}
	if diff := cmp.Diff(want, c.Book(nil).Policies[0].Steps); diff != "" {
		t.Error(diff)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	night, day := c.Times()["night"], c.Times()["day"]
	for at, open := range map[time.Time][2]bool{
		time.Date(2026, 7, 6, 1, 0, 0, 0, berlin):     {true, true},   // a Monday; 23:00 UTC
		time.Date(2026, 7, 6, 5, 0, 0, 0, berlin):     {false, false}, // the end is not in it
		time.Date(2026, 7, 6, 1, 0, 0, 0, time.UTC):   {true, false},  // 03:00 in Berlin
		time.Date(2026, 7, 5, 23, 30, 0, 0, time.UTC): {true, true},   // Monday in Berlin
		time.Date(2026, 7, 4, 3, 0, 0, 0, berlin):     {false, false}, // a Saturday
		time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC): {true, true},   // by the other interval
		time.Date(2027, 3, 31, 12, 0, 0, 0, time.UTC): {false, true},
	} {
		if got := [2]bool{night.Open(at), day.Open(at)}; got != open {
			t.Errorf("%s: open %v, want %v", at, got, open)
		}
	}
}

func TestNewSections(t *testing.T) {
	t.Setenv("UPKEEP_TEST_SECRET", "s3cret")
	c, err := config.Parse("/etc/upkeep/f", []byte(outside+`
store: {url: 'postgres://u@h/db', password_env: UPKEEP_TEST_SECRET}
prometheus: {url: 'http://p:9090'}
alertmanager: {urls: ['http://a:9093', 'http://b:9093']}
grafana: {secret_env: UPKEEP_TEST_SECRET, timestamp_header: X-Time}
schedules:
  - {name: s, cron: '0 3 * * *', action: redis/bgsave, query: up, limit: 0.25, cooldown: 1h, time_zone: Europe/Berlin, missed: late}
notify:
  - {name: everything, kind: slack, url_env: UPKEEP_TEST_SECRET}
  - {name: pages, kind: webhook, url_file: url, on: [page]}
`), known())
	if err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() (string, error){"store": c.Store.Password(),
		"grafana": c.Grafana.Secret(), "notify": c.Notify.Places[0].URL()} {
		if got, err := read(); err != nil || got != "s3cret" {
			t.Errorf("secret of %s: %q %v", name, got, err)
		}
	}
	if _, err := c.Notify.Places[1].URL()(); err == nil || !strings.Contains(err.Error(), "/etc/upkeep/url") {
		t.Errorf("the file is not the one beside the configuration: %v", err)
	}
	got := []any{
		c.Alertmanager.All(), config.Alertmanager{URL: "x"}.All(), len(config.Alertmanager{}.All()),
		c.Notify.Places[0].Wants(remediate.NotificationInfo), c.Notify.Places[1].Wants(remediate.NotificationPage),
		c.Notify.Places[1].Wants(remediate.NotificationAsk),
		c.Schedules[0].Mode, c.Schedules[0].Missed, c.Schedules[0].Cooldown, *c.Schedules[0].Limit,
		c.Engine,
	}
	want := []any{
		[]string{"http://a:9093", "http://b:9093"},
		[]string{"x"},
		0,
		true, true, false,
		"observe", "late", time.Hour, 0.25,
		config.Engine{Concurrency: 8, PerTarget: 2, Lease: 5 * time.Second, ReconcileInterval: time.Minute,
			ResolveAfter: 5 * time.Minute, ExpireAfter: 12 * time.Hour, Flap: 10 * time.Minute,
			MaxIncidents: 10_000, MaxIncidentsPerAlert: 2_000},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Targets and listen addresses of a start are not changed by a reload; policies are.
func TestRestartlessSections(t *testing.T) {
	parse := func(text string) *config.Config {
		c, err := config.Parse("f", []byte(outside+text), known())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := parse("")
	if err := parse(`
windows: [{name: w, time_intervals: [{years: [2026]}]}]
policies: [{name: p, match: ['a=b'], action: redis/bgsave, windows: [w]}]
schedules: [{name: s, cron: '0 3 * * *', action: redis/bgsave, subject: {server: a}}]
notify: [{name: n, kind: slack, url_env: X}]
`).Restartless(old); err != nil {
		t.Errorf("Restartless: %v", err)
	}
	for key, text := range map[string]string{
		"store": "store: {url: 'postgres://h/db'}", "prometheus": "prometheus: {url: 'http://p'}",
		"alertmanager": "alertmanager: {urls: ['http://a']}",
		"grafana":      "grafana: {secret_env: X}", "engine": "engine: {lease: 9s}",
	} {
		if err := parse(text).Restartless(old); err == nil || err.Error() != key+" has changed; that needs a restart" {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// The page lists what is embedded in a section as its own, and each key once.
func TestReferenceOfPolicies(t *testing.T) {
	page := config.Reference()
	_, section, _ := strings.Cut(page, "## `policies[]`\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, row := range []string{
		"| `budget` | share | `20%` |", "| `match` | list of matchers | required |",
		"| `mode` | observe, ask, auto | `observe` |", "| `with` | mapping |", "| `cooldown` | duration | `1h` |",
	} {
		if strings.Count(section, row) != 1 {
			t.Errorf("%d times %q in:\n%s", strings.Count(section, row), row, section)
		}
	}
	for _, row := range []string{"## `windows[].time_intervals[].times[]`",
		"| `on` | list of alert, ask, page, info, acted, helped, not_helped |", "## `policies[].steps[]`",
		"## `schedules[]`"} {
		if !strings.Contains(page, row) {
			t.Errorf("no %q in the reference", row)
		}
	}
}

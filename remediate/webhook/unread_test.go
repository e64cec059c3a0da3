package webhook_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// An alert that cannot be read costs only itself: its neighbours are taken, it is kept
// with the reason, and what is sent again is kept once.
func TestUnreadAlerts(t *testing.T) {
	named := func(name string) string { return strings.Replace(alert, `"t"`, `"`+name+`"`, 1) }
	for _, test := range []struct{ name, odd, reason string }{
		{"no alertname",
			`{"status":"firing","labels":{"team":"a","check":"legacy cron"},"startsAt":"2026-01-01T00:00:00Z"}`,
			"it has no alertname"},
		{"no labels", `{"status":"firing","labels":null}`, "it has no alertname"},
		{"an annotation that is a number", strings.Replace(alert, `"0.2"`, `0.2`, 1), "annotations"},
		{"a label that is a number", strings.Replace(alert, `"t"`, `7`, 1), "labels"},
		{"a status of its own", strings.Replace(alert, "firing", "suppressed", 1), `status "suppressed"`},
		{"no time", strings.Replace(alert, "2026-01-01T00:00:00.5Z", "soon", 1), "time"},
		{"a time that cannot be written", strings.Replace(alert, "2026-01-01T00:00:00.5Z", "9999-12-31T23:59:59-12:00",
			1), "no year"},
		{"no alert at all", `5`, "number"},
		{"nothing", `null`, `status ""`},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := open(t)
			for range 3 {
				if w := d.send("POST", "right", message(named("a")+","+test.odd+","+named("b"))); w.Code != 200 {
					t.Fatalf("%d %s", w.Code, w.Body)
				}
			}
			open, err := d.inbox.Incidents(t.Context(), 0, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			var tables []string
			for _, e := range open {
				tables = append(tables, e.Alert.Labels["table"])
			}
			if diff := cmp.Diff([]string{"a", "b"}, tables); diff != "" {
				t.Error(diff)
			}
			deadLetters := d.deadLetters(t)
			if len(deadLetters) != 1 {
				t.Fatalf("%d dead letters, want one: %+v", len(deadLetters), deadLetters)
			}
			l := deadLetters[0]
			if l.Status != 200 || !strings.HasPrefix(l.Error, "alert 2 of 3: ") ||
				!strings.Contains(l.Error, test.reason) || !strings.HasSuffix(l.Error, "the others were taken") {
				t.Errorf("%d %s", l.Status, l.Error)
			}
			if string(l.Body) != "["+test.odd+"]" {
				t.Errorf("kept was %s", l.Body)
			}
		})
	}
}

// Many that are odd in the same way are one dead letter.
func TestManyUnreadAlerts(t *testing.T) {
	d := open(t)
	all := []string{alert}
	for n := range 2000 {
		all = append(all, fmt.Sprintf(`{"status":"firing","labels":{"n":"%d"}}`, n))
	}
	if w := d.send("POST", "right", message(strings.Join(all, ","))); w.Code != 200 || d.incidents(t) != 1 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	deadLetters := d.deadLetters(t)
	if len(deadLetters) != 1 || !strings.HasPrefix(deadLetters[0].Error,
		"alerts 2, 3, 4, 5, 6, 1995 more of 2001: it has no alertname") || len(deadLetters[0].Body) > 64<<10 {
		t.Errorf("%d dead letters, the first %.200s, %d bytes", len(deadLetters), deadLetters[0].Error, len(deadLetters[0].Body))
	}
}

// group is a delivery of so many alerts with so many bytes each.
func group(alerts, size int) string {
	all := make([]string, alerts)
	for n := range all {
		one := strings.Replace(alert, `"t"`, fmt.Sprintf(`"%d"`, n), 1)
		all[n] = strings.Replace(one, `"0.2"`, `"`+strings.Repeat("x", max(size-len(one), 0))+`"`, 1)
	}
	return message(strings.Join(all, ","))
}

// A group of 8 MB is taken whole. Of one that is larger than what is read the first part
// is taken, and a dead letter says what splits it.
func TestLargeGroups(t *testing.T) {
	d := open(t)
	if w := d.send("POST", "right", group(2000, 4<<10)); w.Code != 200 || d.incidents(t) != 2000 {
		t.Errorf("%d %s, %d incidents", w.Code, w.Body, d.incidents(t))
	}
	d = open(t)
	w := d.send("POST", "right", group(200, 100<<10))
	taken := d.incidents(t)
	if w.Code != 413 || !strings.Contains(w.Body.String(), "group_by") || taken < 150 || taken > 170 {
		t.Errorf("%d %s, %d incidents", w.Code, w.Body, taken)
	}
	deadLetters := d.deadLetters(t)
	if len(deadLetters) != 1 || deadLetters[0].Status != 413 || !strings.Contains(deadLetters[0].Error,
		fmt.Sprintf("its first %d alerts were taken", taken)) || deadLetters[0].Size < 20_000_000 {
		t.Errorf("%d dead letters, the first %d %s, %d bytes", len(deadLetters), deadLetters[0].Status, deadLetters[0].Error,
			deadLetters[0].Size)
	}
	// A part of a signed body proves nothing.
	signedBody := strings.Replace(group(200, 100<<10), `"version":"4"`, `"version":"1"`, 1)
	if w := d.grafana(signedBody, signed(secret, signedBody)); w.Code != 413 || d.incidents(t) != taken {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// What max_alerts left out is named, with the setting that brings it.
func TestTruncatedGroup(t *testing.T) {
	d := open(t)
	for range 2 {
		d.send("POST", "right", strings.Replace(message(alert), `"truncatedAlerts":0`, `"truncatedAlerts":3`, 1))
	}
	deadLetters := d.deadLetters(t)
	if len(deadLetters) != 1 || deadLetters[0].Status != 200 || !strings.Contains(deadLetters[0].Error,
		"3 alerts of the group were left out by max_alerts") || string(deadLetters[0].Body) != "{}:{}" {
		t.Errorf("%+v", deadLetters)
	}
	if d.truncated != 2 {
		t.Errorf("listed %d times, want 2", d.truncated)
	}
}

// The receiver travels with the alert: whether its route is muted is asked of it later.
func TestReceiver(t *testing.T) {
	d := open(t)
	d.send("POST", "right", strings.Replace(message(alert), `"receiver":"upkeep"`, `"receiver":"up\\.keep"`, 1))
	e, err := d.inbox.Incident(t.Context(), 1)
	if err != nil || e.Alert.Receiver != `up\.keep` {
		t.Errorf("%+v, %v", e.Alert, err)
	}
	if text, err := json.Marshal(e.Alert); err != nil || !strings.Contains(string(text), "receiver") {
		t.Errorf("%s, %v", text, err)
	}
}

// A real Alertmanager's group of 8 MB is taken in one delivery.
func TestLargeGroupOfAlertmanager(t *testing.T) {
	d := open(t)
	hook := httptest.NewServer(d)
	t.Cleanup(hook.Close)
	am := servertest.AlertmanagerWith(t, fmt.Sprintf(`route: {receiver: upkeep, group_by: [alertname], group_wait: 5s, group_interval: 30s}
receivers: [{name: upkeep, webhook_configs: [{url: %q, http_config: {authorization: {credentials: right}}}]}]
`, hook.URL+webhook.Alertmanager().Path))
	const alerts = 2000
	var all []string
	for n := range alerts {
		all = append(all,
			fmt.Sprintf(`{"labels":{"alertname":"A","n":"%d"},"annotations":{"summary":"%s"},"endsAt":"2100-01-01T00:00:00Z"}`, n, strings.Repeat("x", 4<<10)))
	}
	res, err := http.Post(am.URL+"/api/v2/alerts", "application/json",
		strings.NewReader("["+strings.Join(all, ",")+"]"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close() // nothing is in it
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	within(t, "all of it", func() error {
		if n := d.count(t, "select count(*) from incidents"); n != alerts {
			return fmt.Errorf("%d of %d", n, alerts)
		}
		return nil
	})
}

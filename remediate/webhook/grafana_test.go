package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// grafanaMessage is a whole delivery of a webhook contact point of Grafana 12.
const grafanaMessage = `{"receiver":"upkeep","status":"firing","orgId":1,"alerts":[
{"status":"firing","labels":{"alertname":"High","grafana_folder":"db","table":"t"},"annotations":{"limit":"0.2","summary":"s"},"startsAt":"2026-01-01T01:00:00+01:00","endsAt":"0001-01-01T00:00:00Z","values":{"B":44.5,"C":1,"D":null},"generatorURL":"https://g/alerting/x/edit","fingerprint":"57c6d9296de2ad39","silenceURL":"https://g/silence","dashboardURL":"","panelURL":"","valueString":"[ metric='t' labels={} value=44.5 ]"},
{"status":"resolved","labels":{"alertname":"Low"},"annotations":{},"startsAt":"2026-01-01T00:00:00Z","endsAt":"2026-01-01T00:05:00Z","values":null,"generatorURL":"?orgId=1","fingerprint":"57c6d9296de2ad40","silenceURL":"https://g/silence","dashboardURL":"","panelURL":"","valueString":""}
],"groupLabels":{"alertname":"High"},"commonLabels":{},"commonAnnotations":{},"externalURL":"https://g/","version":"1","groupKey":"{}:{}","truncatedAlerts":0,"title":"[FIRING:1] High","state":"alerting","message":"**Firing**"}`

// mac signs as Grafana does.
func mac(secret, text string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

func signed(secret, body string) http.Header {
	return http.Header{"X-Grafana-Alerting-Signature": {mac(secret, body)}}
}

func stamped(secret, body string, at time.Time) http.Header {
	when := strconv.FormatInt(at.Unix(), 10)
	h := signed(secret, when+":"+body)
	h.Set("X-Grafana-Alerting-Timestamp", when)
	return h
}

func (d *fixture) grafana(body string, header http.Header) *httptest.ResponseRecorder {
	return post(d.From(webhook.Grafana()), body, header)
}

func post(to http.Handler, body string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", webhook.Grafana().Path, strings.NewReader(body))
	r.Header = header
	w := httptest.NewRecorder()
	to.ServeHTTP(w, r)
	return w
}

func TestGrafana(t *testing.T) {
	d := open(t)
	if w := d.grafana(grafanaMessage, stamped(secret, grafanaMessage, time.Now())); w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
	e, err := d.inbox.Incident(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := remediate.Alert{
		Source: "grafana", Labels: map[string]string{"alertname": "High", "grafana_folder": "db", "table": "t"},
		Firing: true, StartsAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Annotations: map[string]string{"limit": "0.2", "summary": "s",
			"value_string": "[ metric='t' labels={} value=44.5 ]"},
	}
	if diff := cmp.Diff(want, e.Alert); diff != "" {
		t.Error(diff)
	}
	over := strings.Replace(strings.Replace(grafanaMessage, "firing", "resolved", 2), "0001-01-01", "2026-01-02", 1)
	if w := d.grafana(over, signed(secret, over)); w.Code != 200 || d.incidents(t) != 0 {
		t.Errorf("%d %s, %d are open after the end", w.Code, w.Body, d.incidents(t))
	}
	truncated := strings.Replace(grafanaMessage, `"truncatedAlerts":0`, `"truncatedAlerts":1`, 1)
	if d.grafana(truncated, signed(secret, truncated)); d.truncated != 1 {
		t.Error("no dead letter about the alerts that were left out")
	}
	if err := testutil.GatherAndCompare(d.registry, strings.NewReader(`
# HELP upkeep_webhook_requests_total Webhook deliveries, by source and HTTP status of the response.
# TYPE upkeep_webhook_requests_total counter
upkeep_webhook_requests_total{code="200",source="alertmanager"} 0
upkeep_webhook_requests_total{code="200",source="grafana"} 3
upkeep_webhook_requests_total{code="400",source="alertmanager"} 0
upkeep_webhook_requests_total{code="400",source="grafana"} 0
upkeep_webhook_requests_total{code="413",source="alertmanager"} 0
upkeep_webhook_requests_total{code="413",source="grafana"} 0
upkeep_webhook_requests_total{code="503",source="alertmanager"} 0
upkeep_webhook_requests_total{code="503",source="grafana"} 0
`), "upkeep_webhook_requests_total"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(d.registry, "upkeep_webhook_duration_seconds"); n != 1 || err != nil {
		t.Errorf("%d durations, %v", n, err)
	}
}

func TestGrafanaRefusals(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name   string
		body   string
		header http.Header
		status int
		says   string
	}{
		{"unsigned", grafanaMessage, http.Header{}, 401, "X-Grafana-Alerting-Signature"},
		{"a token instead", grafanaMessage, http.Header{"Authorization": {"Bearer right"}}, 401, "signature"},
		{"wrong secret", grafanaMessage, signed("wrong", grafanaMessage), 401, "is the secret the same"},
		{"another body", grafanaMessage, signed(secret, grafanaMessage+" "), 401, "is the secret the same"},
		{"no hexadecimal", grafanaMessage, http.Header{"X-Grafana-Alerting-Signature": {"zz"}}, 401,
			"is the secret the same"},
		{"half a signature", grafanaMessage, http.Header{"X-Grafana-Alerting-Signature": {mac(secret,
			grafanaMessage)[:32]}}, 401, "is the secret the same"},
		{"a time that was not signed", grafanaMessage, func() http.Header {
			h := signed(secret, grafanaMessage)
			h.Set("X-Grafana-Alerting-Timestamp", strconv.FormatInt(now.Unix(), 10))
			return h
		}(), 401, "is the secret the same"},
		{"the signed time is left out", grafanaMessage, func() http.Header {
			h := stamped(secret, grafanaMessage, now)
			h.Del("X-Grafana-Alerting-Timestamp")
			return h
		}(), 401, "is the secret the same"},
		{"stale", grafanaMessage, stamped(secret, grafanaMessage, now.Add(-6*time.Minute)), 401, "6m"},
		{"from the future", grafanaMessage, stamped(secret, grafanaMessage, now.Add(6*time.Minute)), 401,
			"5m0s is allowed"},
		{"no time", grafanaMessage, http.Header{"X-Grafana-Alerting-Signature": {"00"},
			"X-Grafana-Alerting-Timestamp": {"now"}}, 401, "Unix seconds"},
		{"Alertmanager's", message(alert), signed(secret, message(alert)), 400, "/webhook/alertmanager"},
		{"another version", `{"version":"2"}`, signed(secret, `{"version":"2"}`), 400, "version"},
		{"a template of one's own", `"fire"`, signed(secret, `"fire"`), 400, "JSON"},
		{"no alertname", `{"version":"1","alerts":[{"status":"firing"}]}`,
			signed(secret, `{"version":"1","alerts":[{"status":"firing"}]}`), 400, "alertname"},
		{"too large to know whose", strings.Repeat(" ", 17<<20), signed(secret, strings.Repeat(" ", 17<<20)), 413,
			"larger than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := open(t)
			w := d.grafana(test.body, test.header)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.says) {
				t.Errorf("%d %s, want %d with %q", w.Code, w.Body, test.status, test.says)
			}
			if strings.Contains(d.log.String()+w.Body.String(), secret) {
				t.Error("the secret was in the answer")
			}
			deadLetters := d.deadLetters(t)
			if kept := len(deadLetters) == 1; kept != (test.status == 400) {
				t.Errorf("%d dead letters", len(deadLetters))
			}
			if n := d.incidents(t); n != 0 {
				t.Errorf("%d incidents were opened", n)
			}
		})
	}
}

func TestGrafanaSignature(t *testing.T) {
	d := open(t)
	now := time.Unix(1_800_000_000, 0)
	at := func(s webhook.Signature) http.Handler {
		return webhook.New(webhook.Config{
			Inbox: d.inbox, Signatures: map[string]webhook.Signature{"grafana": s},
			Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
			Registerer: prometheus.NewRegistry(),
			Authorize:  func(*http.Request) (int, error) { return http.StatusForbidden, errors.New("not from here") },
		}).From(webhook.Grafana())
	}
	known := func() (string, error) { return secret, nil }
	when := strconv.FormatInt(now.Unix()-299, 10)
	own := http.Header{"X-Sig": {strings.ToUpper(mac(secret, when+":"+grafanaMessage))}, "X-At": {when}}
	for _, test := range []struct {
		name      string
		signature webhook.Signature
		header    http.Header
		status    int
	}{
		{"headers of one's own", webhook.Signature{Secret: known, Header: "x-sig", Timestamp: "x-at"}, own, 200},
		{"the usual headers where others are configured", webhook.Signature{Secret: known, Header: "x-sig"},
			stamped(secret, grafanaMessage, now), 401},
		{"no secret: the gate decides", webhook.Signature{}, stamped(secret, grafanaMessage, now), 403},
		{"a secret that cannot be read", webhook.Signature{Secret: func() (string, error) {
			return "",
				errors.New("no such file")
		}}, stamped(secret, grafanaMessage, now), 500},
		{"an empty secret", webhook.Signature{Secret: func() (string, error) { return "", nil }},
			stamped("", grafanaMessage, now), 500},
	} {
		if w := post(at(test.signature), grafanaMessage, test.header); w.Code != test.status {
			t.Errorf("%s: %d %s, want %d", test.name, w.Code, w.Body, test.status)
		}
	}
}

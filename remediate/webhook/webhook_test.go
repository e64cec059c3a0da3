package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/store"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// A door is a webhook before a real inbox.
type door struct {
	*webhook.Handler
	inbox     *inbox.Inbox
	store     *store.Store
	log       bytes.Buffer
	truncated int
}

func open(t testing.TB) *door {
	t.Helper()
	s, err := store.Open(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // closed by a test already
	d := &door{inbox: inbox.New(inbox.Config{Store: s}), store: s}
	d.Handler = webhook.New(webhook.Config{
		Inbox: d.inbox,
		Authorize: func(r *http.Request) (int, error) {
			if r.Header.Get("Authorization") != "Bearer right" {
				return http.StatusUnauthorized, errors.New("a token is needed")
			}
			return 0, nil
		},
		Truncated: func() { d.truncated++ },
		Logger:    slog.New(slog.NewTextHandler(&d.log, nil)), Registerer: prometheus.NewRegistry(),
	})
	return d
}

func (d *door) send(method, token, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/webhook/alertmanager", strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

func (d *door) episodes(t testing.TB) int {
	t.Helper()
	open, err := d.inbox.Episodes(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// alert is one as Alertmanager sends it.
const alert = `{"status":"firing","labels":{"alertname":"A","table":"t"},"annotations":{"limit":"0.2"},"startsAt":"2026-01-01T00:00:00.5Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://p/graph","fingerprint":"0123456789abcdef"}`

// message is a whole delivery of Alertmanager 0.34.
func message(alerts string) string {
	return `{"receiver":"upkeep","status":"firing","alerts":[` + alerts + `],"groupLabels":{},"commonLabels":{},"commonAnnotations":{},"externalURL":"http://am","version":"4","groupKey":"{}:{}","truncatedAlerts":0}`
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name, method, token, body string
		status                    int
		says                      string
	}{
		{"GET", "GET", "right", "", 405, "want POST"},
		{"no token", "POST", "", message(alert), 401, "token"},
		{"wrong token", "POST", "wrong", message(alert), 401, "token"},
		{"empty", "POST", "right", "", 400, "JSON"},
		{"not JSON", "POST", "right", "alertname=A", 400, "JSON"},
		{"half of it", "POST", "right", message(alert)[:200], 400, "JSON"},
		{"more behind it", "POST", "right", message(alert) + "x", 400, "JSON"},
		{"another type", "POST", "right", `{"version":"4","alerts":"all"}`, 400, "JSON"},
		{"null", "POST", "right", "null", 400, "version"},
		{"wrong version", "POST", "right", strings.Replace(message(alert), `"version":"4"`, `"version":"3"`, 1), 400, "version"},
		{"version as a number", "POST", "right", strings.Replace(message(alert), `"version":"4"`, `"version":4`, 1), 400, "JSON"},
		{"no alerts", "POST", "right", message(""), 400, "no alerts"},
		{"wrong status", "POST", "right", message(strings.Replace(alert, "firing", "burning", 1)), 400, "burning"},
		{"no alertname", "POST", "right", message(strings.Replace(alert, "alertname", "name", 1)), 400, "alertname"},
		{"one of two is wrong", "POST", "right", message(alert + "," + strings.Replace(alert, "alertname", "name", 1)), 400, "alert 2"},
		{"wrong time", "POST", "right", message(strings.Replace(alert, "2026-01-01T", "yesterday ", 1)), 400, "JSON"},
		{"10 MB", "POST", "right", message(alert + strings.Repeat(" ", 10<<20)), 413, "larger than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := open(t)
			w := d.send(test.method, test.token, test.body)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.says) {
				t.Errorf("%d %s, want %d with %q", w.Code, w.Body, test.status, test.says)
			}
			if log := d.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, fmt.Sprint("status=", test.status)) {
				t.Errorf("the log says %q, want one line with the status", log)
			}
			if n := d.episodes(t); n != 0 {
				t.Errorf("%d episodes were opened", n)
			}
			if test.method == "GET" && w.Header().Get("Allow") != "POST" {
				t.Errorf("Allow: %q", w.Header().Get("Allow"))
			}
		})
	}
}

func TestAccepts(t *testing.T) {
	d := open(t)
	hostile := "täble\"; DROP TABLE x; --\\ '\n"
	quoted, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"as it is sent":  message(alert),
		"unknown fields": strings.Replace(message(alert), `"receiver"`, `"notificationReason":"first","receiver"`, 1),
		"hostile names":  message(strings.Replace(alert, `"t"`, string(quoted), 1)),
	} {
		if w := d.send("POST", "right", body); w.Code != 200 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	open, err := d.inbox.Episodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tables := make(map[string]bool)
	for _, e := range open {
		tables[e.Alert.Labels["table"]] = true
	}
	if diff := cmp.Diff(map[string]bool{"t": true, hostile: true}, tables); diff != "" {
		t.Error(diff)
	}
	if d.truncated != 0 {
		t.Error("a whole delivery was taken for a truncated one")
	}
	d.send("POST", "right", strings.Replace(message(alert), `"truncatedAlerts":0`, `"truncatedAlerts":3`, 1))
	if d.truncated != 1 {
		t.Error("nobody was told of the alerts that were left out")
	}
}

func TestStoreDown(t *testing.T) {
	d := open(t)
	if err := d.store.Close(); err != nil {
		t.Fatal(err)
	}
	if w := d.send("POST", "right", message(alert)); w.Code != 503 {
		t.Errorf("%d %s, want 503: Alertmanager sends it again", w.Code, w.Body)
	}
}

func TestTrustedNeedsNoToken(t *testing.T) {
	d := open(t)
	w := httptest.NewRecorder()
	d.Trusted().ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(message(alert))))
	if w.Code != 200 || d.episodes(t) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Whatever is sent: no panic, and 200 only when it is in the inbox.
func FuzzWebhook(f *testing.F) {
	f.Add([]byte(message(alert)))
	f.Add([]byte(message(strings.Replace(alert, "firing", "resolved", 1))))
	f.Add([]byte(`{"version":"4","alerts":[{"status":"firing","labels":{"alertname":""}}]}`))
	d := open(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		before := d.episodes(t)
		w := d.send("POST", "right", string(body))
		if after := d.episodes(t); w.Code != 200 && after != before {
			t.Errorf("%d, and %d episodes more", w.Code, after-before)
		}
		if w.Code != 200 && w.Code != 400 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

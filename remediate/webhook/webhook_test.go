package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// secret is what Grafana signs with.
const secret = "s3cret of both sides"

// A fixture is a webhook before a real inbox.
type fixture struct {
	*webhook.Handler
	inbox     *inbox.Inbox
	store     *store.Store
	registry  *prometheus.Registry
	log       bytes.Buffer
	truncated int
}

func open(t testing.TB) *fixture {
	t.Helper()
	return openWith(t, store.Options{Dir: t.TempDir()})
}

func openWith(t testing.TB, o store.Options) *fixture {
	t.Helper()
	s, err := store.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // closed by a test already
	d := &fixture{inbox: inbox.New(inbox.Config{Store: s, Limits: inbox.Limits{All: 1 << 30, PerAlert: 1 << 30}}), store: s, registry: prometheus.NewRegistry()}
	d.Handler = webhook.New(webhook.Config{
		Inbox: d.inbox,
		Authorize: func(r *http.Request) (int, error) {
			if r.Header.Get("Authorization") != "Bearer right" {
				return http.StatusUnauthorized, errors.New("a token is needed")
			}
			return 0, nil
		},
		Signatures: map[string]webhook.Signature{"grafana": {Secret: func() (string, error) { return secret, nil }}},
		Truncated:  func() { d.truncated++ },
		Logger:     slog.New(slog.NewTextHandler(&d.log, nil)), Registerer: d.registry,
	})
	return d
}

func (d *fixture) send(method, token, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, webhook.Alertmanager().Path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

// deadLetters returns what was kept, bodies included.
func (d *fixture) deadLetters(t testing.TB) (all []remediate.DeadLetter) {
	t.Helper()
	list, err := d.inbox.DeadLetters(context.Background(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		if l, err = d.inbox.DeadLetter(context.Background(), l.ID); err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

func (d *fixture) incidents(t testing.TB) int {
	t.Helper()
	open, err := d.inbox.Incidents(context.Background(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// alert is one as Alertmanager sends it.
const alert = `{"status":"firing","labels":{"alertname":"A","table":"t"},"annotations":{"limit":"0.2"},"startsAt":"2026-01-01T00:00:00.5Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://p/graph","fingerprint":"0123456789abcdef"}`

// message is a whole delivery of Alertmanager 0.34.
func message(alerts string) string {
	return `{"receiver":"upkeep","status":"firing","alerts":[` + alerts +
		`],"groupLabels":{},"commonLabels":{},"commonAnnotations":{},"externalURL":"http://am","version":"4","groupKey":"{}:{}","truncatedAlerts":0}`
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
		{"wrong version", "POST", "right", strings.Replace(message(alert), `"version":"4"`, `"version":"3"`, 1), 400,
			"version"},
		{"Grafana's", "POST", "right", strings.Replace(message(alert), `"version":"4"`, `"version":"1"`, 1), 400,
			"/webhook/grafana"},
		{"version as a number", "POST", "right", strings.Replace(message(alert), `"version":"4"`, `"version":4`, 1),
			400, "JSON"},
		{"no alerts", "POST", "right", message(""), 400, "no alerts"},
		{"wrong status", "POST", "right", message(strings.Replace(alert, "firing", "burning", 1)), 400, "burning"},
		{"no alertname", "POST", "right", message(strings.Replace(alert, "alertname", "name", 1)), 400, "alertname"},
		{"both are wrong", "POST", "right", message(strings.Replace(alert, "firing", "on", 1) + "," +
			strings.Replace(alert, "alertname", "name", 1)), 400, "alert 1 of 2"},
		{"wrong time", "POST", "right", message(strings.Replace(alert, "2026-01-01T", "yesterday ", 1)), 400,
			"alert 1 of 1: parsing time"},
		{"17 MB of nothing", "POST", "right", strings.Repeat(" ", 17<<20), 413, "larger than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := open(t)
			w := d.send(test.method, test.token, test.body)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.says) {
				t.Errorf("%d %s, want %d with %q", w.Code, w.Body, test.status, test.says)
			}
			if log := d.log.String(); strings.Count(log, "\n") != 1 ||
				!strings.Contains(log, fmt.Sprint("status=", test.status)) {
				t.Errorf("the log says %q, want one line with the status", log)
			}
			if n := d.incidents(t); n != 0 {
				t.Errorf("%d incidents were opened", n)
			}
			deadLetters := d.deadLetters(t)
			switch test.status {
			case 400, 413:
				if len(deadLetters) != 1 {
					t.Fatalf("%d dead letters, want this one", len(deadLetters))
				}
				l := deadLetters[0]
				if l.Status != test.status || l.Source != "alertmanager" || l.Size != int64(len(test.body)) ||
					string(l.Body) != test.body[:min(len(test.body), 64<<10)] ||
					!strings.Contains(l.Error, test.says) || strings.Contains(fmt.Sprint(l), "right") {
					t.Errorf("kept was %+.500v", l)
				}
			default:
				if len(deadLetters) != 0 {
					t.Errorf("%d dead letters of no sender", len(deadLetters))
				}
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
	open, err := d.inbox.Incidents(t.Context(), 0, 1<<20)
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
		t.Error("no dead letter about the alerts that were left out")
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
	if w.Code != 200 || d.incidents(t) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestAlert looks at every part of an alert that is read.
func TestAlert(t *testing.T) {
	d := open(t)
	one := `{"status":"firing","labels":{"alertname":"A"},"annotations":{"limit":"0.2"},"startsAt":"2026-01-01T01:00:00+01:00","endsAt":"2026-01-01T00:05:00Z","generatorURL":"http://p/graph?g0.expr=a+%3E+0.2&g0.tab=1"}`
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if w := d.send("POST", "right", message(one)); w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
	want := remediate.Alert{Source: "alertmanager", Labels: map[string]string{"alertname": "A"},
		Annotations: map[string]string{"limit": "0.2"}, Firing: true, StartsAt: start, Expr: "a > 0.2",
		Receiver: "upkeep"}
	check := func() {
		t.Helper()
		e, err := d.inbox.Incident(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, e.Alert); diff != "" {
			t.Error(diff)
		}
	}
	check()
	// The whole is said to fire, and this alert is over.
	if w := d.send("POST", "right", message(strings.Replace(one, "firing", "resolved", 1))); w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
	want.Firing, want.EndsAt = false, start.Add(5*time.Minute)
	check()
}

// Whatever is sent: no panic, and 200 only when it is in the inbox.
func FuzzWebhook(f *testing.F) {
	for _, body := range []string{
		message(alert),
		message(strings.Replace(alert, "firing", "resolved", 1)),
		message(strings.Replace(alert, "http://p/graph", "http://p/graph?g0.expr=up%20%3D%3D%200", 1)),
		`{"version":"4","alerts":[{"status":"firing","labels":{"alertname":""}}]}`,
	} {
		f.Add([]byte(body), false)
	}
	f.Add([]byte(grafanaMessage), true)
	f.Add([]byte(strings.ReplaceAll(grafanaMessage, "firing", "resolved")), true)
	f.Add([]byte(`{"version":"1","alerts":[{"status":"firing","labels":{"alertname":"A"},"valueString":"x"}]}`), true)
	d := openWith(f, store.Options{Memory: true}) // a disk would be most of the time
	f.Fuzz(func(t *testing.T, body []byte, grafana bool) {
		opened := d.count(t, "select coalesce(max(id), 0) from incidents")
		var w *httptest.ResponseRecorder
		if grafana {
			w = d.grafana(string(body), signed(secret, string(body)))
		} else {
			w = d.send("POST", "right", string(body))
		}
		switch w.Code {
		case 200:
			if err := d.holds(body); err != nil {
				t.Error(err)
			}
		case 400:
			if d.count(t, "select count(*) from dead_letters where body = ?", body[:min(len(body), 64<<10)]) == 0 {
				t.Error("what could not be read was not kept")
			}
			if after := d.count(t, "select coalesce(max(id), 0) from incidents"); after != opened {
				t.Errorf("%d, and %d incidents more", w.Code, after-opened)
			}
		default:
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// count reads one number.
func (d *fixture) count(t testing.TB, query string, args ...any) (n int) {
	t.Helper()
	rows, err := d.store.Query(context.Background(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// holds returns nil when each alert of a body that fires has an incident, open or
// ended a moment ago, or is in a dead letter.
func (d *fixture) holds(body []byte) error {
	var sent struct{ Alerts []json.RawMessage }
	if err := json.Unmarshal(body, &sent); err != nil {
		return fmt.Errorf("200 for what is no JSON: %w", err)
	}
	for _, text := range sent.Alerts {
		var a struct {
			Status           string
			Labels           map[string]string
			Annotations      map[string]string
			StartsAt, EndsAt time.Time
			GeneratorURL     string
			ValueString      string
		}
		err := json.Unmarshal(text, &a)
		if err != nil || a.Labels["alertname"] == "" || a.StartsAt.UTC().Year() > 9999 || a.StartsAt.UTC().Year() < 0 {
			continue // TestUnreadAlerts looks at their dead letters
		}
		if a.Status != "firing" {
			continue
		}
		labels, err := json.Marshal(a.Labels)
		if err != nil {
			return err
		}
		rows, err := d.store.Query(context.Background(),
			"select count(*) from (select alert from incidents order by seen desc, id desc limit 2000) as newest "+
				"where instr(alert, ?) > 0", `"labels":`+string(labels))
		if err != nil {
			return err
		}
		var n int
		for rows.Next() {
			if err := rows.Scan(&n); err != nil {
				return errors.Join(err, rows.Close())
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		// Labels that differ only by Grafana or a replica are one incident, under
		// the labels that were delivered last.
		if n == 0 && !slices.ContainsFunc(slices.Collect(maps.Keys(a.Labels)), func(l string) bool {
			return strings.HasPrefix(l, "__") || strings.HasSuffix(l, "replica")
		}) {
			return fmt.Errorf("200, and no incident for %s", labels)
		}
	}
	return nil
}

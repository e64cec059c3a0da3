package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// A liar is a Prometheus and an Alertmanager that answer as they like.
type liar struct {
	*httptest.Server
	answer atomic.Pointer[http.HandlerFunc]
	asked  atomic.Int64 // with the login
	astray atomic.Int64 // without it
	listed atomic.Int64 // for alerts, since the answer was chosen
}

const liarsPassword = "the-password-of-monitoring"

func newLiar(t *testing.T) *liar {
	t.Helper()
	l := &liar{}
	l.says(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") })
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password == liarsPassword {
			l.asked.Add(1)
		} else {
			l.astray.Add(1)
		}
		if strings.HasSuffix(r.URL.Path, "/api/v2/alerts") {
			l.listed.Add(1)
		}
		_, _ = io.Copy(io.Discard, r.Body) // only then it is seen that a client has hung up
		w.Header().Set("Content-Type", "application/json")
		(*l.answer.Load())(w, r)
	}))
	t.Cleanup(func() {
		l.CloseClientConnections()
		l.Close()
	})
	return l
}

func (l *liar) says(answer http.HandlerFunc) {
	l.answer.Store(&answer)
	l.listed.Store(0)
}

// without writes a text again and again, up to a size, until the client hangs up.
func without(text string, size int, pause time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for sent := 0; sent < size && r.Context().Err() == nil; sent += len(text) {
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
			if pause > 0 {
				_ = http.NewResponseController(w).Flush() // the client may have hung up
				time.Sleep(pause)
			}
		}
	}
}

// In outside mode a Prometheus and an Alertmanager that lie, send without an end or send elsewhere get upkeep to show
// its password to no other server, to take little memory, to refuse no delivery and to end when it should.
func TestAttackByMonitoring(t *testing.T) {
	t.Parallel()
	l, other := newLiar(t), newLiar(t)
	f := newFortWith(t, "", fmt.Sprintf(`embedded: {enabled: false}
prometheus: {url: '%s', user: up, password_file: monitoring}
alertmanager: {url: '%[1]s', user: up, password_file: monitoring}
engine: {reconcile_interval: 200ms}
`, l.URL), "monitoring", liarsPassword)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 300 {
		_, _ = z.Write(bytes.Repeat([]byte("{},"), 1<<20/3)) // a buffer takes all
	}
	_ = z.Close()
	elsewhere := func(status int, name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			to := strings.Replace(other.URL, "127.0.0.1", name, 1)
			http.Redirect(w, r, to+r.URL.RequestURI(), status)
		}
	}
	const much = 300 << 20
	block := strings.Repeat("{},", 10_000)
	before := memory(t, f.cmd.Process.Pid, "VmRSS")
	for _, one := range []struct {
		what   string
		answer http.HandlerFunc
	}{
		{"another port", elsewhere(http.StatusFound, "127.0.0.1")},
		{"another port, kept", elsewhere(http.StatusTemporaryRedirect, "127.0.0.1")},
		{"another name", elsewhere(http.StatusPermanentRedirect, "localhost")},
		{"empty objects", without("["+block, much, 0)},
		{"one object", without(`{"status":"success","data":{"groups":[`+block, much, 0)},
		{"levels", without(strings.Repeat("[", 10_000), 10<<20, 0)},
		{"spaces", without(strings.Repeat(" ", 10_000), much, 0)},
		{"an error without end", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); without(block, much, 0)(w, r) }},
		{"headers without end", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 20<<20)) }},
		{"a bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		}},
		{"nothing", func(w http.ResponseWriter, _ *http.Request) {}},
		{"the end of the line", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{"text of another thing", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "<html>"+strings.Repeat("x", 1<<20))
		}},
		{"a byte now and then", without("[", 1000, 50*time.Millisecond)},
		{"no answer", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	} {
		what := one.what
		l.says(one.answer)
		for _, path := range []string{"/", console.Prefix + "/forecast"} { // these ask, too
			if status, text := try(t, "GET", f.address, path, "", as(access.View)); len(text) > 1<<20 ||
				strings.Contains(text, liarsPassword) {
				t.Errorf("%s: %s: %d, %d bytes: %.300s", what, path, status, len(text), text)
			}
		}
		servertest.Eventually(t, what+": it is asked", func() bool { return l.listed.Load() > 0 })
		status, text := try(t, "POST", f.address, "/webhook/alertmanager", fmt.Sprintf(`{"version":"4","alerts":[{"status":`+
			`"firing","startsAt":"2026-01-01T00:00:00Z","labels":{"alertname":"A","n":%q}}]}`, what), as(access.Deliver))
		if status != http.StatusOK {
			t.Errorf("%s: a delivery: %d %s", what, status, text)
		}
		if status, text := try(t, "GET", f.address, "/-/ready", ""); status != http.StatusOK {
			t.Errorf("%s: %d %s", what, status, text)
		}
	}
	if other.asked.Load() > 0 || other.astray.Load() == 0 {
		t.Errorf("another server was shown the password %d times, and asked %d times without", other.asked.Load(),
			other.astray.Load())
	}
	grown := memory(t, f.cmd.Process.Pid, "VmHWM") - before
	if t.Logf("it grew by %d MB at most", grown>>20); grown > 1<<30 {
		t.Errorf("it grew by %d MB at most, want 1024", grown>>20)
	}
	if _, text := try(t, "GET", f.address, console.Prefix+"/incidents?limit=100", "", as(access.View)); strings.Count(text,
		`"alertname":"A"`) < 15 {
		t.Errorf("incidents were closed by what was no list: %.1000s", text)
	}
	log, err := os.ReadFile(filepath.Join(f.dir, "upkeep.log"))
	if err != nil || len(log) > 1<<20 || strings.Contains(string(log), liarsPassword) {
		t.Errorf("the log: %d bytes, %v", len(log), err)
	}
	l.says(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	f.stop(t)
}

// In outside mode a delivery proves itself as with the embedded Alertmanager, and nothing of that one's API is served.
func TestAttackOutside(t *testing.T) {
	t.Parallel()
	f := newFortWith(t, "", "embedded: {enabled: false}\n")
	const body = `{"version":"1","alerts":[{"status":"firing","labels":{"alertname":"A"}}]}`
	now := strconv.FormatInt(time.Now().Unix(), 10)
	const header = "X-Grafana-Alerting-Signature"
	signed := func(at, text string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("X-Signed-At", at)
			r.Header.Set(header, sign(text))
		}
	}
	for what, test := range map[string]struct {
		path   string
		show   func(*http.Request)
		status int
	}{
		"nothing":                       {"/webhook/grafana", func(*http.Request) {}, 401},
		"a signature":                   {"/webhook/grafana", signed(now, now+":"+body), 200},
		"a signature, another time":     {"/webhook/grafana", signed("1", "1:"+body), 401},
		"a signature, without a time":   {"/webhook/grafana", with(header, sign(body)), 401},
		"a signature of another body":   {"/webhook/grafana", signed(now, now+":"+body+" "), 401},
		"a signature of no time":        {"/webhook/grafana", signed(now, body), 401},
		"a time of letters":             {"/webhook/grafana", signed(now+"x", now+"x:"+body), 401},
		"a token of delivery, unsigned": {"/webhook/grafana", as(access.Deliver), 401},
		"a token of view, unsigned":     {"/webhook/grafana", as(access.View), 401},
		"a signature at Alertmanager's": {"/webhook/alertmanager", signed(now, now+":"+body), 401},
		"a token of delivery":           {"/webhook/alertmanager", as(access.Deliver), 200},
		"a token of view":               {"/webhook/alertmanager", as(access.View), 403},
		"the cookie of nothing":         {"/webhook/alertmanager", with("Cookie", access.Cookie+"=e30.e30"), 401},
		"Alertmanager's own API":        {"/api/v2/alerts", as(access.Deliver), 404},
		"silences":                      {"/api/v2/silences", as(access.Operate), 404},
		"Prometheus' API":               {"/api/v1/query?query=up", as(access.View), 404},
		"Prometheus' API, a stranger":   {"/api/v1/query?query=up", func(*http.Request) {}, 401},
		"remote write":                  {"/api/v1/write", as(access.Admin), 404},
	} {
		text := body
		if test.path == "/webhook/alertmanager" {
			text = `{"version":"4","alerts":[{"status":"firing","startsAt":"2026-01-01T00:00:00Z","labels":{"alertname":"A"}}]}`
		}
		if status, text := try(t, "POST", f.address, test.path, text, test.show); status != test.status {
			t.Errorf("%s: %d %s, want %d", what, status, text, test.status)
		}
	}
}

package prom_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
)

// fake answers each request with a status and a text, and notes the last form.
type fake struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	body   string
	form   map[string][]string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{status: http.StatusOK}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		_ = r.ParseForm() // what is no form has none
		f.form = r.Form
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(f.status)
		_, _ = io.WriteString(w, f.body)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) answers(status int, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status, f.body = status, body
}

// An answer in which a part is missing is an error, and no list that is shorter: an empty one
// would end every alert, and hide every rule.
func TestAnswersWithoutTheirParts(t *testing.T) {
	f := newFake(t)
	p, a := prom.Prometheus{URL: f.URL}, prom.Alertmanager{URL: f.URL}
	for _, test := range []struct {
		name string
		ask  func() error
		good string
		bad  []string
	}{
		{"Prometheus' rules", func() error { _, err := p.Rules(t.Context()); return err },
			`{"status":"success","data":{"groups":[]}}`,
			[]string{`{"status":"success"}`, `{"status":"success","data":null}`, `{"status":"success","data":{}}`,
				`{"status":"success","data":{"groups":null}}`, `{}`, `null`, ``}},
		{"Prometheus' version", func() error { _, err := p.Version(t.Context()); return err },
			`{"status":"success","data":{"version":"3.0.0"}}`, []string{`{"status":"success","data":{}}`, `{}`, ``}},
		{"alerts", func() error { _, err := a.Alerts(t.Context(), ""); return err },
			`[{"labels":{"alertname":"A"}}]`, []string{`[{}]`, `[{"labels":null}]`, `[{"labels":{"a":"b"}},null]`, `{}`, ``}},
		{"statuses", func() error { _, err := a.AlertStatuses(t.Context(), ""); return err },
			`[{"alerts":[{"labels":{"alertname":"A"}}]}]`, []string{`[{"alerts":[{}]}]`, `[{"alerts":[null]}]`, `{}`, ``}},
		{"receivers", func() error { _, err := a.Receivers(t.Context()); return err },
			`[{"name":"a"}]`, []string{`[null]`, `[{}]`, `[{"name":null}]`, `null`, `{}`, ``}},
		{"silences", func() error { _, err := a.Silences(t.Context()); return err },
			`[{"id":"a","status":{"state":"active"},"matchers":[{"name":"a","value":"b","isRegex":false}]}]`,
			[]string{`[{}]`, `[{"status":{"state":"active"},"matchers":[null]}]`,
				`[{"status":{"state":"active"},"matchers":[{"name":"a"}]}]`, `null`}},
		{"the configuration", func() error { _, err := a.Configuration(t.Context()); return err },
			`{"config":{"original":"route: {}"}}`, []string{`{}`, `{"config":{}}`, `{"config":null}`, `null`, ``}},
		{"Alertmanager's version", func() error { _, err := a.Version(t.Context()); return err },
			`{"versionInfo":{"version":"0.28"}}`, []string{`{}`, `{"versionInfo":{}}`, `null`, ``}},
		{"a silence that is set", func() error {
			_, err := a.Set(t.Context(), prom.Silence{Matchers: []prom.Matcher{prom.Equal("a", "b")}})
			return err
		}, `{"silenceID":"x"}`, []string{`{}`, `null`, ``}},
	} {
		f.answers(200, test.good)
		if err := test.ask(); err != nil {
			t.Errorf("%s, as it is to be: %v", test.name, err)
		}
		for _, body := range test.bad {
			f.answers(200, body)
			if err := test.ask(); err == nil {
				t.Errorf("%s: %q is an answer", test.name, body)
			} else if !strings.HasPrefix(err.Error(), "prometheus: ") && !strings.HasPrefix(err.Error(), "alertmanager: ") {
				t.Errorf("%s, %q: %v does not say who", test.name, body, err)
			}
		}
	}
}

// An answer of many small parts would take eighty times its size of memory: it is given up before. A hundred thousand
// alerts as Alertmanager has them are not too many.
func TestAnswersOfManyParts(t *testing.T) {
	f := newFake(t)
	p, a := prom.Prometheus{URL: f.URL}, prom.Alertmanager{URL: f.URL}
	for _, part := range []string{`{},`, `{"labels":{"a":"b"}},`, `"",`} {
		f.answers(200, `[`+strings.Repeat(part, prom.PartsLimit/prom.PartsOf([]byte(part))+1))
		for who, ask := range map[string]func() error{
			"Alertmanager": func() error { _, err := a.Alerts(t.Context(), ""); return err },
			"Prometheus":   func() error { _, err := p.Rules(t.Context()); return err },
		} {
			if err := ask(); err == nil || !strings.Contains(err.Error(), "more parts than") {
				t.Errorf("%s, many %s: %v", who, part, err)
			}
		}
	}
	const usual = `{"annotations":{"action":"postgres/reindex","description":"A long text, with commas, and more.","limit":"0.3",` +
		`"runbook_url":"https://x.example/r","summary":"75 % of the index are empty"},"endsAt":"2026-11-30T10:00:00.000Z",` +
		`"fingerprint":"0123456789abcdef","receivers":[{"name":"upkeep"},{"name":"chat"}],"startsAt":"2026-11-30T09:00:00.000Z",` +
		`"status":{"inhibitedBy":[],"mutedBy":[],"silencedBy":[],"state":"active"},"updatedAt":"2026-11-30T09:59:00.000Z",` +
		`"generatorURL":"http://p/graph?g0.expr=up","labels":{"alertname":"PostgresIndexBloat","database":"shop","index":"i",` +
		`"instance":"127.0.0.1:9847","job":"upkeep","schema":"public","server":"main","severity":"warning","table":"orders"}},`
	if n := 100_000 * prom.PartsOf([]byte(usual)); n > prom.PartsLimit {
		t.Errorf("a hundred thousand usual alerts have %d parts, more than %d", n, prom.PartsLimit)
	}
}

// What a server says of its refusal is in the error as one short line of text, and its status
// is known.
func TestRefusalsAreShort(t *testing.T) {
	f := newFake(t)
	p := prom.Prometheus{URL: f.URL}
	for _, test := range []struct{ body, want string }{
		{``, "status 418"},
		{`null`, "status 418"},
		{`{"error":"no\n  way"}`, "status 418: no way"},
		{`{"message":"not so"}`, "status 418: not so"},
		{`"text"`, "status 418: text"},
		{"<html>\n\t<b>", "status 418: <html> <b>"},
		{"\xff\xfe", "status 418: ?"},
		{strings.Repeat("é", 400), "status 418: " + strings.Repeat("é", 150) + "…"},
		{"a" + strings.Repeat("é", 400), "status 418: a" + strings.Repeat("é", 149) + "…"},
		{`{"error":"` + strings.Repeat("x", 1<<20) + `"}`, `status 418: {"error":"` + strings.Repeat("x", 290) + "…"},
	} {
		f.answers(http.StatusTeapot, test.body)
		_, err := p.Query(t.Context(), "up", time.Time{})
		var said *prom.StatusError
		if !errors.As(err, &said) || said.Status != http.StatusTeapot || said.Error() != test.want {
			t.Errorf("%.60q: %v, want %s", test.body, err, test.want)
		}
	}
	for status, want := range map[int]bool{404: true, 400: false, 410: false, 500: false} {
		f.answers(status, "")
		if _, err := p.Query(t.Context(), "up", time.Time{}); prom.NotFound(err) != want {
			t.Errorf("%d is not found: %v", status, err)
		}
	}
	if prom.NotFound(nil) || prom.NotFound(context.Canceled) {
		t.Error("it is not found without a status")
	}
}

// The moment of a question is the one that was meant, to the millisecond, however large; none
// is the server's own now.
func TestMoments(t *testing.T) {
	f := newFake(t)
	f.answers(200, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
	p, random := prom.Prometheus{URL: f.URL}, rand.New(rand.NewPCG(1, 9))
	for range 200 {
		at := time.Unix(random.Int64N(4e9), random.Int64N(1e9)).In(time.FixedZone("x", random.IntN(86400)-43200))
		if _, err := p.Query(t.Context(), "up", at); err != nil {
			t.Fatal(err)
		}
		seconds, err := strconv.ParseFloat(fmt.Sprint(f.form["time"][0]), 64)
		// As the server reads it.
		whole, part := int64(seconds), seconds-float64(int64(seconds))
		if ms := whole*1000 + int64(part*1000+0.5); err != nil || ms != at.UnixMilli() {
			t.Fatalf("%s is asked at %s: %d ms, want %d", at, f.form["time"], ms, at.UnixMilli())
		}
	}
	if _, err := p.Query(t.Context(), "up", time.Time{}); err != nil || len(f.form["time"]) > 0 {
		t.Errorf("now is asked at %v, %v", f.form["time"], err)
	}
}

// A listing may be redirected to where it is, and its password goes to no other host; anything
// that changes something may not.
func TestRedirects(t *testing.T) {
	var elsewhere http.Header
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere = r.Header
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `[]`)
	}))
	defer other.Close()
	to := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to+r.URL.Path, http.StatusMovedPermanently)
	}))
	defer server.Close()
	a := prom.Alertmanager{URL: strings.Replace(server.URL, "http://", "http://ann:pass-word@", 1)}
	if all, err := a.Alerts(t.Context(), ""); err != nil || len(all) != 0 || elsewhere == nil {
		t.Errorf("a listing: %v %v", all, err)
	}
	if elsewhere.Get("Authorization") != "" {
		t.Error("another host got the password")
	}
	elsewhere = nil
	if _, err := a.Silences(t.Context()); err == nil || !strings.Contains(err.Error(), "status 301") || elsewhere != nil {
		t.Errorf("silences: %v, asked elsewhere: %v", err, elsewhere)
	}
	loop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	}))
	defer loop.Close()
	if _, err := (prom.Alertmanager{URL: loop.URL}).Alerts(t.Context(), ""); err == nil {
		t.Error("a listing that is nowhere is one")
	}
}

package prom_test

import (
	"context"
	"fmt"
	"io"
	stdlog "log" //nolint:depguard // what a library prints when it is asked to
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// odd is a value that must be quoted.
const odd = "a \"b\" \\ ,} täble\n{{ x }} &"

const rules = `groups:
  - name: g
    interval: 100ms
    rules:
      - record: used_ratio
        expr: vector(0.9)
        labels: {server: main, table: "a \"b\" \\ ,} täble\n{{ x }} &"}
      - record: used_ratio
        expr: vector(0.1)
        labels: {server: other, table: t}
`

func TestQuery(t *testing.T) {
	m := servertest.Prometheus(t, "rule_files: [rules.yml]\n", map[string]string{"rules.yml": rules})
	p := prom.Prometheus{URL: m.URL + "/"}
	var samples []prom.Sample
	for end := time.Now().Add(2 * time.Minute); len(samples) < 2 &&
		time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var err error
		if samples, err = p.Query(t.Context(), "used_ratio", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if len(samples) != 2 {
		t.Fatalf("samples: %+v", samples)
	}
	for _, s := range samples {
		if s.Labels["table"] == odd && s.Value == 0.9 && time.Since(s.At).Abs() < 10*time.Minute {
			continue
		}
		if s.Labels["table"] != "t" || s.Value != 0.1 {
			t.Errorf("sample %+v", s)
		}
	}
	at := time.Now().Truncate(time.Second)
	series, err := p.Range(t.Context(), `used_ratio{table="t"} or vector(time()) > 0`, at.Add(-time.Minute), at, 30*time.Second)
	if err != nil || !slices.ContainsFunc(series, func(s prom.Series) bool {
		return len(s.Labels) == 0 && len(s.Points) == 3 && s.Points[2].At.Equal(at) &&
			s.Points[0].Value == float64(at.Add(-time.Minute).Unix())
	}) {
		t.Errorf("range: %+v %v", series, err)
	}
	if _, err := p.Range(t.Context(), "used_ratio[1m]", at.Add(-time.Minute), at, time.Second); err == nil {
		t.Error("a range of ranges is evaluated")
	}
	for _, test := range []struct {
		expr string
		want []float64
	}{
		{"1 + 1", []float64{2}},
		{"vector(1) / 0", []float64{math.Inf(1)}},
		{"absent(used_ratio)", nil},
		{"scalar(vector(1)) > bool 0", []float64{1}},
		// too long for a URL
		{"used_ratio > 0.5 or " + strings.Repeat("(used_ratio > 2) or ", 1000) + "(used_ratio > 2)", []float64{0.9}},
	} {
		got, err := p.Query(t.Context(), test.expr, time.Time{})
		var values []float64
		for _, s := range got {
			values = append(values, s.Value)
		}
		if err != nil || !slices.Equal(values, test.want) {
			t.Errorf("%.40s: %v %v, want %v", test.expr, values, err, test.want)
		}
	}
	if got, err := p.Query(t.Context(), "0 / vector(0)", time.Time{}); err != nil || len(got) != 1 ||
		!math.IsNaN(got[0].Value) {
		t.Errorf("0/0: %+v %v", got, err)
	}
	for expr, want := range map[string]string{"used_ratio >": "status 400: invalid parameter \"query\"",
		"used_ratio[5m]": "gives a matrix", `"text"`: "gives a string"} {
		if _, err := p.Query(t.Context(), expr, time.Time{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", expr, err, want)
		}
	}
	firing(t, p)
}

func firing(t *testing.T, p prom.Prometheus) {
	t.Helper()
	for _, test := range []struct {
		name, expr string
		subject    map[string]string
		want       bool
	}{
		{"it fires", "used_ratio > 0.8", map[string]string{"server": "main", "table": odd}, true},
		{"a part of the labels is enough", "used_ratio > 0.8", map[string]string{"server": "main"}, true},
		{"another's", "used_ratio > 0.8", map[string]string{"server": "other", "table": "t"}, false},
		{"one label of each", "used_ratio", map[string]string{"server": "main", "table": "t"}, false},
		{"a label that no series carries", "max by (table) (used_ratio) > 0.8",
			map[string]string{"server": "main", "table": odd}, false},
		{"an empty value is no absent label", "used_ratio > 0.8", map[string]string{"server": "main", "schema": ""},
			false},
		{"an empty subject", "used_ratio > 0.8", nil, false},
	} {
		got, err := p.Firing(t.Context(), test.expr, test.subject)
		if err != nil || got != test.want {
			t.Errorf("%s: %v %v, want %v", test.name, got, err, test.want)
		}
	}
	if _, err := p.Firing(t.Context(), "used_ratio >", map[string]string{"server": "main"}); err == nil {
		t.Error("a wrong expression is no error")
	}
}

// What no stock server says at will.
func TestBadAnswers(t *testing.T) {
	for _, test := range []struct{ name, body, want string }{
		{"a warning", `{"status":"success","warnings":["store a: down"],"data":{"resultType":"vector","result":[]}}`,
			"may be incomplete: store a: down"},
		{"an error with 200", `{"status":"error","error":"no"}`, "not answered: no"},
		{"a page", `<html>`, "not Prometheus' JSON"},
		{"half a point", `{"status":"success","data":{"resultType":"scalar","result":[1]}}`, "parsing"},
		{"no number", `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}`,
			`"x": invalid syntax`},
		{"a histogram",
			`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"1","sum":"1","buckets":[]}]}]}}`, "without a number"},
		{"a series alone", `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"}}]}}`,
			"without a number"},
		{"no result", `{"status":"success"}`, "has no result"},
		{"nothing", ``, "not Prometheus' JSON"},
		{"too much", `"` + strings.Repeat("x", 17<<20) + `"`, "larger than 16 MiB"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter,
			_ *http.Request) {
			fmt.Fprint(w, test.body)
		}))
		_, err := prom.Prometheus{URL: server.URL}.Query(t.Context(), "up", time.Time{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if !prom.Answered(err) {
			t.Errorf("%s is no answer", test.name)
		}
		if server.Close(); prom.Answered(reached(t, server.URL)) {
			t.Error("a server that is away has answered")
		}
	}
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, `{"status":"success"`)
	}))
	defer cut.Close()
	if prom.Answered(reached(t, cut.URL)) {
		t.Error("a server that went away while it answered has answered")
	}
}

// reached returns the error of a server that does not answer.
func reached(t *testing.T, url string) error {
	t.Helper()
	_, err := prom.Prometheus{URL: url}.Query(t.Context(), "up", time.Time{})
	if err == nil {
		t.Errorf("%s answers", url)
	}
	return err
}

// What Alertmanager's client would take for a good answer, or would panic about.
func TestBadAnswersOfAlertmanager(t *testing.T) {
	for _, test := range []struct{ name, kind, body, want string }{
		{"nothing", "application/json", "", "not Alertmanager's JSON"},
		{"null", "application/json", "null", "not Alertmanager's JSON"},
		{"half", "application/json", `[{"labels":`, "not Alertmanager's JSON"},
		{"two", "application/json", `[] []`, "not Alertmanager's JSON"},
		{"an end too many", "application/json", `[]]`, "not Alertmanager's JSON"},
		{"another end", "application/json", "[]\n}", "not Alertmanager's JSON"},
		{"a null within", "application/json", `[null]`, "parts of it are missing"},
		{"a page", "text/html", "<html>", "not Alertmanager's JSON"},
		{"an HTML page", "application/json", "<html>", "not Alertmanager's JSON"},
		{"an invalid content type", ";;", "[]", "content type"},
		{"too much", "application/json", `["` + strings.Repeat("x", 17<<20) + `"]`, "larger than 16 MiB"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", test.kind)
			fmt.Fprint(w, test.body)
		}))
		a := prom.Alertmanager{URL: server.URL}
		_, errSilences := a.Silences(t.Context())
		_, errAlerts := a.Alerts(t.Context(), "")
		_, errStatuses := a.AlertStatuses(t.Context(), "")
		for what, err := range map[string]error{"Silences": errSilences, "Alerts": errAlerts,
			"AlertStatuses": errStatuses} {
			if test.name == "too much" && what == "Alerts" || test.name == "a null within" && what == "AlertStatuses" {
				continue // its listing may be larger; a group without alerts is one
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, %s: %v, want %q", test.name, what, err, test.want)
			}
		}
		server.Close()
	}
}

// A user's name and password are sent, below the path of the URL, and what an answer of
// another status says is in the error.
func TestAuthorization(t *testing.T) {
	t.Setenv("DEBUG", "1") // at which the client of Alertmanager prints what it sends
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, `{"code":418,"message":"%s %s as %s with %d letters"}`, r.Method, r.URL.Path, name,
			len(password))
	}))
	defer server.Close()
	base := strings.Replace(server.URL, "http://", "http://ann:pass-word@", 1) + "/am/"
	var log strings.Builder
	defer func(w io.Writer) { stdlog.SetOutput(w) }(stdlog.Writer())
	stdlog.SetOutput(&log)
	_, err := prom.Prometheus{URL: base}.Query(t.Context(), "up", time.Time{})
	_, errAlerts := prom.Alertmanager{URL: base}.Alerts(t.Context(), "")
	_, errSet := prom.Alertmanager{URL: base}.Set(t.Context(),
		prom.Silence{Matchers: []prom.Matcher{prom.Equal("a", "b")}})
	errExpire := prom.Alertmanager{URL: base}.Expire(t.Context(), "a/b")
	for want, err := range map[string]error{
		"status 418: POST /am/api/v1/query as ann with 9 letters":      err,
		"status 418: GET /am/api/v2/alerts as ann with 9 letters":      errAlerts,
		"status 418: POST /am/api/v2/silences as ann with 9 letters":   errSet,
		"status 418: GET /am/api/v2/silence/a/b as ann with 9 letters": errExpire,
	} {
		if err == nil || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "pass-word") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if log.Len() > 0 {
		t.Errorf("it prints %s", &log)
	}
}

// A redirect is not followed, a password in the URL is in no error, and the
// caller's end of patience is.
func TestReachesNobody(t *testing.T) {
	followed := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			followed = true
		}
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	defer server.Close()
	withPassword := strings.Replace(server.URL, "http://", "http://ann:pass-word@", 1)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name, url, want string
		ctx             context.Context
	}{
		{"a redirect", withPassword, "status 302", t.Context()},
		{"no listener", "http://ann:pass-word@127.0.0.1:1", "connection refused", t.Context()},
		{"no URL", "http://ann:pass-word/x@host", "cannot be read", t.Context()},
		{"no host", "pass-word", "cannot be read", t.Context()},
		{"cancelled", withPassword, "context canceled", cancelled},
	} {
		for _, err := range []error{
			func() error {
				_, err := prom.Prometheus{URL: test.url}.Query(test.ctx, "up", time.Time{})
				return err
			}(),
			prom.Alertmanager{URL: test.url}.Expire(test.ctx, "x"),
		} {
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "pass-word") {
				t.Errorf("%s: %v, want %q and no password", test.name, err, test.want)
			}
		}
	}
	if followed {
		t.Error("the redirect was followed")
	}
}

func TestMatcherAsAFilter(t *testing.T) {
	for want, m := range map[string]prom.Matcher{
		`a="b"`:                prom.Equal("a", "b"),
		`"my.label"="x \"y\""`: prom.Equal("my.label", `x "y"`),
		`"größe"!~"a|b"`:       {Name: "größe", Value: "a|b", IsRegex: true},
	} {
		if got := m.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestSilences(t *testing.T) {
	a := prom.Alertmanager{URL: servertest.Alertmanager(t).URL}
	now := time.Now()
	want := prom.Silence{Matchers: []prom.Matcher{prom.Equal("alertname", "A"), prom.Equal("table", odd)},
		StartsAt: now, EndsAt: now.Add(time.Minute), CreatedBy: "upkeep", Comment: "run 1"}
	id, err := a.Set(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Set(t.Context(), prom.Silence{Matchers: []prom.Matcher{prom.Equal("alertname", "B")}, StartsAt: now,
		EndsAt: now.Add(time.Minute), CreatedBy: "ann", Comment: "move"}); err != nil {
		t.Fatal(err)
	}
	got, err := a.Silence(t.Context(), id)
	if err != nil || got.State != prom.SilenceActive || !slices.Equal(got.Matchers, want.Matchers) ||
		got.CreatedBy != "upkeep" || got.Comment != "run 1" || got.EndsAt.UnixMilli() != want.EndsAt.UnixMilli() {
		t.Errorf("Silence: %+v %v", got, err)
	}
	got.EndsAt = now.Add(time.Hour)
	if again, err := a.Set(t.Context(), got); err != nil || again != id {
		t.Errorf("renewed as %s: %v, want the same %s", again, err, id)
	}
	for _, test := range []struct {
		filter []prom.Matcher
		want   int
	}{{nil, 2}, {want.Matchers, 1}, {[]prom.Matcher{prom.Equal("table", "other")}, 0}} {
		if all, err := a.Silences(t.Context(), test.filter...); err != nil || len(all) != test.want {
			t.Errorf("Silences %v: %d %v, want %d", test.filter, len(all), err, test.want)
		}
	}
	for range 2 { // the second time it has expired
		if err := a.Expire(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if got, err := a.Silence(t.Context(), id); err != nil || got.State != prom.SilenceExpired {
		t.Errorf("after Expire: %+v %v", got, err)
	}
	unknown := "00000000-0000-4000-8000-000000000000"
	if err := a.Expire(t.Context(), unknown); !prom.NotFound(err) {
		t.Errorf("an unknown id: %v", err)
	}
	got.ID = unknown
	if _, err := a.Set(t.Context(), got); !prom.NotFound(err) {
		t.Errorf("an unknown id set: %v", err)
	}
	if _, err := a.Set(t.Context(), prom.Silence{StartsAt: now, EndsAt: now.Add(time.Hour), CreatedBy: "x",
		Comment: "y"}); err == nil {
		t.Error("a silence without matchers was taken")
	}
}

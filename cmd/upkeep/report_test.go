package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	review "github.com/ai-micro-service/upkeep/internal/product/report"
)

// A report of arguments that no report can be made of says what to do, before anything is asked.
func TestReportArguments(t *testing.T) {
	t.Parallel()
	next := time.Now().UTC().AddDate(0, 2, 0)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"month", "--month", "2026-13"}, `--month "2026-13": want year and month, like `},
		{[]string{"month", "--month", "October"}, `--month "October": want year and month, like `},
		{[]string{"month", "--month", next.Format("2006-01")}, "is in the future: it begins on " +
			next.Format("2006-01") + "-01; choose an earlier one, or leave --month out"},
		{[]string{"quarter", "--quarter", "2026-Q5"}, `--quarter "2026-Q5": want year and quarter, like `},
		{[]string{"quarter", "--quarter", fmt.Sprintf("%d-Q1", next.Year()+1)}, "is in the future"},
		{[]string{"month", "--format", "docx"}, `--format "docx": want html, md, json or pdf`},
		{[]string{"month", "--format", "pdf", "--out", "-"}, "name a file"},
		{[]string{"month", "2026-10"}, `unexpected argument "2026-10"`},
	} {
		var out, said strings.Builder
		code := execute(append([]string{"report"}, append(test.args, "--url", "http://127.0.0.1:1")...), &out, &said)
		if code != 2 || !strings.Contains(said.String(), test.want) {
			t.Errorf("%q: %d %q, want %q", test.args, code, said.String(), test.want)
		}
	}
}

const hostileService = "</td><script>alert(1)</script>|`x`"

// history writes a month of samples as the embedded Prometheus has stored them.
func writeHistory(t *testing.T, dir string, p review.Period) {
	t.Helper()
	db, err := tsdb.Open(dir, slog.New(slog.DiscardHandler), nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for at, hour := p.From.Add(time.Hour), 1; !at.After(p.To); at, hour = at.Add(time.Hour), hour+1 {
		a := db.Appender(t.Context())
		for i, service := range []string{"shop", hostileService} {
			v := 1.0
			if i == 0 && hour%10 == 0 {
				v = 0
			}
			if _, err := a.Append(0, labels.FromStrings("__name__", "upkeep_probe_healthy", "server", service),
				at.UnixMilli(), v); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// The review comes from a running upkeep, in each format, and to the role view only. What a name has
// in it is nowhere markup.
func TestReport(t *testing.T) {
	t.Parallel()
	f := &fort{site: site{dir: t.TempDir(), address: freeAddress(t)}}
	p, err := review.Month("", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	writeHistory(t, filepath.Join(f.dir, "data", "tsdb"), p)
	for _, role := range []access.Role{access.View, access.Deliver} {
		write(t, filepath.Join(f.dir, role.String()), "the-token-of-"+role.String()+"\n")
	}
	write(t, filepath.Join(f.dir, "upkeep.yaml"), fmt.Sprintf(`data_dir: data
web: {listen: %q, tokens: [{name: v, role: view, file: view}, {name: d, role: deliver, file: deliver}]}
targets: {host: [{name: here}]}
collectors: {settings: {host/updates: {disabled: true}}}
`, f.address))
	f.cmd = spawn(t, f.dir, "upkeep", "serve", "--config", "upkeep.yaml")
	f.awaitReady(t)

	var r review.Report
	if err := json.Unmarshal([]byte(f.report(t, "month", "--format", "json")), &r); err != nil {
		t.Fatal(err)
	}
	available := r.Sections[0].Figures[0]
	hours := int(p.To.Sub(p.From) / time.Hour)
	want := 1 - float64(hours/10)/float64(hours)
	if row := available.Rows[0]; row[0].Text != "shop" || *row[1].Value != want ||
		row[3].Text != "nothing to compare" ||
		row[5].Text != "100 %" {
		t.Errorf("%+v, want %v", row, want)
	}
	if r.Name != p.Name || len(available.Gaps) > 0 || *available.Share != 1 {
		t.Errorf("%s: %+v", r.Name, available.Coverage)
	}
	if text := f.report(t, "month", "--format", "md"); !strings.Contains(text, "| shop | 90") ||
		!strings.Contains(text, "\\|\\`x\\`") || strings.Contains(text, "<script") {
		t.Error(text)
	}
	file := filepath.Join(t.TempDir(), "review.html")
	if said := f.report(t, "month", "--month", p.Name, "--out", file); said != file+"\n" {
		t.Errorf("%q", said)
	}
	page, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(page), "<script") || !strings.Contains(string(page), "&lt;script&gt;") {
		t.Errorf("%v, %d bytes", err, len(page))
	}
	f.reportPage(t, p)
	if code := execute([]string{"report", "month", "--month", "2001-02", "--url", "http://" + f.address, "--token-file",
		filepath.Join(f.dir, "view")}, &strings.Builder{}, failure{t, "no data of February 2001: "}); code != int(exitRefused) {
		t.Errorf("before any data: %d", code)
	}
}

// failure expects an error message with a text in it.
type failure struct {
	t    *testing.T
	want string
}

func (f failure) Write(text []byte) (int, error) {
	if !strings.Contains(string(text), f.want) {
		f.t.Errorf("%s, want %s", text, f.want)
	}
	return len(text), nil
}

// report runs the command with the token of a viewer.
func (f *fort) report(t *testing.T, args ...string) string {
	t.Helper()
	var out, said strings.Builder
	args = append([]string{"report"}, append(args, "--url", "http://"+f.address, "--token-file",
		filepath.Join(f.dir, "view"))...)
	if code := execute(args, &out, &said); code != 0 {
		t.Fatalf("%q: %d %s", args, code, said.String())
	}
	return out.String()
}

// reportPage looks at the page of the console, which allows itself nothing but its style.
func (f *fort) reportPage(t *testing.T, p review.Period) {
	t.Helper()
	res, text := tryFor(t, "GET", f.address, "/report/"+p.Name, nil, as(access.View))
	if res.StatusCode != http.StatusOK || !strings.Contains(text, "Review of "+p.Title()) || strings.Contains(text,
		"<script") {
		t.Errorf("%s %.200s", res.Status, text)
	}
	if policy := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, review.Policy()) {
		t.Errorf("%q", policy)
	}
	for path, want := range map[string]int{"/report/2026-13": 400, "/report/2001-02": 404,
		"/api/upkeep/v1/report?month=2026-13": 400, "/api/upkeep/v1/report?month=2001-01&quarter=2001-Q1": 400} {
		if status, said := try(t, "GET", f.address, path, "", as(access.View)); status != want {
			t.Errorf("%s: %d %s", path, status, said)
		}
	}
	if status, _ := try(t, "GET", f.address, "/api/upkeep/v1/report", "", as(access.Deliver)); status != 403 {
		t.Errorf("a deliverer: %d", status)
	}
}

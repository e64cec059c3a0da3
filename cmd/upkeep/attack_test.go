package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// attackSize is how many connections and bodies an attack has; "make attack" has more.
var attackSize = flag.Int("attack", 256, "connections and bodies of each attack") //nolint:gochecknoglobals // a flag

// A fort is an upkeep with a token of each role, a user and a secret of Grafana's.
type fort struct {
	site
	cmd *exec.Cmd
}

const grafanaSecret = "a secret of the contact point"

func newFort(t *testing.T, limit string) *fort {
	t.Helper()
	return newFortWith(t, limit, "")
}

// newFortWith starts a fort with more configuration, and after a command of the shell.
func newFortWith(t *testing.T, limit, more string, files ...string) *fort {
	t.Helper()
	f := &fort{site: site{dir: t.TempDir(), address: freeAddress(t)}}
	hash, err := bcrypt.GenerateFromPassword([]byte("ann's password"), bcrypt.DefaultCost)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(f.dir, "web.yml"), fmt.Sprintf("basic_auth_users: {ann: '%s'}\n", hash))
	write(t, filepath.Join(f.dir, "grafana"), grafanaSecret+"\n")
	var tokens []string
	for _, role := range access.Roles() {
		write(t, filepath.Join(f.dir, role.String()), "the-token-of-"+role.String()+"\n")
		tokens = append(tokens, fmt.Sprintf("{name: %s-token, role: %s, file: %s}", role, role, role))
	}
	write(t, filepath.Join(f.dir, "upkeep.yaml"), fmt.Sprintf(`data_dir: data
web: {listen: %q, external_url: 'http://upkeep.example.com', config_file: web.yml, users: {ann: operate}, tokens: [%s]}
grafana: {secret_file: grafana, timestamp_header: X-Signed-At}
targets: {host: [{name: here}]}
collectors: {settings: {host/updates: {disabled: true}}}
%s`, f.address, strings.Join(tokens, ", "), more))
	for i := 0; i+1 < len(files); i += 2 {
		write(t, filepath.Join(f.dir, files[i]), files[i+1])
	}
	if limit == "" {
		f.cmd = spawn(t, f.dir, "upkeep", "serve", "--config", "upkeep.yaml")
	} else {
		grant(t, f.dir)
		f.cmd = spawn(t, f.dir, "sh", "-c", limit+"; exec upkeep serve --config upkeep.yaml")
	}
	f.awaitReady(t)
	return f
}

// plain is a client that shows nothing by itself, with a connection for each request.
func plain() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func as(role access.Role) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer the-token-of-"+role.String()) }
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) {
		if name == "Host" {
			r.Host = value
			return
		}
		r.Header.Set(name, value)
	}
}

// try makes a request to an address and returns the answer.
func try(t *testing.T, method, address, path, body string, change ...func(*http.Request)) (status int, text string) {
	t.Helper()
	res, text := tryFor(t, method, address, path, strings.NewReader(body), change...)
	return res.StatusCode, text
}

func tryFor(t *testing.T, method, address, path string, body io.Reader,
	change ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(r)
	}
	res, err := plain().Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }() // read only
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return res, string(text)
}

// changes are requests that change something, with their bodies.
func changes() map[string]string {
	return map[string]string{
		"POST " + console.Prefix + "/pauses":             `{"scope":"all","reason":"x","by":"stranger"}`,
		"POST " + console.Prefix + "/runs":               `{"action":"host/none","subject":{},"by":"stranger","key":"k"}`,
		"POST /-/reload":                                 "",
		"POST /webhook/alertmanager":                     `{"version":"4","alerts":[]}`,
		"POST /api/v2/alerts":                            `[]`,
		"POST /api/v2/silences":                          `{}`,
		"DELETE " + console.Prefix + "/pauses?scope=all": "",
		"GET /metrics":                                   "",
		"GET " + console.Prefix + "/status":              "",
		"GET /api/v1/query?query=up":                     "",
		"GET " + console.Prefix + "/journal/replay":      "",
	}
}

// M10 and the rest of what a page elsewhere can have a browser send: another name for this
// address, images, forms, scripts.
func TestAttackFromBrowsers(t *testing.T) {
	f := newFort(t, "")
	for _, path := range []string{"/", "/metrics", console.Prefix + "/runs", "/api/v1/query?query=up", "/login",
		"/-/healthy"} {
		if status, text := try(t, "GET", f.address, path, "", as(access.Admin),
			with("Host", "evil.example:9847")); status != http.StatusMisdirectedRequest {
			t.Errorf("%s under another name: %d %s", path, status, text)
		}
		for kind, headers := range map[string]map[string]string{
			"an image":   {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
			"a script":   {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Origin": "http://evil.example"},
			"a frame":    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
			"a sibling":  {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Origin": "http://x.example.com"},
			"an old one": {"Origin": "http://evil.example"},
		} {
			status, text := try(t, "GET", f.address, path, "", as(access.Admin), func(r *http.Request) {
				for name, value := range headers {
					r.Header.Set(name, value)
				}
			})
			if status != http.StatusForbidden {
				t.Errorf("%s as %s: %d %s", path, kind, status, text)
			}
		}
	}
	for what, body := range changes() {
		method, path, _ := strings.Cut(what, " ")
		if status, _ := try(t, method, f.address, path, body, as(access.Admin), with("Origin",
			"http://evil.example")); status != http.StatusForbidden {
			t.Errorf("%s from another site: %d", what, status)
		}
	}
	// A link leads to a page, and nowhere else.
	for path, want := range map[string]int{"/": 401, "/login": 200, "/api/v1/query?query=up": 403} {
		status, _ := try(t, "GET", f.address, path, "", with("Sec-Fetch-Site", "cross-site"), with("Sec-Fetch-Mode",
			"navigate"), with("Sec-Fetch-Dest", "document"))
		if status != want {
			t.Errorf("a link to %s: %d, want %d", path, status, want)
		}
	}
	// L6: the headers of every answer.
	for _, path := range []string{"/", "/login", "/metrics", "/nothing", "/-/healthy", "/static/upkeep.css"} {
		res, _ := tryFor(t, "GET", f.address, path, nil, as(access.View))
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Content-Security-Policy": "frame-ancestors 'none'", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin"} {
			if got := res.Header.Get(name); !strings.Contains(got, want) || strings.Contains(got, "unsafe") {
				t.Errorf("%s: %s: %q", path, name, got)
			}
		}
	}
}

// M2, M3, M4, M9, M11, L3 and L4.
func TestAttackByRoles(t *testing.T) {
	f := newFort(t, "")
	t.Run("the token of Alertmanager only delivers", func(t *testing.T) {
		for what, body := range changes() {
			method, path, _ := strings.Cut(what, " ")
			want := http.StatusForbidden
			switch path {
			case "/webhook/alertmanager":
				want = http.StatusBadRequest // there is no alert in it
			case "/api/v2/alerts":
				want = http.StatusOK
			}
			if status, text := try(t, method, f.address, path, body, as(access.Deliver), with("Content-Type",
				"application/json")); status != want {
				t.Errorf("%s: %d %s, want %d", what, status, text, want)
			}
		}
	})
	t.Run("another user of this machine", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), "cat", filepath.Join(f.dir, "data", config.AdminTokenFile))
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err == nil || bytes.Contains(out, []byte(adminToken)) {
			t.Errorf("the token of this machine: %v %s", err, out)
		}
	})
	t.Run("a token and a password beside each other", func(t *testing.T) {
		for name, change := range map[string]func(*http.Request){"token": as(access.Operate),
			"password": func(r *http.Request) { r.SetBasicAuth("ann", "ann's password") }} {
			status, text := try(t, "POST", f.address, console.Prefix+"/pauses",
				`{"scope":"target/here","reason":"x","by":"eve"}`, change)
			who := map[string]string{"token": "token/operate-token", "password": "user/ann"}[name]
			if status != http.StatusOK || !strings.Contains(text, `"by":"`+who+` (claims to be eve)"`) {
				t.Errorf("%s: %d %s", name, status, text)
			}
		}
	})
	t.Run("reading the journal needs a role", func(t *testing.T) {
		for _, path := range []string{"/journal/verify", "/journal/replay"} {
			if status, _ := try(t, "GET", f.address, console.Prefix+path, "", as(access.View)); status != 403 {
				t.Errorf("%s as view: %d", path, status)
			}
			if status, _ := try(t, "GET", f.address, console.Prefix+path, "", as(access.Operate)); status != 200 {
				t.Errorf("%s as operate: %d", path, status)
			}
		}
	})
	t.Run("an alert of 200 MB", func(t *testing.T) {
		before := resident(t, f.cmd.Process.Pid)
		for _, length := range []int64{200 << 20, -1} { // said before, and not said
			body := io.LimitReader(ones{}, 200<<20)
			r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+f.address+"/api/v2/alerts", body)
			if err != nil {
				t.Fatal(err)
			}
			r.ContentLength = length
			r.Header.Set("Content-Type", "application/json")
			as(access.Deliver)(r)
			res, err := plain().Do(r)
			if err != nil {
				continue // it hung up
			}
			_ = res.Body.Close() // not read
			if res.StatusCode < 400 {
				t.Errorf("200 MB: %s", res.Status)
			}
		}
		if grown := resident(t, f.cmd.Process.Pid) - before; grown > 100<<20 {
			t.Errorf("it grew by %d MB", grown>>20)
		}
	})
	t.Run("an old signed time", func(t *testing.T) {
		body := `{"version":"1","alerts":[{"status":"firing","labels":{"alertname":"A"}}]}`
		for name, change := range map[string]func(*http.Request){
			"without a time": with("X-Grafana-Alerting-Signature", sign(body)),
			"an hour old": func(r *http.Request) {
				at := strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)
				r.Header.Set("X-Signed-At", at)
				r.Header.Set("X-Grafana-Alerting-Signature", sign(at+":"+body))
			},
		} {
			if status, text := try(t, "POST", f.address, "/webhook/grafana", body, change); status != 401 {
				t.Errorf("%s: %d %s", name, status, text)
			}
		}
		at := strconv.FormatInt(time.Now().Unix(), 10)
		if status, text := try(t, "POST", f.address, "/webhook/grafana", body, with("X-Signed-At", at),
			with("X-Grafana-Alerting-Signature", sign(at+":"+body))); status != 200 {
			t.Errorf("signed now: %d %s", status, text)
		}
	})
	t.Run("guessing", func(t *testing.T) { f.guess(t) })
}

func (f *fort) guess(t *testing.T) {
	t.Helper()
	right := func(r *http.Request) { r.SetBasicAuth("ann", "ann's password") }
	if status, _ := try(t, "GET", f.address, console.Prefix+"/status", "", right); status != 200 {
		t.Fatalf("the right password: %d", status)
	}
	var guesses sync.WaitGroup
	var mu sync.Mutex
	got := make(map[int]int)
	for n := range 100 {
		guesses.Go(func() {
			status, _ := try(t, "GET", f.address, console.Prefix+"/status", "", func(r *http.Request) {
				r.SetBasicAuth("ann", fmt.Sprint(n))
			})
			mu.Lock()
			got[status]++
			mu.Unlock()
		})
	}
	if status, _ := try(t, "GET", f.address, console.Prefix+"/status", "", right); status != 200 {
		t.Errorf("the right password beside guesses: %d", status)
	}
	guesses.Wait()
	if got[200] != 0 || got[429]+got[503] < 80 {
		t.Errorf("the guesses: %v", got)
	}
	if _, text := try(t, "GET", f.address, "/metrics", "", as(access.View)); strings.Contains(text,
		`upkeep_login_failures_total{kind="user"} 0`) {
		t.Error("the guesses are not counted")
	}
	log, err := os.ReadFile(filepath.Join(f.dir, "upkeep.log"))
	if err != nil || !bytes.Contains(log, []byte("login failed")) {
		t.Errorf("the log says nothing: %v", err)
	}
}

// ones is a JSON text without an end.
type ones struct{}

func (ones) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '1'
	}
	return len(p), nil
}

func sign(text string) string {
	h := hmac.New(sha256.New, []byte(grafanaSecret))
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// H2: queries that ask for everything fail by the budget, an ordinary one beside them is
// answered, no rule is left out, the lease is kept, and little memory is taken at any time.
func TestAttackByQueries(t *testing.T) {
	f := newFortWith(t, "", fmt.Sprintf("embedded: {evaluation_interval: %s, rule_files: [beat.rules.yaml]}\n", beat),
		"beat.rules.yaml", "groups: [{name: beat, rules: [{record: beat, expr: vector(1)}]}]\n")
	const bomb = "/api/v1/query?query="
	if status, _ := try(t, "GET", f.address, bomb+url.QueryEscape("vector(1)[5200h:1s]"), ""); status != 401 {
		t.Fatalf("a stranger's query: %d", status)
	}
	before := memory(t, f.cmd.Process.Pid, "VmRSS")
	f.bombard(t, bomb)
	if grown := memory(t, f.cmd.Process.Pid, "VmHWM") - before; grown > 200<<20 {
		t.Errorf("it grew by %d MB at most, want 200", grown>>20)
	} else {
		t.Logf("it grew by %d MB at most", grown>>20)
	}
	log, err := os.ReadFile(filepath.Join(f.dir, "upkeep.log"))
	if err != nil || bytes.Contains(log, []byte("lease could not be renewed")) {
		t.Errorf("the lease was lost: %v", err)
	}
	f.beats(t)
}

// beat is how often the rules are evaluated while queries are sent.
const beat = 2 * time.Second

// bombard sends eight queries at once that ask for everything, and beside them those of a
// dashboard, for three evaluations of the rules at least.
func (f *fort) bombard(t *testing.T, bomb string) {
	t.Helper()
	begun := time.Now()
	var bombs sync.WaitGroup
	for range 8 {
		bombs.Go(func() {
			for time.Since(begun) < 3*beat {
				for _, query := range []string{"vector(1)[5200h:1s]", "max_over_time(vector(1)[5200h:1s])",
					"sum_over_time((up or vector(1))[5200h:1s])", "count_values('x', vector(1))[5200h:1s]"} {
					_, _ = try(t, "GET", f.address, bomb+url.QueryEscape("vector(1)[27h:1s]"), "", as(access.View)) // allowed
					status, text := try(t, "GET", f.address, bomb+url.QueryEscape(query), "", as(access.View))
					if status != http.StatusBadRequest || !strings.Contains(text, "budget of your role") {
						t.Errorf("%s: %d %.200s", query, status, text)
					}
				}
			}
		})
	}
	now := time.Now()
	panel := fmt.Sprintf("/api/v1/query_range?query=%s&start=%d&end=%d&step=1800",
		url.QueryEscape("sum by (collector) (rate(upkeep_collector_duration_seconds_count[1h])) or vector(1)"),
		now.Add(-30*24*time.Hour).Unix(), now.Unix())
	for range 4 {
		if status, text := try(t, "GET", f.address, panel, "", as(access.View)); status != 200 {
			t.Errorf("a dashboard: %d %.300s", status, text)
		}
	}
	bombs.Wait()
}

// beats looks at the samples of a rule: there is one of each evaluation.
func (f *fort) beats(t *testing.T) {
	t.Helper()
	var answer struct {
		Data struct {
			Result []struct{ Values [][2]any }
		}
	}
	servertest.Eventually(t, "the rules are evaluated", func() error {
		_, text := try(t, "GET", f.address, "/api/v1/query?query=beat[10m]", "", as(access.View))
		if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Data.Result) != 1 ||
			len(answer.Data.Result[0].Values) < 3 {
			return fmt.Errorf("%w %s", err, text)
		}
		return nil
	})
	var last float64
	for _, v := range answer.Data.Result[0].Values {
		at, _ := v[0].(float64)
		if last > 0 && at-last > beat.Seconds()+0.01 {
			t.Errorf("no evaluation between %.3f and %.3f", last, at)
		}
		last = at
	}
	t.Logf("%d evaluations, none missed", len(answer.Data.Result[0].Values))
}

// M1 and L2: bodies without a valid signature, half-sent ones and idle connections take neither
// the memory nor the places of those who have a login.
func TestAttackByConnections(t *testing.T) {
	t.Run("few descriptors", func(t *testing.T) { attackByConnections(t, "ulimit -n 200") })
	if *attackSize > 2048 { // fewer are no more than upkeep takes where it has the usual limit
		t.Run("the usual limit", func(t *testing.T) { attackByConnections(t, "") })
	}
}

func attackByConnections(t *testing.T, limit string) {
	t.Helper()
	f := newFort(t, limit)
	delivers := func(what string) {
		t.Helper()
		body := `{"version":"4","alerts":[{"status":"firing","startsAt":"2026-01-01T00:00:00Z","labels":{"alertname":"A"}}]}`
		client := plain()
		form := url.Values{"name": {"ann"}, "password": {"ann's password"}}.Encode()
		for _, one := range []struct {
			method, path, body string
			show               func(*http.Request)
			want               int
		}{
			{"POST", "/webhook/alertmanager", body, as(access.Deliver), 200}, {"GET", "/-/ready", "", func(*http.Request) {}, 200},
			{"POST", "/login", form, with("Content-Type", "application/x-www-form-urlencoded"), 303},
		} {
			servertest.Eventually(t, one.path+" beside "+what, func() error {
				r, err := http.NewRequestWithContext(t.Context(), one.method, "http://"+f.address+one.path,
					strings.NewReader(one.body))
				if err != nil {
					return err
				}
				one.show(r)
				res, err := client.Do(r) // the attack may have closed it: Alertmanager tries again, too
				if err != nil {
					return err
				}
				_ = res.Body.Close() // the status says it
				if res.StatusCode != one.want {
					return fmt.Errorf("%s", res.Status)
				}
				return nil
			})
		}
	}
	before := resident(t, f.cmd.Process.Pid)
	head := func(length int, signature string) string {
		return fmt.Sprintf("POST /webhook/grafana HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Signed-At: %d\r\n"+
			"X-Grafana-Alerting-Signature: %s\r\nContent-Length: %d\r\n\r\n", time.Now().Unix(), signature, length)
	}
	for what, text := range map[string]string{
		"idle connections":       "",
		"half a header":          "POST /webhook/grafana HTTP/1.1\r\nHo",
		"half-sent bodies":       head(10, strings.Repeat("0", 64)) + "1",
		"bodies of no signature": head(4<<20, "00") + strings.Repeat("1", 1<<16),
		"half-sent logins": "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n" +
			"Content-Type: application/x-www-form-urlencoded\r\n\r\nname=ann",
		"half-sent bodies of a wrong one": head(4<<20, strings.Repeat("0", 64)) + strings.Repeat("1", 3<<20),
	} {
		conns := f.dial(t, *attackSize, text)
		delivers(what)
		t.Logf("%d %s", len(conns), what)
		for _, c := range conns {
			_ = c.Close() // it may be closed already
		}
	}
	if grown := resident(t, f.cmd.Process.Pid) - before; grown > 150<<20 {
		t.Errorf("it grew by %d MB", grown>>20)
	}
}

// dial opens connections and writes a text to each, as far as it is taken.
func (f *fort) dial(t *testing.T, n int, text string) (all []net.Conn) {
	t.Helper()
	var mu sync.Mutex
	var opening sync.WaitGroup
	for range n {
		opening.Go(func() {
			c, err := net.DialTimeout("tcp", f.address, 5*time.Second)
			if err != nil {
				return // refused, which is as good
			}
			_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second)) // it may not be read
			_, _ = io.WriteString(c, text)                          // it may be closed
			mu.Lock()
			defer mu.Unlock()
			all = append(all, c)
		})
	}
	opening.Wait()
	return all
}

// The login page: a password, a session, its end; and a one-time link.
func TestLoginPage(t *testing.T) {
	f := newFort(t, "")
	post := func(path string, form url.Values, change ...func(*http.Request)) *http.Response {
		t.Helper()
		res, _ := tryFor(t, "POST", f.address, path, strings.NewReader(form.Encode()), append(change,
			with("Content-Type", "application/x-www-form-urlencoded"))...)
		return res
	}
	session := func(form url.Values) *http.Cookie {
		t.Helper()
		res := post("/login", form)
		if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/runbooks" {
			t.Fatalf("login: %s to %s", res.Status, res.Header.Get("Location"))
		}
		c := res.Cookies()[0]
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
			t.Errorf("the cookie: %s", c)
		}
		return c
	}
	show := func(c *http.Cookie) func(*http.Request) { return func(r *http.Request) { r.AddCookie(c) } }
	if status, text := try(t, "GET", f.address, "/runbooks", ""); status != 401 || !strings.Contains(text,
		`name="password"`) || !strings.Contains(text, `value="/runbooks"`) {
		t.Errorf("a page for a stranger: %d %s", status, text)
	}
	if res := post("/login", url.Values{"name": {"ann"}, "password": {"wrong"}}); res.StatusCode != 401 ||
		len(res.Cookies()) != 0 {
		t.Errorf("a wrong password: %s", res.Status)
	}
	ann := session(url.Values{"name": {"ann"}, "password": {"ann's password"}, "next": {"/runbooks"}})
	if status, text := try(t, "GET", f.address, "/", "", show(ann)); status != 200 || !strings.Contains(text, "user/ann") {
		t.Errorf("with the session: %d", status)
	}
	if status, _ := try(t, "POST", f.address, console.Prefix+"/runs/1/approve", "{}", show(ann)); status != 403 {
		t.Errorf("an operator approves: %d", status)
	}
	post("/logout", nil, show(ann))
	if status, _ := try(t, "GET", f.address, "/", "", show(ann)); status != 401 {
		t.Errorf("after the logout: %d", status)
	}
	// A form elsewhere can lead nowhere else.
	for _, next := range []string{"//evil.example", "https://evil.example/", `/\evil.example`, "javascript:x"} {
		res := post("/login", url.Values{"name": {"ann"}, "password": {"ann's password"}, "next": {next}})
		if to := res.Header.Get("Location"); to != "/" {
			t.Errorf("next %q leads to %q", next, to)
		}
	}
	out, err := exec.CommandContext(t.Context(), "upkeep", "login", "--json", "--url", "http://"+f.address).Output()
	var link portal.LoginLink
	if err != nil || json.Unmarshal(out, &link) != nil {
		t.Fatalf("upkeep login: %v %s", err, out)
	}
	_, code, _ := strings.Cut(link.URL, "once=")
	for range 3 { // to look is not to use
		if status, _ := try(t, "GET", f.address, "/login?once="+code, ""); status != 200 {
			t.Errorf("the link: %d", status)
		}
	}
	admin := session(url.Values{"once": {code}, "next": {"/runbooks"}})
	if status, text := try(t, "GET", f.address, "/", "", show(admin)); status != 200 || !strings.Contains(text,
		"token/admin") {
		t.Errorf("by the link: %d", status)
	}
	if res := post("/login", url.Values{"once": {code}}); res.StatusCode != 401 {
		t.Errorf("the link a second time: %s", res.Status)
	}
}

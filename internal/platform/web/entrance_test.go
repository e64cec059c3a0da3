package web_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// A fixture is a router whose requests the test makes by hand.
type fixture struct {
	router  *gin.Engine
	guard   *access.Guard
	log     bytes.Buffer
	missing error // of the file with the token of ci
}

func newFixture(routes ...web.Route) *fixture {
	f := new(fixture)
	logger := slog.New(slog.NewTextHandler(&f.log, nil))
	token := func(name string, role access.Role) access.Token {
		return access.Token{Name: name, Role: role, Read: func() (string, error) {
			if name == "ci" && f.missing != nil {
				return "", f.missing
			}
			return name + "-token", nil
		}}
	}
	f.guard = access.New(access.Config{Tokens: []access.Token{token("ci", access.View), token("am", access.Deliver),
		token("root", access.Admin)}, Logger: logger, Users: ann{},
		Key: func() ([]byte, error) { return []byte("key"), nil }})
	e := &web.Entrance{Hosts: []string{"upkeep.example"}, Logger: logger, Guard: f.guard,
		Login: func(g *gin.Context) { _, _ = io.WriteString(g.Writer, "please log in") }}
	f.router = web.New(logger)
	e.Mount(f.router, routes)
	return f
}

// ann is the only user, whose password is right.
type ann struct{}

func (ann) Known(name, password string, _ func() (func(), error)) (bool, error) {
	return name == "ann" && password == "right", nil
}

func (ann) Stamp(name string) ([]byte, bool) { return []byte("stamp"), name == "ann" }

// ask returns the status of an answer and its text. Headers are pairs; Host is one of them.
func (f *fixture) ask(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost:9847"
	for i := 0; i+1 < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	w := httptest.NewRecorder()
	f.router.ServeHTTP(w, r)
	return w
}

func as(name string) []string { return []string{"Authorization", "Bearer " + name + "-token"} }

func hello(g *gin.Context) {
	id, _ := web.Identity(g)
	_, _ = io.WriteString(g.Writer, "hello "+id.String())
}

// Who may do what is said by the route alone; what no route says is answered to no stranger.
func TestRoutesSayWhoMay(t *testing.T) {
	page := web.Get("/page", access.View, "", hello)
	page.Page = true
	open := web.Route{Methods: []string{http.MethodGet}, Path: "/open", Open: true, Handler: hello}
	proof := web.Route{Methods: []string{http.MethodPost}, Path: "/proof", Proof: "a signed link", Handler: hello}
	closed := web.Route{Methods: []string{http.MethodGet}, Path: "/closed", Handler: hello}
	f := newFixture(web.Get("/read", access.View, "", hello), web.Post("/change", access.Operate, "", hello),
		web.Post("/hook", access.Deliver, "", hello), page, open, proof, closed)
	for _, test := range []struct {
		method, path, who string
		want              int
		says              string
	}{
		{"GET", "/read", "", 401, "missing login"},
		{"GET", "/read", "ci", 200, "hello token/ci"},
		{"HEAD", "/read", "ci", 200, ""},
		{"GET", "/read", "am", 403, "token/am has the role deliver; this needs view"},
		{"GET", "/read", "guess", 401, "not valid"},
		{"GET", "/read", "root", 200, "hello token/root"},
		{"POST", "/change", "ci", 403, "this needs operate"},
		{"POST", "/change", "root", 200, "hello"},
		{"POST", "/hook", "am", 200, "hello"},
		{"POST", "/hook", "ci", 403, "this needs deliver"},
		{"GET", "/page", "", 401, "please log in"},
		{"HEAD", "/page", "", 401, ""},
		{"GET", "/page", "guess", 401, "not valid"},
		{"GET", "/open", "", 200, "hello"},
		{"GET", "/open", "ci", 200, "hello token/ci"},
		{"POST", "/proof", "", 200, "hello"},
		{"POST", "/proof", "ci", 200, "hello token/ci"}, // the handler asks for its proof
		{"GET", "/closed", "root", 403, "this needs never"},
		{"GET", "/nowhere", "", 401, "missing login"},
		{"GET", "/nowhere", "ci", 404, ""},
		{"POST", "/read", "", 401, "missing login"},
		{"POST", "/read", "root", 405, ""},
		{"GET", "/read/", "root", 404, ""}, // no redirect
		{"GET", "/READ", "root", 404, ""},
	} {
		w := f.ask(test.method, test.path, "", as(test.who)[:2*min(len(test.who), 1)]...)
		if w.Code != test.want || !strings.Contains(w.Body.String(), test.says) {
			t.Errorf("%s %s as %q: %d %s, want %d with %q", test.method, test.path, test.who, w.Code, w.Body, test.want,
				test.says)
		}
		if (w.Code == http.StatusUnauthorized) != (w.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%s %s as %q: %d with WWW-Authenticate %q", test.method, test.path, test.who, w.Code,
				w.Header().Get("WWW-Authenticate"))
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
			"X-Frame-Options": "DENY"} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s %s as %q: %s is %q", test.method, test.path, test.who, name, got)
			}
		}
	}
}

// A request comes under one of our names, and from no other site's page but by following a
// link to a page.
func TestWhereARequestComesFrom(t *testing.T) {
	page := web.Get("/page", access.View, "", hello)
	page.Page = true
	f := newFixture(web.Get("/read", access.View, "", hello), web.Post("/change", access.View, "", hello), page)
	follows := []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	for _, test := range []struct {
		method, path string
		headers      []string
		want         int
	}{
		{"GET", "/read", nil, 200},
		{"GET", "/read", []string{"Host", "127.0.0.1"}, 200},
		{"GET", "/read", []string{"Host", "[::1]:9847"}, 200},
		{"GET", "/read", []string{"Host", "[::1]"}, 200},
		{"GET", "/read", []string{"Host", "LocalHost:9847"}, 200},
		{"GET", "/read", []string{"Host", "UPKEEP.example:443"}, 200},
		{"GET", "/read", []string{"Host", "upkeep.example.evil"}, 421},
		{"GET", "/read", []string{"Host", "evil.upkeep.example"}, 421},
		{"GET", "/read", []string{"Host", "localhost.evil"}, 421},
		{"GET", "/read", []string{"Host", "127.0.0.1.nip.io"}, 421},
		{"GET", "/read", []string{"Host", ""}, 421},
		{"POST", "/change", nil, 200}, // a program, which sends neither header
		{"POST", "/change", []string{"Origin", "http://localhost:9847"}, 200},
		{"POST", "/change", []string{"Origin", "http://localhost:1"}, 403},
		{"POST", "/change", []string{"Origin", "null"}, 403},
		{"POST", "/change", []string{"Origin", "http://evil"}, 403},
		{"POST", "/change", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://localhost:9847"}, 200},
		{"POST", "/change", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", "/change", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"GET", "/read", []string{"Origin", "http://evil"}, 403}, // a script reads it
		{"GET", "/read", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"GET", "/read", append([]string{"Sec-Fetch-Site", "cross-site"}, follows...), 403},
		{"GET", "/page", append([]string{"Sec-Fetch-Site", "cross-site"}, follows...), 200},
		{"GET", "/page", append([]string{"Sec-Fetch-Site", "same-site"}, follows...), 200},
		{"GET", "/page", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest",
			"iframe"}, 403},
		{"GET", "/page", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		{"GET", "/page", []string{"Sec-Fetch-Site", "none"}, 200}, // typed, or a bookmark
	} {
		w := f.ask(test.method, test.path, "", append(as("ci"), test.headers...)...)
		if w.Code != test.want {
			t.Errorf("%s %s with %q: %d %s, want %d", test.method, test.path, test.headers, w.Code, w.Body, test.want)
		}
		if w.Code == http.StatusForbidden && strings.Contains(w.Body.String(), "hello") {
			t.Errorf("%s %s with %q was carried out", test.method, test.path, test.headers)
		}
	}
}

// The answer to a stranger says that a fault exists, and not which: that is in the log.
func TestFaultsAreNotShown(t *testing.T) {
	f := newFixture(web.Get("/read", access.View, "", hello))
	f.missing = errors.New("open /etc/upkeep/ci-token: no such file")
	for _, who := range []string{"ci", "guess"} {
		w := f.ask("GET", "/read", "", as(who)...)
		if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "/etc/upkeep") {
			t.Errorf("%s: %d %s", who, w.Code, w.Body)
		}
	}
	if !strings.Contains(f.log.String(), "/etc/upkeep/ci-token") {
		t.Errorf("the log does not say it: %s", &f.log)
	}
	if w := f.ask("GET", "/read", "", as("root")...); w.Code != http.StatusOK {
		t.Errorf("another token: %d %s", w.Code, w.Body)
	}
}

// A route has its body and its time: no more is read, and a handler that is too slow learns why.
func TestBounds(t *testing.T) {
	small := web.Post("/small", access.View, "", func(g *gin.Context) {
		if _, err := io.ReadAll(g.Request.Body); err != nil {
			web.Refuse(g, http.StatusRequestEntityTooLarge, err.Error())
		}
	})
	small.Body = 10
	slow := web.Get("/slow", access.View, "", func(g *gin.Context) {
		<-g.Request.Context().Done()
		web.Refuse(g, http.StatusGatewayTimeout, context.Cause(g.Request.Context()).Error())
	})
	slow.Time = time.Millisecond
	f := newFixture(small, slow)
	for body, want := range map[string]int{"": 200, strings.Repeat("x", 10): 200, strings.Repeat("x", 11): 413} {
		if w := f.ask("POST", "/small", body, as("ci")...); w.Code != want {
			t.Errorf("%d bytes: %d %s", len(body), w.Code, w.Body)
		}
	}
	r := httptest.NewRequest("POST", "/small", io.MultiReader(strings.NewReader("xxxxxx"), strings.NewReader("xxxxxx")))
	r.Host, r.ContentLength = "localhost", -1 // it does not say how much comes
	r.Header.Set("Authorization", "Bearer ci-token")
	w := httptest.NewRecorder()
	if f.router.ServeHTTP(w, r); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("of unknown size: %d %s", w.Code, w.Body)
	}
	if w := f.ask("GET", "/slow", "", as("ci")...); w.Code != http.StatusGatewayTimeout ||
		!strings.Contains(w.Body.String(), "longer than 1ms") {
		t.Errorf("slow: %d %s", w.Code, w.Body)
	}
}

// As many requests as a pool has places are answered at once, whatever becomes of them; who
// waits too long is sent away, and strangers take no place of those who have logged in.
func TestPlaces(t *testing.T) {
	inside, leave := make(chan bool, 9), make(chan bool)
	pool := web.Pool{Name: "two", Size: 2, Wait: time.Millisecond}
	held := web.Get("/held", access.View, "", func(g *gin.Context) {
		inside <- true
		<-leave
		panic("a fault of the handler")
	})
	held.Pool = pool
	quick := web.Get("/quick", access.View, "", hello)
	quick.Pool = pool
	other := web.Get("/other", access.View, "", hello)
	f := newFixture(held, quick, other)
	for round := range 3 { // a place comes back also after a panic
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				if w := f.ask("GET", "/held", "", as("ci")...); w.Code != http.StatusInternalServerError {
					t.Errorf("round %d: %d", round, w.Code)
				}
			})
			select {
			case <-inside:
			case <-time.After(servertest.Patience):
				t.Fatalf("round %d: no place has come back", round)
			}
		}
		w := f.ask("GET", "/quick", "", as("ci")...)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
			t.Errorf("round %d, the third: %d %s", round, w.Code, w.Body)
		}
		if w := f.ask("GET", "/quick", ""); w.Code != http.StatusUnauthorized {
			t.Errorf("round %d, a stranger: %d %s", round, w.Code, w.Body)
		}
		if w := f.ask("GET", "/other", "", as("ci")...); w.Code != http.StatusOK {
			t.Errorf("round %d, another pool: %d %s", round, w.Code, w.Body)
		}
		for range 2 {
			leave <- true
		}
		all.Wait()
		if w := f.ask("GET", "/quick", "", as("ci")...); w.Code != http.StatusOK {
			t.Errorf("round %d, afterwards: %d %s", round, w.Code, w.Body)
		}
	}
	if n := strings.Count(f.log.String(), "request panicked"); n != 6 {
		t.Errorf("%d panics are in the log", n)
	}
}

// One who keeps as many answers going as there are places keeps no one else waiting.
func TestPlacesOfOneClient(t *testing.T) {
	inside, leave := make(chan bool, 9), make(chan bool)
	held := web.Get("/held", access.View, "", func(*gin.Context) { inside <- true; <-leave })
	quick := web.Get("/quick", access.View, "", hello)
	held.Pool = web.Pool{Name: "four", Size: 4, Wait: 5 * time.Second}
	quick.Pool = held.Pool
	f := newFixture(held, quick)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() { f.ask("GET", "/held", "", as("ci")...) })
	}
	for range 3 {
		<-inside
	}
	if w := f.ask("GET", "/quick", "", as("root")...); w.Code != http.StatusOK {
		t.Errorf("another client: %d", w.Code)
	}
	if len(inside) > 0 {
		t.Error("one client has all places")
	}
	close(leave)
	all.Wait()
}

// Half a form of a stranger keeps no place; one that is too large is refused, and a whole one is read.
func TestHalfAForm(t *testing.T) {
	login := web.Route{Methods: []string{http.MethodPost}, Path: "/login", Open: true, Body: 100,
		Pool: web.Pool{Name: "login", Size: 1, Wait: time.Millisecond}, Handler: func(g *gin.Context) {
			body, err := io.ReadAll(g.Request.Body)
			_, _ = fmt.Fprintf(g.Writer, "%s %v", body, err)
		}}
	s := httptest.NewServer(newFixture(login).router)
	defer s.Close()
	at := s.Listener.Addr().String()
	for range 3 {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }() // it is not read
		if _, err := io.WriteString(c, "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(100 * time.Millisecond) // what keeps a place has it by then
	for body, want := range map[string]string{"a whole form": "200 a whole form <nil>", "": "200  <nil>",
		strings.Repeat("x", 100): "200 " + strings.Repeat("x", 100) + " <nil>", strings.Repeat("x", 101): "413 "} {
		res, err := http.Post(s.URL+"/login", "application/x-www-form-urlencoded", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // it was read
		if got := fmt.Sprint(res.StatusCode, " ", string(text)); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%.20q: %s, want %s", body, got, want)
		}
	}
}

// Strangers who fill the places of a route take none from a browser in which a user has logged in before, also where
// both come from one address, as through a proxy.
func TestPlacesOfKnownBrowsers(t *testing.T) {
	inside, leave := make(chan bool, 1), make(chan bool)
	login := web.Route{Methods: []string{http.MethodPost}, Path: "/login", Open: true, Handler: func(g *gin.Context) {
		if g.Query("held") != "" {
			inside <- true
			<-leave
		}
	}, Pool: web.Pool{Name: "login", Size: 1, Wait: time.Millisecond}}
	f := newFixture(login)
	w := httptest.NewRecorder()
	if err := f.guard.Begin(w, access.Identity{Kind: access.ByUser, Name: "ann"}, false); err != nil {
		t.Fatal(err)
	}
	var cookies []string
	for _, c := range w.Result().Cookies() {
		if c.Name == access.Browser {
			cookies = []string{"Cookie", c.Name + "=" + c.Value}
		}
	}
	var all sync.WaitGroup
	all.Go(func() { f.ask("POST", "/login?held=1", "") })
	<-inside
	if w := f.ask("POST", "/login", ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a second stranger: %d", w.Code)
	}
	if w := f.ask("POST", "/login", "", "Cookie", access.Browser+"=e30.e30"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a made-up cookie: %d", w.Code)
	}
	if w := f.ask("POST", "/login", "", cookies...); w.Code != http.StatusOK {
		t.Errorf("a known browser: %d %s", w.Code, w.Body)
	}
	close(leave)
	all.Wait()
}

// The reason of a refusal is JSON, whatever is in it, and a name in a path is one part of it.
func TestTextsOfOthers(t *testing.T) {
	name := web.Get("/of/:name/end", access.View, "", func(g *gin.Context) { web.Refuse(g, 400, g.Param("name")) })
	refused := web.Get("/refused", access.Admin, "", hello)
	var why []string
	refused.Refused = func(_ *http.Request, status int, text string) { why = append(why, fmt.Sprint(status, " ", text)) }
	f := newFixture(name, refused)
	for path, want := range map[string]string{
		"/of/a%2Fb/end":           `{"error":"a/b"}`,
		"/of/%22%3Cb%3E/end":      `{"error":"\"\u003cb\u003e"}`,
		"/of/gr%C3%B6%C3%9Fe/end": `{"error":"größe"}`,
		"/of/%FF/end":             `{"error":"` + `\ufffd` + `"}`,
		"/of/a+b/end":             `{"error":"a+b"}`,
	} {
		if w := f.ask("GET", path, "", as("ci")...); strings.TrimSpace(w.Body.String()) != want ||
			w.Header().Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("%s: %s, want %s", path, w.Body, want)
		}
	}
	f.ask("GET", "/refused", "")
	f.ask("GET", "/refused", "", as("ci")...)
	f.ask("GET", "/refused", "", as("root")...)
	if len(why) != 2 || !strings.HasPrefix(why[0], "401 missing login") ||
		why[1] != "403 token/ci has the role view; this needs admin" {
		t.Errorf("refused: %q", why)
	}
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// session logs in as the holder of the admin token and returns what shows the cookie.
func (f *fort) session(t *testing.T) func(*http.Request) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "upkeep", "login", "--json", "--url", "http://"+f.address).Output()
	var link portal.LoginLink
	if err != nil || json.Unmarshal(out, &link) != nil {
		t.Fatalf("upkeep login: %v %s", err, out)
	}
	_, code, _ := strings.Cut(link.URL, "once=")
	return f.submit(t, url.Values{"once": {code}})
}

// submit sends the form of the login page, again where a busy machine has no time for it, and returns what shows
// the cookie.
func (f *fort) submit(t *testing.T, form url.Values) func(*http.Request) {
	t.Helper()
	var res *http.Response
	servertest.Eventually(t, "the login page has time", func() bool {
		res, _ = tryFor(t, "POST", f.address, "/login", strings.NewReader(form.Encode()),
			with("Content-Type", "application/x-www-form-urlencoded"))
		return res.StatusCode != http.StatusServiceUnavailable
	})
	if res.StatusCode != http.StatusSeeOther || len(res.Cookies()) == 0 || res.Cookies()[0].Name != access.Cookie {
		t.Fatalf("login: %s", res.Status)
	}
	return func(r *http.Request) { r.AddCookie(res.Cookies()[0]) }
}

// Wrong passwords from every address of this machine keep out no one who has a token, a session or the
// right password: few are looked at, and those of another user and the login page wait for none of them.
func TestAttackByPasswords(t *testing.T) {
	f := newFort(t, "")
	const status = console.Prefix + "/status"
	admin := f.session(t)
	var looked, answered atomic.Int64
	over := make(chan struct{})
	var guesses sync.WaitGroup
	for n := range 253 {
		from := &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(n+1))}
		client := plain()
		client.Transport.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: from}).DialContext
		guesses.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+f.address+status, nil)
				if err != nil {
					t.Error(err)
					return
				}
				r.SetBasicAuth([]string{"bob", "eve", fmt.Sprint("made up ", n, i)}[i%3], "wrong")
				res, err := client.Do(r)
				if err != nil {
					continue // its connection was closed for another one
				}
				_ = res.Body.Close() // the status says it
				if answered.Add(1); res.StatusCode == http.StatusUnauthorized {
					looked.Add(1)
				}
				if res.StatusCode < 400 {
					t.Errorf("a guess: %s", res.Status)
				}
			}
		})
	}
	servertest.Eventually(t, "the flood", func() bool { return answered.Load() > 20 })
	before := looked.Load()
	ann := func(r *http.Request) { r.SetBasicAuth("ann", "ann's password") }
	for what, change := range map[string]func(*http.Request){"a password": ann, "a token": as(access.View),
		"a session": admin} {
		f.getsIn(t, what, status, change)
	}
	f.getsIn(t, "the login page", "/login")
	f.submit(t, url.Values{"name": {"ann"}, "password": {"ann's password"}})
	if n := looked.Load() - before; n > 100 {
		t.Errorf("%d wrong passwords were looked at first", n)
	}
	close(over)
	guesses.Wait()
	if all := answered.Load(); looked.Load() > all/2 {
		t.Errorf("%d of %d wrong passwords were looked at", looked.Load(), all)
	}
}

// getsIn asks until it is answered: a busy machine may have to say "try again". How many others come before it is
// counted elsewhere.
func (f *fort) getsIn(t *testing.T, what, path string, change ...func(*http.Request)) {
	t.Helper()
	servertest.Eventually(t, what+" beside wrong passwords", func() error {
		code, text := try(t, "GET", f.address, path, "", change...)
		switch code {
		case http.StatusOK:
			return nil
		case http.StatusServiceUnavailable:
			return errors.New(text)
		}
		t.Fatalf("%s beside wrong passwords: %d %s", what, code, text)
		return nil
	})
}

// Who guesses without end at the very name of a user, through the same proxy and from every address of the network, keeps
// out neither a session nor a token of that user nor, after a restart, his password in a browser in which he has logged
// in before; the guesses are no more than they were.
func TestAttackByPasswordsOfOneUser(t *testing.T) {
	t.Parallel()
	f := newFort(t, "")
	proxy := f.nginx(t)
	through := with("Host", "upkeep.example.com")
	servertest.Eventually(t, "nginx answers", func() bool {
		c, err := net.Dial("tcp", proxy)
		return err == nil && c.Close() == nil
	})
	form := func(password string) string { return url.Values{"name": {"ann"}, "password": {password}}.Encode() }
	asForm := with("Content-Type", "application/x-www-form-urlencoded")
	logIn := func(password string, change ...func(*http.Request)) (*http.Response, string) {
		t.Helper()
		return tryFor(t, "POST", proxy, "/login", strings.NewReader(form(password)), append(change, asForm, through)...)
	}
	res, text := logIn("ann's password")
	if res.StatusCode != http.StatusSeeOther || len(res.Cookies()) != 2 {
		t.Fatalf("login: %s %s", res.Status, text)
	}
	session, browser := res.Cookies()[0], res.Cookies()[1]
	if browser.Name != access.Browser || !browser.HttpOnly || browser.SameSite != http.SameSiteStrictMode {
		t.Errorf("the cookie of the browser: %s", browser)
	}
	f.stop(t)
	f.cmd = spawn(t, f.dir, "upkeep", "serve", "--config", "upkeep.yaml")
	f.awaitReady(t)
	begun := time.Now()
	var looked, answered atomic.Int64
	over := make(chan struct{})
	var guesses sync.WaitGroup
	for n := range 100 {
		client := plain()
		guesses.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+proxy+"/login",
					strings.NewReader(form(fmt.Sprint("guess ", n, i))))
				if err != nil {
					t.Error(err)
					return
				}
				asForm(r)
				through(r)
				res, err := client.Do(r)
				if err != nil {
					continue // its connection was closed for another one
				}
				text, _ := io.ReadAll(res.Body) // it may be cut
				_ = res.Body.Close()            // it was read
				if answered.Add(1); strings.Contains(string(text), access.ErrWrong.Error()) {
					looked.Add(1)
				}
				if res.StatusCode < 400 {
					t.Errorf("a guess: %s", res.Status)
				}
			}
		})
	}
	servertest.Eventually(t, "the flood is slowed down", func() bool {
		_, text := logIn("another guess")
		return answered.Load() > 200 && !strings.Contains(text, access.ErrWrong.Error())
	})
	for what, change := range map[string]func(*http.Request){"a session": func(r *http.Request) { r.AddCookie(session) },
		"a token": as(access.View)} {
		if code, text := try(t, "GET", proxy, console.Prefix+"/status", "", change, through); code != http.StatusOK {
			t.Errorf("%s beside guesses: %d %s", what, code, text)
		}
	}
	known := func(r *http.Request) { r.AddCookie(browser) }
	if code, _ := try(t, "GET", proxy, "/login", "", known, through); code != http.StatusOK {
		t.Errorf("the login page of a known browser: %d", code)
	}
	if res, text := logIn("mistyped", known); res.StatusCode != http.StatusUnauthorized || len(res.Cookies()) > 0 {
		t.Errorf("mistyped in a known browser: %s %s", res.Status, text)
	}
	if res, text := logIn("ann's password", known); res.StatusCode != http.StatusSeeOther {
		t.Errorf("a known browser beside guesses: %s %s", res.Status, text)
	}
	close(over)
	guesses.Wait()
	if n, most := looked.Load(), 6+int64(time.Since(begun)/time.Second); n > most {
		t.Errorf("%d of %d guesses were looked at, want %d at most", n, answered.Load(), most)
	}
}

// A session that was ended stays so after a restart, however many others were ended since.
func TestLogoutHolds(t *testing.T) {
	t.Parallel()
	f := newFort(t, "")
	login := func() func(*http.Request) {
		return f.submit(t, url.Values{"name": {"ann"}, "password": {"ann's password"}})
	}
	first, other := login(), f.session(t)
	try(t, "POST", f.address, "/logout", "", first)
	f.stop(t)
	f.cmd = spawn(t, f.dir, "upkeep", "serve", "--config", "upkeep.yaml")
	f.awaitReady(t)
	for what, want := range map[string]struct {
		show func(*http.Request)
		code int
	}{"the session that was ended": {first, 401}, "another one": {other, 200}, "a new one": {login(), 200}} {
		if code, _ := try(t, "GET", f.address, "/", "", want.show); code != want.code {
			t.Errorf("%s after a restart: %d, want %d", what, code, want.code)
		}
	}
}

// A user whose role became smaller in the configuration has the smaller one from the reload on, in a
// session too.
func TestDemoted(t *testing.T) {
	t.Parallel()
	f := newFort(t, "")
	session := f.submit(t, url.Values{"name": {"ann"}, "password": {"ann's password"}})
	password := func(r *http.Request) { r.SetBasicAuth("ann", "ann's password") }
	pause := func() (codes []int) {
		for _, show := range []func(*http.Request){session, password} {
			code, _ := try(t, "POST", f.address, console.Prefix+"/pauses", `{"scope":"target/here","reason":"x"}`, show)
			look, _ := try(t, "GET", f.address, console.Prefix+"/status", "", show)
			codes = append(codes, code, look)
		}
		return codes
	}
	file := filepath.Join(f.dir, "upkeep.yaml")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct{ users, want string }{
		{"users: {ann: operate}", "[200 200 200 200]"}, {"users: {ann: view}", "[403 200 403 200]"},
		{"users: {}", "[403 403 403 403]"}, {"users: {ann: approve}", "[200 200 200 200]"},
	} {
		write(t, file, strings.Replace(string(before), "users: {ann: operate}", one.users, 1))
		if code, text := try(t, "POST", f.address, "/-/reload", "", as(access.Admin)); code != http.StatusOK {
			t.Fatalf("%s: reload: %d %s", one.users, code, text)
		}
		if got := fmt.Sprint(pause()); got != one.want {
			t.Errorf("%s: %s, want %s", one.users, got, one.want)
		}
	}
}

// A request that says twice where it ends is not answered: a proxy before upkeep may believe the other.
func TestAttackByTwoLengths(t *testing.T) {
	t.Parallel()
	f := newFort(t, "")
	for what, lines := range map[string]string{
		"Content-Length first":    "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding first": "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
		"small letters":           "content-length:4\r\nX: y\r\ntransfer-encoding: chunked\r\n",
	} {
		c, err := net.Dial("tcp", f.address)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
		text := "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n"
		_, err = fmt.Fprint(c, text+"\r\n"+text+lines+"\r\n0\r\n\r\n"+text+"\r\n")
		if err != nil {
			t.Fatal(err)
		}
		all, _ := io.ReadAll(c) // it may be reset
		got := string(all)
		if n := strings.Count(got, "HTTP/1.1 "); n != 2 || !strings.Contains(got, "HTTP/1.1 400 ") {
			t.Errorf("%s: %d answers:\n%s", what, n, got)
		}
		_ = c.Close() // it was read
	}
}

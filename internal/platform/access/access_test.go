package access_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
)

// Each role includes the ones before it, but for Deliver, which includes no other.
func TestIncludes(t *testing.T) {
	for role, want := range map[access.Role]string{
		access.None: "", access.Deliver: "deliver", access.View: "view", access.Operate: "view operate",
		access.Approve: "view operate approve", access.Admin: "deliver view operate approve admin",
	} {
		var may []string
		for _, need := range access.Roles() {
			if role.Includes(need) {
				may = append(may, need.String())
			}
		}
		if got := strings.Join(may, " "); got != want {
			t.Errorf("%s: %s, want %s", role, got, want)
		}
		if role.Includes(access.None) {
			t.Errorf("%s may do what asks for nothing", role)
		}
		if role == access.None {
			continue
		}
		if parsed, err := access.ParseRole(role.String()); err != nil || parsed != role {
			t.Errorf("%s: %v", role, err)
		}
	}
	if _, err := access.ParseRole("root"); err == nil {
		t.Error("root is no role")
	}
}

// A claimed name is beside the identity, and cannot look like one.
func TestBy(t *testing.T) {
	ann := access.Identity{Kind: access.ByUser, Name: "ann"}
	for claim, want := range map[string]string{
		"": "user/ann", "ann": "user/ann", "user/ann": "user/ann", "bob": "user/ann (claims to be bob)",
	} {
		by := ann.By(claim)
		if by != want || access.Authenticated(by) != "user/ann" {
			t.Errorf("%q: %q of %q", claim, by, access.Authenticated(by))
		}
	}
	odd := access.Identity{Kind: access.ByUser, Name: "x (claims to be user/ann)\n"}
	if got := odd.String(); strings.ContainsAny(got, " ()\n") || access.Authenticated(odd.By("y")) != got {
		t.Errorf("%q", got)
	}
	if got := access.Link().By("Ann"); got != "link (claims to be Ann)" {
		t.Errorf("%q", got)
	}
}

// users are known by one password each, which is slow to compare.
type users map[string]string

func (u users) Known(name, password string, turn func() (func(), error)) (bool, error) {
	done, err := turn()
	if err != nil {
		return false, err
	}
	defer done()
	return password != "" && u[name] == password, nil
}

func (u users) Stamp(name string) ([]byte, bool) { return []byte(u[name]), u[name] != "" }

// counting are the users of a bench, which knows how many passwords were compared.
type counting struct{ *bench }

func (c counting) Known(name, password string, turn func() (func(), error)) (bool, error) {
	return c.users.Known(name, password, func() (func(), error) {
		done, err := turn()
		if err == nil {
			c.looked.Add(1)
		}
		return done, err
	})
}

func (c counting) Stamp(name string) ([]byte, bool) { return c.users.Stamp(name) }

// A bench is a guard with a clock.
type bench struct {
	*access.Guard
	users  users
	token  string
	now    time.Time
	log    bytes.Buffer
	looked atomic.Int64 // passwords that were compared
	mu     sync.Mutex
	failed map[access.Kind]int
}

func newBench() *bench { return newBenchWith(nil) }

func newBenchWith(kept access.Notes) *bench {
	b := &bench{users: users{"ann": "right", "bob": "right"}, token: "secret", now: time.Unix(1e9, 0),
		failed: make(map[access.Kind]int)}
	b.Guard = access.New(access.Config{
		Tokens: []access.Token{{Name: "ci", Role: access.Operate, Read: func() (string, error) {
			if b.token == "" {
				return "", errors.New("the file is gone")
			}
			return b.token, nil
		}}},
		Users: counting{b}, Notes: kept, Roles: map[string]access.Role{"ann": access.Approve},
		Key: func() ([]byte, error) { return []byte("key"), nil },
		Failed: func(kind access.Kind, _ string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.failed[kind]++
		},
		Logger: slog.New(slog.NewTextHandler(&b.log, nil)), Now: func() time.Time { return b.now },
	})
	return b
}

func (b *bench) as(change func(*http.Request)) (string, error) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	change(r)
	id, ok, err := b.Identify(r)
	if !ok {
		return "", err
	}
	return id.String() + " " + id.Role.String(), err
}

func basic(name, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(name, password) }
}

func header(text string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", text) }
}

func TestIdentify(t *testing.T) {
	b := newBench()
	for _, test := range []struct {
		name   string
		change func(*http.Request)
		want   string
		err    error
	}{
		{"nothing", func(*http.Request) {}, "", nil},
		{"the token", header("Bearer secret"), "token/ci operate", nil},
		{"small letters", header("bearer secret"), "token/ci operate", nil},
		{"another token", header("Bearer guess"), "", access.ErrWrong},
		{"no token", header("Bearer "), "", access.ErrWrong},
		{"another scheme", header("Digest secret"), "", access.ErrWrong},
		{"a user", basic("ann", "right"), "user/ann approve", nil},
		{"a user without a role", basic("bob", "right"), "user/bob none", nil},
		{"a wrong password", basic("ann", "wrong"), "", access.ErrWrong},
		{"no user", basic("eve", "right"), "", access.ErrWrong},
		{"a cookie of nothing", func(r *http.Request) { r.Header.Set("Cookie", access.Cookie+"=x.y") }, "", nil},
	} {
		if got, err := b.as(test.change); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %q %v, want %q", test.name, got, err, test.want)
		}
	}
	if b.failed[access.ByToken] != 3 || b.failed[access.ByUser] != 2 {
		t.Errorf("counted: %v", b.failed)
	}
	if log := b.log.String(); !strings.Contains(log, "login failed") || strings.Contains(log, "guess") {
		t.Errorf("the log: %s", log)
	}
}

// A changed token counts at once, and an old one for a second at most.
func TestTokenChanges(t *testing.T) {
	b := newBench()
	if got, _ := b.as(header("Bearer secret")); got == "" {
		t.Fatal("the token is not known")
	}
	b.token = "next"
	if got, _ := b.as(header("Bearer next")); got == "" {
		t.Error("the new token is not known at once")
	}
	b.now = b.now.Add(2 * time.Second)
	if got, _ := b.as(header("Bearer secret")); got != "" {
		t.Error("the old token is still good")
	}
	b.token, b.now = "", b.now.Add(2*time.Second)
	if got, err := b.as(header("Bearer next")); got != "" || err == nil || errors.Is(err, access.ErrWrong) {
		t.Errorf("without its file: %q %v", got, err)
	}
}

// Guessing is slowed down for the address that guesses, and for no other.
func TestGuessing(t *testing.T) {
	b := newBench()
	from := func(address, password string) error {
		_, err := b.as(func(r *http.Request) {
			r.RemoteAddr = address
			r.SetBasicAuth("ann", password)
		})
		return err
	}
	var slow int
	for range 20 {
		if errors.Is(from("192.0.2.7:1", "wrong"), access.ErrSlow) {
			slow++
		}
	}
	if slow < 14 {
		t.Errorf("%d of 20 guesses were slowed down", slow)
	}
	slow = 0
	for n := range 20 { // one client has a network of addresses
		if errors.Is(from(fmt.Sprintf("[2001:db8::%x]:1", n+1), "wrong"), access.ErrSlow) {
			slow++
		}
	}
	if slow < 14 {
		t.Errorf("%d of 20 guesses from one network were slowed down", slow)
	}
	slow = 0
	for n := range 20 {
		if errors.Is(from(fmt.Sprintf("127.0.%d.%d:1", n, n+1), "wrong"), access.ErrSlow) {
			slow++
		}
	}
	if slow < 14 {
		t.Errorf("%d of 20 guesses from addresses of this machine were slowed down", slow)
	}
	if err := from("192.0.2.8:1", "right"); err != nil {
		t.Errorf("another address: %v", err)
	}
	b.now = b.now.Add(time.Minute)
	if err := from("192.0.2.7:1", "right"); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

// Who tries from ever more addresses does not have his own tries counted anew, and a user who exists is let in
// where the tries of the client are used up by other names.
func TestGuessingFromMany(t *testing.T) {
	b := newBench()
	from := func(address, name, password string) (string, error) {
		return b.as(func(r *http.Request) {
			r.RemoteAddr = address
			r.SetBasicAuth(name, password)
		})
	}
	for n := range 20 {
		_, _ = from("192.0.2.7:1", fmt.Sprint("made up ", n), "wrong")
		for other := range 100 {
			_, _ = from(fmt.Sprintf("10.%d.%d.1:1", n, other), "eve", "wrong")
		}
	}
	if _, err := from("192.0.2.7:1", "made up", "wrong"); !errors.Is(err, access.ErrSlow) {
		t.Errorf("the count of a client was forgotten: %v", err)
	}
	if got, err := from("192.0.2.7:1", "ann", "right"); got != "user/ann approve" {
		t.Errorf("a user beside guesses at other names: %q %v", got, err)
	}
	_, wrong := from("192.0.2.7:1", "ann", "wrong")
	_, unknown := from("192.0.2.7:1", "no one", "wrong")
	if !errors.Is(wrong, access.ErrSlow) || !errors.Is(unknown, access.ErrSlow) {
		t.Errorf("a user who exists is answered %v, another name %v", wrong, unknown)
	}
}

// notes keep texts in memory.
type notes map[string][]byte

func (n notes) Change(_ context.Context, name string, change func([]byte) ([]byte, error)) error {
	text, err := change(n[name])
	if text != nil {
		n[name] = text
	}
	return err
}

// A logout is kept for the next process, and no number of later ones has it forgotten.
func TestLogoutIsKept(t *testing.T) {
	kept := make(notes)
	b := newBenchWith(kept)
	show := b.login(t, access.Identity{Kind: access.ByUser, Name: "ann"})
	other := b.login(t, access.Identity{Kind: access.ByToken, Name: "ci"})
	end := func(show func(*http.Request)) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/logout", nil)
		show(r)
		if err := b.End(httptest.NewRecorder(), r, true); err != nil {
			t.Fatal(err)
		}
	}
	end(show)
	for range 200 {
		b.now = b.now.Add(time.Second)
		end(b.login(t, access.Identity{Kind: access.ByUser, Name: "ann"}))
	}
	last := b.login(t, access.Identity{Kind: access.ByUser, Name: "ann"})
	b = newBenchWith(kept)
	b.now = b.now.Add(10 * time.Minute)
	for what, want := range map[string]struct {
		show func(*http.Request)
		who  string
	}{"the one that was ended": {show, ""}, "the last one": {last, "user/ann approve"}, "another's": {other, "token/ci operate"}} {
		if got, err := b.as(want.show); got != want.who || err != nil {
			t.Errorf("%s: %q %v, want %q", what, got, err, want.who)
		}
	}
	for name, text := range kept {
		if len(text) > 8<<10 {
			t.Errorf("%s has %d bytes", name, len(text))
		}
	}
}

// login begins a session and returns what shows its cookie.
func (b *bench) login(t *testing.T, id access.Identity) func(*http.Request) {
	t.Helper()
	w := httptest.NewRecorder()
	if err := b.Begin(w, id, true); err != nil {
		t.Fatal(err)
	}
	c := w.Result().Cookies()[0]
	if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.MaxAge < 3600 {
		t.Errorf("the cookie: %+v", c)
	}
	return func(r *http.Request) { r.AddCookie(c) }
}

// A session ends by its time, a logout, and when the user, the password or the token goes.
func TestSession(t *testing.T) {
	ann := access.Identity{Kind: access.ByUser, Name: "ann"}
	for name, end := range map[string]func(*bench, func(*http.Request)){
		"time": func(b *bench, _ func(*http.Request)) { b.now = b.now.Add(13 * time.Hour) },
		"logout": func(b *bench, show func(*http.Request)) {
			r := httptest.NewRequest(http.MethodPost, "/logout", nil)
			show(r)
			if err := b.End(httptest.NewRecorder(), r, true); err != nil {
				panic(err)
			}
		},
		"another password": func(b *bench, _ func(*http.Request)) { b.users["ann"] = "other" },
		"no user":          func(b *bench, _ func(*http.Request)) { delete(b.users, "ann") },
	} {
		b := newBench()
		show := b.login(t, ann)
		if got, err := b.as(show); got != "user/ann approve" || err != nil {
			t.Errorf("%s: before: %q %v", name, got, err)
		}
		end(b, show)
		if got, err := b.as(show); got != "" || err != nil {
			t.Errorf("%s: after: %q %v", name, got, err)
		}
	}
	b := newBench()
	show := b.login(t, access.Identity{Kind: access.ByToken, Name: "ci"})
	if got, _ := b.as(show); got != "token/ci operate" {
		t.Errorf("by a token: %q", got)
	}
	b.token, b.now = "other", b.now.Add(2*time.Second)
	if got, _ := b.as(show); got != "" {
		t.Errorf("after the token has changed: %q", got)
	}
}

// No letter of a session can be changed.
func TestForgedSession(t *testing.T) {
	b := newBench()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	b.login(t, access.Identity{Kind: access.ByUser, Name: "bob"})(r)
	c, err := r.Cookie(access.Cookie)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Value {
		forged := c.Value[:i] + string(c.Value[i]^1) + c.Value[i+1:]
		if got, _ := b.as(func(r *http.Request) { r.Header.Set("Cookie", access.Cookie+"="+forged) }); got != "" {
			t.Errorf("with letter %d changed: %s", i, got)
		}
	}
}

// One who makes links without end uses up his own, and not those of others.
func TestOnceOfMany(t *testing.T) {
	b := newBench()
	r := httptest.NewRequest(http.MethodPost, "/login", nil)
	ann, ci := access.Identity{Kind: access.ByUser, Name: "ann"}, access.Identity{Kind: access.ByToken, Name: "ci"}
	first, _, err := b.Once(ann)
	if err != nil {
		t.Fatal(err)
	}
	var last string
	for n := range 200 {
		b.now = b.now.Add(time.Millisecond)
		if last, _, err = b.Once(ci); err != nil {
			t.Fatalf("link %d: %v", n, err)
		}
	}
	for code, who := range map[string]access.Identity{first: ann, last: ci} {
		if id, err := b.Use(r, code); err != nil || id != who {
			t.Errorf("%v: %v %v", who, id, err)
		}
	}
}

// A one-time link is good once, for a while.
func TestOnce(t *testing.T) {
	b := newBench()
	r := httptest.NewRequest(http.MethodPost, "/login", nil)
	ci := access.Identity{Kind: access.ByToken, Name: "ci", Role: access.Operate}
	code, _, err := b.Once(ci)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Use(r, code+"x"); !errors.Is(err, access.ErrWrong) {
		t.Errorf("another code: %v", err)
	}
	if id, err := b.Use(r, code); err != nil || id != ci {
		t.Errorf("%v %v", id, err)
	}
	if _, err := b.Use(r, code); !errors.Is(err, access.ErrWrong) {
		t.Errorf("twice: %v", err)
	}
	if code, _, err = b.Once(ci); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(11 * time.Minute)
	if _, err := b.Use(r, code); !errors.Is(err, access.ErrWrong) {
		t.Errorf("too late: %v", err)
	}
}

// A link is worth no more than what made it: a password or token that was changed since, or a user who was
// removed, opens nothing by it.
func TestOnceEndsWithItsMaker(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/login", nil)
	for what, change := range map[string]func(b *bench){
		"a changed password": func(b *bench) { b.users["ann"] = "another" },
		"a removed user":     func(b *bench) { delete(b.users, "ann") },
		"a rotated token":    func(b *bench) { b.token = "another"; b.now = b.now.Add(2 * time.Second) },
		"":                   func(b *bench) { b.now = b.now.Add(2 * time.Second) },
	} {
		b := newBench()
		id := access.Identity{Kind: access.ByUser, Name: "ann"}
		if strings.Contains(what, "token") {
			id = access.Identity{Kind: access.ByToken, Name: "ci"}
		}
		code, _, err := b.Once(id)
		if err != nil {
			t.Fatal(err)
		}
		change(b)
		if _, err := b.Use(r, code); (err == nil) != (what == "") {
			t.Errorf("a link after %q: %v", what, err)
		}
		if _, _, err := b.Once(id); strings.Contains(what, "removed") == (err == nil) {
			t.Errorf("a new link after %q: %v", what, err)
		}
	}
}

// A cookie says nothing by which a token could be tried elsewhere.
func TestCookieSaysNothingOfItsToken(t *testing.T) {
	b := newBench()
	w := httptest.NewRecorder()
	if err := b.Begin(w, access.Identity{Kind: access.ByToken, Name: "ci"}, false); err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(w.Result().Cookies()[0].Value, ".")
	plain, err := base64.RawURLEncoding.DecodeString(text)
	var ticket struct{ Stamp []byte }
	if err == nil {
		err = json.Unmarshal(plain, &ticket)
	}
	sum := sha256.Sum256([]byte(b.token))
	if err != nil || len(ticket.Stamp) == 0 || bytes.HasPrefix(sum[:], ticket.Stamp) {
		t.Errorf("%s, %v", plain, err)
	}
}

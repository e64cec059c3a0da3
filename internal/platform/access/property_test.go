package access_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
)

// Whatever a name is and whatever a request claims, the journal's text says who was
// authenticated, by one reading only, and two identities have two texts.
func TestIdentitiesAreApart(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2))
	parts := []string{"ann", "bob", " ", "(claims to be ", ")", "/", "user/", "token/", "%20", "%", "\n", "é", "\xff",
		"\x00", "link", "admin", "\u202e"}
	word := func() string {
		var b strings.Builder
		for range random.IntN(4) {
			b.WriteString(parts[random.IntN(len(parts))])
		}
		return b.String()
	}
	seen := make(map[string]access.Identity)
	for range 5000 {
		id := access.Identity{Kind: []access.Kind{access.ByUser, access.ByToken}[random.IntN(2)], Name: "n" + word()}
		text, by := id.String(), id.By(word())
		if access.Authenticated(by) != text || access.Authenticated(text) != text {
			t.Fatalf("%q is authenticated as %q, want %q", by, access.Authenticated(by), text)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '(' }) ||
			!strings.HasPrefix(text, string(id.Kind)+"/") {
			t.Fatalf("%+v is %q", id, text)
		}
		if other, was := seen[text]; was && other != id {
			t.Fatalf("%+v and %+v are both %q", other, id, text)
		}
		seen[text] = id
	}
}

// Roles that include each other are one, and what includes a second includes what that includes.
func TestRolesAreAnOrder(t *testing.T) {
	all := append(access.Roles(), access.None)
	for _, a := range all {
		for _, b := range all {
			for _, c := range all {
				if a.Includes(b) && b.Includes(c) && !a.Includes(c) {
					t.Errorf("%s includes %s, that %s, and %s does not", a, b, c, a)
				}
			}
			if a != b && a.Includes(b) && b.Includes(a) {
				t.Errorf("%s and %s include each other", a, b)
			}
		}
	}
	for _, name := range []string{"", "none", "View", "view ", "root", "0"} {
		if role, err := access.ParseRole(name); err == nil || role != access.None {
			t.Errorf("%q is the role %s", name, role)
		} else if !strings.Contains(err.Error(), "deliver") {
			t.Errorf("%q: %v does not say what there is", name, err)
		}
	}
}

// A token that is empty opens nothing, whatever is shown; one whose file cannot be read keeps
// the others good, and is no wrong token.
func TestTokensWithoutText(t *testing.T) {
	broken := errors.New("the file is gone")
	var empty string
	var fault error
	g := access.New(access.Config{Tokens: []access.Token{
		{Name: "empty", Role: access.Admin, Read: func() (string, error) { return empty, nil }},
		{Name: "broken", Role: access.Admin, Read: func() (string, error) { return "late", fault }},
		{Name: "good", Role: access.View, Read: func() (string, error) { return "good", nil }},
	}, Now: func() time.Time { return time.Unix(1e9, 0) }})
	ask := func(shown string) (string, error) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", shown)
		id, ok, err := g.Identify(r)
		if ok != (id.Name != "") {
			t.Errorf("%q: %+v, ok %v", shown, id, ok)
		}
		return id.Name, err
	}
	for shown, want := range map[string]string{"Bearer good": "good", "bearer   good  ": "good", "Bearer late": "broken",
		"Bearer ": "", "Bearer": "", "Bearer \t": "", "Bearer goo": "", "Bearer good good": "", "good": "",
		"Basic good": ""} {
		if got, err := ask(shown); got != want || want != "" && err != nil || want == "" && !errors.Is(err, access.ErrWrong) {
			t.Errorf("%q: %q %v, want %q", shown, got, err, want)
		}
	}
	fault = broken
	if got, err := ask("Bearer guess"); got != "" || !errors.Is(err, broken) || errors.Is(err, access.ErrWrong) ||
		!strings.Contains(err.Error(), "token broken") {
		t.Errorf("a guess while one cannot be read: %q %v", got, err)
	}
	if got, err := ask("Bearer good"); got != "good" || err != nil {
		t.Errorf("beside one that cannot be read: %q %v", got, err)
	}
	if got, err := ask("Bearer late"); got != "" || !errors.Is(err, broken) {
		t.Errorf("the one that cannot be read: %q %v", got, err)
	}
}

// Guesses are slowed down for each address by itself, also beyond so many addresses that they are
// forgotten, and one line in the log a second says how many there were.
func TestGuessesOfMany(t *testing.T) {
	b := newBench()
	guess := func(address string) error {
		_, err := b.as(func(r *http.Request) {
			r.RemoteAddr = address
			r.SetBasicAuth("ann", "wrong")
		})
		return err
	}
	for n := range 5000 {
		if err := guess(fmt.Sprintf("192.0.%d.%d:1", n/250, n%250)); !errors.Is(err, access.ErrWrong) {
			t.Fatalf("address %d: %v", n, err)
		}
	}
	if lines := strings.Count(b.log.String(), "login failed"); lines != 1 {
		t.Errorf("%d lines in one second", lines)
	}
	b.now = b.now.Add(time.Second)
	if err := guess("[2001:db8::1%eth0]:1"); !errors.Is(err, access.ErrWrong) {
		t.Errorf("%v", err)
	}
	if log := b.log.String(); !strings.Contains(log, "failures=5000") {
		t.Errorf("the log does not say how many: %s", log[strings.LastIndex(log, "level"):])
	}
	for range 5 {
		_ = guess("@") // a socket has no port
	}
	if err := guess("@"); !errors.Is(err, access.ErrSlow) {
		t.Errorf("the sixth: %v", err)
	}
	for n := range 4 {
		b.now = b.now.Add(time.Second)
		if err := guess("@"); !errors.Is(err, access.ErrWrong) {
			t.Errorf("%d seconds later: %v", n+1, err)
		}
		if err := guess("@"); !errors.Is(err, access.ErrSlow) {
			t.Errorf("%d seconds later, twice: %v", n+1, err)
		}
	}
}

// A code is used by one of those who have it at the same time, however many try.
func TestOnceIsOnceForAll(t *testing.T) {
	b := newBench()
	code, until, err := b.Once(access.Identity{Kind: access.ByToken, Name: "ci"})
	if err != nil || !until.Equal(b.now.Add(10*time.Minute)) {
		t.Fatal(until, err)
	}
	var all sync.WaitGroup
	used := make(chan access.Identity, 20)
	for range 20 {
		all.Go(func() {
			if id, err := b.Use(httptest.NewRequest(http.MethodPost, "/", nil), code); err == nil {
				used <- id
			}
		})
	}
	all.Wait()
	if len(used) != 1 {
		t.Errorf("used %d times", len(used))
	}
	var codes []string
	for range 5 {
		code, _, err := b.Once(access.Identity{Kind: access.ByToken, Name: "ci"})
		if err != nil || slices.Contains(codes, code) || len(code) < 26 {
			t.Fatalf("%d: %q %v", len(codes), code, err)
		}
		codes = append(codes, code)
	}
	if _, err := b.Use(httptest.NewRequest(http.MethodPost, "/", nil), codes[1]); err != nil {
		t.Errorf("one of many: %v", err)
	}
	b.now = b.now.Add(10 * time.Minute)
	if _, err := b.Use(httptest.NewRequest(http.MethodPost, "/", nil), codes[2]); !errors.Is(err, access.ErrWrong) {
		t.Errorf("at its end: %v", err)
	}
	b.now = b.now.Add(time.Second)
	if _, _, err := b.Once(access.Identity{Kind: access.ByToken, Name: "ci"}); err != nil {
		t.Errorf("after the others have expired: %v", err)
	}
}

// What is no session of ours is no session and no failed login: it may be an old one. Without
// a key no session exists.
func TestWhatIsNoSession(t *testing.T) {
	b := newBench()
	show := b.login(t, access.Identity{Kind: access.ByUser, Name: "ann"})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	show(r)
	c, err := r.Cookie(access.Cookie)
	if err != nil {
		t.Fatal(err)
	}
	text, sum, _ := strings.Cut(c.Value, ".")
	enc := base64.RawURLEncoding
	for name, value := range map[string]string{
		"nothing": "", "a dot": ".", "no sum": text, "an empty sum": text + ".",
		"another sum": text + "." + enc.EncodeToString(make([]byte, 32)), "the sum of nothing": "." + sum,
		"more behind": c.Value + "A", "two sums": c.Value + "." + sum,
		"unsigned": enc.EncodeToString([]byte(`{"kind":"user","name":"ann","until":9999999999}`)) + "." + sum,
		"too long": text + strings.Repeat("A", 2000) + "." + sum,
	} {
		got, err := b.as(func(r *http.Request) { r.AddCookie(&http.Cookie{Name: access.Cookie, Value: value}) })
		if got != "" || err != nil {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	if len(b.failed) > 0 {
		t.Errorf("counted as failed: %v", b.failed)
	}
	for _, id := range []access.Identity{{Kind: access.ByUser, Name: "eve"}, {Kind: access.ByToken, Name: "eve"},
		access.Link()} {
		if err := b.Begin(httptest.NewRecorder(), id, true); err == nil {
			t.Errorf("%s has a session", id)
		}
	}
	keyless := access.New(access.Config{Users: b.users})
	if err := keyless.Begin(httptest.NewRecorder(), access.Identity{Kind: access.ByUser, Name: "ann"}, true); err == nil {
		t.Error("a session without a key")
	}
	if _, ok, err := keyless.Identify(r); ok || err != nil {
		t.Errorf("a session is known without a key: %v", err)
	}
	other := access.New(access.Config{Users: b.users, Key: func() ([]byte, error) { return []byte("other"), nil },
		Now: func() time.Time { return b.now }})
	if _, ok, err := other.Identify(r); ok || err != nil {
		t.Errorf("a session of another upkeep: %v", err)
	}
	w := httptest.NewRecorder()
	if err := b.End(w, httptest.NewRequest(http.MethodPost, "/logout", nil), false); err != nil {
		t.Fatal(err)
	}
	if all := w.Result().Cookies(); len(all) != 1 || all[0].MaxAge >= 0 || all[0].Value != "" {
		t.Errorf("a logout without a session: %+v", all)
	}
}

package console_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
)

// oneUser is ann with the password right. With a fault nothing can be looked up.
type oneUser struct{ fault error }

func (u *oneUser) Known(name, password string, turn func() (func(), error)) (bool, error) {
	done, err := turn()
	if err != nil {
		return false, err
	}
	done()
	return name == "ann" && password == "right", u.fault
}

func (u *oneUser) Stamp(name string) ([]byte, bool) { return []byte("stamp"), name == "ann" }

// Who has not logged in learns that something is wrong, and not what: that is in the log. What was entered is on no page
// and in no log.
func TestFaultsOnTheLoginPage(t *testing.T) {
	t.Parallel()
	const inner = "dial tcp 10.0.0.7:5432: password authentication failed for user \"upkeep\" in /etc/upkeep/store-password"
	var users oneUser
	var key error
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	guard := access.New(access.Config{Users: &users, Roles: map[string]access.Role{"ann": access.View}, Logger: logger,
		Tokens: []access.Token{{Name: "ci", Role: access.View, Read: func() (string, error) { return "", errors.New(inner) }}},
		Key:    func() ([]byte, error) { return []byte("a key of sessions"), key }})
	k := console.New(console.Config{Portal: portal.Portal{Guard: guard, Logger: logger}})
	r := web.New(logger)
	(&web.Entrance{Guard: guard, Login: k.AskLogin, Logger: logger}).Mount(r, k.Routes())
	ask := func(method, path string, form url.Values, headers ...string) (int, string) {
		t.Helper()
		r0 := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
		r0.Host = "localhost"
		r0.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i+1 < len(headers); i += 2 {
			r0.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, r0)
		var all strings.Builder
		_ = w.Header().Write(&all) // a builder takes all
		return w.Code, all.String() + w.Body.String()
	}
	right := url.Values{"name": {"ann"}, "password": {"right"}}
	if status, text := ask("POST", "/login", right); status != http.StatusSeeOther {
		t.Fatalf("without a fault: %d %s", status, text)
	}
	_, shown := ask("POST", "/login", right)
	session := access.Cookie + "=" + cookieIn(t, shown, access.Cookie)
	code, _, err := guard.Once(access.Identity{Kind: access.ByUser, Name: "ann", Role: access.View})
	if err != nil {
		t.Fatal(err)
	}
	key, users.fault = errors.New(inner), errors.New(inner)
	log.Reset()
	const entered = "an-entered-secret"
	for what, one := range map[string]struct {
		method, path string
		form         url.Values
		headers      []string
		status       int
	}{
		"a right password":      {"POST", "/login", right, nil, 401},
		"a wrong password":      {"POST", "/login", url.Values{"name": {"ann"}, "password": {entered}}, nil, 401},
		"a link":                {"POST", "/login", url.Values{"once": {code}}, nil, 401},
		"a session":             {"GET", "/", nil, []string{"Cookie", session}, 500},
		"a session, logging in": {"POST", "/login", right, []string{"Cookie", session}, 500},
		"the session's end":     {"POST", "/logout", nil, []string{"Cookie", session}, 500},
		"a token":               {"GET", console.Prefix + "/runs", nil, []string{"Authorization", "Bearer " + entered}, 500},
		"a password of a page":  {"GET", "/", nil, []string{"Authorization", "Basic YW5uOnJpZ2h0"}, 500},
	} {
		status, text := ask(one.method, one.path, one.form, one.headers...)
		if status != one.status || !strings.Contains(text, "the log of upkeep says why") {
			t.Errorf("%s: %d %s, want %d", what, status, text, one.status)
		}
		for _, secret := range []string{"10.0.0.7", "store-password", "authentication failed", entered, ">right"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %q is shown to a stranger: %s", what, secret, text)
			}
		}
		if !strings.Contains(log.String(), "10.0.0.7:5432") {
			t.Errorf("%s: the log does not say it: %s", what, &log)
		}
		if strings.Contains(log.String(), entered) || strings.Contains(log.String(), code) {
			t.Errorf("%s: what was entered is in the log: %s", what, &log)
		}
		log.Reset()
	}
}

// cookieIn returns the value of a cookie that headers set.
func cookieIn(t *testing.T, headers, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(headers, "Set-Cookie: "+name+"=")
	if !found {
		t.Fatalf("no cookie %s: %s", name, headers)
	}
	value, _, _ := strings.Cut(rest, ";")
	return value
}

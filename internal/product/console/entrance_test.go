package console_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
)

// adminToken is of the role admin in what mount serves.
const adminToken = "right"

// tokens are those of mount: each role's name is its token.
func tokens() []access.Token {
	all := []access.Token{{Name: "admin", Role: access.Admin, Read: func() (string, error) { return adminToken, nil }}}
	for _, role := range access.Roles() {
		all = append(all, access.Token{Name: "of-" + role.String(), Role: role,
			Read: func() (string, error) { return role.String(), nil }})
	}
	return all
}

// mount serves a console behind an entrance, as upkeep does.
func mount(c console.Config) *gin.Engine {
	_, r := mounted(c)
	return r
}

func mounted(c console.Config) (*console.Console, *gin.Engine) {
	c.Guard = access.New(access.Config{Tokens: tokens(), Logger: slog.New(slog.DiscardHandler),
		Key: func() ([]byte, error) { return []byte("a key of sessions"), nil }})
	k := console.New(c)
	r := web.New(slog.New(slog.DiscardHandler))
	(&web.Entrance{Guard: c.Guard, Login: k.AskLogin, Logger: slog.New(slog.DiscardHandler)}).Mount(r, k.Routes())
	return k, r
}

// asAdmin fetches a page with the token.
func asAdmin(t *testing.T, url string) (status int, text string, header http.Header) {
	t.Helper()
	return as(t, adminToken, http.MethodGet, url, nil)
}

// as makes a request with a token; "" for none.
func as(t *testing.T, token, method, url string, body io.Reader) (status int, text string, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	return fetch(t, res, err)
}

// Who requested a run must not approve it where another person has to, and a link then asks for
// a login.
func TestOtherPerson(t *testing.T) {
	c := openWith(t, true)
	id, link := c.askBy(t, "k", 0, "token/of-approve (claims to be eve)")
	if status, text, _ := as(t, "", http.MethodGet, link, nil); status != http.StatusUnauthorized ||
		!strings.Contains(text, `name="password"`) {
		t.Errorf("a link without a login: %d %s", status, text)
	}
	if status, text := press(t, link, "approve"); status != http.StatusUnauthorized {
		t.Errorf("an answer without a login: %d %s", status, text)
	}
	if status, text, _ := as(t, access.View.String(), http.MethodGet, link, nil); status != http.StatusUnauthorized {
		t.Errorf("a link with a login that may not approve: %d %s", status, text)
	}
	if status, text, _ := as(t, access.Approve.String(), http.MethodGet, link, nil); status != http.StatusOK {
		t.Errorf("a link with a login: %d %s", status, text)
	}
	approve := fmt.Sprintf("%s%s/runs/%d/approve", c.page.URL, console.Prefix, id)
	if status, text, _ := as(t, access.Approve.String(), http.MethodPost, approve,
		strings.NewReader(`{"by":"bob"}`)); status != http.StatusForbidden || !strings.Contains(text, "another person") {
		t.Errorf("the requester: %d %s", status, text)
	}
	if status, text, _ := as(t, adminToken, http.MethodPost, approve, strings.NewReader(`{"by":"ann"}`)); status != 200 {
		t.Errorf("another person: %d %s", status, text)
	}
	entries, err := c.journal.Entries(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Note == remediate.NoteApproved && e.By != "token/admin (claims to be ann)" {
			t.Errorf("the journal has %q", e.By)
		}
	}
}

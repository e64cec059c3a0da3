package console_test

import (
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/product/console"
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
	c.Guard = access.New(access.Config{Tokens: tokens(), Logger: slog.New(slog.DiscardHandler),
		Key: func() ([]byte, error) { return []byte("a key of sessions"), nil }})
	k := console.New(c)
	r := web.New(slog.New(slog.DiscardHandler))
	(&web.Entrance{Guard: c.Guard, Login: k.AskLogin, Logger: slog.New(slog.DiscardHandler)}).Mount(r, k.Routes())
	return r
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

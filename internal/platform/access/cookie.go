package access

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

const (
	// Cookie is the name of the cookie with the session.
	Cookie = "upkeep_session"

	// sessionHolds is how long a session lasts: a day at work.
	sessionHolds = 12 * time.Hour

	// Browser is the name of the cookie that stays in a browser in which a user has logged in. It opens nothing:
	// it tells the tries of that user from those of others.
	Browser = "upkeep_browser"

	// browserHolds is longer than anyone is on leave.
	browserHolds = 180 * 24 * time.Hour

	// ofBrowser tells the signature of that cookie from that of a session: no letter of a cookie is a zero.
	ofBrowser = "browser\x00"

	maxCookie = 1 << 10
)

// opened returns what a cookie of a request holds; nil where it holds nothing that is valid. One that has
// expired is no failed login.
func (g *Guard) opened(r *http.Request, name, purpose string) (*ticket, error) {
	c, err := r.Cookie(name)
	if err != nil || g.config.Key == nil || len(c.Value) > maxCookie {
		return nil, nil //nolint:nilerr // the request has no such cookie
	}
	text, sum, _ := strings.Cut(c.Value, ".")
	key, err := g.config.Key()
	if err != nil {
		return nil, err
	}
	got, err := base64.RawURLEncoding.Strict().DecodeString(sum)
	if err != nil || !hmac.Equal(got, sign(key, purpose+text)) {
		return nil, nil
	}
	var t ticket
	if plain, err := base64.RawURLEncoding.Strict().DecodeString(text); err != nil || json.Unmarshal(plain, &t) != nil {
		return nil, nil
	}
	if !g.config.Now().Before(time.Unix(t.Until, 0)) {
		return nil, nil
	}
	return &t, nil
}

// bake sets a cookie of an identity.
func (g *Guard) bake(w http.ResponseWriter, name, purpose string, t ticket, holds time.Duration, secure bool) error {
	key, err := g.config.Key()
	if err != nil {
		return err
	}
	t.Until, t.ID = g.config.Now().Add(holds).Unix(), rand.Text()
	plain, err := json.Marshal(t)
	if err != nil {
		return err
	}
	text := base64.RawURLEncoding.EncodeToString(plain)
	//nolint:gosec // G124: without TLS a browser would not send a Secure cookie; with it the caller says so
	http.SetCookie(w, &http.Cookie{Name: name, Path: "/", HttpOnly: true, Secure: secure,
		SameSite: http.SameSiteStrictMode, MaxAge: int(holds.Seconds()),
		Value: text + "." + base64.RawURLEncoding.EncodeToString(sign(key, purpose+text))})
	return nil
}

func sign(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("upkeep session\x00" + text))
	return h.Sum(nil)
}

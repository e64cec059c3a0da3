package access

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/http"
	"time"
)

const (
	// linkHolds is how long a one-time link may be used.
	linkHolds = 10 * time.Minute

	maxLinks = 100
)

// session returns the identity of the session in a request's cookie.
func (g *Guard) session(r *http.Request) (id Identity, ok bool, err error) {
	t, err := g.ticket(r)
	if err != nil || t == nil {
		return id, false, err
	}
	stamp, role, there := g.current(t.Kind, t.Name)
	if !there || !hmac.Equal(stamp, t.Stamp) {
		return id, false, nil
	}
	return Identity{t.Kind, t.Name, role}, true, nil
}

// ticket returns what the cookie of a session holds; nil where it holds nothing that is valid.
func (g *Guard) ticket(r *http.Request) (*ticket, error) {
	t, err := g.opened(r, Cookie, "")
	if t == nil || err != nil {
		return nil, err
	}
	if over, err := g.sessions.over(r.Context(), t, g.config.Now()); over || err != nil {
		return nil, err
	}
	return t, nil
}

// current returns what a token or user has now.
func (g *Guard) current(kind Kind, name string) (stamp []byte, role Role, there bool) {
	switch kind {
	case ByUser:
		if g.config.Users != nil {
			stamp, there = g.config.Users.Stamp(name)
		}
		return stamp, g.role(name), there
	case ByToken:
		for _, t := range g.tokens {
			if t.Name != name {
				continue
			}
			value, err := t.value(g.config.Now(), false)
			stamp, unsigned := g.stamp(value)
			return stamp, t.Role, err == nil && unsigned == nil && value != ""
		}
	case ByLink: // it has no session
	}
	return nil, None, false
}

// stamp returns what of a token is in a cookie: it says nothing of the token without the key of sessions.
func (g *Guard) stamp(token string) ([]byte, error) {
	if g.config.Key == nil {
		return nil, nil
	}
	key, err := g.config.Key()
	return sign(key, "stamp\x00"+token)[:8], err
}

// Begin sets the cookie of a new session, and of a user the one by which the browser is known at the next login.
func (g *Guard) Begin(w http.ResponseWriter, id Identity, secure bool) error {
	if g.config.Key == nil {
		return errors.New("sessions have no key")
	}
	stamp, _, there := g.current(id.Kind, id.Name)
	if !there {
		return errors.New("the token or user of the login no longer exists")
	}
	t := ticket{Kind: id.Kind, Name: id.Name, Stamp: stamp}
	if err := g.bake(w, Cookie, "", t, sessionHolds, secure); err != nil || id.Kind != ByUser {
		return err
	}
	return g.bake(w, Browser, ofBrowser, t, browserHolds, secure)
}

// End ends the session of a request, for every holder of its cookie. With an error it has ended until a
// restart, in this process.
func (g *Guard) End(w http.ResponseWriter, r *http.Request, secure bool) error {
	t, err := g.ticket(r)
	if err == nil && t != nil {
		err = g.sessions.end(r.Context(), t, g.config.Now())
	}
	//nolint:gosec // G124: it has the attributes of the cookie that it deletes, see Begin
	http.SetCookie(w, &http.Cookie{Name: Cookie, Path: "/", HttpOnly: true, Secure: secure,
		SameSite: http.SameSiteStrictMode, MaxAge: -1})
	return err
}

// Lasting reports whether a request shows a token or a password itself. A session, which ends, may not make
// another one that ends later and that no logout of it ends.
func Lasting(r *http.Request) bool { return r.Header.Get("Authorization") != "" }

// Once returns the code of a link by which a person logs in once, as an identity.
func (g *Guard) Once(id Identity) (code string, until time.Time, err error) {
	now := g.config.Now()
	stamp, _, there := g.current(id.Kind, id.Name)
	if !there {
		return "", until, errors.New("the token or user of the link no longer exists")
	}
	l := &g.links
	l.mu.Lock()
	defer l.mu.Unlock()
	for sum, one := range l.all {
		if one.until.Before(now) {
			delete(l.all, sum)
		}
	}
	l.makeRoom(id)
	if len(l.all) >= maxLinks {
		return "", until, errors.New("too many login links are unused; wait until they expire")
	}
	if l.all == nil {
		l.all = make(map[[sha256.Size]byte]link)
	}
	code, until = rand.Text(), now.Add(linkHolds)
	l.all[sha256.Sum256([]byte(code))] = link{id, stamp, until}
	return code, until, nil
}

// Use returns the identity of a one-time code, which is used up.
func (g *Guard) Use(r *http.Request, code string) (id Identity, err error) {
	l := &g.links
	l.mu.Lock()
	sum := sha256.Sum256([]byte(code))
	one, there := l.all[sum]
	delete(l.all, sum)
	l.mu.Unlock()
	if !there || !g.config.Now().Before(one.until) {
		return id, g.fail(r, ByLink, "")
	}
	if stamp, _, there := g.current(one.id.Kind, one.id.Name); !there || !hmac.Equal(stamp, one.stamp) {
		return id, g.fail(r, ByLink, "")
	}
	return one.id, nil
}

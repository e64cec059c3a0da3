package access

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Identify returns who a request comes from. A request that shows nothing has no identity and
// no error. What it shows in Authorization counts before a session.
func (g *Guard) Identify(r *http.Request) (id Identity, ok bool, err error) {
	header := r.Header.Get("Authorization")
	scheme, rest, _ := strings.Cut(header, " ")
	switch {
	case header == "":
		return g.session(r)
	case strings.EqualFold(scheme, "Bearer"):
		id, ok, err = g.token(strings.TrimSpace(rest))
		if err == nil && !ok {
			err = g.fail(r, ByToken, "")
		}
		return id, ok, err
	}
	name, password, basic := r.BasicAuth()
	if !basic {
		return id, false, g.fail(r, ByToken, "")
	}
	return g.Login(r, name, password)
}

// Login returns the identity of a user with the right password. A wrong one takes as long as the caller
// makes it: see Wrong.
func (g *Guard) Login(r *http.Request, name, password string) (id Identity, ok bool, err error) {
	if g.config.Users == nil {
		return id, false, g.fail(r, ByUser, name)
	}
	var beside bool // the tries of the client are used up, and those of the user from there are not
	ok, err = g.config.Users.Known(name, password, func() (done func(), err error) {
		done, beside, err = g.turn(r, name)
		return done, err
	})
	switch {
	case err != nil && !beside:
		return id, false, err
	case !ok:
		err = g.fail(r, ByUser, name)
		if beside { // the answer does not say that the user exists
			err = ErrSlow
		}
		return id, false, err
	}
	return Identity{ByUser, name, g.role(name)}, true, nil
}

// turn has a password wait for its place, where a try is left. A browser in which the user has logged in before has
// tries and places of its own: guesses at the name, from the same network too, use up none of them.
func (g *Guard) turn(r *http.Request, name string) (done func(), beside bool, err error) {
	now, places, from := g.config.Now(), &g.hashing, Network(r)
	if b := g.browser(r); b != nil && b.Name == name && g.browsers.allow(b.ID, now) {
		places, from = &g.known, name
	} else if !g.allow(r, "", now) {
		if _, there := g.config.Users.Stamp(name); !there || !g.allow(r, " "+name, now) {
			return nil, false, ErrSlow
		}
		from += " " + name
		beside = true
	}
	done, free := places.Enter(r.Context(), from)
	if !free {
		return nil, false, ErrBusy
	}
	return done, beside, nil
}

// allow takes a try of the client of a request, at a user's name or at any. Where it may choose among the networks
// of a site, the site has to have one too.
func (g *Guard) allow(r *http.Request, at string, now time.Time) bool {
	if !g.failures.allow(Network(r)+at, now) {
		return false
	}
	of := site(r)
	return of == "" || g.sites.allow(of+at, now)
}

// token finds the token that was shown. Each takes the same time.
func (g *Guard) token(shown string) (id Identity, ok bool, err error) {
	if shown == "" {
		return id, false, nil
	}
	for _, again := range []bool{false, true} { // a file that was just changed counts at once
		if again {
			select {
			case g.rereads <- struct{}{}:
				defer func() { <-g.rereads }()
			default: // of many wrong tokens some are looked up in what was read a second ago only
				return id, false, err
			}
		}
		var broken error
		for _, t := range g.tokens {
			value, e := t.value(g.config.Now(), again)
			switch {
			case e != nil:
				broken = errors.Join(broken, fmt.Errorf("token %s: %w", t.Name, e))
			case same(shown, value):
				id, ok = Identity{ByToken, t.Name, t.Role}, true
			}
		}
		if ok {
			return id, true, nil
		}
		err = broken
	}
	return id, false, err
}

// Client is whom a request without a login is counted for: where it comes from or, with before, the user who has
// logged in before in its browser.
func (g *Guard) Client(r *http.Request) (client string, before bool) {
	if b := g.browser(r); b != nil {
		return b.identity(), true
	}
	return Network(r), false
}

// browser returns what the cookie says of a browser in which a user has logged in, whose password is still the
// same; nil where none has, or the key of cookies cannot be read.
func (g *Guard) browser(r *http.Request) *ticket {
	t, err := g.opened(r, Browser, ofBrowser)
	if err != nil || t == nil || t.Kind != ByUser {
		return nil
	}
	if stamp, _, there := g.current(t.Kind, t.Name); !there || !hmac.Equal(stamp, t.Stamp) {
		return nil
	}
	return t
}

// Network is where a request comes from, without the port. A client has as many addresses of its own IPv6
// network, and of the network of this machine, as it likes: each is one.
func Network(r *http.Request) string {
	host, ip, ok := remote(r)
	switch {
	case !ok:
		return host
	case ip.IsLoopback():
		return "loopback"
	case ip.Is6():
		return netip.PrefixFrom(ip, 64).Masked().String()
	}
	return netip.PrefixFrom(ip, ip.BitLen()).String()
}

// site is the IPv6 network that a client may have as a whole, of which each part is a Network; "" with IPv4.
func site(r *http.Request) string {
	_, ip, ok := remote(r)
	if !ok || ip.IsLoopback() || !ip.Is6() {
		return ""
	}
	return netip.PrefixFrom(ip, 48).Masked().String()
}

// remote returns the address that a request comes from, as text where it has no IP.
func remote(r *http.Request) (host string, ip netip.Addr, ok bool) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr, ip, false
	}
	ip, err = netip.ParseAddr(host)
	return host, ip.Unmap().WithZone(""), err == nil
}

package access

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
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

// Login returns the identity of a user with the right password.
func (g *Guard) Login(r *http.Request, name, password string) (id Identity, ok bool, err error) {
	if g.config.Users == nil {
		return id, false, g.fail(r, ByUser, name)
	}
	ok, err = g.config.Users.Known(name, password, func() error {
		if !g.failures.allow(address(r), g.config.Now()) {
			return ErrSlow
		}
		return nil
	})
	switch {
	case err != nil:
		return id, false, err
	case !ok:
		return id, false, g.fail(r, ByUser, name)
	}
	return Identity{ByUser, name, g.config.Roles[name]}, true, nil
}

// token finds the token that was shown. Each takes the same time.
func (g *Guard) token(shown string) (id Identity, ok bool, err error) {
	if shown == "" {
		return id, false, nil
	}
	for _, again := range []bool{false, true} { // a file that was just changed counts at once
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

// address is where a request comes from, without the port. An IPv6 network of one client has as many
// addresses as it likes: it counts as one.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() && !ip.Is4In6() {
		if network, err := ip.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return host
}

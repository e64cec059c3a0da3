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

// Login returns the identity of a user with the right password. A wrong one takes as long as the caller
// makes it: see Wrong.
func (g *Guard) Login(r *http.Request, name, password string) (id Identity, ok bool, err error) {
	if g.config.Users == nil {
		return id, false, g.fail(r, ByUser, name)
	}
	var beside bool // the tries of the client are used up, and those of the user from there are not
	ok, err = g.config.Users.Known(name, password, func() (done func(), err error) {
		from := Network(r)
		if !g.failures.allow(from, g.config.Now()) {
			_, there := g.config.Users.Stamp(name)
			if from += " " + name; !there || !g.failures.allow(from, g.config.Now()) {
				return nil, ErrSlow
			}
			beside = true
		}
		done, free := g.hashing.Enter(r.Context(), from)
		if !free {
			return nil, ErrBusy
		}
		return done, nil
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

// Network is where a request comes from, without the port. A client has as many addresses of its own IPv6
// network, and of the network of this machine, as it likes: each is one.
func Network(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	ip = ip.Unmap().WithZone("")
	bits := ip.BitLen()
	switch {
	case ip.IsLoopback():
		return "loopback"
	case ip.Is6():
		bits = 64
	}
	return netip.PrefixFrom(ip, bits).Masked().String()
}

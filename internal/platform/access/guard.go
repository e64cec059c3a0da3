package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

var (
	// ErrWrong says that a token, password or session is not valid.
	ErrWrong = errors.New("the token, password or session is not valid")

	// ErrSlow says that too many wrong passwords came from the same address.
	ErrSlow = errors.New("too many failed logins from this address; wait a second")
)

// A Token is a bearer token with its role.
type Token struct {
	Name string
	Role Role
	Read func() (string, error) // where the token is kept
}

// Users are the users of the web configuration file.
type Users interface {
	// Known reports whether the password of a user is right. Where it was not right a moment
	// ago, allow is asked before the hash is computed, which is slow by design.
	Known(name, password string, allow func() error) (bool, error)

	// Stamp returns a value that changes with the password, and whether the user exists.
	Stamp(name string) (stamp []byte, there bool)
}

// Config is what a Guard knows.
type Config struct {
	Tokens []Token
	Users  Users                  // nil: there are no users
	Roles  map[string]Role        // of the users
	Key    func() ([]byte, error) // signs sessions; nil: there are none
	Failed func(Kind, string)     // called for each failed login with what was wrong; may be nil
	Logger *slog.Logger
	Now    func() time.Time // time.Now where nil
}

// A Guard says who a request comes from.
type Guard struct {
	config   Config
	tokens   []*keptToken
	failures failures
	sessions sessions
	links    links
}

// New returns a Guard.
func New(c Config) *Guard {
	if c.Now == nil {
		c.Now = time.Now
	}
	g := &Guard{config: c}
	for _, t := range c.Tokens {
		g.tokens = append(g.tokens, &keptToken{Token: t})
	}
	return g
}

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

// fail counts and logs a failed login. What was shown is in neither.
func (g *Guard) fail(r *http.Request, kind Kind, name string) error {
	if g.config.Failed != nil {
		g.config.Failed(kind, name)
	}
	if lines := g.failures.line(g.config.Now()); lines > 0 && g.config.Logger != nil {
		g.config.Logger.Warn("login failed", "kind", string(kind), "user", plain(name), "remote", r.RemoteAddr,
			"path", r.URL.Path, "failures", lines)
	}
	return ErrWrong
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

func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return b != "" && subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// tokenKept is how long a token is believed that was read: deliveries come by the thousand.
const tokenKept = time.Second

type keptToken struct {
	Token
	mu   sync.Mutex
	text string
	at   time.Time
}

// value reads the token, at most once in tokenKept; once more where again.
func (t *keptToken) value(now time.Time, again bool) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if age := now.Sub(t.at); !again && t.text != "" && age >= 0 && age < tokenKept {
		return t.text, nil
	}
	text, err := t.Read()
	if err != nil {
		t.text = ""
		return "", err
	}
	t.text, t.at = text, now
	return text, nil
}

// address is where a request comes from, without the port.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

package access

import (
	"errors"
	"log/slog"
	"time"
)

var (
	// ErrWrong says that a token, password or session is not valid.
	ErrWrong = errors.New("the token, password or session is not valid")

	// ErrSlow says that too many wrong passwords came from the same address.
	ErrSlow = errors.New("too many failed logins from this address; wait a second")
)

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
	Key    func() ([]byte, error) // signs sessions; nil: no sessions
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

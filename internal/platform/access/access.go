package access

import (
	"errors"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"
)

var (
	// ErrWrong says that a token, password or session is not valid.
	ErrWrong = errors.New("the token, password or session is not valid")

	// ErrSlow says that too many wrong passwords came from the same address.
	ErrSlow = errors.New("too many failed logins from this address; wait a second")

	// ErrBusy says that too many passwords are checked at once.
	ErrBusy = errors.New("too many passwords are checked at once; try again")
)

// Users are the users of the web configuration file.
type Users interface {
	// Known reports whether the password of a user is right. Where it was not right a moment
	// ago, turn is asked before the hash is computed, which is slow by design, and done is called
	// afterwards.
	Known(name, password string, turn func() (done func(), err error)) (bool, error)

	// Stamp returns a value that changes with the password, and whether the user exists.
	Stamp(name string) (stamp []byte, there bool)
}

// Config is what a Guard knows.
type Config struct {
	Tokens []Token
	Users  Users                  // nil: there are no users
	Roles  map[string]Role        // of the users, until Grant
	Key    func() ([]byte, error) // signs sessions; nil: no sessions
	Notes  Notes                  // keep which sessions were ended; nil: the process does
	Failed func(Kind, string)     // called for each failed login with what was wrong; may be nil
	Logger *slog.Logger
	Now    func() time.Time // time.Now where nil
}

// A Guard says who a request comes from.
type Guard struct {
	config   Config
	roles    atomic.Pointer[map[string]Role]
	tokens   []*keptToken
	failures failures      // of networks
	sites    failures      // of networks of networks
	browsers failures      // of browsers in which a user has logged in before
	hashing  Places        // of passwords, which are slow by design
	known    Places        // of passwords from those browsers
	rereads  chan struct{} // of the files of tokens, by those who show a wrong one
	sessions sessions
	links    links
}

// New returns a Guard.
func New(c Config) *Guard {
	if c.Now == nil {
		c.Now = time.Now
	}
	g := &Guard{config: c, rereads: make(chan struct{}, rereads),
		failures: failures{each: eachTry, burst: tries}, browsers: failures{each: eachKnown, burst: tries},
		sites:   failures{each: eachOfSite, burst: triesOfSite},
		hashing: Places{Size: hashes(), Waiting: 16, Wait: 2 * time.Second},
		known:   Places{Size: 1, Waiting: 16, Wait: 10 * time.Second}}
	g.Grant(c.Roles)
	g.sessions.notes = c.Notes
	for _, t := range c.Tokens {
		g.tokens = append(g.tokens, &keptToken{Token: t})
	}
	return g
}

// rereads is how many requests with a wrong token read the files of tokens at once.
const rereads = 4

// Grant gives users other roles, which count for sessions too from the next request on.
func (g *Guard) Grant(roles map[string]Role) { g.roles.Store(&roles) }

func (g *Guard) role(user string) Role { return (*g.roles.Load())[user] }

// hashes is how many passwords of strangers are checked at once: wrong ones keep half of the processors busy at
// most, and two of them.
func hashes() int { return min(2, max(1, runtime.GOMAXPROCS(0)/2)) }

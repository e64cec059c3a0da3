package web

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
)

// A Route is one path with what it asks of a request. A route that grants no role, is not open
// and has no proof of its own answers no request.
type Route struct {
	Methods []string // GET means HEAD too
	Path    string
	Doc     string // what it is for

	Roles []access.Role // one of them is enough
	Open  bool          // no login is asked for
	Proof string        // what the handler itself asks for in the place of a login

	Page  bool          // for people: other sites may link to it, and it asks strangers to log in
	Form  bool          // a form of a page posts to it: whose session has ended is asked to log in
	Body  int64         // how many bytes a body may have; defaultBody where 0
	Time  time.Duration // how long an answer may take; defaultTime where 0
	Pool  Pool          // which requests at once share a bound; of an open route, those of strangers too
	Apart bool          // no bound of strangers counts: health is asked for while they are many

	// Refused is called with the reason where a login is missing or its role is too small; may be nil.
	Refused func(r *http.Request, status int, why string)

	Handler gin.HandlerFunc
}

// A Pool bounds how many requests are answered at once. One client has three quarters of it at most, so that answers
// which it does not read, or pages that it keeps open, keep no other client waiting.
type Pool struct {
	Name string
	Size int
	Wait time.Duration // for a place in it
}

// The pools. What strangers ask for has one of its own, whatever the route, and so has what shows a wrong
// token or password: its answer is slow.
func readers() Pool   { return Pool{"read", 64, 5 * time.Second} }
func strangers() Pool { return Pool{"strangers", 32, 2 * time.Second} }
func guesses() Pool   { return Pool{"guess", 64, 0} }

// Logins is the pool of the form with a password.
func Logins() Pool { return Pool{"login", 32, 2 * time.Second} }

// Changes is the pool of what people and programs request.
func Changes() Pool { return Pool{"change", 64, 5 * time.Second} }

// Deliveries is the pool of webhooks, which bound themselves more tightly.
func Deliveries() Pool { return Pool{"deliver", 512, time.Second} }

// Audits is the pool of what reads the whole journal.
func Audits() Pool { return Pool{"audit", 1, 10 * time.Second} }

// Reports is the pool of what reads a month or a quarter.
func Reports() Pool { return Pool{"report", 1, 30 * time.Second} }

// Queries is the pool of PromQL, which has budgets besides.
func Queries() Pool { return Pool{"query", 32, 10 * time.Second} }

// Streams is the pool of answers that go on for long: of open pages, a few for each person.
func Streams() Pool { return Pool{"stream", 1024, time.Second} }

const (
	defaultBody = 64 << 10
	defaultTime = 30 * time.Second
)

// Get is a route that answers GET and HEAD to a role.
func Get(path string, need access.Role, doc string, handler gin.HandlerFunc) Route {
	return Route{Methods: []string{http.MethodGet}, Path: path, Roles: []access.Role{need}, Doc: doc, Handler: handler}
}

// Post is a route that answers POST to a role.
func Post(path string, need access.Role, doc string, handler gin.HandlerFunc) Route {
	return Route{Methods: []string{http.MethodPost}, Path: path, Roles: []access.Role{need}, Doc: doc,
		Pool: Changes(), Handler: handler}
}

// All returns the methods of a route, with HEAD where it has GET.
func (r Route) All() []string {
	all := slices.Clone(r.Methods)
	if slices.Contains(all, http.MethodGet) {
		all = append(all, http.MethodHead)
	}
	slices.Sort(all)
	return all
}

// Needs says what a request needs, in words.
func (r Route) Needs() string {
	if r.Open {
		return "open"
	}
	var all []string
	for _, role := range r.Roles {
		all = append(all, role.String())
	}
	if r.Proof != "" {
		all = append(all, r.Proof)
	}
	if len(all) == 0 {
		return "never"
	}
	return strings.Join(all, " or ")
}

// Grants reports whether a role is enough.
func (r Route) Grants(role access.Role) bool {
	return slices.ContainsFunc(r.Roles, role.Includes)
}

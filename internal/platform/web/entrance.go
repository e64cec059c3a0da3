package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
)

// An Entrance lets requests in: under the names of this upkeep only, not from other sites'
// pages, with a role that the route asks for, in bounded number, size and time.
type Entrance struct {
	Guard *access.Guard
	Hosts []string // names under which it is reached, beside IP addresses and localhost

	// Login answers a stranger who asks for a page, with the status set; nil: as all others.
	Login gin.HandlerFunc

	// Conns are the connections; those of logins are kept. May be nil.
	Conns *Conns

	Logger *slog.Logger

	// Users says whether a name and a password are of use, for the answer to strangers.
	Users bool
}

// identityKey is where a request has its identity.
const identityKey = "upkeep identity"

// Identity returns who a request comes from; ok is false for a stranger.
func Identity(g *gin.Context) (id access.Identity, ok bool) {
	value, _ := g.Get(identityKey)
	id, ok = value.(access.Identity)
	return id, ok
}

// Mount adds routes to a router, which then answers no request that the entrance does not let
// in: what it does not know it answers to identities only.
func (e *Entrance) Mount(r *gin.Engine, routes []Route) {
	table := make(map[string]Route, len(routes))
	for _, route := range routes {
		for _, method := range route.All() {
			table[method+" "+route.Path] = route
		}
	}
	pools := newPools()
	cross := http.NewCrossOriginProtection()
	r.Use(func(g *gin.Context) {
		headers(g)
		if !ends(g.Writer, g.Request) {
			Refuse(g, http.StatusBadRequest, "the request has both a Content-Length and a Transfer-Encoding")
			return
		}
		route, known := table[g.Request.Method+" "+g.FullPath()]
		if status, why := e.comesFrom(g, cross, route); status != 0 {
			Refuse(g, status, why)
			return
		}
		done, ok := e.enter(g, pools, route, known)
		defer done()
		if ok {
			answer(g, route)
		}
	})
	for _, route := range routes {
		r.Match(route.All(), route.Path, route.Handler)
	}
}

// answer has a route answer within its bounds.
func answer(g *gin.Context, route Route) {
	body, limit := route.Body, route.Time
	if body == 0 {
		body = defaultBody
	}
	if limit == 0 {
		limit = defaultTime
	}
	g.Request.Body = http.MaxBytesReader(g.Writer, g.Request.Body, body)
	if g.Request.ContentLength > body && !route.Apart {
		Refuse(g, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", body))
		return
	}
	conn := http.NewResponseController(g.Writer)
	_ = conn.SetReadDeadline(time.Now().Add(limit)) // not every connection has deadlines
	_ = conn.SetWriteDeadline(time.Now().Add(limit + lastWrite))
	ctx, cancel := context.WithTimeoutCause(g.Request.Context(), limit,
		fmt.Errorf("the answer took longer than %s", limit))
	defer cancel()
	g.Request = g.Request.WithContext(ctx)
	g.Next()
}

// lastWrite is how long a client may take to read an answer whose time was used up.
const lastWrite = 10 * time.Second

// headers sets what every answer has. A page sets more.
func headers(g *gin.Context) {
	h := g.Writer.Header()
	for _, one := range [...][2]string{
		{"X-Content-Type-Options", "nosniff"},
		{"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; " +
			"form-action 'none'"},
		{"X-Frame-Options", "DENY"},
		{"Referrer-Policy", "no-referrer"},
		{"Cross-Origin-Resource-Policy", "same-origin"},
		{"Cross-Origin-Opener-Policy", "same-origin"},
		{"Cache-Control", "no-store"},
	} {
		if h.Get(one[0]) == "" { // the web configuration file may set another
			h.Set(one[0], one[1])
		}
	}
}

// PageHeaders sets what a page for people needs beside what every answer has: our style sheet,
// and forms that lead to us.
func PageHeaders(g *gin.Context) {
	h := g.Writer.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; "+
		"frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Robots-Tag", "noindex")
}

// comesFrom refuses what comes under a foreign name or from another site's page. A browser
// says which: other programs send neither header.
func (e *Entrance) comesFrom(g *gin.Context, cross *http.CrossOriginProtection, route Route) (status int,
	why string) {
	r := g.Request
	if host := hostname(r.Host); !e.named(host) {
		return http.StatusMisdirectedRequest, fmt.Sprintf("this upkeep is not reached under the name %q; "+
			"add it to web.hosts, or set web.external_url", host)
	}
	const foreign = "the request comes from another site's page"
	if err := cross.Check(r); err != nil {
		return http.StatusForbidden, foreign
	}
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	follows := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	switch {
	case site == "cross-site" || site == "same-site":
		if !route.Page || !follows {
			return http.StatusForbidden, foreign
		}
	case site == "" && origin != "" && originHost(origin) != r.Host:
		return http.StatusForbidden, foreign
	}
	return 0, ""
}

func originHost(origin string) string {
	_, host, _ := strings.Cut(origin, "://")
	return host
}

func (e *Entrance) named(host string) bool {
	same := func(name string) bool { return strings.EqualFold(name, host) }
	return same("localhost") || net.ParseIP(host) != nil || slices.ContainsFunc(e.Hosts, same)
}

// hostname returns an address without its port.
func hostname(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}

// enter finds out who a request comes from and gives it a place, or answers why not.
func (e *Entrance) enter(g *gin.Context, pools *pools, route Route, known bool) (done func(), ok bool) {
	done = func() {}
	if route.Apart {
		return done, true
	}
	began := time.Now()
	id, login, err := e.Guard.Identify(g.Request)
	client, before := id.String(), false
	if login {
		g.Set(identityKey, id)
	} else {
		client, before = e.Guard.Client(g.Request)
	}
	if e.Conns != nil && (before || login && id.Role != access.None) {
		e.Conns.Hold(g.Request)
	}
	if !login && err == nil && !arrives(g, route) {
		return done, false
	}
	pool := route.Pool
	switch {
	case err != nil:
		pool = guesses()
	case route.Open && pool.Size > 0: // strangers are meant
	case !login || id.Role == access.None:
		pool = strangers()
	case pool.Size == 0:
		pool = readers()
	}
	if before { // strangers, who may come through the same proxy, keep no place from who is about to log in
		pool.Name += " of known browsers"
	}
	free, inside := pools.enter(g.Request.Context(), pool, client)
	if !inside {
		g.Header("Retry-After", "1")
		Refuse(g, http.StatusServiceUnavailable, "too many requests at once; try again")
		return done, false
	}
	switch {
	case err != nil:
		e.wrong(g, route, began, err)
	case route.Open || route.Proof != "" && (!login || !route.Grants(id.Role)):
		return free, true
	case !login:
		e.stranger(g, route)
	case known && route.Grants(id.Role):
		return free, true
	case known:
		route.refuse(g, http.StatusForbidden, fmt.Sprintf("%s has the role %s; this needs %s", id, id.Role,
			route.Needs()))
	default:
		g.Next() // 404 and 405
		return free, false
	}
	return free, false
}

// formTime is how long the form of a stranger may take to arrive.
const formTime = 5 * time.Second

// arrives reads the form of a stranger before it takes a place, which half a form would keep.
func arrives(g *gin.Context, route Route) bool {
	r := g.Request
	if !route.Open && route.Proof == "" || route.Body == 0 || route.Body > defaultBody || r.Body == nil {
		return true
	}
	_ = http.NewResponseController(g.Writer).SetReadDeadline(time.Now().Add(formTime)) // not every connection has one
	body, err := io.ReadAll(http.MaxBytesReader(g.Writer, r.Body, route.Body))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		Refuse(g, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", route.Body))
		return false
	}
	if err != nil {
		Refuse(g, http.StatusBadRequest, "the body did not arrive")
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return true
}

// wrongWait is how long the answer to a wrong token or password takes at least.
const wrongWait = 300 * time.Millisecond

// Wrong waits until the answer to a wrong password may be given, which takes the same time whether the
// password was looked at or not: nothing is learnt about the user.
func Wrong(ctx context.Context, began time.Time) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(began.Add(wrongWait))):
	}
}

func (e *Entrance) wrong(g *gin.Context, route Route, began time.Time, err error) {
	switch {
	case errors.Is(err, access.ErrBusy):
		g.Header("Retry-After", "1")
		Refuse(g, http.StatusServiceUnavailable, err.Error())
	case errors.Is(err, access.ErrSlow):
		Wrong(g.Request.Context(), began)
		g.Header("Retry-After", "1")
		Refuse(g, http.StatusTooManyRequests, err.Error())
	case errors.Is(err, access.ErrWrong):
		Wrong(g.Request.Context(), began)
		e.challenge(g)
		route.refuse(g, http.StatusUnauthorized, err.Error())
	default:
		e.Logger.Error("login could not be checked", "path", g.Request.URL.Path, "err", err)
		// It may name a file, which is no matter of strangers.
		Refuse(g, http.StatusInternalServerError, "the login could not be checked; the log of upkeep says why")
	}
}

// stranger answers a request without a login.
func (e *Entrance) stranger(g *gin.Context, route Route) {
	if e.Login != nil && (route.Form || route.Page && g.Request.Method != http.MethodPost) {
		g.Header("WWW-Authenticate", `Bearer realm="upkeep"`) // a browser shows the page, and asks nothing itself
		g.Status(http.StatusUnauthorized)
		e.Login(g)
		g.Abort()
		return
	}
	e.challenge(g)
	route.refuse(g, http.StatusUnauthorized, "missing login: send a token of web.tokens as bearer token, or a user "+
		"and password of web.config_file; on the machine of upkeep its commands read the file admin-token in data_dir")
}

func (e *Entrance) challenge(g *gin.Context) {
	h := g.Writer.Header()
	h.Set("WWW-Authenticate", `Bearer realm="upkeep"`)
	if e.Users {
		h.Add("WWW-Authenticate", `Basic realm="upkeep"`)
	}
}

// refuse answers that a login is missing, wrong or too small.
func (r Route) refuse(g *gin.Context, status int, why string) {
	if r.Refused != nil {
		r.Refused(g.Request, status, why)
	}
	Refuse(g, status, why)
}

// Refuse answers with an error as the API does.
func Refuse(g *gin.Context, status int, why string) {
	g.Header("Content-Type", "application/json; charset=utf-8")
	g.Status(status)
	_ = json.NewEncoder(g.Writer).Encode(map[string]string{"error": why}) // who hung up needs no answer
	g.Abort()
}

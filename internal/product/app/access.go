package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
)

// openAccess makes what knows who may do what. The store is open: no other upkeep has data_dir.
func (a *App) openAccess(context.Context) error {
	c := a.start
	file := filepath.Join(c.DataDir, config.AdminTokenFile)
	if err := makeToken(file); err != nil { // a full disk; who asks for the token tries again
		a.log.Warn("the admin token could not be made", "err", err)
	}
	failed := metric.NewCounter(a.registry, catalog.LoginFailures())
	for _, kind := range []access.Kind{access.ByToken, access.ByUser, access.ByLink} {
		failed.WithLabelValues(string(kind)) // the first increase counts only from a zero
	}
	a.access = access.New(access.Config{
		Tokens: append(c.Web.Access(), access.Token{Name: config.AdminTokenName, Role: access.Admin,
			Read: func() (string, error) { return madeToken(file) }}),
		Users: a.web, Roles: c.Web.Roles(), Notes: a.store,
		Key:    func() ([]byte, error) { return a.signer.Key(sessionPurpose) },
		Failed: func(kind access.Kind, _ string) { failed.WithLabelValues(string(kind)).Inc() },
		Logger: a.component("access"),
	})
	return nil
}

func (a *App) prepareAccess(d *draft) (change, error) {
	return change{use: func() { a.access.Grant(d.config.Web.Roles()) }}, nil
}

// sessionPurpose tells the key of sessions from those of other signatures.
const sessionPurpose = "sessions"

// makeToken writes a token into a file, where it is not there yet. Another process may do the
// same at the same time: one of them is first.
func makeToken(file string) error {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".admin-token-") // of mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // it has another name now
	_, err = f.WriteString(rand.Text() + rand.Text() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// madeToken reads the token of this machine, and makes it where that was not possible before.
func madeToken(file string) (string, error) {
	text, err := readToken(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	if err := makeToken(file); err != nil {
		return "", fmt.Errorf("admin token: %w", err)
	}
	return readToken(file)
}

// readToken reads the token of this machine. One that others could have written or read is refused.
func readToken(file string) (string, error) {
	info, err := os.Lstat(file)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("others can read or write %s: chmod 600 %s, or delete it and restart upkeep", file, file)
	}
	text, err := os.ReadFile(file)
	return strings.TrimSpace(string(text)), err
}

// AdminToken returns the token of the role admin that upkeep has made in data_dir.
func (a *App) AdminToken() (string, error) {
	return madeToken(filepath.Join(a.start.DataDir, config.AdminTokenFile))
}

// prove shows a command on this machine that this is the upkeep whose data_dir it reads, before
// it sends the admin token. Others are not answered: a token that was written by hand may be
// short enough to be guessed.
func (a *App) prove(g *gin.Context) {
	at, ok := g.Request.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	challenge := g.Query("challenge")
	switch {
	case !ok || !at.IP.IsLoopback():
		web.Refuse(g, http.StatusNotFound, "a proof is for commands on the machine of upkeep")
		return
	case len(challenge) < leastChallenge:
		web.Refuse(g, http.StatusBadRequest, fmt.Sprintf("challenge: want %d random letters", leastChallenge))
		return
	}
	token, err := a.AdminToken()
	switch {
	case err != nil: // it names a file; a stranger may ask through a proxy on this machine
		a.log.Error("the admin token could not be read", "err", err)
		web.Refuse(g, http.StatusServiceUnavailable, "the admin token could not be read; the log of upkeep says why")
		return
	case len(token) < leastToken:
		a.log.Error("the admin token is too short to be proved: delete the file and restart upkeep", "letters",
			len(token), "want", leastToken)
		web.Refuse(g, http.StatusServiceUnavailable, "the admin token is too short; the log of upkeep says more")
		return
	}
	g.JSON(http.StatusOK, portal.Proof{Proof: access.Proof(token, challenge, at.String())})
}

const (
	// leastChallenge is how long a challenge is that was never used before.
	leastChallenge = 20

	// leastToken is how long a token is that is not found by trying, for who asks through a proxy on this
	// machine for proofs of it.
	leastToken = 20
)

// entrance is what each request passes.
func (a *App) entrance() *web.Entrance {
	e := &web.Entrance{Guard: a.access, Hosts: a.start.Web.Hosts, Login: a.console.AskLogin,
		Conns: a.conns, Users: a.web.HasUsers(), Logger: a.component("web")}
	if u, err := url.Parse(a.externalURL()); err == nil {
		e.Hosts = append(e.Hosts, u.Hostname())
	}
	if name, err := os.Hostname(); err == nil { // no page elsewhere has this name
		e.Hosts = append(e.Hosts, name)
	}
	return e
}

// LoginLink returns a link that lets a person on the terminal log in once, as the admin token.
func (a *App) LoginLink() (portal.LoginLink, error) {
	return a.console.LoginFor(access.Identity{Kind: access.ByToken, Name: config.AdminTokenName, Role: access.Admin})
}

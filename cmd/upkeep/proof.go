package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
)

// A login is what a command shows to a running upkeep.
type login struct {
	token string
	hint  string // what to do where it is refused
	file  string // of the upkeep on this machine, where the token is from there; else ""
}

// errLost is what a request gets whose connection is gone that was proved. It may be proved anew: the server may have
// closed it, and on a busy machine the client itself gives it up, where it does not hear in time that all was written.
var errLost = errors.New("the server has closed the connection; try again")

// lostTries is how often that is done.
const lostTries = 5

// maxProof is above what an upkeep answers.
const maxProof = 4 << 10

// oneConnection returns a client that connects once: the server that has proved itself is the
// one that gets the token, also where its port is given to another program meanwhile.
func oneConnection(patience time.Duration) *http.Client {
	var connected atomic.Bool
	var dialer net.Dialer
	return &http.Client{Timeout: patience, CheckRedirect: noRedirect,
		Transport: &http.Transport{ // no proxy
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if connected.Swap(true) {
					return nil, errLost
				}
				return dialer.DialContext(ctx, network, address)
			},
		}}
}

// noRedirect keeps a token from where a server would have it sent.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// prove asks what answers at base to show that it knows the token of this machine, which any
// program on the port of an upkeep would be sent otherwise.
func prove(ctx context.Context, h *http.Client, base string, l login) error {
	var at net.Addr
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { at = i.Conn.RemoteAddr() }})
	challenge := rand.Text()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet,
		base+portal.ProofPath+"?"+url.Values{"challenge": {challenge}}.Encode(), nil)
	if err != nil {
		return err
	}
	res, err := h.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read only
	text, err := io.ReadAll(io.LimitReader(res.Body, maxProof))
	if err != nil {
		return fail(exitAway, fmt.Errorf("proof: %w", err))
	}
	var shown portal.Proof
	if json.Unmarshal(text, &shown) == nil && access.Proves(shown.Proof, l.token, challenge, at.String()) {
		return nil
	}
	return fail(exitDenied, &unproven{base, filepath.Dir(l.file)})
}

// unproven says that the admin token was not sent.
type unproven struct{ base, dataDir string }

// Error implements error.
func (u *unproven) Error() string {
	return fmt.Sprintf("what answers at %s does not prove that it is the upkeep of the data_dir %s, so it was not "+
		"sent the admin token: say where its data_dir is with --data-dir, or give a token with --token-file", u.base,
		u.dataDir)
}

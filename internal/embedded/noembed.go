//go:build noembed

package embedded

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
)

// errLeftOut says why, and what to do.
var errLeftOut = errors.New("this upkeep was built without Prometheus and Alertmanager (noembed): set embedded.enabled to false, or use the full build")

// Embedded is not in this binary.
type Embedded struct{}

// New returns an error: this binary was built without the libraries.
func New(Config) (*Embedded, error) {
	return nil, errLeftOut
}

// Run is never reached.
func (*Embedded) Run(context.Context) error { return nil }

// Prometheus is never reached.
func (*Embedded) Prometheus() http.Handler { return http.NotFoundHandler() }

// Alertmanager is never reached.
func (*Embedded) Alertmanager() http.Handler { return http.NotFoundHandler() }

// Client is never reached.
func (*Embedded) Client() *http.Client { return http.DefaultClient }

// Ready is never reached.
func (*Embedded) Ready() bool { return false }

// Reload is never reached.
func (*Embedded) Reload(fs.FS, []string) error { return nil }

// CheckRules returns an error: rules are not evaluated here.
func CheckRules(fs.FS, []string) error { return errLeftOut }

// Configure is never reached.
func (*Embedded) Configure(string, string) error { return nil }

// A Fault is what Prometheus does not take of a part of its configuration.
type Fault struct {
	Line int
	Text string
}

// CheckPart returns nothing: the configuration says that nothing is embedded.
func CheckPart(string, string, string) []Fault { return nil }

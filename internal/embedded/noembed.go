//go:build noembed

package embedded

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
)

// Available tells whether this binary can run in embedded mode.
const Available = false

// Embedded is not in this binary.
type Embedded struct{}

// New returns an error: this binary was built without the libraries.
func New(Config) (*Embedded, error) {
	return nil, errors.New("this upkeep was built without Prometheus and Alertmanager (noembed): set embedded.enabled to false, or use the full build")
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

// CheckRules cannot check anything here: without the libraries there is no parser.
func CheckRules(fs.FS, []string) error { return nil }

//go:build !noembed

package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// webhookPath is where the webhook handler is called within the process.
const webhookPath = "/webhook"

// Embedded is a Prometheus and an Alertmanager in the process.
type Embedded struct {
	config Config
	pipe   *pipe
	prom   *prom
	alert  *alertmanager
	ready  atomic.Bool
}

// New opens the storage and reads silences and the notification log. It starts
// nothing that asks or tells anybody.
func New(c Config) (*Embedded, error) {
	e := &Embedded{config: c, pipe: newPipe()}
	var err error
	if e.alert, err = newAlertmanager(c, e.pipe); err != nil {
		return nil, fmt.Errorf("embedded alertmanager: %w", err)
	}
	if e.prom, err = newProm(c, e.pipe, e.alert.take); err != nil {
		e.alert.close()
		return nil, fmt.Errorf("embedded prometheus: %w", err)
	}
	return e, nil
}

// Run scrapes, evaluates and delivers until ctx is done, and closes the storage.
func (e *Embedded) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("/metrics", e.config.Metrics)
	mux.Handle(webhookPath, e.config.Webhook)
	mux.Handle("/api/v1/", e.Prometheus())
	mux.Handle("/api/v2/", e.Alertmanager())
	inner := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}

	var group errgroup.Group
	group.Go(func() error {
		if err := inner.Serve(e.pipe); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	e.alert.start()
	e.prom.start(&group)
	e.ready.Store(true)
	<-ctx.Done()
	e.ready.Store(false)
	e.prom.stop() // no more alerts
	e.alert.close()
	return errors.Join(inner.Close(), group.Wait(), e.prom.close())
}

// Prometheus answers the stock /api/v1.
func (e *Embedded) Prometheus() http.Handler { return e.prom.api }

// Alertmanager answers the stock /api/v2. A silence that it has acknowledged is
// on disk.
func (e *Embedded) Alertmanager() http.Handler { return e.alert.api }

// Client returns a client whose requests reach the Prometheus (/api/v1) and the
// Alertmanager (/api/v2) within the process, whatever host they name.
func (e *Embedded) Client() *http.Client { return e.pipe.client() }

// Ready reports whether the rules are being evaluated and alerts delivered.
func (e *Embedded) Ready() bool { return e.ready.Load() }

// Reload puts other rules in the place of those in use. When one of them is
// wrong, the error says where and all old ones stay.
func (e *Embedded) Reload(rules fs.FS, files []string) error {
	if err := CheckRules(rules, files); err != nil {
		return err
	}
	return e.prom.load(rules, files)
}

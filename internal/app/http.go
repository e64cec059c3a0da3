package app

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/ai-micro-service/upkeep/internal/webconfig"
)

// WebhookPath is where Alertmanager delivers.
const WebhookPath = "/webhook/alertmanager"

// GrafanaPath is where Grafana's alerting delivers.
const GrafanaPath = "/webhook/grafana"

// router returns everything that is served.
func (a *App) router() http.Handler {
	r := http.NewServeMux()
	r.Handle("GET /metrics", a.scraper)
	r.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "upkeep is healthy") })
	r.HandleFunc("GET /-/ready", a.ready)
	r.Handle("POST /-/reload", a.gate.Guarded(http.HandlerFunc(a.reload)))
	r.Handle(GrafanaPath, a.webhook.Grafana())
	r.Handle(WebhookPath, a.webhook) // it answers every method itself, and counts it
	a.console.Mount(r)
	if a.embedded != nil {
		r.Handle("/api/v1/", a.embedded.Prometheus()) // it only reads, with POST too: a query may be long
		r.Handle("/api/v2/", a.gate.Reading(a.embedded.Alertmanager()))
	}
	return a.recovered(r)
}

func say(w http.ResponseWriter, status int, format string, args ...any) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, format+"\n", args...) // who hung up needs no answer
}

// recovered turns a panic of one request into a 500 and a line in the log.
func (a *App) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			a.log.Error("request panicked", "path", r.URL.Path, "err", fmt.Errorf("%v", p))
			w.WriteHeader(http.StatusInternalServerError)
		}()
		next.ServeHTTP(w, r)
	})
}

func (a *App) ready(w http.ResponseWriter, r *http.Request) {
	if err := a.store.Ping(r.Context()); err != nil {
		say(w, http.StatusServiceUnavailable, "not ready: %v", err)
		return
	}
	if a.embedded != nil && !a.embedded.Ready() {
		say(w, http.StatusServiceUnavailable, "not ready: the embedded Prometheus does not run yet")
		return
	}
	say(w, http.StatusOK, "upkeep is ready")
}

// serve answers on the listener, with TLS and basic authentication as the web
// configuration file says.
func (a *App) serve(server *http.Server) error {
	err := webconfig.Serve(a.listener, server, a.start.Web.ConfigFile)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("web: %w", err)
}

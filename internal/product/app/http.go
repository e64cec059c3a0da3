package app

import (
	"errors"
	"fmt"
	"net/http"
	"path"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// router returns everything that is served.
func (a *App) router() http.Handler {
	r := web.New(a.log)
	r.Use(a.web.Middleware())
	web.Get(r, scrape.Path, gin.WrapH(a.scraper))
	web.Get(r, "/-/healthy", func(g *gin.Context) { say(g, http.StatusOK, "upkeep is healthy") })
	web.Get(r, "/-/ready", a.ready)
	r.POST("/-/reload", a.gate.Guarded(), a.reload)
	for _, s := range webhook.Sources() {
		r.Any(s.Path, gin.WrapH(a.webhook.From(s))) // it answers every method itself, and counts it
	}
	a.console.Mount(r)
	if a.embedded != nil {
		// it only reads, with POST too: a query may be long
		r.Any("/api/v1/*path", exact, gin.WrapH(a.embedded.Prometheus()))
		r.Any("/api/v2/*path", exact, a.gate.Reading(), gin.WrapH(a.embedded.Alertmanager()))
	}
	return r
}

// exact answers 404 to what the stock APIs would redirect: a path with a slash too many.
func exact(g *gin.Context) {
	if p := g.Request.URL.Path; path.Clean(p) != p {
		say(g, http.StatusNotFound, "404 page not found")
		g.Abort()
	}
}

func say(g *gin.Context, status int, format string, args ...any) {
	g.Header("Content-Type", "text/plain; charset=utf-8")
	g.Status(status)
	_, _ = fmt.Fprintf(g.Writer, format+"\n", args...) // who hung up needs no answer
}

func (a *App) ready(g *gin.Context) {
	if err := a.store.Ping(g.Request.Context()); err != nil {
		say(g, http.StatusServiceUnavailable, "not ready: %v", err)
		return
	}
	if a.embedded != nil && !a.embedded.Ready() {
		say(g, http.StatusServiceUnavailable, "not ready: the embedded Prometheus does not run yet")
		return
	}
	say(g, http.StatusOK, "upkeep is ready")
}

// answer answers on the listener, with TLS where the web configuration file has it.
func (a *App) answer(server *http.Server) error {
	err := a.web.Serve(a.listener, server)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("web: %w", err)
}

func (a *App) reload(g *gin.Context) {
	if err := a.Reload(); err != nil {
		say(g, http.StatusUnprocessableEntity, "the configuration was refused, the old one stays in force:\n%v", err)
		return
	}
	say(g, http.StatusOK, "reloaded")
}

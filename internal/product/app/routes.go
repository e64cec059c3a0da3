package app

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/product/embedded"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// router returns everything that is served.
func (a *App) router() http.Handler {
	r := web.New(a.log)
	r.Use(a.web.Middleware())
	a.entrance().Mount(r, a.routes())
	return r
}

// routes is the table of what is served, and of what each asks for.
func (a *App) routes() []web.Route {
	metrics := web.Get(scrape.Path, access.View, "the metrics of all collectors", gin.WrapH(a.scraper))
	if a.start.Web.MetricsOpen {
		metrics.Roles, metrics.Open = nil, true
	}
	reload := web.Post("/-/reload", access.Admin, "read the configuration again", a.reload)
	reload.Time = reloadTime
	all := []web.Route{metrics, reload,
		health("/-/healthy", "whether the process answers", func(g *gin.Context) {
			say(g, http.StatusOK, "upkeep is healthy")
		}),
		health("/-/ready", "whether alerts can be taken", a.ready),
		{Methods: []string{http.MethodGet}, Path: portal.ProofPath, Open: true,
			Doc: "shows a command on the same machine that this upkeep knows the admin token", Handler: a.prove},
	}
	for _, s := range webhook.Sources() {
		all = append(all, a.receive(s))
	}
	all = append(all, a.console.Routes()...)
	if a.embedded != nil {
		all = append(all, a.embeddedRoutes()...)
	}
	return all
}

func health(path, doc string, handler gin.HandlerFunc) web.Route {
	return web.Route{Methods: []string{http.MethodGet}, Path: path, Open: true, Apart: true, Doc: doc, Handler: handler}
}

const (
	// A reload opens connections to new targets.
	reloadTime = 5 * time.Minute

	// A large delivery takes its time to be sent and stored.
	deliveryTime = time.Minute

	// maxDelivery is above what package webhook reads: it says itself what was too large.
	maxDelivery = 17 << 20

	// maxAlerts is what Alertmanager's own API takes: 4,000 alerts of usual size.
	maxAlerts = 4 << 20
)

// receive is the route of a source's deliveries. One that signs them proves itself by that, or
// by a login.
func (a *App) receive(s webhook.Source) web.Route {
	proven, signed := a.webhook.Proven(s), a.webhook.From(s)
	r := web.Post(s.Path, access.Deliver, "alerts of "+s.Name, nil)
	r.Pool, r.Body, r.Time = web.Deliveries(), maxDelivery, deliveryTime
	r.Refused = func(r *http.Request, status int, why string) { a.webhook.Refused(r, s, status, errors.New(why)) }
	if a.webhook.Signed(s) {
		r.Proof = "a signature (grafana.secret_file)"
	}
	granted := r.Grants
	r.Handler = func(g *gin.Context) {
		if id, ok := web.Identity(g); ok && granted(id.Role) {
			proven.ServeHTTP(g.Writer, g.Request)
			return
		}
		signed.ServeHTTP(g.Writer, g.Request)
	}
	return r
}

// embeddedRoutes are the stock APIs of the Prometheus and the Alertmanager in the process.
func (a *App) embeddedRoutes() []web.Route {
	prometheus := func(g *gin.Context) {
		budget := embedded.ViewBudget
		if id, _ := web.Identity(g); id.Role.Includes(access.Operate) {
			budget = embedded.OperateBudget
		}
		a.embedded.Budgeted(budget).ServeHTTP(g.Writer, g.Request)
	}
	query := web.Get("/api/v1/*path", access.View, "the stock API of Prometheus, which only reads", prometheus)
	query.Methods = append(query.Methods, http.MethodPost) // a query may be long
	query.Pool, query.Body, query.Time = web.Queries(), 1<<20, embedded.QueryTimeout
	all := []web.Route{query}
	alertmanager := gin.WrapH(embedded.Frugal(a.embedded.Alertmanager()))
	for _, path := range []string{"/status", "/receivers", "/alerts", "/alerts/groups", "/silences", "/silence/:id"} {
		all = append(all, web.Get("/api/v2"+path, access.View, "the stock API of Alertmanager", alertmanager))
	}
	alerts := web.Post("/api/v2/alerts", access.Deliver, "send alerts", alertmanager)
	alerts.Roles = []access.Role{access.Deliver, access.Operate}
	alerts.Body = maxAlerts
	silence := web.Post("/api/v2/silences", access.Operate, "silence alerts", alertmanager)
	expire := web.Post("/api/v2/silence/:id", access.Operate, "end a silence", alertmanager)
	expire.Methods = []string{http.MethodDelete}
	all = append(all, alerts, silence, expire)
	for i := range all {
		all[i].Handler = exactly(all[i].Handler)
	}
	return all
}

// exactly has a handler answer under the very path that was asked for.
func exactly(handler gin.HandlerFunc) gin.HandlerFunc {
	return func(g *gin.Context) {
		if exact(g); !g.IsAborted() {
			handler(g)
		}
	}
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
	if err := a.readiness(g.Request.Context(), false); err != nil {
		say(g, http.StatusServiceUnavailable, "not ready: %v", err)
		return
	}
	say(g, http.StatusOK, "upkeep is ready")
}

// answer answers on the listener, with TLS where the web configuration file has it.
func (a *App) answer(server *http.Server) error {
	err := a.web.Serve(a.listener, web.Framed(a.listener), server)
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

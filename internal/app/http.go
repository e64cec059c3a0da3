package app

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/exporter-toolkit/web"
)

// WebhookPath is where Alertmanager delivers.
const WebhookPath = "/webhook/alertmanager"

// router returns everything that is served.
func (a *App) router() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.Use(a.recovered)
	r.HandleMethodNotAllowed = true
	r.GET("/metrics", gin.WrapH(a.scraper))
	r.GET("/-/healthy", func(g *gin.Context) { g.String(http.StatusOK, "upkeep is healthy\n") })
	r.GET("/-/ready", a.ready)
	r.POST("/-/reload", a.gate.Guarded, a.reload)
	r.Any(WebhookPath, gin.WrapH(a.webhook)) // it answers every method itself, and counts it
	a.console.Mount(r)
	if a.embedded != nil {
		r.Any("/api/v1/*path", a.gate.Reading, gin.WrapH(a.embedded.Prometheus()))
		r.Any("/api/v2/*path", a.gate.Reading, gin.WrapH(a.embedded.Alertmanager()))
	}
	return r
}

// recovered turns a panic of one request into a 500 and a line in the log.
func (a *App) recovered(g *gin.Context) {
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			a.log.Error("request panicked", "path", g.Request.URL.Path, "err", fmt.Errorf("%v", p))
			g.AbortWithStatus(http.StatusInternalServerError)
		}
	}()
	g.Next()
}

func (a *App) ready(g *gin.Context) {
	if err := a.store.Ping(g.Request.Context()); err != nil {
		g.String(http.StatusServiceUnavailable, "not ready: %v\n", err)
		return
	}
	if a.embedded != nil && !a.embedded.Ready() {
		g.String(http.StatusServiceUnavailable, "not ready: the rules were not evaluated yet\n")
		return
	}
	g.String(http.StatusOK, "upkeep is ready\n")
}

// serve answers on the listener, with TLS and basic authentication as the web
// configuration file says.
func (a *App) serve(server *http.Server) error {
	systemd, listen, file := false, []string{a.config.Web.Listen}, a.config.Web.ConfigFile
	err := web.Serve(a.listener, server, &web.FlagConfig{WebListenAddresses: &listen, WebSystemdSocket: &systemd, WebConfigFile: &file}, a.log)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("web: %w", err)
}

// inProcess answers requests by a handler of this process.
type inProcess struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	reader, writer := io.Pipe()
	res := &response{header: make(http.Header), body: writer, begun: make(chan int, 1)}
	go func() {
		p.handler.ServeHTTP(res, r)
		res.WriteHeader(http.StatusOK)
		_ = writer.Close() // never fails
	}()
	select {
	case status := <-res.begun:
		return &http.Response{StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Header: res.header, Body: reader, Request: r, ProtoMajor: 1, ProtoMinor: 1}, nil
	case <-r.Context().Done():
		_ = reader.Close()
		return nil, r.Context().Err()
	case <-time.After(time.Minute):
		_ = reader.Close()
		return nil, errors.New("no answer within the process")
	}
}

type response struct {
	header http.Header
	body   *io.PipeWriter
	begun  chan int
	wrote  bool
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if !w.wrote {
		w.wrote = true
		w.begun <- status
	}
}

func (w *response) Write(text []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(text)
}

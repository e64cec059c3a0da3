// Package web makes the router that everything is served by, with the entrance that each request
// passes: each route declares who may use it, and what is not declared answers no stranger.
package web

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"
)

// New returns a router that trusts no proxy, redirects nothing, answers 405 with the
// methods that a path has, and turns a panic of one request into a 500 and a line in
// the log.
func New(log *slog.Logger) *gin.Engine {
	gin.SetMode(gin.ReleaseMode) // else it writes to the terminal
	r := gin.New()
	r.HandleMethodNotAllowed = true
	// A redirect would make a GET of a POST.
	r.RedirectTrailingSlash, r.RedirectFixedPath = false, false
	// A name within a path may have a slash in it, which is written as %2F there.
	r.UseRawPath, r.UnescapePathValues = true, true
	// A client that is where its packets come from, whatever a header says.
	_ = r.SetTrustedProxies(nil) // nothing is parsed
	r.Use(recovered(log))
	return r
}

func recovered(log *slog.Logger) gin.HandlerFunc {
	return func(g *gin.Context) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			log.Error("request panicked", "path", g.Request.URL.Path, "err", fmt.Errorf("%v", p))
			g.AbortWithStatus(http.StatusInternalServerError)
		}()
		g.Next()
	}
}

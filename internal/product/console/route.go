package console

import (
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
)

// requestTime is enough for a plan, which asks the target, and for a cancelled run, which is
// waited for.
const requestTime = time.Minute

func page(path string, need access.Role, doc string, handler gin.HandlerFunc) web.Route {
	r := web.Get(path, need, doc, handler)
	r.Page = true
	return r
}

func request(path string, need access.Role, doc string, handler gin.HandlerFunc) web.Route {
	r := web.Post(Prefix+path, need, doc, handler)
	r.Body, r.Time = maxBody, requestTime
	return r
}

// bounded is a route that makes a report: one at once, which reads a month.
func bounded(r web.Route) web.Route {
	r.Pool, r.Time = web.Reports(), reportTime
	return r
}

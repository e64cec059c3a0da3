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

func html(path string, need access.Role, doc string, handler gin.HandlerFunc) web.Route {
	r := web.Get(path, need, doc, handler)
	r.Page = true
	return r
}

// form is a route that a form of a page posts to.
func form(path string, need access.Role, doc string, handler gin.HandlerFunc) web.Route {
	r := web.Post(path, need, doc, handler)
	r.Body, r.Time = maxForm, requestTime
	return r
}

// stream is a route whose answer goes on.
func stream(path string, need access.Role, doc string, handler gin.HandlerFunc) web.Route {
	r := web.Get(path, need, doc, handler)
	r.Pool, r.Time = web.Streams(), streamTime
	return r
}

// streamTime is how long one goes on before the browser asks again, with the login of then.
const streamTime = 10 * time.Minute

func request(path string, need access.Role, doc string, handler gin.HandlerFunc) web.Route {
	r := web.Post(Prefix+path, need, doc, handler)
	r.Body, r.Time = maxBody, requestTime
	return r
}

// lookTime is enough for targets that do not answer: the look gives them up before.
const lookTime = time.Minute

// patient is a route that looks at all targets.
func patient(r web.Route) web.Route {
	r.Time = lookTime
	return r
}

// bounded is a route that makes a report: one at once, which reads a month.
func bounded(r web.Route) web.Route {
	r.Pool, r.Time = web.Reports(), reportTime
	return r
}

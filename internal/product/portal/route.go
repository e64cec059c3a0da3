package portal

import (
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
)

// requestTime is enough for a plan, which asks the target, and for a cancelled run, which is
// waited for.
const requestTime = time.Minute

// PageAt is a route that people look at.
func PageAt(path string, need access.Role, doc string, handler gin.HandlerFunc) web.Route {
	r := web.Get(path, need, doc, handler)
	r.Page = true
	return r
}

// FormAt is a route that a form of a page posts to.
func FormAt(path string, need access.Role, doc string, handler gin.HandlerFunc) web.Route {
	r := web.Post(path, need, doc, handler)
	r.Body, r.Time, r.Form = MaxForm, requestTime, true
	return r
}

// StreamAt is a route whose answer goes on.
func StreamAt(path string, need access.Role, doc string, handler gin.HandlerFunc) web.Route {
	r := web.Get(path, need, doc, handler)
	r.Pool, r.Time = web.Streams(), streamTime
	return r
}

// streamTime is how long one goes on before the browser asks again, with the login of then.
const streamTime = 10 * time.Minute

// RequestAt is a route below Prefix that programs post to.
func RequestAt(path string, need access.Role, doc string, handler gin.HandlerFunc) web.Route {
	r := web.Post(Prefix+path, need, doc, handler)
	r.Body, r.Time = maxBody, requestTime
	return r
}

// lookTime is enough for targets that do not answer: the look gives them up before.
const lookTime = time.Minute

// Patient is a route that looks at all targets.
func Patient(r web.Route) web.Route {
	r.Time = lookTime
	return r
}

// reportTime is enough for a quarter on a busy machine.
const reportTime = 2 * time.Minute

// Bounded is a route that makes a report: one at once, which reads a month.
func Bounded(r web.Route) web.Route {
	r.Pool, r.Time = web.Reports(), reportTime
	return r
}

package console

import (
	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/web"
)

// Mount adds the console to a router.
func (c *Console) Mount(r gin.IRouter) {
	web.Get(r, "/", c.page)
	web.Get(r, Prefix+"/status", c.status)
	web.Get(r, Prefix+"/runs", c.runs)
	web.Get(r, Prefix+"/runs/:id", c.run)
	web.Get(r, Prefix+"/pauses", c.pauses)
	web.Get(r, Prefix+"/schedules", c.schedules)
	c.mountPeople(r)
	c.mountApprove(r)
	c.mountInbox(r)
	c.mountRunbooks(r)
	may := c.Gate.Guarded()
	r.POST(Prefix+"/plans", may, c.plan)
	r.POST(Prefix+"/runs", may, c.request)
	r.POST(Prefix+"/pauses", may, c.pause)
	r.DELETE(Prefix+"/pauses", may, c.resume)
}

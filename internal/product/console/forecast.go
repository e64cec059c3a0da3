package console

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/product/forecast"
	"github.com/ai-micro-service/upkeep/internal/product/report"
)

func (c *Console) forecast(g *gin.Context) {
	asker := c.metrics()
	if asker == nil {
		c.answer(g, 0, nil, badRequest("no forecast: embedded mode is off and prometheus.url is empty"))
		return
	}
	if err := forecast.Known(g.Query("resource")); err != nil {
		c.answer(g, 0, nil, badRequest(err.Error()))
		return
	}
	rows, err := forecast.Read(g.Request.Context(), asker, g.Query("resource"), time.Time{})
	c.answer(g, http.StatusOK, rows, err)
}

// metrics returns the Prometheus that is asked, or nil.
func (c *Console) metrics() report.Prometheus {
	if c.Metrics == nil {
		return nil
	}
	return c.Metrics()
}

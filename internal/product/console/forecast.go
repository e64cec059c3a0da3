package console

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/product/forecast"
)

func (c *Console) forecast(g *gin.Context) {
	var asker forecast.Asker
	if c.Metrics != nil {
		asker = c.Metrics()
	}
	if asker == nil {
		c.answer(g, 0, nil, badRequest("no forecast: embedded mode is off and prometheus.url is empty"))
		return
	}
	rows, err := forecast.Read(g.Request.Context(), asker, g.Query("resource"), time.Time{})
	c.answer(g, http.StatusOK, rows, err)
}

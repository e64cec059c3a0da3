package console

import (
	"encoding/json"

	"github.com/gin-gonic/gin"
)

type object map[string]any

func reply(g *gin.Context, status int, value any) {
	g.Header("Content-Type", "application/json; charset=utf-8")
	g.Status(status)
	_ = json.NewEncoder(g.Writer).Encode(value) // who hung up needs no answer
}

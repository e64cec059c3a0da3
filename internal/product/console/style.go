package console

import (
	_ "embed"

	"github.com/gin-gonic/gin"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"
)

//go:embed page.css
var pageCSS string

// stylePath is where the style sheet is: a page may use no style that is written in it.
const stylePath = "/static/upkeep.css"

func style(g *gin.Context) {
	g.Header("Content-Type", "text/css; charset=utf-8")
	g.Header("Cache-Control", "max-age=3600")
	_, _ = g.Writer.WriteString(pageCSS) // who hung up needs no answer
}

func styleLink() Node { return Link(Rel("stylesheet"), Href(stylePath)) }

package console

import (
	"strings"
	"time"
	"unicode"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/web"
)

const (
	maxForm   = 8 << 10 // the token, a name and a reason
	nameLimit = 60      // letters of a claimed name
)

// by returns who a request comes from, with the name that it claims.
func by(g *gin.Context, claim string) string {
	id, _ := web.Identity(g)
	return id.By(line(claim, nameLimit))
}

// line returns what a person typed as one line of at most so many letters.
func line(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	letters := []rune(strings.Join(strings.Fields(text), " "))
	return string(letters[:min(len(letters), limit)])
}

func moment(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }

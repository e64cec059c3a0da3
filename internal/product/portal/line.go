package portal

import (
	"strings"
	"time"
	"unicode"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/web"
)

// How much is read of what people send.
const (
	MaxForm   = 8 << 10 // bytes of a form: the token, a name and a reason
	NameLimit = 60      // letters of a claimed name
)

// By returns who a request comes from, with the name that it claims.
func By(g *gin.Context, claim string) string {
	id, _ := web.Identity(g)
	return id.By(Line(claim, NameLimit))
}

// Line returns what a person typed as one line of at most so many letters.
func Line(text string, limit int) string {
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

// Moment writes a moment with its zone.
func Moment(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }

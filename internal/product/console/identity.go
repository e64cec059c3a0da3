package console

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/web"
)

const (
	maxForm   = 8 << 10 // the token, a name and a reason
	nameLimit = 60      // letters of a claimed name

	// What a person writes is in the journal, in lists, notifications and the log, once for each run that it is
	// about: a name of PostgreSQL or Redis is a tenth of askLimit.
	reasonLimit = 1000
	askLimit    = 4 << 10 // bytes, of all names and values of a request together
)

// reason returns a reason as one line, or says that it is too long.
func reason(text string) (string, error) {
	if len(text) > 4*reasonLimit || len([]rune(text)) > reasonLimit {
		return "", badRequest(fmt.Sprintf("the reason is longer than %d letters", reasonLimit))
	}
	return line(text, reasonLimit), nil
}

// bounded refuses a request whose names and values are longer than any that a target has.
func (a Ask) bounded() error {
	size := len(a.Action) + len(a.Key)
	for _, all := range []map[string]string{a.Subject, a.Params} {
		for name, value := range all {
			size += len(name) + len(value)
		}
	}
	for _, name := range a.Windows {
		size += len(name)
	}
	if size > askLimit {
		return badRequest(fmt.Sprintf("the names and values of the request are longer than %d bytes together", askLimit))
	}
	return nil
}

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

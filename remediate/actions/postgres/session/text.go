package session

import (
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
)

// When writes a moment for people.
func When(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format(time.DateTime)
}

// Stamp writes a time as exactly as the server knows it, or "".
func Stamp(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// Lasting writes a number of seconds for people.
func Lasting(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

// Days is how many whole days a time has.
func Days(d time.Duration) int { return int(d.Hours() / 24) }

// QuoteList quotes names and puts commas between.
func QuoteList(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = pgx.Identifier{n}.Sanitize()
	}
	return strings.Join(quoted, ", ")
}

// Literal quotes a text.
func Literal(text string) string {
	return "e'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// Bytes is a size for people.
func Bytes(n int64) string { return remediate.Quantity("_bytes", float64(n)) }

package postgres

import (
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
)

func when(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format(time.DateTime)
}

// stamp writes a time as exactly as the server knows it, or "".
func stamp(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// lasting writes a number of seconds for people.
func lasting(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

func days(d time.Duration) int { return int(d.Hours() / 24) }

// list quotes names and puts commas between.
func list(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = pgx.Identifier{n}.Sanitize()
	}
	return strings.Join(quoted, ", ")
}

// literal quotes a text.
func literal(text string) string {
	return "e'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// byteText is a size for people.
func byteText(n int64) string { return remediate.Quantity("_bytes", float64(n)) }

package remediate

import (
	"net/url"
	"time"
)

// A DeadLetter is a delivery that could not be read, kept for people.
type DeadLetter struct {
	ID       int64     `json:"id"`
	Received time.Time `json:"received"`
	Remote   string    `json:"remote"` // who sent it
	Source   string    `json:"source"` // whose alerts it was to bring
	Status   int       `json:"status"` // that was answered
	Error    string    `json:"error"`  // why
	Size     int64     `json:"size"`   // of the whole body, as far as it is known
	Body     []byte    `json:"body,omitempty"`
}

// maxExpr is the longest expression that is kept of a rule. Longer ones are
// written by programs, and evaluating them twice is too expensive.
const maxExpr = 16 << 10

// RuleExpr returns the expression of the rule that an alert's generatorURL leads
// to, as Prometheus writes it, or "".
func RuleExpr(generatorURL string) string {
	u, err := url.Parse(generatorURL)
	if err != nil {
		return "" // the sender of the alert can write anything there
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return ""
	}
	if expr := query.Get("g0.expr"); len(expr) <= maxExpr {
		return expr
	}
	return ""
}

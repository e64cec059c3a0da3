// Package policy decides which action an alert asks for, in which order, and
// whether it helped. Deciding reads nothing and changes nothing: the same case and
// policies give the same decision, now and when the journal is replayed.
package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/pkg/labels"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A Policy says what is done about the alerts that it matches: its steps, one
// after the other, until one has resolved the incident.
type Policy struct {
	Name  string          `json:"name"`
	Match labels.Matchers `json:"match"`          // all must match the alert's labels; none matches nothing
	Hold  time.Duration   `json:"hold,omitempty"` // how long an incident must be open before the first step
	Steps []Step          `json:"steps"`

	// The limit and the expression of the alerts, in place of those of their rule. Limit is nil
	// and Expr empty where the rule's hold.
	Limit *float64 `json:"limit,omitempty"`
	Expr  string   `json:"expr,omitempty"`
}

// A Step is one action of a policy's chain.
type Step struct {
	Action string         `json:"action"` // "postgres/vacuum"
	Mode   remediate.Mode `json:"mode"`
	// label of the action → "$label" of the alert, or a fixed value; a label not named here is
	// taken as it is
	Subject map[string]string `json:"subject,omitempty"`
	// parameter of the action → a fixed value, or text with "$label" or "${label}" in it
	With map[string]string `json:"with,omitempty"`
	// of the action's own metric, where the step only clears the way for the next; nil: the alert's
	Limit *float64        `json:"limit,omitempty"`
	Terms remediate.Terms `json:"terms,omitzero"`
}

// An Action is what a book knows of an action.
type Action struct {
	Name    string            `json:"name"`
	Subject []string          `json:"subject"` // the labels that say on what it works
	Params  []remediate.Param `json:"params,omitempty"`

	Asks     bool `json:"asks,omitempty"`     // it never acts unasked
	Windowed bool `json:"windowed,omitempty"` // it acts within a window only
}

// A Book is the policies in their order, and what it knows of each action.
type Book struct {
	Policies []Policy          `json:"policies"`
	Actions  map[string]Action `json:"actions"`
}

// Hash identifies the book: two that decide alike have the same one.
func (b Book) Hash() string {
	text, err := json.Marshal(b)
	if err != nil {
		// the configuration lets no share in that is no number
		panic(fmt.Sprintf("policy: a book that is no JSON: %v", err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// plain is a Policy without methods, and with its matchers as their text.
type plain struct {
	Name  string        `json:"name"`
	Match []string      `json:"match"`
	Hold  time.Duration `json:"hold,omitempty"`
	Steps []Step        `json:"steps"`
}

// MarshalJSON writes the policy with its matchers as Alertmanager writes them.
func (p Policy) MarshalJSON() ([]byte, error) {
	texts := make([]string, len(p.Match))
	for i, m := range p.Match {
		texts[i] = m.String()
	}
	return json.Marshal(plain{p.Name, texts, p.Hold, p.Steps})
}

// UnmarshalJSON reads what MarshalJSON has written.
func (p *Policy) UnmarshalJSON(text []byte) error {
	var read plain
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*p = Policy{Name: read.Name, Hold: read.Hold, Steps: read.Steps}
	for _, one := range read.Match {
		m, err := ParseMatchers(one)
		if err != nil {
			return fmt.Errorf("policy %q: matcher %q: %w", read.Name, one, err)
		}
		p.Match = append(p.Match, m...)
	}
	return nil
}

// ParseMatchers reads matchers as Alertmanager does since it takes label names in UTF-8,
// like "my.label"="x". What only its classic parser understands is read by that one.
func ParseMatchers(text string) (labels.Matchers, error) {
	return compat.FallbackMatchersParser(slog.New(slog.DiscardHandler))(text, "policy")
}

// Matches reports whether every matcher matches the labels, and otherwise the
// first that does not, where there is any matcher at all. A label that is not
// there is held for one that is empty, as Alertmanager does.
func (p Policy) Matches(have map[string]string) (bool, *labels.Matcher) {
	for _, m := range p.Match {
		if !m.Matches(have[m.Name]) {
			return false, m
		}
	}
	return len(p.Match) > 0, nil
}

// A Case is what is known of an incident when it is decided about.
type Case struct {
	Incident remediate.Incident `json:"incident"`
	History  []Past             `json:"history,omitempty"` // the runs of the incident, the oldest first; all have ended
	Now      time.Time          `json:"now"`
}

// Past is how one run of an incident ended.
type Past struct {
	Run    int64           `json:"run"`
	Policy string          `json:"policy"`
	Step   int             `json:"step"`
	Action string          `json:"action"`
	State  remediate.State `json:"state"`
	Reason string          `json:"reason,omitempty"`
	Why    string          `json:"why,omitempty"`
	Acted  bool            `json:"acted,omitempty"`
}

// A Decision is what the book says to a case: a run that is asked for, people that
// are paged, or neither. Wait says when to look again, where time alone will change
// the decision.
type Decision struct {
	Request *remediate.Request `json:"request,omitempty"`
	Page    bool               `json:"page,omitempty"`
	Wait    time.Time          `json:"wait,omitzero"`
	Policy  string             `json:"policy,omitempty"`
	Why     string             `json:"why"` // for people
}

// Evidence is what was seen after the last step of a run.
type Evidence struct {
	Metric string   `json:"metric"`
	Before *float64 `json:"before,omitempty"`
	After  *float64 `json:"after,omitempty"`   // nil: it could not be read
	Unread string   `json:"unread,omitempty"`  // why it could not be
	NoData bool     `json:"no_data,omitempty"` // the target has no figures of the subject, as after a crash
	Gone   bool     `json:"gone,omitempty"`    // the subject no longer exists
	Limit  *float64 `json:"limit,omitempty"`
	// whether the alert's own expression still holds for the subject; nil: not known
	Firing *bool `json:"firing,omitempty"`
	// the limit is the step's own: what is left of the alert is the next step's
	Aside     bool          `json:"aside,omitempty"`
	Evaluable bool          `json:"evaluable,omitempty"` // a Prometheus is configured to evaluate it
	Since     time.Duration `json:"since"`               // the last step
	Settle    time.Duration `json:"settle"`              // how long the measure may take to show what was done
	Horizon   time.Duration `json:"horizon"`             // how long the expression may hold after its cause is gone
}

// A Verdict is what is to be thought of the evidence. State is empty while it is
// too early to tell.
type Verdict struct {
	State  remediate.State `json:"state,omitempty"`
	Why    string          `json:"why"`
	Reason string          `json:"reason,omitempty"` // remediate.ReasonPrepared, or none
}

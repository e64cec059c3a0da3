// Package policy decides which action an alert asks for, and when it may run.
// Deciding reads nothing and changes nothing: the same episode, runs and policies
// give the same decision.
package policy

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A Policy says what is done about the alerts that it matches.
type Policy struct {
	Name     string
	Match    labels.Matchers // all must match the alert's labels
	Action   string          // "postgres/vacuum"
	Mode     remediate.Mode
	Cooldown time.Duration // how long a subject is left alone after a run
}

// A Book is the policies in their order, and what each action needs to know.
type Book struct {
	Policies []Policy
	Subjects map[string][]string // action → the labels that say on what it works
}

// A Decision is what the book says to one episode: a request, or why there is none.
type Decision struct {
	Request *remediate.Request
	Why     string // for people
}

// Decide returns what is to be done about an episode. The first policy that
// matches decides. The key of the request is the episode's and the policy's, so
// one episode gets one run: what did not help once is not tried again by itself.
func (b Book) Decide(e remediate.Episode) Decision {
	if !e.Closed.IsZero() {
		return Decision{Why: "the episode is over"}
	}
	p, ok := b.first(e.Alert)
	if !ok {
		return Decision{Why: "no policy matches its labels"}
	}
	r := &remediate.Request{
		Key:      fmt.Sprintf("episode/%d/%s", e.ID, p.Name),
		Action:   p.Action,
		Subject:  make(map[string]string),
		Policy:   p.Name,
		Mode:     p.Mode,
		Episode:  e.ID,
		By:       "alert/" + e.Name(),
		Cooldown: p.Cooldown,
	}
	for _, name := range b.Subjects[p.Action] {
		if v := e.Alert.Labels[name]; v != "" {
			r.Subject[name] = v
		}
	}
	// NaN and the infinities parse too, and nothing could be compared with them.
	if limit, err := strconv.ParseFloat(e.Alert.Annotations["limit"], 64); err == nil && !math.IsNaN(limit) && !math.IsInf(limit, 0) {
		r.Limit = &limit
	}
	return Decision{Request: r, Why: fmt.Sprintf("policy %q asks for %s", p.Name, p.Action)}
}

func (b Book) first(a remediate.Alert) (Policy, bool) {
	for _, p := range b.Policies {
		if matches(p.Match, a.Labels) {
			return p, true
		}
	}
	return Policy{}, false
}

// matches holds a label that is not there for one that is empty, as Alertmanager does.
func matches(all labels.Matchers, have map[string]string) bool {
	for _, m := range all {
		if !m.Matches(have[m.Name]) {
			return false
		}
	}
	return len(all) > 0
}

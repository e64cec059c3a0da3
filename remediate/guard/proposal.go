package guard

import (
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// on returns the target that a request is about.
func on(r remediate.Request) string { return r.Subject["server"] }

// ofSame reports whether a run belongs to the policy of the request. What belongs
// to no policy is held together by its action.
func ofSame(w remediate.Work, r remediate.Request) bool {
	return w.Policy == r.Policy && (r.Policy != "" || w.Action == r.Action)
}

// whose names what a request belongs to, for people.
func whose(r remediate.Request) string {
	switch {
	case r.Policy != "":
		return "policy " + r.Policy
	case r.Schedule != "":
		return "schedule " + r.Schedule
	}
	return r.Action
}

// crowdedAgain is how often a run looks whether there is room for it. The end of
// a run wakes the engine too, so that this is for when that is missed.
const crowdedAgain = 15 * time.Second

func crowded(p remediate.Proposal, reason, format string, args ...any) error {
	return &remediate.Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...), Until: p.Now.Add(crowdedAgain)}
}

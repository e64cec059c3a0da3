package remediate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Plan is what an action would do.
type Plan struct {
	Steps []Step   `json:"steps"`
	Facts []string `json:"facts,omitempty"` // what was seen, for people: sizes, last runs, who holds what

	// Amount is how much the plan expects to delete, drop or prune; nil where it
	// removes nothing.
	Amount *Amount `json:"amount,omitempty"`

	// Needs are the missing rights without which the plan must not act.
	Needs []string `json:"needs,omitempty"`
}

// Hash identifies what the plan would do. Facts, Amount and Needs do not count: an
// approval covers an amount with a tolerance. Nor does what a step kept while it acted.
func (p Plan) Hash() string {
	steps := slices.Clone(p.Steps)
	for i := range steps {
		steps[i].Kept = nil
	}
	text, err := json.Marshal(steps)
	if err != nil {
		panic(fmt.Sprintf("remediate: a plan that is no JSON: %v", err)) // strings and maps of strings only
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Question identifies what a person is asked: what the plan would do, and how much it
// expects to remove. An approval of a smaller amount does not cover it.
func (p Plan) Question() string {
	if p.Amount == nil {
		return p.Hash()
	}
	text, err := json.Marshal(p.Amount)
	if err != nil {
		panic(fmt.Sprintf("remediate: an amount that is no JSON: %v", err)) // four finite numbers
	}
	sum := sha256.Sum256(append([]byte(p.Hash()+" "), text...))
	return hex.EncodeToString(sum[:8])
}

// A Step is the smallest thing that is done whole or not at all.
type Step struct {
	Do   string `json:"do"`             // the command, as a person would type it
	Undo string `json:"undo,omitempty"` // empty if it cannot be undone
	// what Apply needs: where to act, and what the target said before, so that a step that is done
	// is known to be done
	Args map[string]string `json:"args,omitempty"`

	// Left says what the step leaves where it is interrupted and not undone, and the
	// statements that mend it; "" where it leaves nothing half done.
	Left string `json:"left,omitempty"`

	// Kept is what Apply handed to Fence.Keep before it changed anything: each later
	// try compares with it, in another process too.
	Kept map[string]string `json:"kept,omitempty"`
}

// NoteMissing records a refusal because of a missing right, and lets the plan be made to its
// end: people see the whole of it before they grant anything. Any other error is
// returned.
func (p *Plan) NoteMissing(err error) error {
	r, ok := Refused(err)
	if !ok || r.Reason != ReasonPrivilege {
		return err
	}
	if !slices.Contains(p.Needs, r.Detail) {
		p.Needs = append(p.Needs, r.Detail)
	}
	return nil
}

// Blind is NoteMissing for a right without which the plan cannot continue: it refuses
// with all missing rights.
func (p *Plan) Blind(err error) error {
	if err == nil {
		return nil
	}
	if err := p.NoteMissing(err); err != nil {
		return err
	}
	return p.Missing()
}

// Missing returns a refusal if the plan needs missing rights to act.
func (p *Plan) Missing() error {
	if len(p.Needs) == 0 {
		return nil
	}
	return Refuse(ReasonPrivilege, "before it may act it needs: %s", strings.Join(p.Needs, "; "))
}

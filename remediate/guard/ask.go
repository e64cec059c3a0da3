package guard

import (
	"context"
	"fmt"
	"strings"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A When is a moment at which guards are asked.
type When int

// The moments in the life of a run. At each the guards of All are asked in their order.
const (
	// those that need neither measure nor plan, so that a run that must wait costs its target nothing.
	BeforePlan    When = iota
	BeforeActing       // all, with the plan
	InTransaction      // those that decide from the proposal alone, once more, without a race
	BeforeStep         // those that hold while the run acts, and those that are asked again before each step
	DuringStep         // those that hold while the run acts
)

// Moments returns every moment, in their order.
func Moments() []When { return []When{BeforePlan, BeforeActing, InTransaction, BeforeStep, DuringStep} }

func (w When) String() string {
	return [...]string{"before the plan", "before acting", "in the transaction", "before each step", "during a step"}[w]
}

// Asks reports whether a guard is asked at the moment.
func (w When) Asks(g remediate.Guard) bool {
	switch w {
	case BeforePlan:
		return g.Early
	case InTransaction:
		return g.Exact
	case BeforeStep:
		return g.During || g.Step
	case DuringStep:
		return g.During
	default:
		return true
	}
}

// Ask asks the guards of a moment about a run, and returns the first refusal; nil when all
// pass. An error says that one of them could not find out.
func Ask(ctx context.Context, guards []remediate.Guard, p remediate.Proposal, when When) (*remediate.Refusal, error) {
	refusals, err := ask(ctx, guards, p, when, 1)
	if err != nil || len(refusals) == 0 {
		return nil, err
	}
	return refusals[0], nil
}

// AskAll asks every guard about a run that would act, and returns what each of them refuses.
func AskAll(ctx context.Context, guards []remediate.Guard, p remediate.Proposal) ([]*remediate.Refusal, error) {
	return ask(ctx, guards, p, BeforeActing, len(guards))
}

// ask stops at so many refusals.
func ask(ctx context.Context, guards []remediate.Guard, p remediate.Proposal, when When,
	most int) (all []*remediate.Refusal, err error) {
	for _, g := range guards {
		if !when.Asks(g) || !Holds(g, p) {
			continue
		}
		err := g.Check(ctx, p)
		if r, refused := remediate.Refused(err); refused {
			if all = append(all, r); len(all) == most {
				return all, nil
			}
		} else if err != nil {
			return all, fmt.Errorf("guard %s: %w", g.Name, err)
		}
	}
	return all, nil
}

// Holds reports whether a guard is for a run: what a policy is held to, because it acts
// unattended, does not apply to a person who watches, and a run that only observes changes
// nothing, so that its plan is in the journal at once.
func Holds(g remediate.Guard, p remediate.Proposal) bool {
	if p.Run.Request.Mode == remediate.Observe && !g.Observed {
		return false
	}
	if !byHand(p.Run.Request) {
		return true
	}
	switch g.ByHand {
	case remediate.NotByHand:
		return false
	case remediate.ByHandIfAsks:
		return p.Action.Asks
	default:
		return true
	}
}

// byHand reports whether a person asked for the run.
func byHand(r remediate.Request) bool {
	return r.Policy == "" && r.Schedule == "" &&
		(strings.HasPrefix(r.By, "user/") || strings.HasPrefix(r.By, "token/"))
}

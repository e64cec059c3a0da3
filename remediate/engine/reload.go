package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// Use sets the actions and the policies that request them, and
// nothing else.
func (e *Engine) Use(actions []remediate.Action, policies []policy.Policy) error {
	return e.Adopt(Setting{Actions: actions, Policies: policies})
}

// Adopt puts a setting in the place of the one before.
func (e *Engine) Adopt(s Setting) error {
	use, err := e.Prepare(s)
	if err == nil {
		use()
	}
	return err
}

// Prepare returns what puts a setting in the place of the one before, and changes nothing
// yet. Every run that has not ended is then held against it: what it no longer allows stops
// or ends at once.
func (e *Engine) Prepare(s Setting) (use func(), err error) {
	made := &setting{
		Setting: s, actions: make(map[key]remediate.Action, len(s.Actions)), takers: make(map[string]int),
		book: policy.Book{Policies: s.Policies, Actions: make(map[string]policy.Action)},
	}
	for _, a := range s.Actions {
		k := key{a.Name, a.Target}
		if _, ok := made.actions[k]; ok {
			return nil, fmt.Errorf("action %s for %s is there twice", a.Name, a.Target)
		}
		if a.Timeout <= 0 {
			return nil, fmt.Errorf("action %s for %s has no timeout", a.Name, a.Target)
		}
		made.actions[k] = a
		made.takers[a.Name]++
		made.book.Actions[a.Name] = policy.Action{Name: a.Name, Subject: a.Subject, Params: a.Params, Asks: a.Asks,
			Windowed: a.Windowed}
	}
	text, err := json.Marshal(made.book)
	if err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	made.edition, made.bookText = made.book.Hash(), text
	return func() { e.use(made) }, nil
}

func (e *Engine) use(made *setting) {
	e.metrics.begin(made.Setting)
	e.setting.Store(made)
	e.uses.replace(made.Freed)
	e.Wake()
	select {
	case e.turned <- struct{}{}:
	default: // it is about to look
	}
}

// guards returns the guards that hold now.
func (e *Engine) guards() []remediate.Guard {
	if s := e.setting.Load(); s.Guards != nil {
		return s.Guards
	}
	return e.c.Guards()
}

// exclusive names what of the subject no other run may work on meanwhile.
func (e *Engine) exclusive(r remediate.Request) string {
	a := e.setting.Load().actions[key{r.Action, r.Subject["server"]}]
	return exclusive(a, r)
}

// Policies returns the names of the policies in their order.
func (e *Engine) Policies() (names []string) {
	for _, p := range e.setting.Load().book.Policies {
		names = append(names, p.Name)
	}
	return names
}

// Book returns the policies in force.
func (e *Engine) Book() policy.Book { return e.setting.Load().book }

// Actions returns all actions.
func (e *Engine) Actions() []remediate.Action {
	return slices.Collect(maps.Values(e.setting.Load().actions))
}

// targets counts the targets that take an action.
func (e *Engine) targets(action string) int { return e.setting.Load().takers[action] }

package config

import (
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// Book returns the policies as they decide, with what they know of each action.
func (c *Config) Book(actions map[string]policy.Action) policy.Book {
	b := policy.Book{Actions: actions}
	for _, p := range c.Policies {
		made := policy.Policy{Name: p.Name, Match: p.Match, Hold: p.Hold, Limit: p.Limit, Expr: p.Expr}
		for _, s := range p.Steps {
			made.Steps = append(made.Steps, policy.Step{
				Action: s.Action, Mode: remediate.Mode(s.Mode), Subject: s.Subject, With: s.With, Limit: s.Limit,
				Terms: p.terms(s),
			})
		}
		b.Policies = append(b.Policies, made)
	}
	return b
}

// terms are those of the policy for one of its steps.
func (p Policy) terms(s Step) remediate.Terms {
	t := p.Terms
	if len(s.Windows) > 0 {
		t.Windows = s.Windows
	}
	return t
}

// Step returns what the schedule asks for each time.
func (s Schedule) Step() policy.Step {
	return policy.Step{Action: s.Action, Mode: remediate.Mode(s.Mode), Subject: s.Subject, With: s.With, Terms: s.Terms}
}

// Times returns when a policy or a schedule may act, by the name that it uses.
func (c *Config) Times() map[string]schedule.Window {
	all := make(map[string]schedule.Window, len(c.Windows))
	for _, w := range c.Windows {
		all[w.Name] = w.parsed
	}
	return all
}

package policy

import (
	"maps"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Present returns a request of a policy as the book asks for it now: its mode, its
// terms and a limit of its own are those of the policy in force. Where the book would
// not make the request any more, it returns a *Refusal with ReasonPolicy. The incident
// may be the zero value, where none asked.
func (b Book) Present(r remediate.Request, e remediate.Incident) (remediate.Request, error) {
	p, ok := b.named(r.Policy)
	if !ok {
		return r, refuse("policy %q is no longer in the configuration", r.Policy)
	}
	if e.ID != 0 {
		switch first, ok := b.first(e.Alert.Labels); {
		case !ok:
			return r, refuse("policy %q no longer matches the alert", r.Policy)
		case first.Name != p.Name:
			return r, refuse("policy %q decides about the alert now, not %q", first.Name, p.Name)
		}
	}
	if r.Step >= len(p.Steps) {
		return r, refuse("policy %q has no step %d any more", p.Name, r.Step+1)
	}
	s := p.Steps[r.Step]
	switch {
	case s.Action != r.Action:
		return r, refuse("step %d of policy %q is %s now, not %s", r.Step+1, p.Name, s.Action, r.Action)
	case s.Mode == remediate.Observe && r.Mode != remediate.Observe:
		return r, refuse("policy %q only observes now", p.Name)
	}
	asked := *b.ask(p, r.Step, e, "").Request
	if _, known := b.Actions[s.Action]; known && e.ID != 0 && r.Wrong == "" {
		switch {
		case asked.Wrong != "":
			return r, refuse("policy %q no longer asks for this: %s", p.Name, asked.Wrong)
		case !maps.Equal(asked.Subject, r.Subject) || !maps.Equal(asked.Params, r.Params):
			return r, refuse("policy %q asks for %s with another subject or other parameters now", p.Name, s.Action)
		}
	}
	if r.Mode != remediate.Observe {
		r.Mode = asked.Mode
	}
	if e.ID != 0 || asked.Terms.Decay != 0 {
		r.Terms = asked.Terms
	} else {
		decay := r.Terms.Decay
		r.Terms, r.Terms.Decay = asked.Terms, decay
	}
	if s.Limit != nil || r.Aside || p.Limit != nil || e.Alert.Rule == remediate.RuleKnown {
		r.Limit, r.Aside = asked.Limit, asked.Aside
	}
	return r, nil
}

func refuse(format string, args ...any) error {
	return remediate.Refuse(remediate.ReasonPolicy, format, args...)
}

func (b Book) named(name string) (Policy, bool) {
	for _, p := range b.Policies {
		if p.Name == name {
			return p, true
		}
	}
	return Policy{}, false
}

// Expr returns the expression that tells whether an alert still holds, for a request of a
// policy: the policy's own, or the alert's.
func (b Book) Expr(policy string, a remediate.Alert) string {
	if p, ok := b.named(policy); ok && p.Expr != "" {
		return p.Expr
	}
	return a.Expr
}

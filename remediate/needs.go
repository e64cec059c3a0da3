package remediate

import (
	"slices"
	"strings"
)

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

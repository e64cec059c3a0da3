package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Decide returns what to do about an incident. The first policy that matches the
// alert decides: it runs the step of its chain after the last one that was tried.
// Nothing is decided before the incident is ripe and has been open for as long as
// the policy holds. What follows a step depends on how it ended:
//
//	resolved                 nothing: the incident will close
//	unresolved, failed       the next step
//	inconclusive, prepared   the next step: this one has made room for it
//	inconclusive otherwise   people: the effect of further actions is not known
//	observed                 nothing: the plan is known, and the mode asks for no more
//	rejected, cancelled      nothing: a person decided, and knows of it
//	expired                  nothing: no answer is no approval of the next step
//	refused, with the reason
//	  cannot_help, unfit     the next step: this action cannot help here
//	  privilege, read_only   the next step: this target does not allow it
//	  gone, subject, action  the next step: this one has nothing to work on
//	  policy, configuration  decided anew if it had not begun to act: another configuration is in force
//	  target                 nothing: the target was removed from the configuration
//	  resolved               nothing: the alert was resolved before the run acted
//	  nothing_to_do          the next step if the limit is the step's own: it is not needed
//	  nothing_to_do          people otherwise: the alert fires, and the action sees nothing wrong
//	  a guard's name         people: the guard blocks for good, and may be right about the next step too
//
// At the end of the chain people are notified, at whichever step it ended. A chain that
// only observes notifies no one: it promised only to record.
func (b Book) Decide(c Case) Decision {
	if !c.Incident.FlappingSince.IsZero() {
		return b.flapping(c.Incident)
	}
	if !c.Incident.Closed.IsZero() {
		return Decision{Why: "the incident is closed"}
	}
	p, ok := b.first(c.Incident.Alert.Labels)
	if !ok {
		return Decision{Why: "no policy matches its labels"}
	}
	d := b.step(p, c)
	if d.Request == nil {
		return d
	}
	// UTC and without the reading of this process's clock, so that a replay waits for the same.
	ripe, why := c.Incident.Opened.Add(p.Hold).UTC().Round(0),
		fmt.Sprintf("policy %q holds for %s", p.Name, model.Duration(p.Hold))
	if c.Incident.Ripe.After(ripe) {
		ripe, why = c.Incident.Ripe.UTC().Round(0), "the alert comes and goes"
	}
	if c.Now.Before(ripe) {
		return Decision{Policy: p.Name, Wait: ripe, Why: why}
	}
	return d
}

// flapping pages people about an alert that ends during its hold-down again and again,
// so that its policy never comes to act. An incident that outlasts its hold-down is
// decided as ever.
func (b Book) flapping(e remediate.Incident) Decision {
	ripe := e.Ripe.UTC().Round(0)
	p, ok := b.first(e.Alert.Labels)
	if !ok {
		return Decision{Wait: ripe, Why: "no policy matches its labels"}
	}
	d := people(p, fmt.Sprintf("the alert has been flapping since %s (%d returns) and each time ended during its "+
		"hold-down, which is %s now, so nothing was done; set a longer for or a keep_firing_for in its rule, or a "+
		"shorter engine.flap",
		e.FlappingSince.UTC().Format(time.RFC3339), e.Flaps, model.Duration(e.Ripe.Sub(e.Opened).Round(time.Second))))
	d.Wait = ripe
	return d
}

func (b Book) first(have map[string]string) (Policy, bool) {
	for _, p := range b.Policies {
		if ok, _ := p.Matches(have); ok {
			return p, true
		}
	}
	return Policy{}, false
}

// step goes on from the last run of the policy.
func (b Book) step(p Policy, c Case) Decision {
	next, last, withdrawn := 0, (*Past)(nil), 0
	for i, run := range c.History {
		switch {
		case run.Policy != p.Name:
		case run.withdrawn():
			withdrawn++
		default:
			// No step is requested twice, in whatever order the runs are listed.
			next, last = max(next, run.Step+1), &c.History[i]
		}
	}
	if withdrawn > mostWithdrawn {
		return people(p, fmt.Sprintf("%d runs were refused because the configuration had changed", withdrawn))
	}
	if last == nil {
		return b.ask(p, next, c.Incident, "").again(withdrawn)
	}
	said := last.said(last.State.Named(last.Reason))
	switch p.after(*last) {
	case goOn:
		return b.ask(p, next, c.Incident, said).again(withdrawn)
	case page:
		return people(p, said)
	default:
		return Decision{Policy: p.Name, Why: said}
	}
}

// mostWithdrawn is how often an incident is decided anew because the configuration has
// changed. Replicas with configurations that contradict each other would never end.
const mostWithdrawn = 5

// withdrawn reports whether the run ended because another configuration was in force,
// before it had begun to act: it was no try of its step.
func (run Past) withdrawn() bool {
	return run.State == remediate.StateRefused && !run.Acted && (run.Reason == remediate.ReasonPolicy ||
		run.Reason == remediate.ReasonConfiguration)
}

// said says how the run ended.
func (run Past) said(how string) string {
	return fmt.Sprintf("run %d of %s is %s", run.Run, run.Action, how)
}

// again gives the request a key of its own after runs that were withdrawn.
func (d Decision) again(withdrawn int) Decision {
	if d.Request != nil && withdrawn > 0 {
		d.Request.Key += fmt.Sprintf("/again/%d", withdrawn)
	}
	return d
}

// A consequence is what follows from how a run ended.
type consequence int

const (
	stop consequence = iota
	goOn
	page
)

// after is the table in the comment of Decide.
func (p Policy) after(run Past) consequence {
	if run.Reason == remediate.ReasonNothing && run.Step < len(p.Steps) && p.Steps[run.Step].Limit != nil {
		return goOn
	}
	switch run.State {
	case remediate.Unresolved, remediate.Failed:
		return goOn
	case remediate.Inconclusive:
		if run.Reason == remediate.ReasonPrepared {
			return goOn
		}
		return page
	case remediate.StateRefused:
		return refused(run.Reason)
	default: // resolved, or stopped by a person or the mode; or it has not ended, and nothing is decided meanwhile
		return stop
	}
}

func refused(reason string) consequence {
	switch reason {
	case remediate.ReasonCannotHelp, remediate.ReasonUnfit, remediate.ReasonPrivilege, remediate.ReasonReadOnly,
		remediate.ReasonGone, remediate.ReasonSubject, remediate.ReasonAction:
		return goOn
	case remediate.ReasonPolicy, remediate.ReasonConfiguration, remediate.ReasonTarget, remediate.ReasonResolved:
		return stop
	default:
		return page
	}
}

// people tells them, unless the policy promised only to observe.
func people(p Policy, why string) Decision {
	acts := slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Mode != remediate.Observe })
	if !acts && len(p.Steps) > 0 {
		return Decision{Policy: p.Name, Why: why + "; the policy only observes"}
	}
	return Decision{Policy: p.Name, Page: true, Why: why}
}

// ask requests the step of a number, or notifies people that the chain has ended.
func (b Book) ask(p Policy, number int, e remediate.Incident, said string) Decision {
	if number >= len(p.Steps) {
		return people(p, strings.TrimPrefix(fmt.Sprintf("%s; policy %q has no further step", said, p.Name), "; "))
	}
	s := p.Steps[number]
	r := &remediate.Request{
		Key:      fmt.Sprintf("incident/%d/%s/%d", e.ID, p.Name, number),
		Action:   s.Action,
		Mode:     s.Mode,
		Limit:    limit(e.Alert.Annotations["limit"]),
		Policy:   p.Name,
		Step:     number,
		Incident: e.ID,
		By:       "alert/" + e.Name(),
		Terms:    s.Terms,
	}
	if p.Limit != nil {
		r.Limit = p.Limit
	}
	if s.Limit != nil {
		r.Limit, r.Aside = s.Limit, true
	}
	why := fmt.Sprintf("policy %q asks for %s", p.Name, s.Action)
	if e.Alert.Rule == remediate.RuleUnknown && p.Limit == nil && s.Limit == nil && r.Mode == remediate.Auto {
		r.Mode = remediate.Ask
		why += ", with approval: upkeep knows no rule " + strconv.Quote(e.Name()) + " with a limit, and its delivery " +
			"may be forged (set limit in the policy)"
	}
	if r.Terms.Decay == 0 {
		r.Terms.Decay = decay(e.Alert)
	}
	r.Subject, r.Params, r.Wrong = b.Fill(s, e.Alert.Labels)
	if said != "" {
		why = said + "; " + why
	}
	return Decision{Request: r, Policy: p.Name, Why: why}
}

// Fill makes the subject and the parameters of a step from an alert's labels. What
// is wrong says why the step cannot be taken for these labels, and is empty where
// nothing is.
func (b Book) Fill(s Step, have map[string]string) (subject, params map[string]string, wrongs string) {
	subject = make(map[string]string)
	var all []string
	for _, m := range s.Check(b.Actions, false) {
		all = append(all, m.Text)
	}
	if len(all) > 0 {
		return subject, nil, strings.Join(all, "; ") // whatever the labels
	}
	a := b.Actions[s.Action]
	for _, name := range a.Subject {
		value, err := s.label(name, have)
		if err != nil {
			all = append(all, fmt.Sprintf("label %q of the subject of %s: %v", name, s.Action, err))
			continue
		}
		subject[name] = value
	}
	if len(s.With) > 0 {
		params = make(map[string]string)
	}
	for _, name := range slices.Sorted(maps.Keys(s.With)) {
		value, err := a.param(name, s.With[name], have)
		if err != nil {
			all = append(all, err.Error())
			continue
		}
		params[name] = value
	}
	return subject, params, strings.Join(all, "; ")
}

// param returns one parameter with the alert's labels put in, checked.
func (a Action) param(name, template string, have map[string]string) (string, error) {
	value, err := Substitute(template, have)
	if err != nil {
		return "", fmt.Errorf("parameter %q: %w", name, err)
	}
	for _, p := range a.Params {
		if p.Name == name {
			return value, Check(p, value)
		}
	}
	return "", fmt.Errorf("%s has no parameter %q", a.Name, name)
}

// label returns one label of the subject: as the step maps it, or the alert's own.
func (s Step) label(name string, have map[string]string) (string, error) {
	mapped, ok := s.Subject[name]
	if !ok {
		mapped = "${" + name + "}"
	}
	value, err := Substitute(mapped, have)
	if err != nil {
		return "", err
	}
	if want := wrong(remediate.Text, value); want != "" || value == "" {
		return "", fmt.Errorf("it is %s; text that is not empty was expected", shown(value))
	}
	return value, nil
}

// limit reads the limit of the rule. NaN and the infinities parse too, and nothing
// could be compared with them.
func limit(text string) *float64 {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil
	}
	return finite(&v)
}

// decay returns how long an alert may fire after its cause is gone: as the rule
// says it, or as far as its expression looks back.
func decay(a remediate.Alert) time.Duration {
	if d, err := model.ParseDuration(a.Annotations["decay"]); err == nil {
		return time.Duration(d)
	}
	return LookBack(a.Expr)
}

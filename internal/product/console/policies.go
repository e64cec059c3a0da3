package console

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

const (
	// runsOfPolicy is how many runs the page of a policy lists.
	runsOfPolicy = 10

	// tried is how many alerts that fire, and how many that have closed, a dry run looks at.
	tried = 100

	// triedSince is how long ago an alert may have closed that a dry run looks at.
	triedSince = 24 * time.Hour
)

func (c *Console) policiesPage(g *gin.Context) {
	p := page.Policies{At: time.Now()}
	events := c.heardFrom(g.Request.Context())
	for _, one := range c.Engine.Book().Policies {
		shown, err := c.policyShown(g.Request.Context(), one, p.At)
		if err != nil {
			c.Fail(g, fmt.Errorf("the store cannot be read: %w", err), page.PoliciesPath)
			return
		}
		p.All = append(p.All, shown)
	}
	f := c.Frame(g, "Policies", page.PoliciesPath)
	f.Events = events
	c.Write(g, http.StatusOK, f, p.Nodes()...)
}

// policyNamed is the policy that a page is about, or the page says that it does not exist.
func (c *Console) policyNamed(g *gin.Context) (p policy.Policy, ok bool) {
	for _, one := range c.Engine.Book().Policies {
		if one.Name == g.Param("name") {
			return one, true
		}
	}
	c.Fail(g, noPolicy(g.Param("name")), page.PoliciesPath)
	return p, false
}

func noPolicy(name string) error {
	return portal.ErrorWith(http.StatusNotFound, fmt.Sprintf("there is no policy %q", name))
}

func (c *Console) policyPage(g *gin.Context) {
	one, ok := c.policyNamed(g)
	if !ok {
		return
	}
	events := c.heardFrom(g.Request.Context())
	v := page.PolicyView{At: time.Now(), May: portal.May(g), Hold: one.Hold, Expr: one.Expr}
	var err error
	v.PolicyLine, err = c.policyShown(g.Request.Context(), one, v.At)
	var part journal.Part
	if err == nil {
		part, err = c.Journal.List(g.Request.Context(), journal.Filter{Policy: one.Name, All: true}, runsOfPolicy)
	}
	if err != nil {
		c.Fail(g, fmt.Errorf("the store cannot be read: %w", err), page.PoliciesPath)
		return
	}
	for _, run := range part.Runs {
		v.Runs = append(v.Runs, page.Listed{Run: run, Lowers: c.lowers(run.Request)})
	}
	if one.Limit != nil {
		v.Limit = fmt.Sprint(*one.Limit)
	}
	v.Asked = c.guardsOf(one)
	f := c.Frame(g, "Policy "+one.Name, page.PoliciesPath)
	f.Events = events
	c.Write(g, http.StatusOK, f, v.Nodes()...)
}

// guardsOf are the guards that runs of a policy meet.
func (c *Console) guardsOf(p policy.Policy) (all []page.Answer) {
	for _, g := range guard.All(guard.Config{}) {
		meets := slices.ContainsFunc(p.Steps, func(s policy.Step) bool {
			r := remediate.Request{Policy: p.Name, Action: s.Action, Mode: s.Mode, Terms: s.Terms}
			return guard.Holds(g, remediate.Proposal{Run: remediate.Run{Request: r}, Action: c.action(r)})
		})
		if meets {
			all = append(all, page.Answer{Guard: g.Name, Doc: firstSentence(g.Doc)})
		}
	}
	return all
}

// policyShown is a policy with its state and what came of its runs.
func (c *Console) policyShown(ctx context.Context, p policy.Policy, now time.Time) (v page.PolicyLine, err error) {
	v = page.PolicyLine{Name: p.Name}
	for _, m := range p.Match {
		v.Match = append(v.Match, m.String())
	}
	for _, s := range p.Steps {
		step := page.PolicyStep{Action: s.Action, Mode: s.Mode, On: s.Subject, With: s.With, Terms: s.Terms.Text(),
			Asks: c.Engine.Book().Actions[s.Action].Asks}
		if s.Limit != nil {
			step.Limit = fmt.Sprint(*s.Limit)
		}
		v.Steps = append(v.Steps, step)
		v.Acts = v.Acts || s.Mode == remediate.Auto
		v.Promised = max(v.Promised, s.Terms.Effect)
	}
	if err = c.policyHeld(ctx, p, now, &v); err != nil {
		return v, err
	}
	if v.Resolved, v.Judged, err = c.Journal.Effect(ctx, p.Name); err != nil {
		return v, err
	}
	if v.Short, err = c.Journal.Tally(ctx, p.Name, now.AddDate(0, 0, -page.ShortDays)); err != nil {
		return v, err
	}
	if v.Long, err = c.Journal.Tally(ctx, p.Name, now.AddDate(0, 0, -page.LongDays)); err != nil {
		return v, err
	}
	run, ok, err := c.Journal.LastActed(ctx, p.Name)
	if ok {
		v.Last = &run
	}
	return v, err
}

// policyHeld reads what keeps runs of a policy from acting by themselves, as the guards would say it.
func (c *Console) policyHeld(ctx context.Context, p policy.Policy, now time.Time, v *page.PolicyLine) error {
	r := remediate.Request{Policy: p.Name}
	if len(p.Steps) > 0 {
		r.Action, r.Terms, r.Mode = p.Steps[0].Action, p.Steps[0].Terms, p.Steps[0].Mode
	}
	run := remediate.Run{Request: r}
	w, err := c.Journal.Working(ctx, run)
	if err != nil {
		return err
	}
	for _, pause := range w.Pauses {
		action, of := strings.CutPrefix(pause.Scope, "action/")
		if pause.Scope == "all" || pause.Scope == "policy/"+p.Name ||
			of && slices.ContainsFunc(p.Steps, func(s policy.Step) bool { return s.Action == action }) {
			v.Paused = append(v.Paused, pause)
		}
	}
	stopped := guard.Breaker().Check(ctx, remediate.Proposal{Run: run, Working: w, Now: now})
	if refusal, refused := remediate.Refused(stopped); refused {
		v.Breaker = refusal.Detail
	}
	states, err := c.Journal.PolicyStates(ctx)
	if w.Demoted != "" {
		v.Why, v.Demoted = w.Demoted, now // since when: its row may have been changed
	}
	for _, s := range states {
		if s.Policy == p.Name && w.Demoted != "" && !s.Demoted.IsZero() {
			v.Demoted = s.Demoted
		}
	}
	return err
}

// dryRun shows what a policy would decide about the alerts of a day. It changes nothing and journals nothing.
func (c *Console) dryRun(g *gin.Context) {
	one, ok := c.policyNamed(g)
	if !ok {
		return
	}
	d := page.DryRun{At: time.Now(), May: portal.May(g)}
	d.Since = d.At.Add(-triedSince)
	ctx := g.Request.Context()
	var trials []engine.Trial
	all, err := c.Inbox.Fired(ctx, d.Since, tried)
	if err == nil {
		ids := make([]int64, len(all))
		for i, e := range all {
			ids[i] = e.ID
		}
		var histories map[int64][]remediate.Run
		if histories, err = c.Journal.Histories(ctx, ids); err == nil {
			trials = c.Engine.Try(ctx, one.Name, all, histories)
		}
	}
	if err == nil {
		d.PolicyLine, err = c.policyShown(ctx, one, d.At)
	}
	if err != nil {
		c.Fail(g, fmt.Errorf("the store cannot be read: %w", err), page.PolicyPath(one.Name))
		return
	}
	open := 0
	for _, e := range all {
		if e.Closed.IsZero() {
			open++
		}
	}
	d.Looked, d.More = len(all), open == tried || len(all)-open == tried
	for _, t := range trials {
		d.Trials = append(d.Trials, c.trial(t, d.PolicyLine))
	}
	c.Write(g, http.StatusOK, c.Frame(g, "Dry run of "+one.Name, page.PoliciesPath), d.Nodes()...)
}

// trial says what a decision comes to.
func (c *Console) trial(t engine.Trial, p page.PolicyLine) (shown page.Trial) {
	d := t.Decision
	shown = page.Trial{Incident: t.Incident, Does: "nothing", Why: d.Why}
	switch r := d.Request; {
	case t.By != p.Name:
		shown.Does, shown.Why = "another policy", fmt.Sprintf("policy %q comes first and decides", t.By)
	case r != nil && r.Wrong != "":
		shown.Class, shown.Does, shown.Why = "bad", "refused", d.Why+": "+r.Wrong
	case r != nil:
		shown.Class, shown.Does = "busy", "acts"
		switch {
		case r.Mode == remediate.Observe:
			shown.Class, shown.Does = "", "observes"
		case r.Mode == remediate.Ask || !p.Demoted.IsZero() || c.Engine.Book().Actions[r.Action].Asks:
			shown.Class, shown.Does = "ask", "asks"
		}
		shown.Plan = &look.Plan{Action: r.Action, Subject: r.Subject, Params: r.Params}
	case !d.Wait.IsZero() && !t.Incident.Closed.IsZero():
		shown.Why = "it closed before " + portal.Moment(d.Wait) + ": " + d.Why
	case d.Page:
		shown.Class, shown.Does = "bad", "left to people"
	case !d.Wait.IsZero():
		shown.Class, shown.Does, shown.Why = "busy", "waits", "until "+portal.Moment(d.Wait)+": "+d.Why
	}
	return shown
}

// demoted demotes a policy that acts by itself.
func (c *Console) demoted(ctx context.Context, name, by, why string) error {
	for _, p := range c.Engine.Book().Policies {
		acts := slices.ContainsFunc(p.Steps, func(s policy.Step) bool { return s.Mode == remediate.Auto })
		if p.Name == name && !acts {
			return portal.ErrorWith(http.StatusConflict, fmt.Sprintf("policy %q has no action in mode auto: its runs "+
				"need approval or only observe already; to stop them, pause policy/%s", name, name))
		}
	}
	return c.Journal.DemoteBy(ctx, name, by, why)
}

func (c *Console) formPromote(g *gin.Context) { c.onPolicy(g, c.Journal.Promote) }

func (c *Console) formClose(g *gin.Context) { c.onPolicy(g, c.Journal.CloseBreaker) }

func (c *Console) formDemote(g *gin.Context) { c.onPolicy(g, c.demoted) }

// onPolicy lets a form change the state of a policy, and leads back to its page.
func (c *Console) onPolicy(g *gin.Context, say func(ctx context.Context, policy, by, why string) error) {
	_, a, ok := c.filled(g)
	if !ok {
		return
	}
	own := page.PolicyPath(g.Param("name"))
	if err := c.tell(g, a, say); err != nil {
		c.Fail(g, err, own)
		return
	}
	g.Redirect(http.StatusSeeOther, own)
}

// tell changes the state of the policy that an address names.
func (c *Console) tell(g *gin.Context, a Answer,
	say func(ctx context.Context, policy, by, why string) error) error {
	name := g.Param("name")
	if !slices.Contains(c.Engine.Policies(), name) {
		return noPolicy(name)
	}
	if err := say(g.Request.Context(), name, a.By, a.Why); err != nil {
		return stale(err)
	}
	c.Logger.Info("a person changed a policy", "policy", name, "by", a.By, "path", g.Request.URL.Path)
	c.Engine.Wake()
	return nil
}

// A PolicyLine is one policy with its state and its results.
type PolicyLine struct {
	Name  string       `json:"name"`
	Match []string     `json:"match"` // all must match the labels of an alert
	Steps []PolicyStep `json:"steps"` // one after the other, until one has helped
	journal.PolicyState
	Resolved int `json:"resolved"` // of the last judged runs, for good
	Judged   int `json:"judged"`
}

// A PolicyStep is an action of a policy, and how far it may go.
type PolicyStep struct {
	Action string         `json:"action"`
	Mode   remediate.Mode `json:"mode"`
}

func (c *Console) policies(g *gin.Context) {
	var lines []PolicyLine
	states, err := c.Journal.PolicyStates(g.Request.Context())
	for _, p := range c.Engine.Book().Policies {
		l := PolicyLine{Name: p.Name, PolicyState: journal.PolicyState{Policy: p.Name}}
		for _, m := range p.Match {
			l.Match = append(l.Match, m.String())
		}
		for _, s := range p.Steps {
			l.Steps = append(l.Steps, PolicyStep{s.Action, s.Mode})
		}
		for _, s := range states {
			if s.Policy == p.Name {
				l.PolicyState = s
			}
		}
		if err == nil {
			l.Resolved, l.Judged, err = c.Journal.Effect(g.Request.Context(), p.Name)
		}
		lines = append(lines, l)
	}
	c.Answer(g, http.StatusOK, lines, err)
}

func (c *Console) promote(g *gin.Context) { c.reset(g, c.Journal.Promote) }

func (c *Console) demote(g *gin.Context) { c.reset(g, c.demoted) }

func (c *Console) closeBreaker(g *gin.Context) { c.reset(g, c.Journal.CloseBreaker) }

func (c *Console) reset(g *gin.Context, say func(ctx context.Context, policy, by, why string) error) {
	if a, ok := c.said(g, true); ok {
		c.Answer(g, http.StatusOK, portal.Values{"policy": g.Param("name")}, c.tell(g, a, say))
	}
}

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// batch is how many incidents are decided about at a time.
const batch = 256

// looking is how many runs may be planned, guarded and verified beside those that
// act.
const looking = 8

// Run decides about incidents and carries runs until ctx is done. It returns when
// all it carried has stopped; what was not finished goes on in another process,
// or at the next start.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.begin(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it had begun
		}
		return err
	}
	defer e.leave(ctx)
	var others, carriers sync.WaitGroup
	defer others.Wait()
	others.Go(func() { e.beats(ctx) })
	others.Go(func() { e.silences(ctx) })
	others.Go(func() { e.watch(ctx) })
	defer carriers.Wait()
	slots := make(chan struct{}, e.c.Concurrency+looking)
	said := ""
	for {
		e.loops()
		err := e.lookForWork(ctx, slots, &carriers)
		if text := fmt.Sprint(err); text != said && ctx.Err() == nil { // an outage is one line, not one a second
			if said = text; err != nil {
				e.log.Error("cannot look for work", "err", err)
			}
		}
		if !e.flood.rest(ctx) {
			continue
		}
		again, wrote := tick, (<-chan struct{})(nil)
		if e.rest.idle {
			again, wrote = idleTick, e.c.Journal.Wrote()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
		case <-wrote:
		case <-time.After(again):
		}
	}
}

// lookForWork decides, and carries the runs that are due, unless there can be nothing to do.
func (e *Engine) lookForWork(ctx context.Context, slots chan struct{}, carriers *sync.WaitGroup) error {
	writes := e.c.Journal.Writes()
	if e.rest.idle && e.rest.writes == writes {
		return nil
	}
	e.rest.idle = false
	var err error
	if !e.flood.rising(time.Now(), e.c.Inbox.Waiting()) {
		err = e.Decide(ctx)
	}
	err = errors.Join(err, e.dispatch(ctx, slots, carriers))
	if err != nil || !e.c.Alone || e.rest.writes == writes { // what is open does not end without a write
		return err
	}
	idle, err := e.idle(ctx)
	if err == nil {
		e.rest = rest{writes: writes, idle: idle}
	}
	return err
}

// idle reports whether there will be no work before something is written.
func (e *Engine) idle(ctx context.Context) (bool, error) {
	if idle, err := e.c.Inbox.Idle(ctx); err != nil || !idle {
		return false, err
	}
	return e.c.Journal.Idle(ctx)
}

// loops notes that the loop of Run goes on.
func (e *Engine) loops() {
	now := time.Now() // of the machine: it is compared with it
	e.looped.Store(&now)
}

// Looped returns when the loop of Run last went on; zero before it has begun. It goes on each second,
// or a few times a minute where there is nothing to do, unless the store makes it wait.
func (e *Engine) Looped() time.Time {
	if at := e.looped.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// begin makes this process one of those that carry runs, as soon as the store can be had.
func (e *Engine) begin(ctx context.Context) error {
	again := time.NewTicker(tick)
	defer again.Stop()
	for said := ""; ; {
		err := e.Join(ctx)
		if err == nil || ctx.Err() != nil || !store.Away(err) {
			return err
		}
		if text := err.Error(); text != said {
			said = text
			e.log.Error("the store is unavailable; runs continue when it is available again", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}

// leave gives what this process carried to others, as soon as it is stopped.
func (e *Engine) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.c.Journal.Lease())
	defer cancel()
	if err := e.c.Journal.Leave(ctx); err != nil {
		e.log.Warn("runs could not be released; they are free when the lease expires", "err", err)
	}
}

// Decide makes runs for the open incidents that a policy matches, pages people
// where a policy has come to its end, and settles what is left alone.
func (e *Engine) Decide(ctx context.Context) error {
	now := e.setting.Load()
	book, edition, text := now.book, now.edition, now.bookText
	for {
		e.loops()
		incidents, err := e.c.Inbox.Undecided(ctx, edition, batch)
		if err != nil || len(incidents) == 0 {
			return err
		}
		histories, err := e.histories(ctx, incidents)
		if err != nil {
			return err
		}
		all := make([]journal.Decided, 0, len(incidents))
		for _, incident := range incidents {
			d, err := e.decide(ctx, book, edition, incident, histories[incident.ID])
			if err != nil {
				return fmt.Errorf("incident %d: %w", incident.ID, err)
			}
			all = append(all, d)
		}
		made, err := e.c.Journal.Decide(ctx, edition, text, all)
		if err != nil {
			return err
		}
		for _, run := range made {
			e.report(run, remediate.Entry{Run: run.ID, To: run.State, Why: run.Why})
		}
		e.announce(all)
		if len(incidents) < batch {
			return nil
		}
	}
}

func (e *Engine) histories(ctx context.Context, of []remediate.Incident) (map[int64][]remediate.Run, error) {
	ids := make([]int64, len(of))
	for n, incident := range of {
		ids[n] = incident.ID
	}
	all, err := e.c.Journal.Histories(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("runs of incidents: %w", err)
	}
	return all, nil
}

// leftAlone is how many lines about incidents that are left alone are logged of one batch: a flood of
// alerts is no reason for a flood of lines.
const leftAlone = 20

// announce lets notifications be delivered, and logs what is left alone.
func (e *Engine) announce(all []journal.Decided) {
	left := 0
	for _, d := range all {
		if d.Notification != nil && e.c.Notified != nil {
			e.c.Notified()
		}
		if d.Request != nil || !d.Wait.IsZero() {
			continue
		}
		if left++; left <= leftAlone {
			e.log.Info("incident left alone", "incident", d.Incident, "why", d.Why)
		}
	}
	if more := left - leftAlone; more > 0 {
		e.log.Info("more incidents left alone", "incidents", more)
	}
}

// decide puts one incident with its history to the policies.
func (e *Engine) decide(ctx context.Context, book policy.Book, edition string, incident remediate.Incident,
	runs []remediate.Run) (d journal.Decided, err error) {
	incident = e.believed(ctx, incident)
	k := e.caseOf(incident, runs)
	decision := book.Decide(k)
	d = journal.Decided{Incident: incident.ID, Request: decision.Request, Wait: decision.Wait, Why: decision.Why}
	if d.Case, err = json.Marshal(policy.Record{Kind: policy.KindDecide, Book: edition, Case: &k,
		Decision: &decision}); err != nil {
		return d, err
	}
	if decision.Page {
		d.Notification = &remediate.Notification{
			Key: fmt.Sprintf("page/%d/%s", incident.ID, decision.Policy), Kind: remediate.NotificationPage,
			Incident: incident.ID, At: e.now(), Labels: aboutAlert(incident.Alert.Labels, decision.Policy),
			Title: fmt.Sprintf("%s needs a person", incident.Name()), Text: e.diagnosis(incident, runs, decision.Why),
		}
		if incident.FlappingFrom != 0 { // once for all the time in which nothing was decided
			d.Notification.Key = fmt.Sprintf("flapping/%d/%s", incident.FlappingFrom, decision.Policy)
			d.Notification.Title = incident.Name() + " is flapping, and nothing was done about it"
		}
	}
	return d, nil
}

// An Outlook is what the policies in force would decide about an incident now.
type Outlook struct {
	Policy string    // that matches the alert; "" where none does
	Wait   time.Time // it decides then
	Page   bool      // people are notified: upkeep does no more about it
	Acts   bool      // a run is asked for
	Why    string
}

// Outlooks returns what the policies decide about incidents by their histories, in their order. It
// journals nothing.
func (e *Engine) Outlooks(ctx context.Context, all []remediate.Incident,
	histories map[int64][]remediate.Run) []Outlook {
	book := e.setting.Load().book
	outlooks := make([]Outlook, len(all))
	for n, incident := range all {
		d := book.Decide(e.caseOf(e.believed(ctx, incident), histories[incident.ID]))
		outlooks[n] = Outlook{Policy: d.Policy, Wait: d.Wait, Page: d.Page, Acts: d.Request != nil, Why: d.Why}
		if d.Request != nil {
			outlooks[n].Policy = d.Request.Policy
		}
	}
	return outlooks
}

// A Trial is what a policy would decide about an incident: see Try.
type Trial struct {
	Incident remediate.Incident
	Decision policy.Decision
	By       string // the policy that decides about the alert: it, or one that comes before it
}

// Try returns what a policy would decide now about those of some incidents whose alerts it matches. One that is
// closed is decided about as it was when it closed, as if nothing had been done about it. It journals nothing.
func (e *Engine) Try(ctx context.Context, name string, all []remediate.Incident,
	histories map[int64][]remediate.Run) (trials []Trial) {
	book := e.setting.Load().book
	n := slices.IndexFunc(book.Policies, func(p policy.Policy) bool { return p.Name == name })
	if n < 0 {
		return nil
	}
	for _, incident := range all {
		if matches, _ := book.Policies[n].Matches(incident.Alert.Labels); !matches {
			continue
		}
		k := e.caseOf(e.believed(ctx, incident), histories[incident.ID])
		if !incident.Closed.IsZero() {
			k.Now, k.History = incident.Closed.UTC(), nil
			k.Incident.Closed, k.Incident.FlappingSince = time.Time{}, time.Time{}
		}
		t := Trial{Incident: incident, Decision: book.Decide(k)}
		t.By = t.Decision.Policy
		trials = append(trials, t)
	}
	return trials
}

// caseOf is what a policy decides by.
func (e *Engine) caseOf(incident remediate.Incident, runs []remediate.Run) policy.Case {
	k := policy.Case{Incident: incident, Now: e.now().UTC()}
	for _, r := range runs {
		k.History = append(k.History, policy.Past{
			Run: r.ID, Policy: r.Request.Policy, Step: r.Request.Step, Action: r.Request.Action, State: r.State,
			Reason: r.Reason, Why: r.Why, Acted: r.Acted(),
		})
	}
	return k
}

// dispatch carries the runs that are due, as far as there are slots.
func (e *Engine) dispatch(ctx context.Context, slots chan struct{}, carriers *sync.WaitGroup) error {
	free := cap(slots) - len(slots)
	if free == 0 {
		return nil // the end of a run wakes us
	}
	due, err := e.c.Journal.Due(ctx, free+e.claiming())
	if err != nil {
		return err
	}
	for _, run := range due {
		if e.carries(run.ID) {
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			return nil
		}
		e.expect(run.ID)
		carriers.Go(func() {
			claimed, err := e.carry(ctx, run.ID)
			log := e.log.With("run", run.ID, "action", run.Request.Action)
			switch {
			case err == nil || ctx.Err() != nil:
			case errors.Is(err, remediate.ErrFenced):
				log.Warn("another instance has taken over the run", "err", err)
			case store.Away(err):
				log.Warn("the run continues when the store answers", "err", err)
			default:
				log.Error("run stopped", "err", err)
			}
			<-slots
			if claimed { // a run with another owner, or that cannot be claimed now, is tried at the next tick
				e.Wake()
			}
		})
	}
	return nil
}

// Carry claims a run that is due and carries it as far as it will go now.
func (e *Engine) Carry(ctx context.Context, id int64) error {
	_, err := e.carry(ctx, id)
	return err
}

// carry leaves a run with its owner where the store went away meanwhile, and also where
// it is not known whether a claim was kept: the next beat finds out what is ours.
func (e *Engine) carry(ctx context.Context, id int64) (claimed bool, err error) {
	e.expect(id)
	defer e.unexpect(id)
	run, f, ok, err := e.c.Journal.Claim(ctx, id)
	if err == nil && ok {
		err = e.Do(ctx, run, f)
	}
	return ok, err
}

// Request makes a run of what a person asks for, and carries it. What can be
// seen to be wrong with it at once is a refusal, and makes no run.
func (e *Engine) Request(ctx context.Context, r remediate.Request) (remediate.Run, error) {
	if _, err := e.action(r); err != nil {
		return remediate.Run{}, err
	}
	return e.request(ctx, r, "asked for by "+r.By)
}

// Retry makes a run of what a run that has ended was asked for, for a person and without its incident: on
// its terms and up to its limit. It is a run by hand, which no policy's mode holds back: what always needs
// approval needs it still, and what only observed only observes. Two of them by one person are one run.
func (e *Engine) Retry(ctx context.Context, run remediate.Run, by, why string) (remediate.Run, error) {
	if !run.State.Ended() {
		return run, &journal.StaleError{Text: fmt.Sprintf("run %d is %s: it has not ended", run.ID, run.State)}
	}
	was := run.Request
	r := remediate.Request{Key: fmt.Sprintf("retry/%d/%s", run.ID, by), Action: was.Action, Subject: was.Subject,
		Params: was.Params, Limit: was.Limit, Mode: was.Mode, By: by, Terms: was.Terms}
	if r.Mode == remediate.Ask {
		r.Mode = remediate.Auto
	}
	if _, err := e.action(r); err != nil {
		return remediate.Run{}, err
	}
	return e.request(ctx, r, fmt.Sprintf("run %d once more, asked for by %s: %s", run.ID, by, why))
}

func (e *Engine) request(ctx context.Context, r remediate.Request, why string) (remediate.Run, error) {
	run, made, err := e.c.Journal.Create(ctx, r, why)
	if err != nil {
		return run, fmt.Errorf("request %s: %w", r.Key, err)
	}
	if made {
		e.report(run, remediate.Entry{Run: run.ID, To: run.State, Why: why})
		e.Wake()
	}
	return run, nil
}

// A Preview is what would become of a request now.
type Preview struct {
	Plan     remediate.Plan       `json:"plan"`
	Hash     string               `json:"hash"`
	Lowers   string               `json:"lowers"`
	Risk     string               `json:"risk"`
	Before   *float64             `json:"before,omitempty"`
	Limit    *float64             `json:"limit,omitempty"`
	Refusals []*remediate.Refusal `json:"refusals,omitempty"` // what blocks the run
}

// Preview makes the plan of a request and asks every guard. It journals nothing
// and changes nothing.
func (e *Engine) Preview(ctx context.Context, r remediate.Request) (p Preview, err error) {
	defer e.uses.begin()()
	a, err := e.action(r)
	if err != nil {
		return p, err
	}
	p.Lowers, p.Risk, p.Limit = a.Lowers, a.Risk.String(), r.Limit
	p.Before, p.Plan, err = e.look(ctx, r)
	if refused, ok := remediate.Refused(err); ok {
		p.Refusals = append(p.Refusals, refused)
		if len(p.Plan.Needs) == 0 {
			return p, nil
		}
	} else if err != nil {
		return p, err
	}
	p.Hash = p.Plan.Question()
	run := remediate.Run{Request: r, Plan: p.Plan}
	w, err := e.c.Journal.Working(ctx, run)
	if err != nil {
		return p, err
	}
	refusals, err := guard.AskAll(ctx, e.guards(), e.proposal(run, a, w))
	p.Refusals = append(p.Refusals, refusals...)
	return p, err
}

// New returns an Engine without actions and policies. It starts nothing.
func New(c Config) *Engine {
	if c.Now == nil {
		c.Now = time.Now
	}
	e := &Engine{
		turned: make(chan struct{}, 1),
		acts:   make(chan struct{}, 1), stirred: make(chan struct{}, 1),
		c: c, now: c.Now, log: c.Logger, metrics: newMetrics(c.Registerer), wake: make(chan struct{}, 1),
		hush:     make(chan struct{}, 1),
		expected: make(map[int64]bool), carried: make(map[int64]*carried), silent: make(map[int64]remediate.Run),
	}
	c.Registerer.MustRegister(stuckMetric{e})
	e.setting.Store(&setting{})
	return e
}

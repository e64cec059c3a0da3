package console

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/internal/product/report"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

const (
	// firingShown is how many incidents a part of the page has.
	firingShown = 15

	// pendingShown is how many alerts are shown that may fire soon.
	pendingShown = 8

	// pageAgain is when a browser without JavaScript loads the page again.
	pageAgain = 30 * time.Second
)

func (c *Console) nowPage(g *gin.Context) {
	after, err := place(g.Query("after"))
	if err != nil {
		c.Fail(g, portal.BadRequest(err.Error()), "/")
		return
	}
	events := c.heardFrom(g.Request.Context())
	n, err := c.present(g.Request.Context(), after)
	if err != nil {
		c.Fail(g, fmt.Errorf("the store cannot be read: %w", err), "/")
		return
	}
	n.May = portal.May(g)
	n.Scopes = c.scopes()
	f := c.Frame(g, n.Title(), "/")
	f.Events = events
	if !n.May.Operate { // who has a form to fill in loses nothing
		f.Again = pageAgain
	}
	c.Write(g, http.StatusOK, f, n.Nodes()...)
}

// scopes are what can be paused.
func (c *Console) scopes() []string {
	all := []string{"all"}
	if c.Names == nil {
		return all
	}
	names := c.Names()
	for _, kind := range []string{"target", "policy", "action"} {
		of, _ := names.of(kind)
		for _, name := range slices.Sorted(slices.Values(of)) {
			all = append(all, kind+"/"+name)
		}
	}
	return all
}

// place reads where a part of what fires begins, as it is in the address: severity and number.
func place(text string) (p inbox.Place, err error) {
	if text == "" {
		return p, nil
	}
	severity, id, _ := strings.Cut(text, ".")
	s, err := strconv.Atoi(severity)
	if err == nil {
		p.ID, err = strconv.ParseInt(id, 10, 64)
	}
	if err != nil || p.ID < 1 {
		return p, fmt.Errorf("after %q: want what a link of the page has", text)
	}
	p.Severity = remediate.Severity(s)
	return p, nil
}

// present reads what goes on. What is not in the store may be missing, and is said to be.
func (c *Console) present(ctx context.Context, after inbox.Place) (n page.Now, err error) {
	n = page.Now{At: time.Now(), First: after.ID == 0}
	if n.Open, err = c.Inbox.BySeverity(ctx); err != nil {
		return n, err
	}
	if err := c.firing(ctx, &n, after); err != nil {
		return n, err
	}
	if err := c.moving(ctx, &n); err != nil {
		return n, err
	}
	c.expected(ctx, &n)
	var all []scrape.Status
	if c.Scraper != nil {
		all = c.Scraper.Status()
	}
	rated, err := c.Inbox.ByServer(ctx, servers(all))
	if err != nil {
		return n, err
	}
	n.Targets = targets(all, rated)
	n.Problems = append(n.Problems, problems(all)...)
	return n, nil
}

// firing reads a part of what fires, with what is done about it.
func (c *Console) firing(ctx context.Context, n *page.Now, after inbox.Place) error {
	all, err := c.Inbox.Firing(ctx, after, firingShown)
	if err != nil {
		return err
	}
	ids := make([]int64, len(all))
	for i, e := range all {
		ids[i] = e.ID
	}
	histories, err := c.Journal.Histories(ctx, ids)
	if err != nil {
		return err
	}
	var quiet map[int64]string
	if c.Quiet != nil && len(all) > 0 {
		if quiet, err = c.Quiet.Quiet(ctx, all); err != nil {
			n.Problems = append(n.Problems, page.Problem{Where: []string{"Alertmanager"}, Text: short(
				"whether alerts are silenced is not known: " + err.Error())})
		}
	}
	outlooks := c.Engine.Outlooks(ctx, all, histories)
	for i, e := range all {
		n.Firing = append(n.Firing, page.Firing{Incident: e, Runbook: portal.RunbookOf(e), Quiet: quiet[e.ID],
			Does: care(e, outlooks[i], histories[e.ID])})
	}
	if len(all) == firingShown {
		last := all[len(all)-1]
		n.Further = fmt.Sprintf("/?after=%d.%d#firing", last.Severity(), last.ID)
	}
	return nil
}

// care says what is done about an incident: by its last run while that goes on, and else by what
// the policies decide about it now.
func care(e remediate.Incident, o engine.Outlook, history []remediate.Run) page.Care {
	k := page.Care{Policy: o.Policy}
	if len(history) > 0 {
		k.Run = &history[len(history)-1]
	}
	switch {
	case k.Run != nil && !k.Run.State.Ended():
		k.Policy = cmp.Or(k.Run.Request.Policy, k.Policy)
		k.Class, k.Text = "busy", page.Doing(*k.Run)
		if k.Run.State == remediate.AwaitingApproval {
			k.Class, k.Text = "ask", "waits for a person who may approve"
		}
	case o.Policy == "" && !o.Wait.IsZero():
		k.Text = o.Why
	case o.Policy == "":
		k.Text = "left to people: " + cmp.Or(reasonOf(e), o.Why)
	case !o.Wait.IsZero():
		k.Class, k.Text = "busy", "waits until "+portal.Moment(o.Wait)+": "+o.Why
	case o.Page:
		k.Class, k.Text = "bad", "left to people: "+o.Why
	case k.Run != nil && k.Run.State == remediate.Resolved:
		k.Class, k.Text = "good", "resolved; the end of the alert is waited for"
	default:
		k.Text = cmp.Or(o.Why, "its policy is about to decide")
	}
	return k
}

// reasonOf is why the rule of an alert names no action.
func reasonOf(e remediate.Incident) string {
	if e.Alert.Annotations["action"] != "none" {
		return ""
	}
	return e.Alert.Annotations["reason"]
}

// moving reads what acts, waits, awaits approval and is paused.
func (c *Console) moving(ctx context.Context, n *page.Now) error {
	asks, err := c.Journal.In(ctx, remediate.AwaitingApproval, maxAwaiting)
	if err != nil {
		return err
	}
	for _, r := range asks {
		if r.Cancel == "" {
			n.Awaiting = append(n.Awaiting, page.Asking{Run: r, Lowers: c.lowers(r.Request)})
		}
	}
	for _, state := range []remediate.State{remediate.Allowed, remediate.Applied, remediate.Received} {
		runs, err := c.Journal.In(ctx, state, maxAwaiting)
		if err != nil {
			return err
		}
		n.Working = append(n.Working, runs...)
	}
	if n.Waiting, err = c.Journal.Count(ctx, remediate.Waiting); err != nil {
		return err
	}
	stuck, err := c.Engine.Stuck(ctx)
	if err != nil {
		return err
	}
	for _, s := range stuck {
		n.Stuck = append(n.Stuck, page.Stuck{Run: s.Run, Why: s.Why})
	}
	pauses, err := c.paused(ctx)
	for _, p := range pauses {
		n.Pauses = append(n.Pauses, page.Pause{Pause: p.Pause, Unknown: p.Unknown})
	}
	return err
}

// expected reads which alerts may fire soon.
func (c *Console) expected(ctx context.Context, n *page.Now) {
	p := c.metrics()
	if p == nil {
		return
	}
	k := c.pending.get(func() pending {
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), askTime,
			fmt.Errorf("no answer within %s", askTime))
		defer cancel()
		return readPending(ctx, p)
	})
	n.Pending, n.PendingCount = k.alerts, k.count
	if k.err != nil {
		n.Problems = append(n.Problems, page.Problem{Where: []string{"Prometheus"},
			Text: short("which alerts are pending is not known: " + k.err.Error())})
	}
}

func readPending(ctx context.Context, p report.Prometheus) (k pending) {
	const all = `ALERTS{alertstate="pending"}`
	count, err := p.Query(ctx, "count("+all+")", time.Time{})
	if err != nil || len(count) == 0 {
		return pending{err: err}
	}
	k.count = int64(count[0].Value)
	since, err := p.Query(ctx, fmt.Sprintf("bottomk(%d, ALERTS_FOR_STATE and ignoring(alertstate) %s)", pendingShown,
		all), time.Time{})
	if err != nil {
		return pending{err: err}
	}
	slices.SortFunc(since, func(a, b prom.Sample) int { return cmp.Compare(a.Value, b.Value) })
	for _, s := range since {
		k.alerts = append(k.alerts, page.Pending{Labels: s.Labels, Since: time.Unix(int64(s.Value), 0)})
	}
	return k
}

// servers names the targets.
func servers(all []scrape.Status) (names []string) {
	for _, s := range all {
		names = append(names, s.Server)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// targets are the targets with their state.
func targets(all []scrape.Status, rated []inbox.Rated) []page.TargetState {
	byName := make(map[string]*page.TargetState)
	for _, s := range all {
		t := byName[s.Server]
		if t == nil {
			t = &page.TargetState{Name: s.Server}
			byName[s.Server] = t
		}
		t.Collectors++
		t.Down = cmp.Or(t.Down, short(s.Down))
		t.Asked = t.Asked || !s.At.IsZero() || s.Err != ""
		if s.Err != "" {
			t.Failing = append(t.Failing, s.Collector)
		}
		if s.At.After(t.Last) {
			t.Last = s.At
		}
	}
	for _, s := range all {
		t := byName[s.Server]
		switch {
		case t.Down != "" && s.Down == "" || t.Down == "" && len(t.Failing) > 0 && s.Err == "" || s.Since.IsZero():
		case t.Since.IsZero(), t.Down == "" && len(t.Failing) == 0 && s.Since.After(t.Since), // since all are well
			(t.Down != "" || len(t.Failing) > 0) && s.Since.Before(t.Since): // since the first is not
			t.Since = s.Since
		}
	}
	for _, r := range rated {
		if t := byName[r.Server]; t != nil {
			t.Open += r.Open
			t.Worst = max(t.Worst, r.Severity)
		}
	}
	var sorted []page.TargetState
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		sorted = append(sorted, *byName[name])
	}
	slices.SortStableFunc(sorted, func(a, b page.TargetState) int { return cmp.Compare(b.Rank(), a.Rank()) })
	return sorted
}

// problems lists the errors of collectors, each once. Why a target is down is said there.
func problems(all []scrape.Status) (list []page.Problem) {
	down := make(map[string]bool)
	for _, s := range all {
		down[s.Server] = down[s.Server] || s.Down != ""
	}
	where := make(map[string][]string)
	for _, s := range all {
		if s.Err != "" && !down[s.Server] {
			text := short(s.Err)
			where[text] = append(where[text], s.Server+" "+s.Collector)
		}
	}
	for _, text := range slices.Sorted(maps.Keys(where)) {
		list = append(list, page.Problem{Text: text, Where: where[text]})
	}
	return list
}

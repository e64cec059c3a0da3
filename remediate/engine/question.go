package engine

import (
	"fmt"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// planText describes for people what a run would do, and what was seen. A name in it has no line of
// its own: it could be taken for ours, like the link to approve by.
func (e *Engine) planText(run remediate.Run) string {
	var b strings.Builder
	for i, s := range run.Plan.Steps {
		fmt.Fprintf(&b, "%d. %s\n", i+1, visible.Text(s.Do))
		if s.Undo != "" {
			fmt.Fprintf(&b, "   undo: %s\n", visible.Text(s.Undo))
		}
	}
	for _, fact := range run.Plan.Facts {
		fmt.Fprintf(&b, "- %s\n", visible.Text(fact))
	}
	for _, need := range run.Plan.Needs {
		fmt.Fprintf(&b, "- before it may act it needs: %s\n", visible.Text(need))
	}
	if a := run.Plan.Amount; a != nil {
		fmt.Fprintf(&b, "- it removes %s; an approval covers up to %s\n", a, a.Tolerated())
	}
	if a, err := e.action(run.Request); err == nil {
		fmt.Fprintf(&b, "- %s is %s", a.Lowers, quantity(a.Lowers, run.Before))
		if run.Request.Limit != nil {
			fmt.Fprintf(&b, ", its limit %s", quantity(a.Lowers, run.Request.Limit))
		}
		fmt.Fprintf(&b, "; the action is %s\n", a.Risk)
	}
	return b.String()
}

// ask puts the plan to people.
func (e *Engine) ask(run remediate.Run, r *remediate.Refusal) move {
	until := e.now().Add(run.Request.Terms.ApprovalLifetime())
	question := run.Plan.Question()
	m := move{to: remediate.AwaitingApproval, why: r.Detail, reason: r.Reason, due: until}
	m.notification = &remediate.Notification{
		Key: fmt.Sprintf("ask/%d/%s/%d", run.ID, question, e.now().UnixMilli()), Kind: remediate.NotificationAsk,
		Run: run.ID, Incident: run.Request.Incident, Plan: question, At: e.now(), Until: until, Labels: about(run),
		Title: fmt.Sprintf("May run %d do %s on %s?", run.ID, run.Request.Action, journal.Subject(run.Request.Subject)),
		Text: visible.Text(r.Detail) + "\n" + e.planText(run) +
			fmt.Sprintf("\nAnswer until %s: upkeep approve %d, or upkeep reject %d --why …",
				until.UTC().Format(time.RFC3339), run.ID, run.ID),
	}
	return m
}

package engine

import (
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

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

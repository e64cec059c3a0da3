package engine

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// outcome notifies people of what a run has done and what came of it, where any of them is
// to be notified of that. It returns nil for every other transition.
func (e *Engine) outcome(run remediate.Run) *remediate.Notification {
	kind, says := effect(run)
	if kind == "" || e.c.Announce == nil || !e.c.Announce(kind) {
		return nil
	}
	n := &remediate.Notification{
		Key: fmt.Sprintf("%s/%d", kind, run.ID), Kind: kind, Run: run.ID, Incident: run.Request.Incident,
		At: run.Changed, Labels: about(run),
		Title: fmt.Sprintf("Run %d %s: %s on %s", run.ID, says, run.Request.Action,
			journal.Subject(run.Request.Subject)), Text: visible.Text(run.Why),
	}
	if a, err := e.action(run.Request); err == nil && a.Lowers != "" {
		n.Text += fmt.Sprintf("\n%s: %s before", a.Lowers, quantity(a.Lowers, run.Before))
		if run.After != nil {
			n.Text += fmt.Sprintf(", %s after", quantity(a.Lowers, run.After))
		}
		if run.Request.Limit != nil {
			n.Text += fmt.Sprintf(", limit %s", quantity(a.Lowers, run.Request.Limit))
		}
	}
	return n
}

// effect returns the kind of notification for the state of a run, and the words for it.
func effect(run remediate.Run) (kind remediate.NotificationKind, says string) {
	switch run.State {
	case remediate.Applied:
		return remediate.NotificationActed, "has acted"
	case remediate.Resolved:
		return remediate.NotificationHelped, "helped"
	case remediate.Unresolved:
		return remediate.NotificationNotHelped, "did not help"
	case remediate.Inconclusive:
		return remediate.NotificationNotHelped, "acted, with an unknown result"
	case remediate.Failed, remediate.Cancelled:
		if run.Acted() {
			return remediate.NotificationNotHelped, string(run.State)
		}
	default:
	}
	return "", ""
}

// about returns the labels by which a notification of a run can be routed.
func about(run remediate.Run) map[string]string {
	labels := maps.Clone(run.Request.Subject)
	if labels == nil {
		labels = make(map[string]string)
	}
	labels["action"] = run.Request.Action
	if run.Request.Policy != "" {
		labels["policy"] = run.Request.Policy
	}
	return labels
}

// aboutAlert returns those of a notification of an alert: its own, and the policy. The
// name and the severity are those of the notification.
func aboutAlert(alert map[string]string, policy string) map[string]string {
	labels := maps.Clone(alert)
	if labels == nil {
		labels = make(map[string]string)
	}
	labels["alert"] = labels["alertname"]
	delete(labels, "alertname")
	delete(labels, "severity")
	if policy != "" {
		labels["policy"] = policy
	}
	return labels
}

func quantity(metric string, v *float64) string {
	if v == nil {
		return "unknown"
	}
	return remediate.Quantity(metric, *v)
}

// diagnosis describes what is wrong and what was tried, so that the person who is
// paged need not search.
func (e *Engine) diagnosis(incident remediate.Incident, runs []remediate.Run, why string) string {
	var b strings.Builder
	fmt.Fprintf(
		&b,
		"%s\n%s since %s on %s\n",
		visible.Text(why),
		visible.Text(incident.Name()),
		incident.Opened.UTC().Format(time.RFC3339),
		journal.Subject(incident.Alert.Labels),
	)
	for _, name := range []string{"summary", "description", "runbook_url", "runbook"} {
		if text := incident.Alert.Annotations[name]; text != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, visible.Text(strings.TrimSpace(text)))
		}
	}
	for _, r := range runs {
		fmt.Fprintf(&b, "\nrun %d, %s: %s. %s\n", r.ID, r.Request.Action, r.State,
			visible.Text(r.Why))
		b.WriteString(e.planText(r))
	}
	if len(runs) == 0 {
		b.WriteString("\nNothing was tried.\n")
	}
	return b.String()
}

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
	until := e.now().Add(run.Request.Terms.ApprovalTime())
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

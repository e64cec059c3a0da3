package engine

import (
	"fmt"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// planText tells people what a run would do, and what was seen.
func (e *Engine) planText(run remediate.Run) string {
	var b strings.Builder
	for i, s := range run.Plan.Steps {
		fmt.Fprintf(&b, "%d. %s\n", i+1, s.Do)
		if s.Undo != "" {
			fmt.Fprintf(&b, "   undo: %s\n", s.Undo)
		}
	}
	for _, fact := range run.Plan.Facts {
		fmt.Fprintf(&b, "- %s\n", fact)
	}
	for _, need := range run.Plan.Needs {
		fmt.Fprintf(&b, "- before it may act it needs: %s\n", need)
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

func quantity(metric string, v *float64) string {
	if v == nil {
		return "unknown"
	}
	return remediate.Quantity(metric, *v)
}

// diagnosis describes what is wrong and what was tried, so that the person who is
// paged need not search.
func (e *Engine) diagnosis(episode remediate.Incident, runs []remediate.Run, why string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s since %s on %s\n", why, episode.Name(), episode.Opened.UTC().Format(time.RFC3339), journal.Subject(episode.Alert.Labels))
	for _, name := range []string{"summary", "description", "runbook_url", "runbook"} {
		if text := episode.Alert.Annotations[name]; text != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, text)
		}
	}
	for _, r := range runs {
		fmt.Fprintf(&b, "\nrun %d, %s: %s. %s\n", r.ID, r.Request.Action, r.State, r.Why)
		b.WriteString(e.planText(r))
	}
	if len(runs) == 0 {
		b.WriteString("\nNothing was tried.\n")
	}
	return b.String()
}

// Package text writes the answers of a running upkeep for people on a terminal.
package text

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// Details writes everything about a run.
func Details(w io.Writer, s console.RunDetails) {
	r := s.Run
	fmt.Fprintf(w, "run %d: %s is %s\n", r.ID, r.Request.Action, r.State)
	fmt.Fprintf(w, "  on      %s\n  by      %s\n", journal.Subject(r.Request.Subject), r.Request.By)
	if r.Request.Policy != "" {
		fmt.Fprintf(w, "  policy  %s\n", r.Request.Policy)
	}
	if s.Lowers != "" {
		fmt.Fprintf(w, "  %s: %s → %s, %s\n", s.Lowers, page.Quantity(s.Lowers, r.Before),
			page.Quantity(s.Lowers, r.After), limit(s.Lowers, r.Request.Limit))
	}
	if e := s.Incident; e != nil {
		fmt.Fprintf(w, "\nincident %d: %s since %s", e.ID, e.Name(), e.Opened.Local().Format(time.DateTime))
		if !e.Closed.IsZero() {
			fmt.Fprintf(w, ", over since %s (%s)", e.Closed.Local().Format(time.DateTime), e.Why)
		}
		fmt.Fprintf(w, "\n  %s\n", e.Alert.Annotations["summary"])
	}
	plan(w, r.Plan)
	fmt.Fprintln(w, "\njournal:")
	for _, e := range s.Entries {
		Entry(w, e)
	}
}

func plan(w io.Writer, p remediate.Plan) {
	if len(p.Steps) == 0 {
		return
	}
	fmt.Fprintf(w, "\nplan %s:\n", p.Question())
	for i, step := range p.Steps {
		fmt.Fprintf(w, "  %d. %s\n", i+1, step.Do)
		if step.Undo != "" {
			fmt.Fprintf(w, "     undo: %s\n", step.Undo)
		}
	}
	if a := p.Amount; a != nil {
		fmt.Fprintf(w, "  - it removes %s; an approval covers up to %s\n", a, a.Tolerated())
	}
	for _, fact := range p.Facts {
		fmt.Fprintf(w, "  - %s\n", fact)
	}
	for _, need := range p.Needs {
		fmt.Fprintf(w, "  - before it may act it needs: %s\n", need)
	}
}

// Entry writes an entry of the journal in a line.
func Entry(w io.Writer, e remediate.Entry) {
	why := e.Why
	if e.By != "" {
		why = e.By + ": " + why
	}
	fmt.Fprintf(w, "  %s  %-22s %s\n", e.At.Local().Format(time.DateTime+".000"), what(e), why)
}

// Preview writes what an action would do now.
func Preview(w io.Writer, action string, p engine.Preview) {
	fmt.Fprintf(w, "%s (%s) lowers %s, now %s, %s\n", action, p.Risk, p.Lowers, page.Quantity(p.Lowers, p.Before),
		limit(p.Lowers, p.Limit))
	plan(w, p.Plan)
	for _, r := range p.Refusals {
		fmt.Fprintf(w, "\nwould not run now (%s): %s\n", r.Reason, r.Detail)
	}
}

// what says in a word or two what an entry is.
func what(e remediate.Entry) string {
	switch {
	case e.Note != "":
		return string(e.Note)
	case e.Step != 0 && e.Done:
		return fmt.Sprintf("step %d done", e.Step)
	case e.Step != 0:
		return fmt.Sprintf("step %d", e.Step)
	}
	return e.To.Named(e.Reason)
}

// limit writes what the metric should fall to.
func limit(metric string, v *float64) string {
	if v == nil {
		return "no limit"
	}
	return "limit " + remediate.Quantity(metric, *v)
}

// barWidth is how many columns a bar has.
const barWidth = 20

// Progress says in a line how far a run is.
func Progress(s console.RunDetails, now time.Time) string {
	r := s.Run
	text := fmt.Sprintf("run %d is %s, for %s", r.ID, r.State, now.Sub(r.Created).Round(time.Second))
	all := len(r.Plan.Steps)
	if all == 0 || !r.State.Acting() {
		return text
	}
	done := float64(r.Done)
	under := ""
	for _, p := range s.Progress {
		done = float64(r.Done) + p.Ratio
		under = fmt.Sprintf("; %s, %s: %.0f %%", p.Command, p.Phase, 100*p.Ratio)
	}
	full := min(barWidth, int(barWidth*done/float64(all)))
	return fmt.Sprintf("[%s%s] %d of %d steps done%s; %s", strings.Repeat("#", full),
		strings.Repeat(".", barWidth-full), r.Done, all, under, text)
}

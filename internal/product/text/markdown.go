package text

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// Markdown writes a run as the draft of a postmortem. Text of others
// is quoted as code, so that it cannot become markup.
func Markdown(w io.Writer, s console.RunDetails) {
	r := s.Run
	fmt.Fprintf(w, "# Run %d: %s is %s\n\n", r.ID, r.Request.Action, r.State)
	fmt.Fprintf(w, "| | |\n| --- | --- |\n| on | %s |\n| asked for by | %s |\n",
		quoteCell(journal.Subject(r.Request.Subject)), quoteCell(r.Request.By))
	if r.Request.Policy != "" {
		fmt.Fprintf(w, "| policy | %s, step %d |\n", quoteCell(r.Request.Policy), r.Request.Step+1)
	}
	if s.Lowers != "" {
		fmt.Fprintf(w, "| `%s` | %s → %s, %s |\n", s.Lowers, page.Quantity(s.Lowers, r.Before),
			page.Quantity(s.Lowers, r.After), limit(s.Lowers, r.Request.Limit))
	}
	fmt.Fprintf(w, "| from, to | %s, %s (%s) |\n| outcome | %s |\n", stamp(r.Created), stamp(r.Changed),
		r.Changed.Sub(r.Created).Round(time.Millisecond), quoteCell(r.Why))
	if e := s.Incident; e != nil {
		fmt.Fprintf(w, "\n## What was wrong\n\n%s since %s", quoteText(e.Name()), stamp(e.Opened))
		if !e.Closed.IsZero() {
			fmt.Fprintf(w, ", over since %s (%s)", stamp(e.Closed), e.Why)
		}
		fmt.Fprintf(w, ".\n\n%s\n", quoteText(e.Alert.Annotations["summary"]))
	}
	if len(r.Plan.Steps) > 0 {
		fmt.Fprintf(w, "\n## Plan %s\n\n", r.Plan.Question())
		for i, step := range r.Plan.Steps {
			fmt.Fprintf(w, "%d. %s\n", i+1, quoteText(step.Do))
			if step.Undo != "" {
				fmt.Fprintf(w, "   undo: %s\n", quoteText(step.Undo))
			}
		}
		for _, fact := range r.Plan.Facts {
			fmt.Fprintf(w, "- %s\n", quoteText(fact))
		}
		for _, need := range r.Plan.Needs {
			fmt.Fprintf(w, "- before it may act it needs: %s\n", quoteText(need))
		}
	}
	people(w, s.Entries)
	fmt.Fprintf(w, "\n## Timeline\n\n| at | what | why |\n| --- | --- | --- |\n")
	for _, e := range s.Entries {
		fmt.Fprintf(w, "| %s | %s | %s |\n", stamp(e.At), what(e), quoteCell(e.Why))
	}
	fmt.Fprintf(w, "\n## Questions for people\n\n- What did users notice, from when to when?\n- What was the cause, "+
		"and what would have shown it earlier?\n- What will be changed so that it does not come back, who does it, "+
		"and until when?\n")
}

// people lists who said what to the run.
func people(w io.Writer, entries []remediate.Entry) {
	first := true
	for _, e := range entries {
		if e.By == "" {
			continue
		}
		if first {
			fmt.Fprintf(w, "\n## Who decided\n\n")
			first = false
		}
		fmt.Fprintf(w, "- %s, %s: %s, %s\n", stamp(e.At), quoteText(e.By), e.Note, quoteText(e.Why))
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000Z") }

// quoteText makes text code: longer marks than any within it hold it in.
func quoteText(s string) string {
	if s == "" {
		return "–"
	}
	s = strings.NewReplacer("\r", " ", "\n", " ").Replace(s)
	marks := "`"
	for strings.Contains(s, marks) {
		marks += "`"
	}
	if len(marks) > 1 || strings.HasPrefix(s, " ") {
		return marks + " " + s + " " + marks
	}
	return marks + s + marks
}

// quoteCell is quoteText for a cell of a table.
func quoteCell(s string) string { return strings.ReplaceAll(quoteText(s), "|", `\|`) }

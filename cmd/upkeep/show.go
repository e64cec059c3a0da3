package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

func showCommand() *cobra.Command {
	var c client
	var asMarkdown bool
	cmd := &cobra.Command{
		Use:   "show RUN",
		Short: "Show everything about a run: alert, plan, journal entries, measurements",
		Long: `Show everything about a run: the alert, the plan, every journal entry, and the metric before
and after. --markdown prints the draft of a postmortem, with all approvals and rejections
and the questions that people have to answer.`,
		Example: "  upkeep show 7\n  upkeep show 7 --markdown > run-7.md",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var s console.RunDetails
			if err := c.do(cmd.Context(), http.MethodGet, "/runs/"+url.PathEscape(args[0]), nil, &s); err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), s)
			}
			if asMarkdown {
				markdown(cmd.OutOrStdout(), s)
				return nil
			}
			printDetails(cmd.OutOrStdout(), s)
			return nil
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&asMarkdown, "markdown", false, "print the draft of a postmortem")
	return cmd
}

func printDetails(w io.Writer, s console.RunDetails) {
	r := s.Run
	fmt.Fprintf(w, "run %d: %s is %s\n", r.ID, r.Request.Action, r.State)
	fmt.Fprintf(w, "  on      %s\n  by      %s\n", journal.Subject(r.Request.Subject), r.Request.By)
	if r.Request.Policy != "" {
		fmt.Fprintf(w, "  policy  %s\n", r.Request.Policy)
	}
	if s.Lowers != "" {
		fmt.Fprintf(w, "  %s: %s → %s, %s\n", s.Lowers, quantity(s.Lowers, r.Before), quantity(s.Lowers, r.After),
			limit(s.Lowers, r.Request.Limit))
	}
	if e := s.Incident; e != nil {
		fmt.Fprintf(w, "\nincident %d: %s since %s", e.ID, e.Name(), e.Opened.Local().Format(time.DateTime))
		if !e.Closed.IsZero() {
			fmt.Fprintf(w, ", over since %s (%s)", e.Closed.Local().Format(time.DateTime), e.Why)
		}
		fmt.Fprintf(w, "\n  %s\n", e.Alert.Annotations["summary"])
	}
	printPlan(w, r.Plan)
	fmt.Fprintln(w, "\njournal:")
	for _, e := range s.Entries {
		printEntry(w, e)
	}
}

func printPlan(w io.Writer, p remediate.Plan) {
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

func printEntry(w io.Writer, e remediate.Entry) {
	why := e.Why
	if e.By != "" {
		why = e.By + ": " + why
	}
	fmt.Fprintf(w, "  %s  %-22s %s\n", e.At.Local().Format(time.DateTime+".000"), what(e), why)
}

package main

import (
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

func runsCommand() *cobra.Command {
	var c client
	var limit int
	var before int64
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "List runs and their results, newest first",
		Long: "List runs and their results, newest first. A run in state " + string(remediate.AwaitingApproval) +
			" needs a person\n(upkeep approve or upkeep reject); one in state " + string(remediate.Waiting) +
			" waits for a guard. docs/states.md\ndescribes all states.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var lines []console.Line
			if err := c.do(cmd.Context(), http.MethodGet, fmt.Sprintf("/runs?limit=%d&before=%d", limit, before),
				nil, &lines); err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), lines)
			}
			if err := printRuns(cmd.OutOrStdout(), lines); err != nil || len(lines) < limit {
				return err
			}
			return more(cmd.OutOrStdout(), "upkeep runs --before %d", lines[len(lines)-1].ID)
		},
	}
	c.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 20, "how many to list")
	cmd.Flags().Int64Var(&before, "before", 0, "list those before the run of this number")
	return cmd
}

// more says how to list the next part.
func more(w io.Writer, command string, number int64) error {
	_, err := fmt.Fprintf(w, "\nMore: "+command+"\n", number)
	return err
}

func printRuns(w io.Writer, lines []console.Line) error {
	if len(lines) == 0 {
		_, err := fmt.Fprintln(w, "No runs yet.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "RUN\tCHANGED\tACTION\tSTATE\tBEFORE → AFTER\tON\tBY")
	for _, l := range lines {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s → %s\t%s\t%s\n", l.ID, l.Changed.Local().Format(time.DateTime),
			l.Request.Action, l.State,
			quantity(l.Lowers, l.Before), quantity(l.Lowers, l.After), journal.Subject(l.Request.Subject), l.Request.By)
	}
	return t.Flush()
}

func quantity(metric string, v *float64) string {
	if v == nil {
		return "–"
	}
	return remediate.Quantity(metric, *v)
}

// limit writes what the metric should fall to.
func limit(metric string, v *float64) string {
	if v == nil {
		return "no limit"
	}
	return "limit " + remediate.Quantity(metric, *v)
}

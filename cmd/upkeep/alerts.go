package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

func alertsCommand() *cobra.Command {
	var c client
	var limit int
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "List firing alerts, worst first",
		Long: `List firing alerts, worst first. The list includes alerts of severity info and alerts that no
policy matches.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all []remediate.Incident
			if err := c.do(cmd.Context(), http.MethodGet, fmt.Sprintf("/incidents?limit=%d", limit), nil,
				&all); err != nil {
				return err
			}
			full := len(all) == limit
			var last int64
			if full {
				last = all[limit-1].ID
			}
			slices.SortStableFunc(all, func(a, b remediate.Incident) int {
				return cmp.Or(rank(a)-rank(b), a.Opened.Compare(b.Opened))
			})
			if c.json {
				return printJSON(cmd.OutOrStdout(), all)
			}
			if err := printAlerts(cmd.OutOrStdout(), all); err != nil || !full {
				return err
			}
			return more(cmd.OutOrStdout(), "upkeep inbox --after %d", last)
		},
	}
	c.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 1000, "how many to list, of those that fire for longest")
	return cmd
}

// rank orders severities, those that are not known after the warnings.
func rank(e remediate.Incident) int {
	if i := slices.Index([]string{"critical", "warning"}, e.Alert.Labels["severity"]); i >= 0 {
		return i
	}
	if slices.Contains([]string{"info", "none", "debug"}, e.Alert.Labels["severity"]) {
		return 3
	}
	return 2
}

func printAlerts(w io.Writer, all []remediate.Incident) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No alert is firing.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "SEVERITY\tALERT\tSINCE\tON\tSUMMARY")
	for _, e := range all {
		on := maps.Clone(e.Alert.Labels)
		for _, name := range []string{"alertname", "severity", "job", "instance"} {
			delete(on, name)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", visible.Text(e.Alert.Labels["severity"]), visible.Text(e.Name()),
			e.Opened.Local().Format(time.DateTime), journal.Subject(on), visible.Text(e.Alert.Annotations["summary"]))
	}
	return t.Flush()
}

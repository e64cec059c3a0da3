package main

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/text"
	"github.com/ai-micro-service/upkeep/remediate"
)

func alertsCommand() *cobra.Command {
	var c client
	var limit int
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "List firing alerts, worst first",
		Long: `List firing alerts, worst first. The list includes alerts of severity info and alerts that no
policy matches.`,
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
				return c.print(cmd, all)
			}
			if err := text.Alerts(cmd.OutOrStdout(), all, time.Now(), c.as == formWide); err != nil || !full {
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

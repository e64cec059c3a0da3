package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/text"
)

func scheduleCommand() *cobra.Command {
	var c client
	var limit int
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "List the next occurrences of the schedules, and the results of the last ones",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all console.Calendar
			if err := c.do(cmd.Context(), http.MethodGet, fmt.Sprintf("/schedules?limit=%d", limit), nil,
				&all); err != nil {
				return err
			}
			if c.json {
				return c.print(cmd, all)
			}
			return text.Calendar(cmd.OutOrStdout(), all)
		},
	}
	c.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 10, "how many to list of each")
	return cmd
}

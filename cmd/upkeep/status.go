package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/text"
)

func statusCommand() *cobra.Command {
	var c client
	var verbose bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what fires, what is done about it, what to decide, and what cannot be read",
		Long: `Show in one line how many targets are down, what fires, which runs need a person and what is paused, and then
each of these on a line, the most urgent first. An error of many collectors is shown once. With --verbose
the collectors are listed too.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s console.Status
			if err := c.do(cmd.Context(), http.MethodGet, "/status", nil, &s); err != nil {
				return err
			}
			if c.json {
				return c.print(cmd, s)
			}
			now := time.Now()
			text.Status(cmd.OutOrStdout(), s, now)
			if !verbose {
				return nil
			}
			fmt.Fprintln(cmd.OutOrStdout())
			return text.Collectors(cmd.OutOrStdout(), s, now, c.as == formWide)
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "list the collectors too")
	return cmd
}

package main

import (
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/text"
)

func targetsCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "targets",
		Short: "List the targets with their state, those that need attention first",
		Long: `List the targets with their state, those that need attention first. A target is down when it does not
answer, failing when some of its collectors fail, and unknown until it was asked for the first time.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all []console.TargetLine
			if err := c.do(cmd.Context(), http.MethodGet, "/targets", nil, &all); err != nil {
				return err
			}
			if c.json {
				return c.print(cmd, all)
			}
			return text.Targets(cmd.OutOrStdout(), all, time.Now(), c.as == formWide)
		},
	}
	c.flags(cmd)
	return cmd
}

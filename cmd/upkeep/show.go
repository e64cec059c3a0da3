package main

import (
	"net/http"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/text"
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
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := runPath(args[0])
			if err != nil {
				return err
			}
			var s console.RunDetails
			if err := c.do(cmd.Context(), http.MethodGet, path, nil, &s); err != nil {
				return err
			}
			if c.json {
				return c.print(cmd, s)
			}
			if asMarkdown {
				text.Markdown(cmd.OutOrStdout(), s)
				return nil
			}
			text.Details(cmd.OutOrStdout(), s)
			return nil
		},
	}
	c.flags(cmd)
	cmd.ValidArgsFunction = c.runs("")
	cmd.Flags().BoolVar(&asMarkdown, "markdown", false, "print the draft of a postmortem")
	return cmd
}

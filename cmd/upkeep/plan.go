package main

import (
	"net/http"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/text"
	"github.com/ai-micro-service/upkeep/remediate/engine"
)

func planCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:     "plan ACTION [key=value…]",
		Short:   "Show what an action would do now and what blocks it; change nothing",
		Example: "  upkeep plan postgres/vacuum server=main database=admindb schema=public table=logs",
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := ask(cmd, args)
			if err != nil {
				return err
			}
			var p engine.Preview
			if err := c.do(cmd.Context(), http.MethodPost, "/plans", a, &p); err != nil {
				return err
			}
			if c.json {
				err = c.print(cmd, p)
			} else {
				text.Preview(cmd.OutOrStdout(), a.Action, p)
			}
			if err == nil && len(p.Refusals) > 0 {
				return quiet(exitNo)
			}
			return err
		},
	}
	c.flags(cmd)
	cmd.ValidArgsFunction = c.request
	limitFlag(cmd)
	return cmd
}

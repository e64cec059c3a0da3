package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate/engine"
)

func planCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:     "plan ACTION key=value…",
		Short:   "Show what an action would do now and what blocks it; change nothing",
		Example: "  upkeep plan postgres/vacuum server=main database=admindb schema=public table=logs",
		Args:    cobra.MinimumNArgs(1),
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
				return printJSON(cmd.OutOrStdout(), p)
			}
			printPreview(cmd.OutOrStdout(), a, p)
			return nil
		},
	}
	c.flags(cmd)
	limitFlag(cmd)
	return cmd
}

func printPreview(w io.Writer, a console.Ask, p engine.Preview) {
	fmt.Fprintf(w, "%s (%s) lowers %s, now %s, %s\n", a.Action, p.Risk, p.Lowers, quantity(p.Lowers, p.Before),
		limit(p.Lowers, p.Limit))
	printPlan(w, p.Plan)
	for _, r := range p.Refusals {
		fmt.Fprintf(w, "\nwould not run now (%s): %s\n", r.Reason, r.Detail)
	}
}

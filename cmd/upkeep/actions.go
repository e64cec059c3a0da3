package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/text"
)

func actionsCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "actions [ACTION]",
		Short: "List what upkeep can do to its targets: labels, parameters, risk and effects",
		Long: `List what upkeep can do to its targets. With the name of an action, print what it needs and what it does to
the target and to those who work there. docs/actions.md describes all actions.`,
		Example: "  upkeep actions\n  upkeep actions postgres/reindex",
		RunE: func(cmd *cobra.Command, args []string) error {
			var all []console.ActionLine
			if err := c.do(cmd.Context(), http.MethodGet, "/actions", nil, &all); err != nil {
				return err
			}
			if len(args) == 0 {
				if c.json {
					return c.print(cmd, all)
				}
				return text.Actions(cmd.OutOrStdout(), all, c.as == formWide)
			}
			i := slices.IndexFunc(all, func(a console.ActionLine) bool { return a.Name == args[0] })
			if i < 0 {
				return noAction(all, args[0])
			}
			if c.json {
				return c.print(cmd, all[i])
			}
			text.Action(cmd.OutOrStdout(), all[i])
			return nil
		},
	}
	c.flags(cmd)
	cmd.ValidArgsFunction = c.names("/actions", "name")
	return cmd
}

// noAction says which actions the targets of the running upkeep take.
func noAction(all []console.ActionLine, name string) error {
	var names []string
	for _, a := range all {
		names = append(names, a.Name)
	}
	if len(names) == 0 {
		names = []string{"none"}
	}
	return fail(exitRefused, fmt.Errorf("no target takes an action %q; they take: %s", name, strings.Join(names, ", ")))
}

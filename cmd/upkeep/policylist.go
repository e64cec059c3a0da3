package main

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/text"
)

func policyListCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the policies: mode, action, effect, matched alerts, and which are demoted",
		Long: `List the policies in the order in which they are tried: the mode and the action of their steps, their effect, and
which alerts they match. The effect is how many of the last runs resolved the incident for good, out of those that
acted and have a verdict. A policy with too small an effect is demoted. An incident that comes back within a day
was not resolved for good.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var lines []console.PolicyLine
			if err := c.do(cmd.Context(), http.MethodGet, "/policies", nil, &lines); err != nil {
				return err
			}
			if c.json {
				return c.print(cmd, lines)
			}
			if len(lines) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "No policies: upkeep changes nothing by itself.")
				return nil
			}
			return text.Policies(cmd.OutOrStdout(), lines, c.as == formWide)
		},
	}
	c.flags(cmd)
	return cmd
}

func policyPromoteCommand() *cobra.Command {
	cmd := resetCommand("promote", "Promote a demoted policy: it acts without approval again",
		"policy %s is promoted: it acts without approval again\n")
	cmd.Long = `Promote a demoted policy: it acts without approval again, and its breaker is closed. Earlier
runs no longer count for its success rate.`
	cmd.Example = "  upkeep policy promote 'index bloat' --why 'the long transactions are gone'"
	return cmd
}

func policyDemoteCommand() *cobra.Command {
	cmd := resetCommand("demote", "Demote a policy: its runs need approval",
		"policy %s is demoted: its runs need approval until: upkeep policy promote\n")
	cmd.Long = `Demote a policy in mode auto: its runs need approval, over restarts and reloads, until a person promotes
it. A run that acts already stops: at once, or after its statement where cancelling that would leave
something behind.`
	cmd.Example = "  upkeep policy demote 'index bloat' --why 'the new storage is slow'"
	return cmd
}

func policyCloseCommand() *cobra.Command {
	cmd := resetCommand("close", "Close the breaker of a policy that was stopped after failed or useless runs",
		"the breaker of policy %s is closed\n")
	cmd.Long = `Close the breaker of a policy that was stopped after several failed or useless runs in a row.
Its waiting runs continue at once. The failed runs still count for its success rate.`
	cmd.Example = "  upkeep policy close 'index bloat' --why 'the disk has room again'"
	return cmd
}

func resetCommand(verb, short, done string) *cobra.Command {
	var c client
	var why string
	cmd := &cobra.Command{
		Use:   verb + " POLICY --why REASON",
		Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			var said struct {
				Policy string `json:"policy"`
			}
			if err := c.do(cmd.Context(), http.MethodPost, "/policies/"+url.PathEscape(args[0])+"/"+verb,
				console.Answer{By: whoami(), Why: why}, &said); err != nil {
				return err
			}
			if c.json {
				return c.print(cmd, said)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), done, said.Policy)
			return err
		},
	}
	c.flags(cmd)
	whyFlag(cmd, &why)
	cmd.ValidArgsFunction = c.names("/policies", "name")
	return cmd
}

package main

import (
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
)

func policyListCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the policies with the success rate of their runs, and which are demoted",
		Long: `List the policies. For each: how many of its last runs resolved the incident for good, out of
those that acted and have a verdict, and whether it is demoted because these were too few.
An incident that comes back within a day was not resolved for good.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var lines []console.PolicyLine
			if err := c.do(cmd.Context(), http.MethodGet, "/policies", nil, &lines); err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), lines)
			}
			if len(lines) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "No policies: upkeep changes nothing by itself.")
				return nil
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(t, "POLICY\tRESOLVED FOR GOOD\tMODE")
			for _, l := range lines {
				mode := "as configured"
				if !l.Demoted.IsZero() {
					mode = fmt.Sprintf("demoted since %s: %s", l.Demoted.Local().Format(time.DateTime), l.Why)
				}
				fmt.Fprintf(t, "%s\t%d of %d\t%s\n", l.Name, l.Resolved, l.Judged, mode)
			}
			return t.Flush()
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
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var said struct {
				Policy string `json:"policy"`
			}
			if err := c.do(cmd.Context(), http.MethodPost, "/policies/"+url.PathEscape(args[0])+"/"+verb,
				console.Answer{By: whoami(), Why: why}, &said); err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), said)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), done, said.Policy)
			return err
		},
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&why, "why", "", "reason, recorded in the journal (required)")
	return cmd
}

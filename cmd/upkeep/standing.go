package main

import (
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/console"
)

func policyListCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the policies with their measured effect, and which of them were put back to ask",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var lines []console.PolicyLine
			if err := c.do(cmd.Context(), http.MethodGet, "/policies", nil, &lines); err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), lines)
			}
			if len(lines) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "There are no policies: upkeep changes nothing by itself.")
				return nil
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(t, "POLICY\tCLEARED FOR GOOD\tSTANDING")
			for _, l := range lines {
				standing := "as configured"
				if !l.Demoted.IsZero() {
					standing = fmt.Sprintf("asks since %s: %s", l.Demoted.Local().Format(time.DateTime), l.Why)
				}
				fmt.Fprintf(t, "%s\t%d of %d\t%s\n", l.Name, l.Cleared, l.Judged, standing)
			}
			return t.Flush()
		},
	}
	c.flags(cmd)
	return cmd
}

func policyPromoteCommand() *cobra.Command {
	return resetCommand("promote", "Let a policy act by itself again, and close its breaker; what was before no longer counts", "policy %s may act by itself again\n")
}

func policyCloseCommand() *cobra.Command {
	return resetCommand("close", "Close the breaker of a policy that useless runs have stopped", "the breaker of policy %s is closed\n")
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
			if err := c.do(cmd.Context(), http.MethodPost, "/policies/"+url.PathEscape(args[0])+"/"+verb, console.Answer{By: whoami(), Why: why}, &said); err != nil {
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
	cmd.Flags().StringVar(&why, "why", "", "why, for those who read the journal (needed)")
	return cmd
}

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
		Short: "List the policies with how many of their runs helped, and which were put back to ask",
		Long: `List the policies with how many of their last runs cleared the trouble for good, of those
that acted and could be judged, and which were put back to ask because these were too few.
A trouble that comes back within a day was not cleared for good.`,
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
	cmd := resetCommand("promote", "Let a policy that was put back to ask act by itself again", "policy %s may act by itself again\n")
	cmd.Long = `Let a policy that was put back to ask act by itself again, and close its breaker. The runs
before no longer count for its effect: it is judged anew.`
	cmd.Example = "  upkeep policy promote 'index bloat' --why 'the long transactions are gone'"
	return cmd
}

func policyCloseCommand() *cobra.Command {
	cmd := resetCommand("close", "Close the breaker of a policy that useless runs have stopped", "the breaker of policy %s is closed\n")
	cmd.Long = `Close the breaker of a policy that useless or failed runs in a row have stopped: what waits
for it goes on at once. The runs still count for its effect.`
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

package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
)

func retryCommand() *cobra.Command {
	var c client
	var why string
	var detach bool
	cmd := &cobra.Command{
		Use:   "retry RUN --why REASON",
		Short: "Run once more what a run that has ended was asked for",
		Long: `Run once more what a run that has ended was asked for: the same action on the same subject, up to the same
limit and on the same terms, as a run by hand. Guards, journal and verification are the same. What always
needs approval needs it again. The exit status is that of upkeep run.`,
		Example: "  upkeep retry 7 --why 'the disk has room again'",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := runPath(args[0])
			if err != nil {
				return err
			}
			var r remediate.Run
			if err := c.do(cmd.Context(), http.MethodPost, path+"/retry", console.Answer{By: whoami(), Why: why},
				&r); err != nil {
				return err
			}
			switch {
			case !detach:
				return c.follow(cmd, r.ID)
			case c.json:
				return c.print(cmd, r)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "run %d was requested; see it with: upkeep show %d\n", r.ID, r.ID)
			return err
		},
	}
	c.flags(cmd)
	whyFlag(cmd, &why)
	cmd.Flags().BoolVar(&detach, "detach", false, "do not wait for the end of the run")
	cmd.ValidArgsFunction = c.runs("")
	return cmd
}

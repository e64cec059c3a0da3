package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/demo"
)

func demoCommand() *cobra.Command {
	o := demo.Options{}
	var verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole loop on a private PostgreSQL and Redis that are made sick, and clean up",
		Long: `Start a private PostgreSQL and Redis in a temporary folder from the installed
binaries, make them sick with real data, run upkeep on them with short clocks,
and print what happens: alert, plan, guards, steps, measures, cleared.

The console stays until Ctrl-C, or with --once until every alert has cleared.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out, o.Version = cmd.OutOrStdout(), buildVersion()
			if verbose {
				o.Log = os.Stderr
			}
			return demo.Run(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVar(&o.Once, "once", false, "end with status 0 when every alert has cleared")
	cmd.Flags().DurationVar(&o.Timeout, "timeout", 3*time.Minute, "end with status 1 when not every alert has cleared after this long")
	cmd.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:0", "address of the console")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "print upkeep's own log too")
	return cmd
}

package main

import (
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/demo"
)

func demoCommand() *cobra.Command {
	o := demo.Options{}
	var verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole loop on a private PostgreSQL and Redis with real problems, and clean up",
		Long: `Start a private PostgreSQL and Redis in a temporary folder from the installed
binaries, create real problems in them, run upkeep with short intervals, and print
what happens: alert, plan, guards, steps, measurements, result.

The console runs until Ctrl-C, or with --once until every alert is resolved.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out, o.Version = cmd.OutOrStdout(), buildVersion()
			if verbose {
				o.Log = os.Stderr
			}
			err := demo.Run(cmd.Context(), o)
			if errors.Is(err, demo.ErrNotResolved) {
				return fail(exitNo, err)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&o.Once, "once", false, "exit with status 0 when every alert is resolved")
	cmd.Flags().DurationVar(&o.Timeout, "timeout", 3*time.Minute,
		"exit with status 1 if not every alert is resolved within this time")
	cmd.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:0", "address of the console")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "print upkeep's own log too")
	return cmd
}

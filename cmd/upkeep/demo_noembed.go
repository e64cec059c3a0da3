//go:build noembed

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Is not in this build: it needs the embedded Prometheus",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("this upkeep was built without Prometheus and Alertmanager (noembed), and the demo needs them: use the full build")
		},
	}
}

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/internal/app"
	"github.com/ai-micro-service/upkeep/internal/config"
	"github.com/ai-micro-service/upkeep/internal/embedded"
)

func checkCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check --config upkeep.yaml",
		Short: "Say what is wrong with a configuration, without starting",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(file, app.Known())
			if err == nil && c.Embedded.Enabled {
				err = embedded.CheckRules(alerts.Files(), c.Embedded.RuleFiles)
			}
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), err)
				return errors.Join(errSaid, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is good: %d targets, %d policies\n", file, c.Targets.Count(), len(c.Policies))
			return err
		},
	}
	configFlag(cmd, &file)
	return cmd
}

package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/app"
	"github.com/ai-micro-service/upkeep/internal/config"
)

func notifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Try whether notifications reach people",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(notifyTestCommand())
	return cmd
}

func notifyTestCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "test RECEIVER",
		Short: "Send one test notification, and say what the receiver answered",
		Long: `Send one test notification to a place of notify or to a receiver of the Alertmanager
configuration file, and say what the receiver answered. A kind that keeps incidents is
notified of the end at once. No running upkeep is needed; the secrets are read as upkeep
would read them. Ends with status 1 when the notification was not taken.`,
		Example: "  upkeep notify test operators --config /etc/upkeep/upkeep.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.Load(file, app.Known())
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), err)
				return errors.Join(errSaid, err)
			}
			tried, err := app.TestNotification(cmd.Context(), c, args[0], slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			if len(tried) == 0 {
				return fmt.Errorf("receiver %q has no configuration by which it could notify anybody", args[0])
			}
			for _, one := range tried {
				if one.Err != nil {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: not accepted: %v\n", one.Name, one.Err)
					err = errSaid
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: accepted\n", one.Name)
			}
			return err
		},
	}
	configFlag(cmd, &file)
	return cmd
}

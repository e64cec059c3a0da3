package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/app"
)

func notifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Test notifications",
	}
	cmd.AddCommand(notifyTestCommand())
	return cmd
}

func notifyTestCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "test RECEIVER",
		Short: "Send one test notification and print the receiver's answer",
		Long: `Send one test notification to a place of notify or to a receiver of the Alertmanager
configuration file, and print the receiver's answer. A receiver that opens incidents gets
the resolved notification at once. The command needs no running upkeep and reads the secrets
as upkeep would. It exits with status 1 if the receiver did not accept the notification.`,
		Example: "  upkeep notify test operators --config /etc/upkeep/upkeep.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := configOf(cmd.ErrOrStderr(), file)
			if err != nil {
				return err
			}
			tried, err := app.TestNotification(cmd.Context(), c, args[0], slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			if len(tried) == 0 {
				return fmt.Errorf("receiver %q has no integration that could notify anyone", args[0])
			}
			for _, one := range tried {
				if one.Err != nil {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: not accepted: %v\n", one.Name, one.Err)
					err = quiet(exitNo)
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

package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

func notifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Test notifications",
		Args:  cobra.NoArgs,
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
				return fmt.Errorf("receiver %q has no integration that could notify anyone", args[0])
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

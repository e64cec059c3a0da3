package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/usage"
	"github.com/ai-micro-service/upkeep/remediate"
)

func pauseCommand() *cobra.Command {
	var c client
	var reason string
	var length time.Duration
	cmd := &cobra.Command{
		Use:   "pause SCOPE --why REASON",
		Short: "Stop upkeep from acting: all, policy/NAME, action/NAME or target/NAME",
		Long: "Stop upkeep from acting: on everything, or on one policy/NAME, action/NAME or " +
			"target/NAME.\nRunning steps are stopped where that leaves nothing behind, and continue when the pause " +
			"ends.\nAll other runs wait. A pause survives a restart.",
		Example: "  upkeep pause all --why 'release of the shop' --for 2h",
		RunE: func(cmd *cobra.Command, args []string) error {
			p := remediate.Pause{Scope: args[0], Reason: reason, By: whoami()}
			if length < 0 {
				return usage.Errorf("--for %s: want a duration above 0", length)
			}
			if length > 0 {
				p.Until = time.Now().Add(length)
			}
			if err := c.do(cmd.Context(), http.MethodPost, "/pauses", p, &p); err != nil {
				return err
			}
			if c.json {
				return c.print(cmd, p)
			}
			until := ""
			if !p.Until.IsZero() {
				until = " until " + p.Until.Local().Format(time.DateTime)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is paused%s; end it with: upkeep resume %s\n", p.Scope, until,
				p.Scope)
			return err
		},
	}
	c.flags(cmd)
	whyFlag(cmd, &reason)
	cmd.ValidArgsFunction = c.scopes
	cmd.Flags().DurationVar(&length, "for", 0, "duration of the pause (default: until upkeep resume)")
	return cmd
}

func resumeCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "resume SCOPE",
		Short: "End a pause",
		RunE: func(cmd *cobra.Command, args []string) error {
			var said struct {
				Scope string `json:"scope"`
			}
			if err := c.do(cmd.Context(), http.MethodDelete,
				"/pauses?scope="+url.QueryEscape(args[0])+"&by="+url.QueryEscape(whoami()), nil, &said); err != nil {
				return err
			}
			if c.json {
				return c.print(cmd, said)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is no longer paused\n", said.Scope)
			return err
		},
	}
	c.flags(cmd)
	cmd.ValidArgsFunction = c.names("/pauses", "scope")
	return cmd
}

package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/internal/app"
	"github.com/ai-micro-service/upkeep/internal/catalog"
	"github.com/ai-micro-service/upkeep/internal/config"
	"github.com/ai-micro-service/upkeep/internal/embedded"
	"github.com/ai-micro-service/upkeep/remediate"
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
			for _, who := range unbounded(c) {
				fmt.Fprintf(cmd.OutOrStdout(), "note: %s deletes by itself, however much: most_rows or most_share would bound it\n", who)
			}
			return err
		},
	}
	configFlag(cmd, &file)
	return cmd
}

// unbounded names the policies and schedules that act by themselves, remove for good,
// and say nothing of how much.
func unbounded(c *config.Config) (all []string) {
	removes := make(map[string]bool)
	for _, a := range catalog.EveryAction() {
		removes[a.Name] = a.Risk == remediate.Destructive
	}
	bounded := func(t config.Terms) bool { return t.MostRows > 0 || t.MostShare > 0 }
	for _, p := range c.Policies {
		if slices.ContainsFunc(p.Steps, func(s config.Step) bool { return s.Mode == string(remediate.Auto) && removes[s.Action] }) && !bounded(p.Terms) {
			all = append(all, fmt.Sprintf("policy %q", p.Name))
		}
	}
	for _, s := range c.Schedules {
		if s.Mode == string(remediate.Auto) && removes[s.Action] && !bounded(s.Terms) {
			all = append(all, fmt.Sprintf("schedule %q", s.Name))
		}
	}
	return all
}

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	configcheck "github.com/ai-micro-service/upkeep/internal/product/check"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/embedded"
	"github.com/ai-micro-service/upkeep/remediate"
)

func checkCommand() *cobra.Command {
	var file string
	var strict, connect bool
	cmd := &cobra.Command{
		Use:   "check --config upkeep.yaml",
		Short: "Check a configuration without starting",
		Long: `Check a configuration without starting. Each finding has file, line, what is wrong and what
to do. An error can never work as written: a key or query that does not parse, a policy that
no alert reaches, a server, window or file that does not exist. A warning may be correct
because of something that upkeep cannot see from here.

With --connect the command also logs in to every PostgreSQL, Redis, Docker engine, Prometheus,
Alertmanager and bucket of the configuration and to the store, and lists versions, missing
rights and missing extensions. It probes each service once, and prints phase and reason of a
failure. It changes nothing.

The exit status is 1 if there is an error, and with --strict also if there is a warning; 2 if
there is no such file.`,
		Example: "  upkeep check --config upkeep.yaml --connect",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return checkConfig(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), file, strict, connect)
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().BoolVar(&connect, "connect", false,
		"log in to every server, probe each service, and check versions, rights and extensions")
	cmd.Flags().BoolVar(&strict, "strict", false, "treat warnings as errors")
	return cmd
}

func checkConfig(ctx context.Context, out, errs io.Writer, file string, strict, connect bool) error {
	c, source, err := config.Read(file, app.Known())
	if err != nil {
		fmt.Fprintln(errs, err)
		if _, err := os.Stat(file); err != nil {
			return quiet(exitUsage)
		}
		return quiet(exitNo)
	}
	if c.Embedded.Enabled {
		if err := embedded.CheckRules(alerts.Files(), nil); err != nil {
			return err
		}
	}
	found, err := configcheck.Config(c, source)
	if err != nil {
		return err
	}
	if connect {
		more, err := connected(ctx, out, c, source)
		if err != nil {
			return err
		}
		found = append(found, more...)
	}
	faults, warnings := 0, 0
	for _, f := range found {
		fmt.Fprintln(errs, f)
		if f.Warning {
			warnings++
		} else {
			faults++
		}
	}
	if faults > 0 || strict && warnings > 0 {
		return quiet(exitNo)
	}
	verdict := "good"
	if warnings > 0 {
		verdict = fmt.Sprintf("valid, with %s", count(warnings, "warning"))
	}
	_, err = fmt.Fprintf(out, "%s is %s: %d targets, %d policies\n", file, verdict, c.Targets.Count(), len(c.Policies))
	for _, who := range unbounded(c) {
		fmt.Fprintf(out, "note: %s deletes any amount without approval; most_rows or most_share limits it\n", who)
	}
	return err
}

// connected writes what the servers say of themselves, and returns what is wrong.
func connected(ctx context.Context, out io.Writer, c *config.Config, source *config.Source) ([]configcheck.Finding,
	error) {
	set, err := app.Targets(c)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	seen, found, err := configcheck.Connect(ctx, c, source, set)
	for _, s := range seen {
		fmt.Fprintf(out, "%s: %s\n", s.What, s.Text)
	}
	return found, err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// unbounded names the policies and schedules that act by themselves, remove for good,
// and say nothing of how much.
func unbounded(c *config.Config) (all []string) {
	removes := make(map[string]bool)
	for _, a := range catalog.EveryAction() {
		removes[a.Name] = a.Risk == remediate.Destructive
	}
	bounded := func(t remediate.Terms) bool { return t.MostRows > 0 || t.MostShare > 0 }
	for _, p := range c.Policies {
		if slices.ContainsFunc(p.Steps, func(s config.Step) bool {
			return s.Mode == string(remediate.Auto) &&
				removes[s.Action]
		}) && !bounded(p.Terms) {
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

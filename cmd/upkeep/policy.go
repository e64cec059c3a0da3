package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

func policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Test policies, list their success rates, demote and promote them",
		Long: `Show what policies decide (test) and the success rate of their runs (list). A policy whose
runs help too rarely is demoted: its runs need approval until a person promotes it. A person can
demote a policy too. A policy
whose last runs all failed or did not help is stopped by its breaker, until a person closes
the breaker or its time is over.`,
	}
	cmd.AddCommand(policyTestCommand(), policyListCommand(), policyPromoteCommand(),
		policyDemoteCommand(), policyCloseCommand())
	return cmd
}

func policyTestCommand() *cobra.Command {
	var file, expr string
	var annotations []string
	cmd := &cobra.Command{
		Use:   "test LABEL=VALUE…",
		Short: "Show which policy matches an alert with these labels, and what it would do",
		Long: `Show which policy matches an alert with these labels, why the policies before it do not
match, and what it would do, step by step. The command needs neither a running upkeep nor a
target, and changes nothing. It exits with status 1 when no policy matches.`,
		Example: "  upkeep policy test alertname=PostgresDeadRows server=main database=admindb schema=public " +
			"table=logs --annotation limit=0.2",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := configOf(cmd.ErrOrStderr(), file)
			if err != nil {
				return err
			}
			alert := remediate.Alert{Firing: true, Expr: expr}
			if alert.Labels, err = pairs(args); err != nil {
				return err
			}
			if alert.Annotations, err = pairs(annotations); err != nil {
				return fmt.Errorf("--annotation: %w", err)
			}
			return tryPolicies(cmd.OutOrStdout(), c.Book(app.Known().Actions), alert)
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().StringArrayVar(&annotations, "annotation", nil,
		"an annotation of the alert, like limit=0.2; may be repeated")
	cmd.Flags().StringVar(&expr, "expr", "",
		"the expression of the alert's rule; its range is how long the alert may keep firing after its cause is gone")
	return cmd
}

// tryPolicies decides about an alert as the engine does, once for each step: as if
// none had helped.
func tryPolicies(w io.Writer, b policy.Book, alert remediate.Alert) error {
	name := match(w, b, alert.Labels)
	if name == "" {
		return fail(exitNo, errors.New("no policy matches; the alert would be shown and left alone"))
	}
	now := time.Now()
	c := policy.Case{Incident: remediate.Incident{ID: 1, Alert: alert, Opened: now}, Now: now}
	if d := b.Decide(c); !d.Wait.IsZero() {
		fmt.Fprintf(w, "\nwaits %s: %s\n", model.Duration(d.Wait.Sub(now).Round(time.Millisecond)), d.Why)
		c.Now = d.Wait
	}
	aside := false
	for {
		d := b.Decide(c)
		r := d.Request
		if r == nil {
			return ending(w, d)
		}
		switch {
		case aside:
			fmt.Fprint(w, "\nand then, where the alert still fires:\n")
		case r.Step > 0:
			fmt.Fprint(w, "\nif that does not help:\n")
		}
		aside = r.Aside
		printRequest(w, *r)
		c.History = append(c.History, policy.Past{Run: int64(r.Step + 1), Policy: r.Policy, Step: r.Step,
			Action: r.Action, State: remediate.Unresolved})
	}
}

// match prints how each policy takes the labels, up to the one that decides.
func match(w io.Writer, b policy.Book, have map[string]string) string {
	for _, p := range b.Policies {
		ok, failing := p.Matches(have)
		if ok {
			fmt.Fprintf(w, "policy %q matches: %s\n", p.Name, p.Match)
			return p.Name
		}
		said := fmt.Sprintf("%s is %q", failing.Name, have[failing.Name])
		if _, there := have[failing.Name]; !there {
			said = "there is no label " + failing.Name
		}
		fmt.Fprintf(w, "policy %q does not match: %s, and %s\n", p.Name, failing, said)
	}
	return ""
}

func ending(w io.Writer, d policy.Decision) error {
	if d.Page {
		_, err := fmt.Fprint(w, "\nif that does not help: people are notified\n")
		return err
	}
	_, err := fmt.Fprint(w, "\nif that does not help: no further step; the policy only observes\n")
	return err
}

func printRequest(w io.Writer, r remediate.Request) {
	fmt.Fprintf(w, "\n%d. %s, mode %s\n", r.Step+1, r.Action, r.Mode)
	if r.Wrong != "" {
		fmt.Fprintf(w, "   would be refused: %s\n", r.Wrong)
	}
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "   %-9s%s\n", name, text)
		}
	}
	line("subject", written(r.Subject))
	line("with", written(r.Params))
	if r.Limit != nil {
		text := strconv.FormatFloat(*r.Limit, 'f', -1, 64)
		if r.Aside {
			text += ", the step's own: it clears the way for the next"
		}
		line("limit", text)
	}
	line("terms", r.Terms.Text())
}

// written writes labels in their order.
func written(all map[string]string) string {
	var b []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b = append(b, fmt.Sprintf("%s=%q", name, all[name]))
	}
	return strings.Join(b, " ")
}

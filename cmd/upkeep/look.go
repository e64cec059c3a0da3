package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	sight "github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/internal/product/usage"
	"github.com/ai-micro-service/upkeep/remediate"
)

func lookCommand() *cobra.Command {
	var c client
	var server, harm string
	cmd := &cobra.Command{
		Use:   "look",
		Short: "Show what is wrong with the targets, the worst first",
		Long: `Show what is wrong with the targets, the worst first: each finding with its object, what it costs, the
figures that show it and where they are from, and the command that shows the plan of the action that mends it. Nothing
is changed, and no run is started.

What needs history, such as an unused index, is a candidate until there is enough of it. What cannot be read is listed
as not known, with the statement that grants the right.`,
		Example: "  upkeep look\n  upkeep look --server main --harm space\n" +
			"  upkeep look --json | jq '.findings[].kind'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if harm != "" && !slices.Contains(sight.Harms(), sight.Harm(harm)) {
				return usage.Errorf("--harm %q: want one of %s", harm, harms())
			}
			var r sight.Report
			if err := c.do(cmd.Context(), http.MethodGet, "/look", nil, &r); err != nil {
				return err
			}
			if err := onlyOf(&r, server, harm); err != nil {
				return err
			}
			if c.json {
				return c.print(cmd, r)
			}
			printLook(cmd.OutOrStdout(), r)
			return nil
		},
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&server, "server", "", "only of this target")
	cmd.Flags().StringVar(&harm, "harm", "", "only what endangers this: "+harms())
	return cmd
}

func harms() string {
	var all []string
	for _, h := range sight.Harms() {
		all = append(all, string(h))
	}
	return strings.Join(all, ", ")
}

// onlyOf leaves in a report what is of a server and of a harm. A server that no target has is a mistake, and
// not one of which all is well.
func onlyOf(r *sight.Report, server, harm string) error {
	if server != "" {
		var names []string
		for _, s := range r.Targets {
			names = append(names, s.Server)
		}
		if !slices.Contains(names, server) {
			return usage.Errorf("--server %q: unknown target; targets: %s", server, strings.Join(slices.Compact(names),
				", "))
		}
		other := func(name string) bool { return name != server }
		r.Targets = slices.DeleteFunc(r.Targets, func(s sight.Seen) bool { return other(s.Server) })
		r.Findings = slices.DeleteFunc(r.Findings, func(f sight.Finding) bool { return other(f.Server) })
		r.Left = slices.DeleteFunc(r.Left, func(l sight.Left) bool { return other(l.Server) })
		r.Unknown = slices.DeleteFunc(r.Unknown, func(u sight.Unknown) bool { return other(u.Server) })
	}
	if harm != "" {
		r.Findings = slices.DeleteFunc(r.Findings, func(f sight.Finding) bool { return string(f.Harm) != harm })
	}
	return nil
}

func printLook(w io.Writer, r sight.Report) {
	if len(r.Findings) == 0 {
		fmt.Fprintln(w, "Nothing is wrong in what was looked at.")
	}
	for _, f := range r.Findings {
		amount := ""
		switch {
		case f.Bytes > 0:
			amount = ", " + remediate.Quantity("_bytes", f.Bytes)
		case f.Seconds > 0:
			amount = ", " + remediate.Quantity("_seconds", f.Seconds)
		}
		where := f.Server
		if f.Subject["database"] != "" {
			where += ", database " + f.Subject["database"]
		}
		fmt.Fprintf(w, "%s (%s%s) on %s: %s\n", strings.ToUpper(f.Severity), f.Harm, amount, where, f.Title)
		fmt.Fprintf(w, "  cost: %s\n", f.Cost)
		for _, e := range f.Evidence {
			fmt.Fprintf(w, "  %s\n", evidenceLine(e))
		}
		if c := f.Candidate; c != nil {
			fmt.Fprintf(w, "  candidate: evidence since %s, enough on %s%s\n", c.Since.Local().Format(time.DateTime),
				c.Enough.Local().Format(time.DateTime), after("; ", c.Why))
		}
		if p := f.Plan; p != nil {
			fmt.Fprintf(w, "  plan: %s\n", firstOf(p.Command, p.Action+" (a name in it cannot be typed: ask for JSON)"))
		}
		if f.ByHand != "" {
			fmt.Fprintf(w, "  by hand: %s\n", f.ByHand)
		}
		fmt.Fprintln(w)
	}
	for _, l := range r.Left {
		fmt.Fprintf(w, "and %d more of %s on %s, each as large at most\n", l.Count, l.Kind, l.Server)
	}
	for _, u := range r.Unknown {
		fmt.Fprintf(w, "NOT KNOWN on %s, %s: %s\n", u.Server, u.What, u.Why)
		if u.SQL != "" {
			fmt.Fprintf(w, "  %s\n", u.SQL)
		}
	}
	for _, s := range r.Targets {
		if len(s.Pending) > 0 {
			fmt.Fprintf(w, "NOT READ YET on %s: %s\n", s.Server, strings.Join(s.Pending, ", "))
		}
	}
}

func evidenceLine(e sight.Evidence) string {
	line := fmt.Sprintf("%s = %s (%s, %s", e.What, e.Value, e.From, e.At.Local().Format(time.TimeOnly))
	if e.Since != nil {
		line += ", counted since " + e.Since.Local().Format(time.DateTime)
	}
	return line + after(", ", e.Note) + ")"
}

// after puts a text behind what separates it, where there is one.
func after(separator, text string) string {
	if text == "" {
		return ""
	}
	return separator + text
}

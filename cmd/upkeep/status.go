package main

import (
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

func statusCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show stuck runs, firing alerts, pauses and collector health",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s console.Status
			if err := c.do(cmd.Context(), http.MethodGet, "/status", nil, &s); err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), s)
			}
			return printStatus(cmd.OutOrStdout(), s)
		},
	}
	c.flags(cmd)
	return cmd
}

func printStatus(w io.Writer, s console.Status) error {
	for _, r := range s.Stuck {
		fmt.Fprintf(w,
			"STUCK run %d: %s on %s is %s: %s. See upkeep show %d; cancel it with upkeep cancel %d --why …\n",
			r.Run.ID, r.Run.Request.Action, journal.Subject(r.Run.Request.Subject), r.Run.State, r.Why, r.Run.ID,
			r.Run.ID)
	}
	for _, p := range s.Pauses {
		fmt.Fprintf(w, "PAUSED %s by %s: %s\n", p.Scope, p.By, p.Reason)
		if p.Unknown != "" {
			fmt.Fprintf(w, "  %s: this pauses nothing\n", p.Unknown)
		}
	}
	for _, r := range s.Awaiting {
		fmt.Fprintf(w, "AWAITING APPROVAL run %d: %s on %s. See upkeep show %d; then upkeep approve %d, or upkeep "+
			"reject %d --why …\n", r.ID, r.Request.Action, journal.Subject(r.Request.Subject), r.ID, r.ID, r.ID)
	}
	if len(s.Incidents) == 0 {
		fmt.Fprintln(w, "No alert is firing.")
	}
	for _, e := range s.Incidents {
		fmt.Fprintf(w, "FIRING %s since %s: %s\n", e.Name(), e.Opened.Local().Format(time.DateTime),
			e.Alert.Annotations["summary"])
	}
	if rest := s.Open - int64(len(s.Incidents)); rest > 0 && len(s.Incidents) > 0 {
		fmt.Fprintf(w, "and %d more: upkeep inbox --after %d\n", rest, s.Incidents[len(s.Incidents)-1].ID)
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\nTARGET\tCOLLECTOR\tSAMPLES\tDURATION\tLAST RUN\tSTATE")
	for _, k := range s.Collectors {
		asked, state := k.At.Local().Format(time.TimeOnly), firstOf(k.Err, "ok")
		if k.At.IsZero() {
			asked, state = "–", "not asked yet"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", k.Server, k.Collector, k.Samples, k.Took.Round(time.Millisecond),
			asked, state)
	}
	return t.Flush()
}

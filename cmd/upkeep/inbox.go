package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

func inboxCommand() *cobra.Command {
	var c client
	var p inboxPart
	cmd := &cobra.Command{
		Use:   "inbox [ID]",
		Short: "List open incidents and dead letters (payloads that could not be parsed)",
		Long: `List open incidents and dead letters. A dead letter is a webhook payload that could not be
parsed; upkeep keeps the last hundred of each sender, a thousand in all. With the number of a dead letter,
	print all of it.
Payloads may contain secrets, so this command needs the write token.`,
		Example: "  upkeep inbox\n  upkeep inbox 12",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return showDeadLetter(cmd, c, args[0])
			}
			return showInbox(cmd, c, p)
		},
	}
	c.flags(cmd)
	cmd.Flags().IntVar(&p.limit, "limit", 20, "how many incidents and dead letters to list")
	cmd.Flags().Int64Var(&p.after, "after", 0, "list incidents after the one of this number")
	cmd.Flags().Int64Var(&p.before, "before", 0, "list dead letters before the one of this number")
	return cmd
}

// An inboxPart says which part of the lists is shown.
type inboxPart struct {
	limit         int
	after, before int64
}

func showInbox(cmd *cobra.Command, c client, p inboxPart) error {
	var list console.InboxList
	if err := c.do(cmd.Context(), http.MethodGet, fmt.Sprintf("/incidents?limit=%d&after=%d", p.limit, p.after), nil,
		&list.Incidents); err != nil {
		return err
	}
	if err := c.do(cmd.Context(), http.MethodGet, fmt.Sprintf("/dead_letters?limit=%d&before=%d", p.limit, p.before),
		nil,
		&list.DeadLetters); err != nil {
		return err
	}
	if c.json {
		return c.print(cmd, list)
	}
	if err := printInbox(cmd.OutOrStdout(), list, time.Now()); err != nil {
		return err
	}
	if len(list.Incidents) == p.limit {
		if err := more(cmd.OutOrStdout(), "upkeep inbox --after %d", list.Incidents[p.limit-1].ID); err != nil {
			return err
		}
	}
	if len(list.DeadLetters) == p.limit {
		return more(cmd.OutOrStdout(), "upkeep inbox --before %d", list.DeadLetters[p.limit-1].ID)
	}
	return nil
}

func printInbox(w io.Writer, list console.InboxList, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if len(list.Incidents) == 0 {
		fmt.Fprintln(t, "No open incidents.")
	} else {
		fmt.Fprintln(t, "INCIDENT\tSINCE\tALERT\tFROM\tLABELS\tNOTE")
	}
	for _, e := range list.Incidents {
		labels := make(map[string]string, len(e.Alert.Labels))
		for name, value := range e.Alert.Labels {
			if name != "alertname" {
				labels[name] = value
			}
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", e.ID, e.Opened.Local().Format(time.DateTime), visible.Text(e.Name()),
			e.Alert.Source, journal.Subject(labels), held(e, now))
	}
	fmt.Fprintln(t)
	if len(list.DeadLetters) == 0 {
		fmt.Fprintln(t, "No dead letters.")
	} else {
		fmt.Fprintln(t, "DEAD LETTER\tRECEIVED\tFROM\tBY\tSTATUS\tBYTES\tWHY")
	}
	for _, l := range list.DeadLetters {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%d\t%s\n", l.ID, l.Received.Local().Format(time.DateTime), l.Source,
			visible.Text(l.Remote), l.Status, l.Size, visible.Text(l.Error))
	}
	return t.Flush()
}

// held says that an incident is held down, where it is.
func held(e remediate.Incident, now time.Time) string {
	var notes []string
	if e.Flaps > 0 {
		notes = append(notes, fmt.Sprintf("came back %d times", e.Flaps))
	}
	if e.Ripe.After(now) {
		notes = append(notes, "held until "+e.Ripe.Local().Format(time.TimeOnly))
	}
	return strings.Join(notes, ", ")
}

func showDeadLetter(cmd *cobra.Command, c client, id string) error {
	var l remediate.DeadLetter
	if err := c.do(cmd.Context(), http.MethodGet, "/dead_letters/"+url.PathEscape(id), nil, &l); err != nil {
		return err
	}
	if c.json {
		return c.print(cmd, l)
	}
	printDeadLetter(cmd.OutOrStdout(), l)
	return nil
}

func printDeadLetter(w io.Writer, l remediate.DeadLetter) {
	fmt.Fprintf(w, "dead letter %d: answered with %d\n  why       %s\n  received  %s\n  from      %s, %s\n", l.ID,
		l.Status, visible.Text(l.Error), l.Received.Local().Format(time.DateTime), l.Source, visible.Text(l.Remote))
	fmt.Fprintf(w, "  body      %d bytes", l.Size)
	if int64(len(l.Body)) < l.Size {
		fmt.Fprintf(w, ", of which the first %d are here", len(l.Body))
	}
	fmt.Fprintf(w, "\n\n%s\n", visible.Lines(string(l.Body)))
}

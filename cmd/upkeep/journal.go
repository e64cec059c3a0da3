package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

func journalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "journal",
		Short: "List and verify the journal, and repeat its decisions",
		Long: `Check the journal. It records every transition of every run, every step before it runs,
every decision with its inputs, and what each person approved or rejected. The command asks
a running upkeep over HTTP; with --config it reads the store of a stopped one.`,
	}
	cmd.AddCommand(
		listJournal(),
		checkJournal("verify", "Read every entry and find any change, deletion or reordering",
			`Read every entry and find any change, deletion or reordering. Each entry contains the hash
of the one before, and each run, approval, pause and state of a policy must be what its entries say.
If something was changed, the command names the first wrong entry or row and exits with status 1. For entries that
store.retention has deleted it verifies the signed checkpoint in their place.`,
			console.Verify, verified),
		checkJournal("replay", "Repeat every recorded decision and compare",
			`Repeat every recorded decision with the policies that were in force, and every verdict with
the recorded values. Nothing is changed on the targets. If this version decides differently,
the command names each case and exits with status 1: review those before you let it act.`,
			console.Replay,
			func(k console.Check) string {
				return fmt.Sprintf("journal OK: %d decisions repeated, all the same", k.Cases)
			}),
	)
	return cmd
}

// verified says that a journal is what was written.
func verified(k console.Check) string {
	text := fmt.Sprintf("journal OK: %d entries verified", k.Entries)
	if c := k.Checkpoint; c != nil {
		text += fmt.Sprintf(", from the checkpoint of %s at entry %d (%d older entries were deleted by "+
			"store.retention)",
			c.Written.Local().Format(time.DateTime), c.Last, k.Deleted)
	}
	return text
}

func listJournal() *cobra.Command {
	var c client
	var limit int
	var before int64
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the entries of the journal, newest first",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all []remediate.Entry
			if err := c.do(cmd.Context(), http.MethodGet, fmt.Sprintf("/journal?limit=%d&before=%d", limit, before),
				nil,
				&all); err != nil {
				return err
			}
			if c.json {
				return c.print(cmd, all)
			}
			if err := printEntries(cmd.OutOrStdout(), all); err != nil || len(all) < limit {
				return err
			}
			return more(cmd.OutOrStdout(), "upkeep journal list --before %d", all[limit-1].Seq)
		},
	}
	c.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 20, "how many to list")
	cmd.Flags().Int64Var(&before, "before", 0, "list those before the entry of this number")
	return cmd
}

func printEntries(w io.Writer, all []remediate.Entry) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ENTRY\tAT\tRUN\tINCIDENT\tWHAT\tWHY")
	for _, e := range all {
		what := string(e.To)
		switch {
		case e.Note != "":
			what = string(e.Note)
		case e.Step > 0 && e.Done:
			what = fmt.Sprintf("step %d done", e.Step)
		case e.Step > 0:
			what = fmt.Sprintf("step %d begins", e.Step)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", e.Seq, e.At.Local().Format(time.DateTime), number(e.Run),
			number(e.Incident), visible.Text(what), visible.Text(e.Why))
	}
	return t.Flush()
}

// number writes a number, or a dash if it is missing.
func number(n int64) string {
	if n == 0 {
		return "–"
	}
	return strconv.FormatInt(n, 10)
}

func checkJournal(verb, short, long string, here func(context.Context, *journal.Journal) (console.Check, error),
	good func(console.Check) string) *cobra.Command {
	var c client
	var file string
	cmd := &cobra.Command{
		Use:   verb,
		Short: short,
		Long:  long,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var k console.Check
			var err error
			if file != "" {
				k, err = inStore(cmd.Context(), file, here)
			} else {
				err = c.do(cmd.Context(), http.MethodGet, "/journal/"+verb, nil, &k)
			}
			if err != nil {
				return err
			}
			if c.json {
				if err := c.print(cmd, k); err != nil {
					return err
				}
			}
			if len(k.Wrong) == 0 {
				if !c.json {
					fmt.Fprintln(cmd.OutOrStdout(), good(k))
				}
				return nil
			}
			for _, text := range k.Wrong {
				if !c.json { // there they are in the answer
					fmt.Fprintln(cmd.ErrOrStderr(), text)
				}
			}
			return quiet(exitNo)
		},
	}
	c.flags(cmd)
	cmd.Flags().StringVarP(&file, "config", "c", "", "read the store of this configuration; its upkeep must be stopped")
	return cmd
}

// inStore opens the store of a configuration and lets check read its journal.
func inStore(ctx context.Context, file string, check func(context.Context, *journal.Journal) (console.Check,
	error)) (k console.Check, err error) {
	conf, err := config.Load(file, app.Known())
	if err != nil {
		return k, fail(exitUsage, err)
	}
	s, err := app.OpenStore(ctx, conf)
	if err != nil {
		return k, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return check(ctx, journal.New(journal.Config{Store: s}))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

func journalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "journal",
		Short: "Verify the journal, and repeat its decisions",
		Long: `Check the journal. It records every transition of every run, every step before it runs,
every decision with its inputs, and what each person approved or rejected. The command asks
a running upkeep over HTTP; with --config it reads the store of a stopped one.`,
	}
	cmd.AddCommand(
		checkJournal("verify", "Read every entry and find any change, deletion or reordering",
			`Read every entry and find any change, deletion or reordering. Each entry contains the hash
of the one before, and the state of each run must match its last entry. If the journal was
changed, the command names the first wrong entry and exits with status 1.`,
			func(ctx context.Context, j *journal.Journal) (console.Check, error) {
				n, err := j.Verify(ctx)
				k := console.Check{Entries: n}
				if err != nil && ctx.Err() == nil {
					k.Wrong = []string{err.Error()}
					err = nil
				}
				return k, err
			},
			func(k console.Check) string { return fmt.Sprintf("journal OK: %d entries verified", k.Entries) }),
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

func checkJournal(verb, short, long string, here func(context.Context, *journal.Journal) (console.Check, error),
	good func(console.Check) string) *cobra.Command {
	var c client
	var file string
	cmd := &cobra.Command{
		Use:   verb,
		Short: short,
		Long:  long,
		Args:  cobra.NoArgs,
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
				if err := printJSON(cmd.OutOrStdout(), k); err != nil {
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
				fmt.Fprintln(cmd.ErrOrStderr(), text)
			}
			return errSaid
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
		return k, err
	}
	s, err := app.OpenStore(ctx, conf)
	if err != nil {
		return k, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return check(ctx, journal.New(journal.Config{Store: s}))
}

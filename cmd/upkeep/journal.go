package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/app"
	"github.com/ai-micro-service/upkeep/internal/config"
	"github.com/ai-micro-service/upkeep/internal/console"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

func journalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "journal",
		Short: "Check that the journal is what was written, and decide its cases again",
		Long: `Check the journal, which has every transition of every run, every step before it was done,
every decision with what it was made of, and who said what. A running upkeep is asked over
HTTP; with --config the store is read of one that is stopped.`,
	}
	cmd.AddCommand(
		checkJournal("verify", "Read every entry and find any change, deletion or reordering",
			`Read every entry and find any change, deletion or reordering: each carries the hash of the
one before, and the state of each run must be what its last entry says. Ends with status 1,
and names the first entry that is wrong, when the journal is not what was written.`,
			func(ctx context.Context, j *journal.Journal) (console.Check, error) {
				n, err := j.Verify(ctx)
				k := console.Check{Entries: n}
				if err != nil && ctx.Err() == nil {
					k.Wrong = []string{err.Error()}
					err = nil
				}
				return k, err
			},
			func(k console.Check) string { return fmt.Sprintf("%d entries are what was written", k.Entries) }),
		checkJournal("replay", "Decide every recorded case again and compare",
			`Decide every recorded case again, by the policies that were in force, and judge every run
again by what was seen. Nothing is done. Ends with status 1, and names each case, where
this version comes to another decision: look at those before you let it act.`,
			console.Replay,
			func(k console.Check) string { return fmt.Sprintf("%d cases come to the same decision again", k.Cases) }),
	)
	return cmd
}

func checkJournal(verb, short, long string, here func(context.Context, *journal.Journal) (console.Check, error), good func(console.Check) string) *cobra.Command {
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
	cmd.Flags().StringVarP(&file, "config", "c", "", "read the store of this configuration, whose upkeep is stopped")
	return cmd
}

// inStore opens the store of a configuration and lets check read its journal.
func inStore(ctx context.Context, file string, check func(context.Context, *journal.Journal) (console.Check, error)) (k console.Check, err error) {
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

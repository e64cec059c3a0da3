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
		Long: `Check the journal: of a running upkeep over HTTP, or, with --config, in the store of
one that is stopped.`,
	}
	cmd.AddCommand(
		checkJournal("verify", "Read every entry and find any change, deletion or reordering",
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
			console.Replay,
			func(k console.Check) string { return fmt.Sprintf("%d cases come to the same decision again", k.Cases) }),
	)
	return cmd
}

func checkJournal(verb, short string, here func(context.Context, *journal.Journal) (console.Check, error), good func(console.Check) string) *cobra.Command {
	var c client
	var file string
	cmd := &cobra.Command{
		Use:   verb,
		Short: short,
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

package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
)

// followEvery is how often a run that is followed is asked for news.
const followEvery = 300 * time.Millisecond

func runCommand() *cobra.Command {
	var c client
	var detach bool
	cmd := &cobra.Command{
		Use:   "run ACTION key=value…",
		Short: "Run an action now, with the same guards, journal and verification as for an alert",
		Long: "Run an action now, with the same guards, journal and verification as for an alert.\nExits with " +
			"status 0 when the run resolved the problem, else with 1.",
		Example: "  upkeep run postgres/reindex server=main database=admindb schema=public table=logs index=logs_pkey",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := ask(cmd, args)
			if err != nil {
				return err
			}
			a.Key = rand.Text()
			var r remediate.Run
			if err := c.do(cmd.Context(), http.MethodPost, "/runs", a, &r); err != nil {
				return err
			}
			if !detach {
				return c.follow(cmd.Context(), cmd.OutOrStdout(), r.ID)
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), r)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "run %d was requested; see it with: upkeep show %d\n", r.ID, r.ID)
			return err
		},
	}
	c.flags(cmd)
	limitFlag(cmd)
	cmd.Flags().BoolVar(&detach, "detach", false, "do not wait for the end of the run")
	return cmd
}

// follow prints the entries of a run as they come, until it has ended.
func (c *client) follow(ctx context.Context, w io.Writer, run int64) error {
	var s console.RunDetails
	for shown := 0; ; {
		if err := c.do(ctx, http.MethodGet, fmt.Sprintf("/runs/%d", run), nil, &s); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("stopped watching; run %d continues: upkeep show %d", run, run)
			}
			return err
		}
		for ; shown < len(s.Entries) && !c.json; shown++ {
			printEntry(w, s.Entries[shown])
		}
		if s.Run.State.Ended() {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(followEvery):
		}
	}
	if c.json {
		if err := printJSON(w, s); err != nil {
			return err
		}
	}
	if s.Run.State != remediate.Resolved {
		return fmt.Errorf("run %d is %s: %s", run, s.Run.State, s.Run.Why)
	}
	return nil
}

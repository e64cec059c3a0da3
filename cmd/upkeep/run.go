package main

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/platform/terminal"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/text"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// followEvery is how often a run that is followed is asked for news.
	followEvery = 300 * time.Millisecond

	// liveEvery is how often with its progress, which Prometheus is asked for.
	liveEvery = time.Second
)

func runCommand() *cobra.Command {
	var c client
	var detach bool
	cmd := &cobra.Command{
		Use:   "run ACTION [key=value…]",
		Short: "Run an action now, with the same guards, journal and verification as for an alert",
		Long: `Run an action now, with the same guards, journal and verification as for an alert. The exit status is 0
when the run resolved the problem, 5 when a guard or the action refused it, and 1 when it ended otherwise.`,
		Example: "  upkeep run postgres/reindex server=main database=admindb schema=public table=logs index=logs_pkey",
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
				return c.follow(cmd, r.ID)
			}
			if c.json {
				return c.print(cmd, r)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "run %d was requested; see it with: upkeep show %d\n", r.ID, r.ID)
			return err
		},
	}
	c.flags(cmd)
	cmd.ValidArgsFunction = c.request
	limitFlag(cmd)
	cmd.Flags().BoolVar(&detach, "detach", false, "do not wait for the end of the run")
	return cmd
}

// follow prints the entries of a run as they come, until it has ended. On a terminal the last line shows how far
// it is.
func (c *client) follow(cmd *cobra.Command, run int64) error {
	ctx, screen := cmd.Context(), terminal.Of(cmd.OutOrStdout())
	live := screen.Live() && !c.json
	path := fmt.Sprintf("/runs/%d", run)
	if live {
		path += "?progress=1"
	}
	blank := func() {
		if live {
			screen.Rewrite("")
		}
	}
	var s console.RunDetails
	for shown := 0; ; {
		s = console.RunDetails{} // what an answer leaves out is not that of the answer before
		if err := c.do(ctx, http.MethodGet, path, nil, &s); err != nil {
			if ctx.Err() != nil {
				err = fail(exitInterrupted, fmt.Errorf("stopped watching; run %d continues: upkeep show %d", run, run))
			}
			blank()
			return err
		}
		for ; shown < len(s.Entries) && !c.json; shown++ {
			blank()
			text.Entry(screen, s.Entries[shown])
		}
		if s.Run.State.Ended() {
			break
		}
		every := followEvery
		if live {
			screen.Rewrite(text.Progress(s, time.Now()))
			every = liveEvery
		}
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
	if c.json {
		if err := c.print(cmd, s); err != nil {
			return err
		}
	}
	blank()
	switch s.Run.State {
	case remediate.Resolved:
		return nil
	case remediate.StateRefused:
		return fail(exitRefused, fmt.Errorf("run %d is refused (%s): %s", run, s.Run.Reason, s.Run.Why))
	default:
		return fail(exitNo, fmt.Errorf("run %d is %s: %s", run, s.Run.State, s.Run.Why))
	}
}

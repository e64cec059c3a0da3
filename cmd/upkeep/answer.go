package main

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/console"
)

func approveCommand() *cobra.Command {
	var plan string
	cmd, c := answerCommand("approve", "Say yes to the plan of a run that asks", func(run console.Stopped) string {
		return fmt.Sprintf("plan %s of run %d is approved; it acts when the plan, made again, is the same", run.Plan.Question(), run.ID)
	})
	cmd.Long = `Say yes to the plan of a run that asks. The yes is to this plan alone: the plan is made
again before anything is done, and when the target has changed meanwhile the run asks
again. It holds for as long as the policy says (answer, a day by default); so long the run
may wait for its window or its turn.`
	cmd.Example = "  upkeep show 7                              # what it would do\n  upkeep approve 7 --plan f697f1b4d6e8ce90   # yes to what you have seen"
	cmd.Flags().StringVar(&plan, "plan", "", "the plan that you saw, as upkeep show prints it (default: the one that it has now)")
	c.answer = func() console.Answer { return console.Answer{Plan: plan} }
	return cmd
}

func declineCommand() *cobra.Command {
	cmd, c := answerCommand("decline", "Say no to the plan of a run that asks", func(run console.Stopped) string {
		return fmt.Sprintf("run %d is declined", run.ID)
	})
	cmd.Long = `Say no to the plan of a run that asks. The run is declined, and no other step is tried
for this trouble: it is yours now. When its alert comes again, the policy asks again.`
	cmd.Example = "  upkeep decline 7 --why 'the shop opens in an hour'"
	c.why(cmd)
	return cmd
}

func cancelCommand() *cobra.Command {
	cmd, c := answerCommand("cancel", "Stop a run, also in the middle of a step", func(run console.Stopped) string {
		if run.Waits != "" {
			return fmt.Sprintf("run %d is being stopped and has not ended yet: %s; see what came of it with: upkeep show %d", run.ID, run.Waits, run.ID)
		}
		return fmt.Sprintf("run %d is stopped; it is %s: %s", run.ID, run.State, run.Why)
	})
	cmd.Long = `Stop a run. One that waits or asks is declined. One that acts is stopped in its step: a
VACUUM or REINDEX is cancelled on the server, and the run has failed. No other step is
tried for its trouble. A run whose steps are all done cannot be stopped any more. The
answer says whether the run has ended, and otherwise what it waits for.`
	cmd.Example = "  upkeep cancel 7 --why 'the disk is too slow today'"
	c.why(cmd)
	return cmd
}

// An answerer is a command that says something to a run.
type answerer struct {
	client
	answer func() console.Answer
}

func answerCommand(verb, short string, done func(console.Stopped) string) (*cobra.Command, *answerer) {
	c := new(answerer)
	cmd := &cobra.Command{
		Use:   verb + " RUN",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a := c.answer()
			a.By = whoami()
			var run console.Stopped
			if err := c.do(cmd.Context(), http.MethodPost, "/runs/"+url.PathEscape(args[0])+"/"+verb, a, &run); err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), run)
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), done(run))
			return err
		},
	}
	c.flags(cmd)
	return cmd, c
}

// why adds the flag with the reason, which is needed.
func (c *answerer) why(cmd *cobra.Command) {
	var why string
	cmd.Use += " --why REASON"
	cmd.Flags().StringVar(&why, "why", "", "why, for those who read the journal (needed)")
	c.answer = func() console.Answer { return console.Answer{Why: why} }
}

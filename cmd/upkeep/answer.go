package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/remediate"
)

func approveCommand() *cobra.Command {
	var plan, why string
	cmd, c := answerCommand("approve", "Approve the plan of a run that awaits approval",
		func(run console.Stopped) string {
			return fmt.Sprintf("plan %s of run %d is approved; the run makes the plan again and acts if it is "+
				"unchanged",
				run.Plan.Question(), run.ID)
		})
	cmd.Long = `Approve the plan of a run that awaits approval. The approval is for this plan only: upkeep
makes the plan again before it acts, and if the target has changed it asks again. The
approval is valid for the approval_lifetime of the policy, a day by default; within that
time the run may wait for its window or its turn.`
	cmd.Example = "  upkeep show 7                              # what it would do\n  upkeep approve 7 --plan " +
		"f697f1b4d6e8ce90   # approve this plan"
	cmd.Flags().StringVar(&plan, "plan", "",
		"the plan that you approve, as printed by upkeep show (default: the current plan)")
	cmd.Flags().StringVar(&why, "why", "", "reason, recorded in the journal")
	c.answer = func() console.Answer { return console.Answer{Plan: plan, Why: why} }
	return cmd
}

func rejectCommand() *cobra.Command {
	cmd, c := answerCommand("reject", "Reject the plan of a run that awaits approval",
		func(run console.Stopped) string {
			return fmt.Sprintf("run %d is rejected", run.ID)
		})
	cmd.Long = `Reject the plan of a run that awaits approval. The run ends, and the policy tries no other
step for this incident. When the alert fires again, the policy asks again.`
	cmd.Example = "  upkeep reject 7 --why 'the shop opens in an hour'"
	c.why(cmd)
	return cmd
}

func cancelCommand() *cobra.Command {
	cmd, c := answerCommand("cancel", "Cancel a run, also in the middle of a step", func(run console.Stopped) string {
		if run.Waits != "" {
			return fmt.Sprintf("run %d is being cancelled and has not ended yet: %s; see its result with: upkeep "+
				"show %d", run.ID, run.Waits, run.ID)
		}
		return fmt.Sprintf("run %d is cancelled; its state is %s: %s", run.ID, run.State, run.Why)
	})
	cmd.Long = `Cancel a run. A run that waits or awaits approval ends at once. A run that acts is stopped in
its step: the VACUUM or REINDEX is cancelled on the server. The policy tries no other step for
this incident. A run whose steps are all done cannot be cancelled. The command prints whether
the run has ended, and otherwise what it waits for.`
	cmd.Example = "  upkeep cancel 7 --why 'the disk is too slow today'"
	c.why(cmd)
	cmd.ValidArgsFunction = c.runs(page.StateActive)
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
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := runPath(args[0])
			if err != nil {
				return err
			}
			a := c.answer()
			a.By = whoami()
			var run console.Stopped
			if err := c.do(cmd.Context(), http.MethodPost, path+"/"+verb, a, &run); err != nil {
				return err
			}
			if c.json {
				return c.print(cmd, run)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), done(run))
			return err
		},
	}
	c.flags(cmd)
	cmd.ValidArgsFunction = c.runs(remediate.AwaitingApproval)
	return cmd, c
}

// why adds the flag with the reason, which is needed.
func (c *answerer) why(cmd *cobra.Command) {
	var why string
	cmd.Use += " --why REASON"
	whyFlag(cmd, &why)
	c.answer = func() console.Answer { return console.Answer{Why: why} }
}

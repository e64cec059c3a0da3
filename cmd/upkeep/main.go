// Command upkeep sees what PostgreSQL, Redis and their hosts need, decides when
// it matters, acts safely, and shows that it helped.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/platform/terminal"
	"github.com/ai-micro-service/upkeep/internal/product/usage"
)

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

// execute runs a command line. Names and errors come from servers and alerts: a terminal
// shows them and obeys nothing in them.
func execute(args []string, stdout, stderr io.Writer) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	out, errs := terminal.New(stdout), terminal.New(stderr)
	root := command()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	err := usage.Known(root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	_ = out.Flush() // half of a letter at most
	if err == nil && out.Err() != nil {
		err = fmt.Errorf("the output could not be written: %w", out.Err())
	}
	status, text := outcome(err)
	if text != "" {
		fmt.Fprintln(errs, "upkeep:", text)
	}
	return int(status)
}

// command returns the command line, whole.
func command() *cobra.Command {
	root := &cobra.Command{
		Use: "upkeep",
		Short: "Sees what PostgreSQL, Redis and their hosts need, decides when it matters, acts safely, and shows " +
			"that it helped",
		Long: `upkeep watches PostgreSQL, Redis, Docker and their hosts, fires alerts when something
needs care, takes the action that a policy names, and measures whether it helped.

  upkeep demo                        see the whole loop on private servers, in a minute
  upkeep check  --config upkeep.yaml check a configuration
  upkeep serve  --config upkeep.yaml run
  upkeep status                      what fires, what is done about it, what to decide
  upkeep runs                        list runs and their results
  upkeep approve 7                   approve the plan of run 7
  upkeep completion bash             complete commands, runs, actions and targets with the tab key

The commands under "Ask a running upkeep" call its HTTP API. On the machine of upkeep, as its user
or root, they log in with the file admin-token in its data_dir; elsewhere they need a token of
web.tokens (--token-file or $UPKEEP_TOKEN). Each writes for programs with -o json or -o yaml.

The exit status says what happened:

` + exitHelp(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       buildVersion(),
	}
	root.AddGroup(&cobra.Group{ID: "here", Title: "Run upkeep:"},
		&cobra.Group{ID: "there", Title: "Ask a running upkeep:"})
	for _, c := range []*cobra.Command{serveCommand(), checkCommand(), notifyCommand(), demoCommand(), exportCommand(),
		logsCommand(), archivesCommand(), rightsCommand(), passwordCommand(), versionCommand()} {
		c.GroupID = "here"
		root.AddCommand(c)
	}
	for _, c := range []*cobra.Command{statusCommand(), healthCommand(), lookCommand(), alertsCommand(),
		targetsCommand(), actionsCommand(),
		inboxCommand(), runsCommand(), showCommand(), scheduleCommand(), forecastCommand(), reportCommand(),
		planCommand(), runCommand(), approveCommand(), rejectCommand(), cancelCommand(), retryCommand(),
		pauseCommand(), resumeCommand(), policyCommand(), journalCommand(), loginCommand()} {
		c.GroupID = "there"
		root.AddCommand(c)
	}
	root.SetCompletionCommandGroupID("here")
	root.SetHelpCommandGroupID("here")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	usage.Complete(root)
	return root
}

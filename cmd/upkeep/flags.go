package main

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/usage"
)

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "config", "c", "upkeep.yaml", "configuration file")
}

// configOf reads a configuration. What is wrong with it is written as it is: each line names its file.
func configOf(errs io.Writer, file string) (*config.Config, error) {
	c, err := config.Load(file, app.Known())
	if err != nil {
		fmt.Fprintln(errs, err)
		return nil, quiet(exitUsage)
	}
	return c, nil
}

// whyFlag adds the flag with the reason of a change, which is needed.
func whyFlag(cmd *cobra.Command, why *string) {
	cmd.Flags().StringVar(why, "why", "", "reason, recorded in the journal (required)")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if strings.TrimSpace(*why) == "" {
			return usage.Errorf("missing --why: give a reason; it is recorded in the journal")
		}
		return run(cmd, args)
	}
}

// pairs reads name=value….
func pairs(args []string) (map[string]string, error) {
	all := make(map[string]string)
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, usage.Errorf("%q: want key=value, like table=logs", arg)
		}
		if _, twice := all[name]; twice {
			return nil, usage.Errorf("%s is given twice", name)
		}
		all[name] = value
	}
	return all, nil
}

// fixed completes one of some names.
func fixed(names ...string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// version is set by the linker for a release.
var version = ""

// commit is set by the linker in a release, which is built without what Go notes of a checkout: a file
// beside the tree would change the program.
//
//nolint:gochecknoglobals // the linker sets variables
var commit = ""

package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/console"
)

func versionCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program, and what it was built from",
		Example: "  upkeep version -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := build()
			if c.json {
				return c.print(cmd, b)
			}
			text := fmt.Sprintf("upkeep %s\n%s, %s/%s", b.Version, b.Go, b.OS, b.Arch)
			if b.Commit != "" {
				text += "\ncommit " + b.Commit
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
	c.output(cmd)
	return cmd
}

// build says what the binary knows of itself.
func build() console.Build {
	b := console.Build{Version: buildVersion(), Commit: commit, Go: runtime.Version(), OS: runtime.GOOS,
		Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.time":
				b.Committed = s.Value
			}
		}
	}
	return b
}

package main

import (
	"errors"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// errSaid ends the process with status 1 without a word: it was said already.
var errSaid = errors.New("said already")

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

// version is set by the linker for a release.
var version = ""

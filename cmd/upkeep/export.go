package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/dashboards"
	"github.com/ai-micro-service/upkeep/docs/runbooks"
)

func exportCommand() *cobra.Command {
	var external string
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Write the rule files and dashboards into a folder, for your own Prometheus and Grafana",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for name, files := range map[string]fs.FS{"alerts": alerts.Files(), "dashboards": dashboards.Files()} {
				dir := filepath.Join(args[0], name)
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return err
				}
				rewrite := func(text []byte) []byte { return text }
				if name == "alerts" && external != "" {
					rewrite = runbooks.At(external)
				}
				if err := copyInto(dir, files, rewrite); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), "wrote", dir)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&external, "external-url", "",
		"external URL of upkeep, used for runbook_url in the rules (default: the pages on GitHub)")
	return cmd
}

// copyInto writes every file of files, rewritten, into dir, over what is there.
func copyInto(dir string, files fs.FS, rewrite func([]byte) []byte) error {
	return fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, path), rewrite(text), 0o644)
	})
}

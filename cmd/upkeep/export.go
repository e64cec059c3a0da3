package main

import (
	"errors"
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
		RunE: func(cmd *cobra.Command, args []string) error {
			for name, files := range map[string]fs.FS{"alerts": alerts.Files(), "dashboards": dashboards.Files(),
				"old-names": alerts.OldNames()} {
				dir := filepath.Join(args[0], name)
				rewrite := func(text []byte) []byte { return text }
				if name == "alerts" && external != "" {
					rewrite = runbooks.At(external)
				}
				if err := export(args[0], name, files, rewrite); err != nil {
					return fmt.Errorf("%s: %w", dir, err)
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

// export writes every file of files, rewritten, into the folder name of dir. Others may write
// there: a link in the place of the folder is refused, and one in the place of a file is replaced, not followed.
func export(dir, name string, files fs.FS, rewrite func([]byte) []byte) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	above, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, above.Close()) }()
	if err := above.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if info, err := above.Lstat(name); err != nil || !info.IsDir() {
		return errors.Join(err, errors.New("it is no folder, but a link or a file: remove it"))
	}
	root, err := above.OpenRoot(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		return replace(root, path, rewrite(text))
	})
}

// replace puts a new file in the place of whatever has its name.
func replace(root *os.Root, path string, text []byte) error {
	made := path + ".new"
	if err := root.Remove(made); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(made, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return root.Rename(made, path)
}

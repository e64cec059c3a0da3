package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// matched returns the backups that are files or folders. The file that says when one
// was verified is not a backup, even if the pattern matches it.
func matched(t *target.Backup) ([]string, error) {
	all, err := filepath.Glob(t.Path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Path, err)
	}
	if len(all) == 0 { // none, or a folder that is not there or not ours to read
		if _, err := os.ReadDir(filepath.Dir(t.Path)); err != nil && !strings.ContainsAny(filepath.Dir(t.Path), "*?[") {
			return nil, err
		}
	}
	if all, err = resolved(all); err != nil {
		return nil, err
	}
	verified, err := os.Stat(t.Verified)
	if err != nil {
		return all, nil //nolint:nilerr // the file does not exist, so nothing is left out
	}
	return slices.DeleteFunc(all, func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && os.SameFile(info, verified)
	}), nil
}

// resolved returns what paths lead to, each once: a link to the newest backup is no
// backup of its own.
func resolved(paths []string) (all []string, err error) {
	for _, path := range paths {
		to, err := filepath.EvalSymlinks(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed
		}
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all, to) {
			all = append(all, to)
		}
	}
	return all, nil
}

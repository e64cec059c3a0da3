package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
)

// CheckRules reads all rule files and returns everything that is wrong with
// them, with file and line.
func CheckRules(shipped fs.FS, patterns []string) error {
	var faults []error
	names, err := fs.Glob(shipped, "*.rules.yaml")
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := fs.ReadFile(shipped, name)
		if err != nil {
			return err
		}
		faults = append(faults, check(name, text))
	}
	files, err := matching(patterns)
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("rule file: %w", err)
		}
		faults = append(faults, check(file, text))
	}
	return errors.Join(faults...)
}

func check(name string, text []byte) error {
	_, faults := rulefmt.Parse(text, false, model.UTF8Validation, promqlParser(), slog.New(slog.DiscardHandler))
	for i, f := range faults {
		faults[i] = fmt.Errorf("%s: %w", name, f)
	}
	return errors.Join(faults...)
}

// matching returns the files of patterns. A pattern that matches nothing is an
// error: a rule that is not there cannot fire.
func matching(patterns []string) (all []string, err error) {
	for _, p := range patterns {
		files, err := filepath.Glob(p)
		if err != nil {
			return nil, fmt.Errorf("rule files %q: %w", p, err)
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("rule files %q: no such file", p)
		}
		all = append(all, files...)
	}
	return all, nil
}

// load writes the shipped rules to disk, where the rule manager wants them, and makes it
// work by them and the others. When something is wrong with them, it works by the old ones.
func (m *prom) load(shipped fs.FS, patterns []string) error {
	dir := filepath.Join(m.config.Dir, "rules")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	names, err := fs.Glob(shipped, "*.rules.yaml")
	if err != nil {
		return err
	}
	files, err := matching(patterns)
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := fs.ReadFile(shipped, name)
		if err != nil {
			return err
		}
		if m.config.Rewrite != nil {
			text = m.config.Rewrite(text)
		}
		file := filepath.Join(dir, name)
		if err := replace(file, text); err != nil {
			return err
		}
		files = append(files, file)
	}
	return m.rules.Update(m.config.EvaluationInterval, files, labels.EmptyLabels(), m.config.ExternalURL.String(), nil)
}

// replace writes a file whole, where it says something else.
func replace(file string, text []byte) error {
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := os.WriteFile(file+".part", text, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".part", file)
}

// noRoom reports whether the disk is full or takes no writes.
func noRoom(err error) bool {
	return slices.ContainsFunc([]error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO},
		func(e error) bool { return errors.Is(err, e) })
}

package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// A Series is every backup of one thing that is there, and what is known of their
// being good.
type Series struct {
	Backups  []Dated // finished and not empty, in no order
	Verified Dated   // the file that the test of the restore touches; At is zero where it never has
}

// A Dated is a file, or a backup that pgBackRest keeps, with its time.
type Dated struct {
	Name string
	At   time.Time
}

// ReadSeries looks at the backups that the collector reports on, by the same means.
// A time to come is returned as it is.
func ReadSeries(ctx context.Context, t *target.Backup) ([]Series, error) {
	verified := Dated{Name: t.Verified}
	at, known, err := restored(t)
	if err != nil {
		return nil, err
	}
	if known {
		verified.At = at
	}
	if t.Kind == "pgbackrest" {
		infos, err := pgBackRest(ctx, t)
		if err != nil {
			return nil, err
		}
		var all []Series
		for _, i := range infos {
			s := Series{Verified: verified}
			for _, b := range i.Backup {
				if b.Error == nil || !*b.Error {
					s.Backups = append(s.Backups, Dated{fmt.Sprintf("stanza %s, backup %s", i.Name, b.Label), time.Unix(b.Timestamp.Stop, 0)})
				}
			}
			all = append(all, s)
		}
		return all, nil
	}
	var paths []string
	unfinished := time.Duration(0)
	if t.Kind == "rdb" {
		paths, err = resolved([]string{t.Path})
	} else {
		unfinished = settled
		paths, err = matched(t)
	}
	if err != nil {
		return nil, err
	}
	s := Series{Verified: verified}
	for _, path := range paths {
		at, size, err := measure(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if age := time.Since(at); size > 0 && (age < 0 || age >= unfinished) {
			s.Backups = append(s.Backups, Dated{path, at})
		}
	}
	return []Series{s}, nil
}

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

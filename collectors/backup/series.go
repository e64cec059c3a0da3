package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
		return readStanzas(ctx, t, verified)
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

// readStanzas reads a series from each stanza of pgBackRest.
func readStanzas(ctx context.Context, t *target.Backup, verified Dated) (all []Series, err error) {
	infos, err := pgBackRest(ctx, t)
	if err != nil {
		return nil, err
	}
	for _, i := range infos {
		s := Series{Verified: verified}
		for _, b := range i.Backup {
			if b.Error == nil || !*b.Error {
				s.Backups = append(s.Backups, Dated{fmt.Sprintf("stanza %s, backup %s", i.Name, b.Label),
					time.Unix(b.Timestamp.Stop, 0)})
			}
		}
		all = append(all, s)
	}
	return all, nil
}

package rebuild

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// An attempt is an index that upkeep has begun to build anew and whose leftovers may be
// on the server still.
type attempt struct {
	Database string `json:"database"`
	Table    int64  `json:"table"` // its oid
	// its oid before; invalid under another name once the new one has taken its place
	Index int64   `json:"index"`
	Known []int64 `json:"known,omitempty"` // leftovers that were there right before the last attempt, of others
	Left  []int64 `json:"left,omitempty"`  // indexes that a session of ours was seen to build
	Seen  bool    `json:"seen,omitempty"`  // Left has what the last attempt built
}

// attempts remembers them, in a file of upkeep's own or while upkeep runs where it has
// none: the server does not tell who began to build an index, and a person's leftover
// has the same name as ours.
type attempts struct {
	path string
	mu   sync.Mutex
	all  []attempt
}

func (b *attempts) read() error {
	if b.path == "" {
		return nil
	}
	text, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		b.all = nil
		return nil
	}
	if err == nil {
		b.all = nil
		err = json.Unmarshal(text, &b.all)
	}
	if err != nil {
		return fmt.Errorf("the rebuilds that were begun: %w", err)
	}
	return nil
}

func (b *attempts) write() error {
	if b.path == "" {
		return nil
	}
	if err := target.WriteNote(b.path, b.all); err != nil {
		return fmt.Errorf("the rebuilds that were begun: %w", err)
	}
	return nil
}

// of returns the attempt at an index, if one was begun.
func (b *attempts) of(database string, index int64) (r attempt, begun bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.read(); err != nil {
		return r, false, err
	}
	n := slices.IndexFunc(b.all, func(r attempt) bool { return r.Database == database && r.Index == index })
	if n < 0 {
		return attempt{Database: database, Index: index}, false, nil
	}
	return b.all[n], true, nil
}

// note keeps an attempt, in the place of what is known of the same.
func (b *attempts) note(r attempt) error { return b.change(r, true) }

// forget drops an attempt that has left nothing.
func (b *attempts) forget(r attempt) error { return b.change(r, false) }

func (b *attempts) change(r attempt, stays bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.read(); err != nil {
		return err
	}
	before := len(b.all)
	b.all = slices.DeleteFunc(b.all, func(o attempt) bool { return o.Database == r.Database && o.Index == r.Index })
	if stays {
		b.all = append(b.all, r)
	} else if len(b.all) == before {
		return nil
	}
	return b.write()
}

// left returns what attempts on a table may have left for certain: indexes that a
// session of ours was seen to build, and those that were to be replaced.
func (b *attempts) left(database string, table int64) (oids []int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.read(); err != nil {
		return nil, err
	}
	for _, r := range b.all {
		if r.Database == database && r.Table == table {
			oids = append(append(oids, r.Left...), r.Index)
		}
	}
	return oids, nil
}

// A reindex builds one index anew, and drops what its interrupted attempts have left.
type reindex struct {
	target *target.Postgres
	begun  *attempts
}

// NewReindex returns the mechanism of postgres/reindex, which notes what it has begun in
// a file of upkeep's own.
func NewReindex(t *target.Postgres) reindex {
	return reindex{target: t, begun: &attempts{path: t.Rebuilds}}
}

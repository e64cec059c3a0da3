package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A Sighting is what is remembered of an image between two looks at its engine.
type Sighting struct {
	First  time.Time `json:"first"`         // when it was first seen
	Before bool      `json:"before"`        // it was there at the first look of all, and may be of any age
	Used   time.Time `json:"used,omitzero"` // when a container was last seen to need it
}

// sightings remembers the images of an engine in a file of upkeep's own, or while
// upkeep runs where it has none. What the engine says of an image does not tell when
// it came to the engine, nor who used it once the container is gone.
type sightings struct {
	path string

	mu   sync.Mutex
	book sightingBook
}

// sightingBook is the content of the file.
type sightingBook struct {
	Engine string              `json:"engine"`
	Images map[string]Sighting `json:"images"`
}

// look notes which images an engine has, and when each was used. What is gone is
// forgotten: if it comes again, it is new. A file that cannot be read is one that was
// never written: every image is as new as this look.
func (s *sightings) look(engine string, now time.Time, ids []string, used map[string]time.Time) (map[string]Sighting,
	error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path != "" {
		s.book = sightingBook{}
		if text, err := os.ReadFile(s.path); err == nil {
			if json.Unmarshal(text, &s.book) != nil {
				s.book = sightingBook{}
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("stored sightings of images: %w", err)
		}
	}
	first := s.book.Images == nil || s.book.Engine != engine
	now = now.UTC().Round(0)
	seen := make(map[string]Sighting, len(ids))
	for _, id := range ids {
		one, known := s.book.Images[id]
		if first || !known {
			one = Sighting{First: now, Before: first}
		}
		if at := used[id]; at.After(one.Used) {
			one.Used = at.UTC().Round(0)
		}
		seen[id] = one
	}
	if s.book.Engine == engine && s.book.Images != nil && maps.Equal(seen, s.book.Images) {
		return maps.Clone(seen), nil
	}
	s.book = sightingBook{Engine: engine, Images: seen}
	if s.path == "" {
		return maps.Clone(seen), nil
	}
	if err := WriteNote(s.path, s.book); err != nil {
		return nil, fmt.Errorf("stored sightings of images: %w", err)
	}
	return maps.Clone(seen), nil
}

// WriteNote replaces a file of upkeep's own by another as JSON: after a loss of power
// it has the old or the new text.
func WriteNote(path string, v any) (err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.new-*")); err == nil {
		for _, l := range left {
			if info, err := os.Stat(l); err == nil && time.Since(info.ModTime()) > time.Hour {
				_ = os.Remove(l) // of one that was killed while it wrote
			}
		}
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

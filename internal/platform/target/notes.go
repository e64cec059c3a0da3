package target

import (
	"context"
	"sync"
)

// Notes keep what was seen of a target, across restarts of upkeep.
type Notes interface {
	// Change replaces a note by what change makes of it. The old one is nil if there
	// is no note; a nil result leaves it as it is. Change may be called again.
	Change(ctx context.Context, name string, change func(old []byte) ([]byte, error)) error
}

// memory keeps notes while upkeep runs.
type memory struct {
	mu  sync.Mutex
	all map[string][]byte
}

// Change implements Notes.
func (m *memory) Change(_ context.Context, name string, change func(old []byte) ([]byte, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	fresh, err := change(m.all[name])
	if err != nil || fresh == nil {
		return err
	}
	if m.all == nil {
		m.all = make(map[string][]byte)
	}
	m.all[name] = fresh
	return nil
}

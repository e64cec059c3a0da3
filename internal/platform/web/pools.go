package web

import (
	"context"
	"sync"
	"time"
)

// pools hold the places of requests, by the names of the pools.
type pools struct {
	mu  sync.Mutex
	all map[string]chan struct{}
}

func newPools() *pools { return &pools{all: make(map[string]chan struct{})} }

// enter waits for a place, and returns what gives it back.
func (p *pools) enter(ctx context.Context, of Pool) (free func(), ok bool) {
	p.mu.Lock()
	places := p.all[of.Name]
	if places == nil {
		places = make(chan struct{}, of.Size)
		p.all[of.Name] = places
	}
	p.mu.Unlock()
	free = func() { <-places }
	select {
	case places <- struct{}{}:
		return free, true
	default:
	}
	late := time.NewTimer(of.Wait)
	defer late.Stop()
	select {
	case places <- struct{}{}:
		return free, true
	case <-late.C:
	case <-ctx.Done():
	}
	return func() {}, false
}

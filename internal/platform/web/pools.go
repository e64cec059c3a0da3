package web

import (
	"context"
	"sync"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
)

// pools hold the places of requests, by the names of the pools.
type pools struct {
	mu  sync.Mutex
	all map[string]*access.Places
}

func newPools() *pools { return &pools{all: make(map[string]*access.Places)} }

// A queue is this much longer than its pool, within bounds.
const (
	leastQueue = 32
	mostQueue  = 512
)

// enter waits for a place, in turn with other clients, and returns what gives it back.
func (p *pools) enter(ctx context.Context, of Pool, client string) (free func(), ok bool) {
	p.mu.Lock()
	places := p.all[of.Name]
	if places == nil {
		places = &access.Places{Size: of.Size, Waiting: min(mostQueue, max(leastQueue, 4*of.Size)), Wait: of.Wait,
			Share: of.Size - of.Size/4}
		p.all[of.Name] = places
	}
	p.mu.Unlock()
	return places.Enter(ctx, client)
}

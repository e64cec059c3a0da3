package access

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Places bound what goes on at once. Who finds no place waits in a short queue that is served in turn
// between the keys: a client with a thousand requests keeps no other client waiting.
type Places struct {
	Size    int           // at once
	Waiting int           // at most
	Wait    time.Duration // for a place
	Share   int           // of one key at once: the others are for those who come later; 0: all

	mu    sync.Mutex
	used  int
	of    map[string]int // of each key, with Share
	round uint64         // of the last one that was served
	queue []*waiting
}

// waiting is one who waits. Each key has one in a round; rounds are served in their order.
type waiting struct {
	key    string
	round  uint64
	answer chan bool // whether there is a place; false: another one took the place in the queue
}

// Enter waits for a place and returns what gives it back; ok is false where none came in time.
func (p *Places) Enter(ctx context.Context, key string) (leave func(), ok bool) {
	leave = func() { p.leave(key) }
	p.mu.Lock()
	if p.used < p.Size && p.may(key) {
		p.take(key)
		p.mu.Unlock()
		return leave, true
	}
	w := p.join(key)
	p.mu.Unlock()
	if w == nil {
		return func() {}, false
	}
	late := time.NewTimer(p.Wait)
	defer late.Stop()
	select {
	case ok = <-w.answer:
	case <-late.C:
		ok = p.giveUp(w)
	case <-ctx.Done():
		ok = p.giveUp(w)
	}
	if !ok {
		return func() {}, false
	}
	return leave, true
}

// may reports whether a key may have one more place.
func (p *Places) may(key string) bool { return p.Share <= 0 || p.of[key] < p.Share }

func (p *Places) take(key string) {
	p.used++
	if p.Share > 0 {
		if p.of == nil {
			p.of = make(map[string]int)
		}
		p.of[key]++
	}
}

// join puts a key in the queue. Where it is full, the one of the last round leaves it, which is of
// the key with the most; the result is nil where that is the new one.
func (p *Places) join(key string) *waiting {
	w := &waiting{key: key, round: p.round + 1, answer: make(chan bool, 1)}
	for _, other := range p.queue {
		if other.key == key {
			w.round = max(w.round, other.round+1)
		}
	}
	if len(p.queue) < p.Waiting {
		p.queue = append(p.queue, w)
		return w
	}
	last := -1
	for i, other := range p.queue {
		if other.round > w.round && (last < 0 || other.round >= p.queue[last].round) {
			last = i
		}
	}
	if last < 0 {
		return nil
	}
	p.queue[last].answer <- false
	p.queue = append(slices.Delete(p.queue, last, last+1), w)
	return w
}

// leave gives the place of a key back: to the first of the lowest round that may have it.
func (p *Places) leave(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	if p.Share > 0 {
		if p.of[key]--; p.of[key] == 0 {
			delete(p.of, key)
		}
	}
	next := -1
	for i, w := range p.queue {
		if p.may(w.key) && (next < 0 || w.round < p.queue[next].round) {
			next = i
		}
	}
	if next < 0 {
		return
	}
	w := p.queue[next]
	p.queue = slices.Delete(p.queue, next, next+1)
	p.round = max(p.round, w.round)
	p.take(w.key)
	w.answer <- true
}

// giveUp takes one out of the queue who waits no longer; ok is true where a place was found just now.
func (p *Places) giveUp(w *waiting) (ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.queue, w); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
		return false
	}
	return <-w.answer
}

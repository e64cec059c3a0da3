package access_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// Those who wait are served in turn between their keys, and a full queue is left by the key with the most.
func TestPlacesInTurn(t *testing.T) {
	p := &access.Places{Size: 1, Waiting: 6, Wait: servertest.Patience}
	leave, ok := p.Enter(t.Context(), "flood")
	if !ok {
		t.Fatal("the first finds no place")
	}
	var mu sync.Mutex
	var served, refused []string
	var all sync.WaitGroup
	came := 0
	wait := func(key string) {
		all.Go(func() {
			leave, ok := p.Enter(t.Context(), key)
			mu.Lock()
			if ok {
				served = append(served, key)
			} else {
				refused = append(refused, key)
			}
			mu.Unlock()
			leave()
		})
		came++
		servertest.Eventually(t, key+" waits", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return p.Queued()+len(refused) == came
		})
	}
	for range 8 {
		wait("flood")
	}
	for n := range 3 {
		wait(fmt.Sprint("other ", n))
	}
	leave()
	all.Wait()
	if want := []string{"flood", "other 0", "other 1", "other 2", "flood", "flood"}; !slices.Equal(served, want) {
		t.Errorf("served: %q, want %q", served, want)
	}
	if len(refused) != 5 || slices.ContainsFunc(refused, func(key string) bool { return key != "flood" }) {
		t.Errorf("refused: %q", refused)
	}
}

// One key has its share of the places at most, however long it keeps them: the rest is for others. Its own further
// ones wait for its own.
func TestPlacesOfOne(t *testing.T) {
	p := &access.Places{Size: 4, Waiting: 10, Wait: servertest.Patience, Share: 3}
	var leaves []func()
	for n := range 3 {
		leave, ok := p.Enter(t.Context(), "one")
		if !ok {
			t.Fatalf("place %d of its share is refused", n)
		}
		leaves = append(leaves, leave)
	}
	served := make(chan string, 10)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			leave, ok := p.Enter(t.Context(), "one")
			served <- fmt.Sprint("one ", ok)
			leave()
		})
	}
	servertest.Eventually(t, "its further ones wait", func() bool { return p.Queued() == 2 })
	leave, ok := p.Enter(t.Context(), "other")
	if !ok || len(served) > 0 {
		t.Fatalf("the place of others is taken: %v, %d served", ok, len(served))
	}
	all.Go(func() {
		leave, ok := p.Enter(t.Context(), "third")
		served <- fmt.Sprint("third ", ok)
		leave()
	})
	servertest.Eventually(t, "a third waits", func() bool { return p.Queued() == 3 })
	leave()
	if got := <-served; got != "third true" {
		t.Errorf("the place of others went to %s", got)
	}
	leaves[0]()
	for range 2 {
		if got := <-served; got != "one true" {
			t.Errorf("its own place went to %s", got)
		}
	}
	all.Wait()
	leaves[1]()
	leaves[2]()
	for n := range 4 {
		if _, ok := p.Enter(t.Context(), fmt.Sprint("after ", n)); !ok || p.Queued() != 0 {
			t.Errorf("place %d is lost", n)
		}
	}
}

// No place is lost where one gives up in the moment in which a place is given.
func TestPlacesComeBack(t *testing.T) {
	p := &access.Places{Size: 2, Waiting: 50, Wait: time.Microsecond}
	var all sync.WaitGroup
	for n := range 64 {
		all.Go(func() {
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*time.Microsecond)
				leave, _ := p.Enter(ctx, fmt.Sprint(n%7))
				leave()
				cancel()
			}
		})
	}
	all.Wait()
	for range p.Size {
		if _, ok := p.Enter(t.Context(), "after"); !ok {
			t.Fatal("a place is lost")
		}
	}
	if _, ok := p.Enter(t.Context(), "one more"); ok || p.Queued() != 0 {
		t.Errorf("a place too many, or %d wait", p.Queued())
	}
}

package top

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// However many names there are, memory is bounded and the error is as promised.
func TestTopIsBounded(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	p, truth := New(100), make(map[string]uint64)
	const n = 200_000
	for range n {
		name := fmt.Sprintf("rare %d", random.IntN(50_000))
		if random.IntN(2) == 0 {
			name = fmt.Sprintf("often %d", random.IntN(20))
		}
		truth[name]++
		p.Add([]byte(name))
	}
	if len(p.byKey) != 100 || len(p.least) != 100 {
		t.Errorf("%d names are held, want 100", len(p.byKey))
	}
	for i, e := range p.Sorted() {
		if got := truth[e.Name]; e.Count < got || e.Sure() > got || e.Over > n/100 {
			t.Errorf("%s came %d times and is counted %d (over by %d at most)", e.Name, got, e.Count, e.Over)
		}
		if i < 20 && !strings.HasPrefix(e.Name, "often") {
			t.Errorf("%s is number %d", e.Name, i)
		}
	}
}

// What several have counted is merged into one with the same promise: no count is too small,
// nor larger than by Over; also of a name that one of them had to give up.
func TestMergedTopsAreBounds(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 5))
		total, truth := New(20), make(map[string]uint64)
		var all uint64
		for range 1 + random.IntN(5) {
			part := New(20)
			names := 1 + random.IntN(120) // some parts have room for all
			for range random.IntN(2000) {
				name := fmt.Sprint(min(random.IntN(names), random.IntN(names)))
				part.Add([]byte(name))
				truth[name]++
				all++
			}
			total.Merge(part)
		}
		if total.all != all || len(total.byKey) > 20 || len(total.byKey) != len(total.least) {
			t.Fatalf("seed %d: %d of %d, %d names", seed, total.all, all, len(total.byKey))
		}
		for _, e := range total.Sorted() {
			if got := truth[e.Name]; e.Count < got || e.Sure() > got || e.Over > e.Count {
				t.Errorf("seed %d: %s came %d times and is counted %d, over by %d at most", seed, e.Name, got, e.Count,
					e.Over)
			}
		}
		for name, n := range truth {
			if total.byKey[name] == nil && n > total.leastFrequent().Count {
				t.Errorf("seed %d: %s came %d times and is not there, and the last has %d", seed, name, n,
					total.leastFrequent().Count)
			}
		}
	}
}

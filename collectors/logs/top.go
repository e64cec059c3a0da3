package logs

import (
	"cmp"
	"container/heap"
	"slices"
)

// A top counts the most frequent of many names in bounded memory, as the
// space-saving algorithm does: when there is no room the least frequent gives its
// place and its count to the new one. So a count is never too small, too large by
// Over at most, and Over is at most the number of all divided by the room.
type top struct {
	room  int
	byKey map[string]*entry
	least leastFirst
	all   uint64 // everything that was counted
	gone  uint64 // a name that is not here came so often at most
	rest  uint64 // of it, what was counted while it was not exported
}

// An entry is one name with what is counted of it.
type entry struct {
	Name     string
	Count    uint64
	Over     uint64 // Count may be too large by so much
	Slow     uint64 // of requests: those that were slow
	exported bool   // is exported by the collector; its counts are not in the rest
	gone     bool   // another has its place
	at       int    // in the heap
	key      uint64 // Count when its place in the heap was last found
}

// sure is how often the name came at least.
func (e *entry) sure() uint64 { return e.Count - e.Over }

func newTop(room int) *top { return &top{room: room, byKey: make(map[string]*entry)} }

// add counts a name and returns its entry.
func (t *top) add(name []byte) *entry {
	e := t.byKey[string(name)]
	if e == nil {
		e = t.enter(string(name))
	}
	t.count(e)
	return e
}

// count counts an entry that is known.
func (t *top) count(e *entry) {
	t.all++
	if !e.exported {
		t.rest++
	}
	e.Count++
}

func (t *top) enter(name string) *entry {
	e := &entry{Name: name}
	if len(t.least) < t.room {
		e.Count, e.Over, e.key = t.gone, t.gone, t.gone
		heap.Push(&t.least, e)
	} else {
		gone := t.leastFrequent()
		gone.gone = true
		delete(t.byKey, gone.Name)
		t.gone = max(t.gone, gone.Count)
		e.Count, e.Over, e.key, e.at = gone.Count, gone.Count, gone.Count, 0
		t.least[0] = e
	}
	t.byKey[name] = e
	return e
}

// leastFrequent brings the least frequent to the top of the heap. Counts only
// grow, so an entry is looked for a new place when it comes to the top.
func (t *top) leastFrequent() *entry {
	for t.least[0].key != t.least[0].Count {
		t.least[0].key = t.least[0].Count
		heap.Fix(&t.least, 0)
	}
	return t.least[0]
}

// merge adds what another has counted. A name that is not in the other any more may have come
// there as often as what was given up.
func (t *top) merge(other *top) {
	for _, e := range t.least {
		if other.byKey[e.Name] == nil {
			e.Count, e.Over = e.Count+other.gone, e.Over+other.gone
		}
	}
	t.gone += other.gone
	for _, o := range other.sorted() {
		e := t.byKey[o.Name]
		if e == nil {
			e = t.enter(o.Name)
		}
		e.Count, e.Over, e.Slow = e.Count+o.Count, e.Over+o.Over, e.Slow+o.Slow
	}
	t.all += other.all
}

// sorted returns the entries, the most frequent first.
func (t *top) sorted() []*entry {
	all := slices.Clone([]*entry(t.least))
	slices.SortFunc(all, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count),
			cmp.Compare(a.Name, b.Name))
	})
	return all
}

// leastFirst is a heap with the least frequent at the top.
type leastFirst []*entry

func (h leastFirst) Len() int           { return len(h) }
func (h leastFirst) Less(i, j int) bool { return h[i].key < h[j].key }
func (h leastFirst) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *leastFirst) Push(x any) {
	e := x.(*entry) //nolint:forcetypeassert // only entries are pushed
	e.at = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *leastFirst) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

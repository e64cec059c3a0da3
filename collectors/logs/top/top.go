// Package top counts the most frequent of many names in bounded memory.
package top

import (
	"cmp"
	"container/heap"
	"slices"
)

// A List counts the most frequent of many names in bounded memory, as the
// space-saving algorithm does: when there is no room the least frequent gives its
// place and its count to the new one. So a count is never too small, too large by
// Over at most, and Over is at most the number of all divided by the room.
type List struct {
	room  int
	byKey map[string]*Entry
	least leastFirst
	all   uint64 // everything that was counted
	gone  uint64 // a name that is not here came so often at most
	rest  uint64 // of it, what was counted while it was not exported
}

// An Entry is one name with what is counted of it.
type Entry struct {
	Name     string
	Count    uint64
	Over     uint64 // Count may be too large by so much
	Slow     uint64 // of requests: those that were slow
	Exported bool   // by the collector; what it is counted from then on is not in the rest
	gone     bool   // another has its place
	at       int    // in the heap
	key      uint64 // Count when its place in the heap was last found
}

// Sure is how often the name came at least.
func (e *Entry) Sure() uint64 { return e.Count - e.Over }

// Gone reports whether another name has its place.
func (e *Entry) Gone() bool { return e.gone }

// New returns a list with room for so many names.
func New(room int) *List { return &List{room: room, byKey: make(map[string]*Entry)} }

// Add counts a name and returns its entry.
func (t *List) Add(name []byte) *Entry {
	e := t.byKey[string(name)]
	if e == nil {
		e = t.enter(string(name))
	}
	t.Again(e)
	return e
}

// Again counts an entry that is known.
func (t *List) Again(e *Entry) {
	t.all++
	if !e.Exported {
		t.rest++
	}
	e.Count++
}

// Rest is how often names were counted while they were not exported.
func (t *List) Rest() uint64 { return t.rest }

func (t *List) enter(name string) *Entry {
	e := &Entry{Name: name}
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
func (t *List) leastFrequent() *Entry {
	for t.least[0].key != t.least[0].Count {
		t.least[0].key = t.least[0].Count
		heap.Fix(&t.least, 0)
	}
	return t.least[0]
}

// Merge adds what another has counted. A name that is not in the other any more may have come
// there as often as what was given up.
func (t *List) Merge(other *List) {
	for _, e := range t.least {
		if other.byKey[e.Name] == nil {
			e.Count, e.Over = e.Count+other.gone, e.Over+other.gone
		}
	}
	t.gone += other.gone
	for _, o := range other.Sorted() {
		e := t.byKey[o.Name]
		if e == nil {
			e = t.enter(o.Name)
		}
		e.Count, e.Over, e.Slow = e.Count+o.Count, e.Over+o.Over, e.Slow+o.Slow
	}
	t.all += other.all
}

// Sorted returns the entries, the most frequent first.
func (t *List) Sorted() []*Entry {
	all := slices.Clone([]*Entry(t.least))
	slices.SortFunc(all, func(a, b *Entry) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count),
			cmp.Compare(a.Name, b.Name))
	})
	return all
}

// leastFirst is a heap with the least frequent at the top.
type leastFirst []*Entry

func (h leastFirst) Len() int           { return len(h) }
func (h leastFirst) Less(i, j int) bool { return h[i].key < h[j].key }
func (h leastFirst) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *leastFirst) Push(x any) {
	e := x.(*Entry) //nolint:forcetypeassert // only entries are pushed
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

// A Saved has what is exported. What else was counted came so often as Gone at most.
type Saved struct {
	All     uint64       `json:"all"`
	Rest    uint64       `json:"rest"`
	Gone    uint64       `json:"gone"`
	Entries []SavedEntry `json:"entries"`
}

// A SavedEntry is an Entry.
type SavedEntry struct {
	Name  []byte `json:"name"` // as it is: it need not be UTF-8
	Count uint64 `json:"count"`
	Over  uint64 `json:"over"`
	Slow  uint64 `json:"slow"`
}

// Saved returns what Restore needs.
func (t *List) Saved() Saved {
	s := Saved{All: t.all, Rest: t.rest, Gone: t.gone}
	for _, e := range t.least {
		if e.Exported {
			s.Entries = append(s.Entries, SavedEntry{[]byte(e.Name), e.Count, e.Over, e.Slow})
		} else {
			s.Gone = max(s.Gone, e.Count)
		}
	}
	return s
}

// Restore has a new list go on where one was saved.
func (t *List) Restore(s Saved) {
	for _, e := range s.Entries {
		if len(t.least) < t.room {
			had := t.enter(string(e.Name))
			had.Count, had.Over, had.Slow, had.Exported = e.Count, e.Over, e.Slow, true
		}
	}
	t.all, t.rest, t.gone = s.All, s.Rest, s.Gone
}

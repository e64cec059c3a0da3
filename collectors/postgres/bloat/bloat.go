// Package bloat estimates how many pages the rows of a table or the entries of an index need,
// from PostgreSQL's page layout and what ANALYZE found. It is arithmetic alone.
package bloat

import "math"

// Sizes in bytes of what PostgreSQL puts around the data, from its page layout.
const (
	pageHeader  = 24
	itemPointer = 4
	heapHeader  = 23
	indexHeader = 8
	indexNulls  = 8  // an index tuple with a null is that much longer
	btreeEnd    = 16 // of each B-tree page
	maxAlign    = 8
	shortHeader = 127 // up to here a varlena value is stored unaligned
	tuplesAPage = 291 // a heap page holds no more, however small they are
)

// chunksAPage is how many chunks of TOAST a page holds: PostgreSQL cuts values so.
const chunksAPage = 4

// TOASTPages returns how many pages as many chunks of TOAST need at most.
func TOASTPages(chunks float64) float64 { return math.Ceil(chunks / chunksAPage) }

// Columns are the columns of a row in their order, as the statistics know them.
type Columns struct {
	Length   []int32 // of the type; -1 for one of varying length
	Align    []string
	Width    []*float64 // average stored width; nil without statistics
	NullFrac []*float64
}

// Known reports whether there are statistics of every column.
func (c Columns) Known() bool {
	for i := range c.Length {
		if c.Width[i] == nil || c.NullFrac[i] == nil {
			return false
		}
	}
	return true
}

func (c Columns) nullable() bool {
	for _, f := range c.NullFrac {
		if *f > 0 {
			return true
		}
	}
	return false
}

// data returns the average size of the columns with the padding between them,
// starting from an aligned place and ending at one.
//
// The place of a column is followed as far as it is known: exactly after fixed
// columns, modulo its alignment after a padded one, and not at all after a value
// of varying length, where the padding is what it is on average.
func (c Columns) data() float64 {
	size := 0.0
	known, rest := maxAlign, 0 // the place modulo known is rest
	pad := func(align int) float64 {
		if align <= known {
			gap := (align - rest%align) % align
			rest = (rest + gap) % known
			return float64(gap)
		}
		gap := float64((known-rest)%known) + float64(align-known)/2
		known, rest = align, 0
		return gap
	}
	for i, length := range c.Length {
		there := 1 - *c.NullFrac[i]
		if there == 0 {
			continue
		}
		varies := length < 0 || there < 1
		padding := 0.0
		if length >= 0 || *c.Width[i] > shortHeader {
			padding = pad(alignment(c.Align[i]))
		}
		if length >= 0 {
			size += there * (padding + float64(length))
		} else {
			size += there * (padding + *c.Width[i])
		}
		if varies {
			known, rest = 1, 0
		} else {
			rest = (rest + int(length)) % known
		}
	}
	return size + pad(maxAlign)
}

func alignment(a string) int {
	switch a {
	case "d":
		return 8
	case "i":
		return 4
	case "s":
		return 2
	}
	return 1
}

func aligned(n float64) float64 { return math.Ceil(n/maxAlign) * maxAlign }

// HeapPages returns how many pages the rows would need if they were written anew.
// Room that no further row fits into is not counted as free: it cannot be won back.
func HeapPages(c Columns, rows, blockSize, fillFactor float64) float64 {
	if rows <= 0 {
		return 0
	}
	head := float64(heapHeader)
	if c.nullable() {
		head += math.Ceil(float64(len(c.Length)) / 8)
	}
	tuple := aligned(head) + c.data() + itemPointer
	room := blockSize - pageHeader - blockSize*(100-fillFactor)/100
	fit := min(max(math.Floor(room/tuple), 1), tuplesAPage)
	return math.Ceil(rows / fit)
}

// BtreePages returns how many pages a B-tree index of the entries would need if
// it were built anew. distinct is the number of different keys where equal keys
// share one entry, and 0 where they do not.
func BtreePages(c Columns, entries, distinct, blockSize, fillFactor float64) float64 {
	const meta = 1
	if entries <= 0 {
		return meta
	}
	head := float64(indexHeader)
	if c.nullable() {
		head += indexNulls
	}
	key := head + c.data()
	entry := key + itemPointer
	if distinct > 0 {
		entry = min(entry, sharedEntry(key, entries/distinct, blockSize))
	}
	room := blockSize - pageHeader - btreeEnd
	leafRoom := room - blockSize*(100-fillFactor)/100 - (key + itemPointer) // the high key
	pages := math.Ceil(entries / max(math.Floor(leafRoom/entry), 1))
	// Pages above the leaves, 70 % full, until one is left: the root.
	fanout := max(math.Floor(0.7*room/(key+itemPointer)), 2)
	total := pages
	for pages > 1 {
		pages = math.Ceil(pages / fanout)
		total += pages
	}
	return total + meta
}

// sharedEntry returns the bytes for one row in an index where the rows of a key
// share entries (deduplication, since PostgreSQL 13). Half as many are assumed to
// share one as the statistics say: ANALYZE finds too few distinct values in a
// large table, and a new page is only deduplicated when it is full.
func sharedEntry(key, rowsOfKey, blockSize float64) float64 {
	const rowPointer = 6
	largest := math.Floor((blockSize/6 - key) / rowPointer) // rows of one entry
	share := min(rowsOfKey/2, largest)
	if share <= 1 {
		return math.Inf(1)
	}
	return (aligned(key+rowPointer*share) + itemPointer) / share
}

// Excess returns the bytes and the share of pages that are more than needed.
func Excess(pages int64, needed, blockSize float64) (bytes int64, ratio float64) {
	if pages <= 0 {
		return 0, 0
	}
	more := max(float64(pages)-needed, 0)
	return int64(more * blockSize), more / float64(pages)
}

package rows

import (
	"time"
)

const (
	// batchTime is how long a batch should take: that long another may wait for a
	// row of it.
	batchTime = 40 * time.Millisecond

	// blocksMost bounds a range, however few rows there are in it.
	blocksMost = 1024
)

// guess sets the size of the first range, before any was moved.
func (b *batches) guess() {
	b.density, b.each, b.least, b.blocks, b.rows = 100, 10*time.Microsecond, 500, 16, 1000
}

// learn sets the size of the next range so that it takes its time, however the rows
// lie: a range without rows is quick, and the one behind it may be full.
func (b *batches) learn(moved, blocks int64, took time.Duration) {
	if took > 4*batchTime && moved <= 2*b.least {
		b.least = max(1, b.least/2) // these rows are large
	}
	if moved >= b.least/2 && moved > 0 { // of fewer, most of the time is the statement's own
		b.each += (took/time.Duration(moved) - b.each) / 4
		b.density = max(b.density, float64(moved)/float64(blocks))
	}
	full := max(b.least, int64(batchTime/max(b.each, 1))) // rows
	b.rows = min(b.rows*2, full)
	b.blocks = max(1, min(blocks*2, int64(float64(full)/b.density), blocksMost))
	if took > 2*batchTime && moved > b.least {
		b.blocks = min(b.blocks, max(1, blocks/2))
	}
}

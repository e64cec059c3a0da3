package rows

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// batches takes one table's rows away, batch by batch.
type batches struct {
	Movement
	Survey
	table Table // whose rows these are: that of the movement, or a partition of it
	oid   int64

	c     *pgx.Conn
	watch *watch
	fence remediate.Fence
	pace  *session.Pace
	args  []any // the parameters of the condition
	swift bool  // batches may be copied and deleted under one snapshot
	busy  int   // so many batches more are not
	quota *remediate.Quota
	weigh float64 // bytes of a row, on average
	most  int64   // rows that may go in this try; less than 0: any number
	lock  string  // the statement that locks what a batch relies on
	// what is compared at the end of each batch: the table, what is above it, and the same of the destination
	relies []int64

	density float64       // rows in a block, as far as is known
	each    time.Duration // for a row
	// rows that a batch may have, however long they seem to take: a busy machine is no reason to go on row by row
	least   int64
	blocks  int64 // of the next range
	rows    int64 // of the next batch, where an index is read
	moved   int64
	recent  int64 // of them by the last batch
	updates int64 // of the table, as the server counts them
	missed  bool  // rows may have been passed over
}

const (
	// Passes is the maximum number of passes over a table for the rows that were
	// moved or held meanwhile. What is left then is for the next run.
	Passes = 10

	// BusyFor is how many batches are taken with more care after one whose rows were
	// changed meanwhile: the next ones would probably fail too.
	BusyFor = 8

	// fewShare is up to which share of its rows a table is read by the index of the
	// age column, where there is one, and not from its first block to its last.
	fewShare = 0.1
)

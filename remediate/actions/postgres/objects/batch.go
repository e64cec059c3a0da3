package objects

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A archiver moves the rows of one table that are past their age into objects of a
// store, one object a batch, in this order: the rows are read, the object is put and
// read back, and then one transaction deletes exactly those versions of the rows and
// writes the object down in the ledger. Right before its commit it compares the
// definition of the table, and of those above it, with that of the plan.
//
// A process that is killed in between leaves an object that no entry names. The rows are
// still there and are read again; while they are unchanged they give the same
// object, under the same name.
//
// Nothing is held while the store works: no lock, no transaction. A row that was
// changed meanwhile is another version, and then nothing of the batch is deleted:
// it is read again, and this time its rows are held until the end, without those
// that others hold.
type archiver struct {
	rows.Movement
	store depot.Store
	label string            // of the store, for people
	links []rows.ForeignKey // foreign keys to the table and its parts: rows that they refer to stay
	kind  string            // the type of the age column

	plan   relation.Contract // of the plan: the table, its parts and what is above it
	reader relation.Reader
	tree   []relation.Node

	part    rows.Table      // whose rows these are: the table, or a partition of it
	oid     int64           // of part
	indexed bool            // an index of it leads with the age column
	line    []relation.Node // part, and what is above it

	c        *pgx.Conn
	fence    remediate.Fence
	pace     *session.Pace
	columns  []depot.Column
	types    []depot.Type // of the columns
	named    []named      // columns with names of other things
	doubtful []doubtful   // columns whose text may not be read back
	widths   widths
	root     int64  // OID of the table
	encoding string // of the rows' text
	version  int
	cut      string // rows of this moment or later stay
	most     int    // rows in a batch
	fewer    int    // it is divided by this: rows turned out to be wider than they looked

	sealer *depot.Sealer
	last   string // where the next batch begins; "" at the beginning
	past   bool   // rows of just that age are passed over
	moved  int64
	quota  *remediate.Quota // bytes of it are as rows lie in the table
	busy   int              // so many batches more are held from the beginning

	afterPut, inEnd func() // for tests
}

const (
	// fileRows is how many rows a batch has. Batches of 1,000 to 50,000 rows take
	// the same time a row; a small one holds its rows for a shorter time.
	fileRows = 5_000

	// heldLess is how much smaller a batch is whose rows are held.
	heldLess = 10

	// fileBytes bounds the text of a batch of more than one row, as far as it is known
	// before it is read: an object is a thing of some megabytes, however wide rows are.
	fileBytes = 16 << 20

	// textMost is where a batch of more than one row is given up and made smaller,
	// when its text turns out to be more than it seemed.
	textMost = 8 * fileBytes

	// rowMost is the text of the largest row that is moved. Nothing of ours keeps a row
	// in memory; the server does, several times, and takes no line of COPY of more than
	// 1 GiB: what COPY writes for a row has up to two bytes for each of its text.
	rowMost = 256 << 20

	// putHeld is how long a store may take while the rows of a batch are held, for each
	// 64 MiB.
	putHeld = 20 * time.Second

	// pulse is how often a session says something while a store works: one that
	// says nothing is taken for one whose owner is frozen.
	pulse = time.Second
)

// errDifferent says that a row was changed between the moments at which it was
// read and was to be deleted.
var errDifferent = errors.New("rows were changed while they were being moved")

// unchanged refuses relations that are not as they were for the plan. One that the
// plan does not know does not matter.
func (m *archiver) unchanged(ctx context.Context, q read.Querier, oids ...int64) error {
	now, err := m.reader.Read(ctx, q, oids)
	if err != nil {
		return err
	}
	return m.plan.Only(oids...).Check(now)
}

// oids are those of part and of what is above it.
func (m *archiver) oids() []int64 {
	all := make([]int64, len(m.line))
	for i, n := range m.line {
		all[i] = n.OID
	}
	return all
}

// identity reports which table has the name now and in which file its rows are: in
// another, a ctid is of another row.
func (m *archiver) identity(ctx context.Context, tx pgx.Tx) (oid, node int64, err error) {
	err = tx.QueryRow(ctx, `select c.oid::int8, coalesce(pg_relation_filenode(c.oid), 0)::int8 from pg_class c
		join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = $2`, m.part.Schema, m.part.Name).Scan(&oid, &node)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && oid != m.oid {
		return 0, 0, fmt.Errorf("it is another table than that of the plan: %w", remediate.ErrGone)
	}
	return oid, node, err
}

// writing is the kind of transactions that change rows, whatever the server, the
// database and the role are set to.
func writing() pgx.TxOptions {
	return pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}
}

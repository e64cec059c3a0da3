package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
)

const (
	// batchTime is how long a batch should take: that long another may wait for a
	// row of it.
	batchTime = 40 * time.Millisecond

	// rowWait is how long a lock is waited for, of a row or of a table, while the
	// rows of the batch are held.
	rowWait = 50 * time.Millisecond

	// passes is how often a table is gone through at most for the rows that were
	// moved or held meanwhile. What is left then is for the next run.
	passes = 10

	// blocksMost bounds a range, however few rows there are in it.
	blocksMost = 1024

	// fewShare is up to which share of its rows a table is read by the index of the
	// age column, where there is one, and not from its first block to its last.
	fewShare = 0.1
)

// The error codes that a batch may end with.
const (
	codeLock       = "55P03"
	codeDeadlock   = "40P01"
	codeConflict   = "40001"
	codeForeignKey = "23503"
	codeUnique     = "23505"
	codeExclusion  = "23P01"
	codeDivision   = "22012"
)

// errUneven says that a batch would have taken other rows away than it put there.
var errUneven = errors.New("not every row that would have been taken away arrived; nothing of this batch was done: is there a trigger or a rule?")

// batches takes one table's rows away, batch by batch.
type batches struct {
	movement
	survey
	table place // whose rows these are: that of the movement, or a partition of it
	oid   int64

	c      *pgx.Conn
	watch  *watch
	fence  remediate.Fence
	pace   *pace
	args   []any   // the parameters of the condition
	swift  bool    // batches may be copied and deleted under one snapshot
	busy   int     // so many batches more are not
	most   int64   // rows that may go in all; 0: any number
	lock   string  // the statement that locks what a batch relies on
	relies []int64 // what is compared at the end of each batch: the table, what is above it, and the same of the destination

	density float64       // rows in a block, as far as is known
	each    time.Duration // for a row
	least   int64         // rows that a batch may have, however long they seem to take: a busy machine is no reason to go on row by row
	blocks  int64         // of the next range
	rows    int64         // of the next batch, where an index is read
	moved   int64
	updates int64 // of the table, as the server counts them
	missed  bool  // rows may have been passed over
}

// begin finds out what all batches have in common.
func (b *batches) begin(ctx context.Context, now func() time.Time, s remediate.Step) (err error) {
	if b.zone != s.Args["zone"] {
		return remediate.Refuse(remediate.ReasonChanged, "column %s has no time zone, and was to be compared in %q, and the session now has %q: nothing was done; plan again", pgx.Identifier{b.column}.Sanitize(), s.Args["zone"], b.zone)
	}
	// Into a partitioned table rows are not copied: which parts they enter is told by
	// the other ways only.
	if b.swift, err = one(ctx, b.c, pgx.RowTo[bool], "select $1 and current_setting('track_counts')::bool", b.dest.Kind == "r"); err != nil {
		return fmt.Errorf("track_counts: %w", err)
	}
	if b.most, err = b.bound(ctx); err != nil {
		return err
	}
	if b.back {
		b.args = []any{b.since, b.until}
		if err := b.unclashing(ctx, b.c, b.survey); err != nil {
			return err
		}
		return b.unspoiled(ctx, b.c, b.survey)
	}
	if err := clocked(ctx, b.c, now); err != nil {
		return err
	}
	cut, err := one(ctx, b.c, pgx.RowTo[time.Time], "select clock_timestamp() - make_interval(secs => $1)", b.age.Seconds())
	if err != nil {
		return fmt.Errorf("the server's time: %w", err)
	}
	b.args = []any{cut}
	return nil
}

// bound is how many rows may go by the fence, 0 where any number may. Bytes are
// counted by the size that a row of the table has on average.
func (b *batches) bound(ctx context.Context) (int64, error) {
	most := b.fence.Most
	if most == nil || b.back {
		return 0, nil
	}
	rows := most.Rows
	if most.Bytes > 0 {
		w, err := b.weight(ctx, b.c, b.survey, 1)
		if err != nil {
			return 0, err
		}
		if n := most.Bytes / max(w.size, 1); rows == 0 || n < rows {
			rows = n
		}
	}
	if rows == 0 {
		return 0, nil
	}
	return max(1, int64(rows)), nil
}

// of turns to another part of the source.
func (b *batches) of(l rows.Node) {
	b.table, b.oid = place{l.Schema, l.Table}, l.OID
	line := append([]rows.Node{l}, rows.Lineage(b.giving.tree, l.OID)...)
	if b.to != (place{}) {
		for _, n := range b.taking.tree {
			if n.OID == b.dest.OID || n.Above {
				line = append(line, n)
			}
		}
	}
	b.relies = nil
	var locked []rows.Node
	for _, n := range line {
		b.relies = append(b.relies, n.OID)
		// What is above it may be another's; a lock there wants a right that no batch needs.
		if r, ok := b.watch.plan.Relations[n.OID]; ok && r.Lockable() {
			locked = append(locked, n)
		}
	}
	b.lock = rows.LockText(locked...)
}

// run goes through the table until nothing is left that can go.
func (b *batches) run(ctx context.Context) error {
	b.density, b.each, b.least, b.blocks, b.rows = 100, 10*time.Microsecond, 500, 16, 1000
	few, err := b.few(ctx)
	if err != nil {
		return err
	}
	if err := b.count(ctx); err != nil {
		return err
	}
	through := b.heap
	if few {
		through = b.index
	}
	for range passes {
		moved, updates := b.moved, b.updates
		b.missed = len(b.refers()) > 0 // rows that another one referred to, which has gone
		if err := through(ctx); err != nil {
			return err
		}
		if err := b.count(ctx); err != nil {
			return err
		}
		// An updated row may have gone where the pass had been before. Where nobody has
		// updated one, or met a batch, there is nothing to be found by another pass.
		if b.moved == moved || !b.missed && b.updates == updates {
			break
		}
	}
	return b.watch.check(ctx, b.relies...) // a batch that found nothing was not compared
}

// count asks the server how often rows of the table were updated. A session tells
// of its updates a moment after them: what is missed by that is for the next run.
func (b *batches) count(ctx context.Context) error {
	err := b.c.QueryRow(ctx, "select pg_stat_get_tuples_updated($1::int8::oid)", b.oid).Scan(&b.updates)
	if err != nil {
		return fmt.Errorf("the statistics of %s: %w", b.table, err)
	}
	return nil
}

// indexedSQL tells whether a B-tree begins with a column of a table.
const indexedSQL = `
select exists (select from pg_index i
                 join pg_class x on x.oid = i.indexrelid
                 join pg_am m on m.oid = x.relam
                 join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
                where i.indrelid = $1::int8::oid and i.indisvalid and i.indpred is null and m.amname = 'btree' and a.attname = $2)`

// few tells whether so few rows go that an index finds them faster.
func (b *batches) few(ctx context.Context) (bool, error) {
	s, err := readSide(ctx, b.c, b.table, deletes())
	if err != nil {
		return false, err
	}
	if s.OID != b.oid {
		return false, b.another(b.table)
	}
	if s.Blocks > 0 && s.Tuples > 0 {
		b.density = max(1, s.Tuples/float64(s.Blocks))
	}
	indexed, err := one(ctx, b.c, pgx.RowTo[bool], indexedSQL, b.oid, b.column)
	if err != nil || !indexed {
		return false, err
	}
	rows, err := b.expect(ctx, b.c, b.table)
	return rows <= fewShare*s.Tuples, err
}

func (b *batches) another(p place) error {
	return fmt.Errorf("%s is another table than that of the plan: %w", p, remediate.ErrGone)
}

// heap goes through the table's blocks in their order, up to its end of then.
func (b *batches) heap(ctx context.Context) error {
	for at := int64(0); ; {
		var end int64
		if err := b.c.QueryRow(ctx, "select pg_relation_size($1::int8::oid) / current_setting('block_size')::int", b.oid).Scan(&end); err != nil {
			return fmt.Errorf("the size of %s: %w", b.table, err)
		}
		if at >= end {
			return nil
		}
		for at < end {
			n := b.blocks
			count, took, err := b.batch(ctx, b.swift && b.busy == 0, func(h how) (string, []any) { return b.rangeSQL(at, at+n, h) })
			if errors.Is(err, errOver) && n > 1 {
				b.blocks = max(1, n/4)
				continue
			}
			if err != nil {
				return b.over(err)
			}
			at += n
			b.busy = max(0, b.busy-1)
			b.learn(count.Moved, n, took)
		}
	}
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

// index goes through the table in the order of the age column. Each batch begins
// where the one before has ended, so that it does not step over the dead again.
func (b *batches) index(ctx context.Context) error {
	last, after := "-infinity", false
	for {
		n := b.rows
		if b.most > 0 {
			n = min(n, max(1, b.most-b.moved)) // one more than may go shows that there is one more
		}
		count, took, err := b.batch(ctx, false, func(h how) (string, []any) { return b.keySQL(last, after, n, h == bySkip) })
		if err != nil || count.Last == nil {
			return b.over(err)
		}
		// Rows of one moment that cannot go would be met for ever.
		after = count.Moved == 0 && *count.Last == last || count.Moved == 0 && after
		last = *count.Last
		b.learn(count.Moved, b.blocks, took)
	}
}

// errOver says that a batch would have taken more rows than may go.
var errOver = errors.New("more rows would go than may")

// over refuses what goes beyond the amount that the run may take.
func (b *batches) over(err error) error {
	if !errors.Is(err, errOver) {
		return err
	}
	return remediate.Refuse(remediate.ReasonAmount, "%d rows of %s are gone, and with the next ones it would be more than the %d that may go: the rest stays; plan again to see how much that is", b.moved, b.from, b.most)
}

// A count is what became of a batch.
type count struct {
	Moved int64
	Last  *string // the greatest age that was met, where an index is read
	Into  []int64 // the parts of the destination that rows have entered, where it has any
}

// How a batch takes its rows.
type how int

const (
	// byWait deletes the rows and puts elsewhere what was deleted. It waits for rows
	// that others hold, for rowWait.
	byWait how = iota

	// bySkip does so with the rows that nobody holds.
	bySkip

	// byCopy copies the rows and deletes them, both as one snapshot has them: a row
	// that somebody has changed since is an error, and nothing is done. It costs
	// the server a fifth to a third less than to keep what was deleted in between.
	byCopy
)

// rangeSQL takes the rows of a range of blocks away.
func (b *batches) rangeSQL(from, to int64, h how) (string, []any) {
	n := len(b.args) + 1
	in := fmt.Sprintf("t.ctid >= format('(%%s,0)', $%d::int8)::tid and t.ctid < format('(%%s,0)', $%d::int8)::tid", n, n+1)
	if b.version < 140000 {
		// There a range of rows would be found by reading the whole table. Each place
		// that a row of these blocks could have is named instead.
		in = fmt.Sprintf("t.ctid = any(array(select format('(%%s,%%s)', p, l)::tid from generate_series($%d::int8, $%d::int8 - 1) p, generate_series(1, current_setting('block_size')::int / 28) l))", n, n+1)
	}
	args := append(append([]any{}, b.args...), from, to)
	switch h {
	case byCopy:
		return b.copySQL(in), args
	case bySkip:
		in = "t.ctid = any(array(select t.ctid from only " + b.table.String() + " t where " + in + " and " + b.free() + " for update skip locked))"
	case byWait:
	}
	return b.takeSQL("", in, "null::text"), args
}

// keySQL takes the next rows away in the order of the age column.
func (b *batches) keySQL(last string, after bool, n int64, skip bool) (string, []any) {
	first, column := len(b.args)+1, "t."+pgx.Identifier{b.column}.Sanitize()
	sign, lock := ">=", ""
	if after {
		sign = ">"
	}
	if skip {
		lock = " for update skip locked"
	}
	// The bare comparisons are for the index; the parameters are those of the condition.
	bounds := column + " < $1::timestamptz"
	if b.back {
		bounds = column + " >= $1::timestamptz and " + column + " < $2::timestamptz"
	}
	next := fmt.Sprintf("b as materialized (select t.ctid as id, %s as at from only %s t where %s %s $%d::text::%s and %s and %s order by %s limit $%d%s), ",
		column, b.table, column, sign, first, b.kind, bounds, b.free(), column, first+1, lock)
	return b.takeSQL(next, "t.ctid = any(array(select b.id from b))", "(select max(b.at)::text from b)"), append(append([]any{}, b.args...), last, n)
}

// free is the condition that row t goes and that nobody refers to it.
func (b *batches) free() string {
	all := []string{b.condition(1), fmt.Sprintf("t.tableoid = '%d'::oid", b.oid), firing}
	for _, c := range b.spares {
		all = append(all, c.Same)
	}
	for _, l := range b.refers() {
		all = append(all, l.free())
	}
	return strings.Join(all, " and ")
}

// firing is the condition that foreign keys are kept and triggers fire. A server that
// is told otherwise heeds it at the next statement, so that the statement must ask.
const firing = "current_setting('session_replication_role') = 'origin'"

// refers are the foreign keys by which others refer to rows of the table: those to
// itself and those to what is above it.
func (b *batches) refers() (links []link) {
	for _, l := range b.links {
		if slices.Contains(b.relies, l.Of) {
			links = append(links, l)
		}
	}
	return links
}

// takeSQL takes the rows t that a condition picks away and puts them where they go,
// in one statement, which is one transaction. Where less arrived than was taken, it
// fails, and nothing is done. A table that has taken the name of the source or of
// the destination meanwhile is neither read nor written.
func (b *batches) takeSQL(with, pick, last string) string {
	if b.to == (place{}) {
		return "with " + with + "d as (delete from only " + b.table.String() + " t where " + pick + " and " + b.free() + " returning 1) select (select count(*) from d), " + last + ", null::int8[]"
	}
	return "with " + with + "d as (delete from only " + b.table.String() + " t where " + pick + " and " + b.free() + " and " + b.same() + " returning " + b.values() +
		"), i as (insert into " + b.to.String() + " (" + list(b.columns) + ") overriding system value select * from d returning tableoid)" +
		" select case when d.n = i.n then d.n else 1 / (d.n - d.n) end, " + last + ", i.entered from (select count(*) as n from d) d," +
		" (select coalesce(sum(n), 0)::int8 as n, array_agg(part) as entered from (select tableoid::int8 as part, count(*) as n from i group by 1) g) i"
}

// copySQL copies the rows t that a condition picks and deletes them, in one
// statement, which tells how many were copied and not how many deleted.
func (b *batches) copySQL(pick string) string {
	which := " from only " + b.table.String() + " t where " + pick + " and " + b.free() + " and " + b.same()
	return "with d as (delete" + which + ") insert into " + b.to.String() + " (" + list(b.columns) + ") overriding system value select " + b.values() + which
}

// same is the condition that the destination is still the table of the plan.
func (b *batches) same() string {
	return fmt.Sprintf("%s::regclass::oid = '%d'::oid", literal(b.to.String()), b.dest.OID)
}

// values are the columns of row t that are moved.
func (b *batches) values() string {
	all := make([]string, len(b.columns))
	for i, c := range b.columns {
		all[i] = "t." + pgx.Identifier{c}.Sanitize()
	}
	return strings.Join(all, ", ")
}

// deletedSQL is how many rows of a table this session has deleted and not told the
// statistics of yet: within a transaction it only grows.
const deletedSQL = "select pg_stat_get_xact_tuples_deleted($1::int8::oid)"

// copied copies and deletes the rows of a batch under one snapshot, and tells how
// many, where as many were deleted as were copied.
func (b *batches) copied(ctx context.Context, tx pgx.Tx, sql string, args []any) (n int64, err error) {
	var before, after int64
	if err := tx.QueryRow(ctx, deletedSQL, b.oid).Scan(&before); err != nil {
		return 0, err
	}
	tag, err := tx.Exec(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	if err := tx.QueryRow(ctx, deletedSQL, b.oid).Scan(&after); err != nil {
		return 0, err
	}
	if n = tag.RowsAffected(); after-before != n {
		return 0, errUneven
	}
	return n, nil
}

// commit carries one batch out in a transaction of its own. The lock is its first
// statement, and takes no snapshot: what it covers is for all of the batch as the
// snapshot has it. What no lock covers, and what was changed before the lock was
// taken, is seen by the comparison after the work, right before the commit.
func (b *batches) commit(ctx context.Context, h how, sql string, args []any) (n count, err error) {
	options := writing()
	if h == byCopy {
		options.IsoLevel = pgx.RepeatableRead
	}
	tx, err := b.c.BeginTx(ctx, options)
	if err != nil {
		return n, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // no error after a commit
	if _, err := tx.Exec(ctx, b.lock, pgx.QueryExecModeSimpleProtocol); err != nil {
		return n, err
	}
	if h == byCopy {
		n.Moved, err = b.copied(ctx, tx, sql, args)
	} else {
		err = tx.QueryRow(ctx, sql, args...).Scan(&n.Moved, &n.Last, &n.Into)
	}
	if err != nil {
		return n, err
	}
	if b.most > 0 && b.moved+n.Moved > b.most {
		return n, errOver
	}
	if n.Moved > 0 {
		if err := b.compare(ctx, n.Into); err != nil {
			return n, err
		}
	}
	return n, tx.Commit(ctx)
}

// compare compares what the batch relied on and what its rows have entered.
func (b *batches) compare(ctx context.Context, into []int64) error {
	all := slices.Clone(b.relies)
	for _, oid := range into {
		all = append(all, oid)
		for _, n := range rows.Lineage(b.taking.tree, oid) {
			all = append(all, n.OID)
		}
	}
	slices.Sort(all)
	return b.watch.check(ctx, slices.Compact(all)...)
}

// literal quotes a text.
func literal(text string) string {
	return "e'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// batch carries one batch out, and tries again what was in somebody's way. It
// returns how long the server took for what it did.
func (b *batches) batch(ctx context.Context, swift bool, text func(how) (string, []any)) (n count, took time.Duration, err error) {
	began, h := time.Now(), byWait
	if swift {
		h = byCopy
	}
	for try := 0; ; try++ {
		if err := b.pace.keep(ctx, b.c); err != nil {
			return n, 0, err
		}
		if err := b.fence.Check(ctx); err != nil {
			return n, 0, err
		}
		sql, args := text(h)
		args = append([]any{pgx.QueryExecModeExec}, args...) // without a name, the statement is planned for its very range
		sent := time.Now()
		err := bounded(ctx, b.c, func(ctx context.Context) (err error) {
			n, err = b.commit(ctx, h, sql, args)
			return err
		})
		if err == nil {
			b.moved += n.Moved
			return n, time.Since(sent), nil
		}
		if ctx.Err() != nil {
			return n, 0, err
		}
		if err := b.again(ctx, err); err != nil {
			return n, 0, err
		}
		if time.Since(began) > pauseMost {
			return n, 0, fmt.Errorf("%s: in vain for %s: %w: %w", b.table, pauseMost, err, errPaused)
		}
		b.missed = true
		if h == byCopy {
			b.busy = busyFor // where rows are being changed, the next batches would be copied in vain too
		}
		h = bySkip
		if try > 0 {
			if err := wait(ctx, min(time.Duration(try)*50*time.Millisecond, time.Second)); err != nil {
				return n, 0, err
			}
		}
	}
}

// again returns nil where a batch may succeed when it is tried once more, and else
// what went wrong, without what stands in the rows. What fails because a table is
// not as it was is refused for that.
func (b *batches) again(ctx context.Context, err error) error {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if !ok && !errors.Is(err, errUneven) {
		return fmt.Errorf("rows of %s: %w", b.table, err)
	}
	if ok && slices.Contains([]string{codeLock, codeDeadlock, codeConflict}, refused.Code) {
		return nil
	}
	if changed := b.watch.check(ctx, b.watch.plan.OIDs()...); changed != nil {
		return changed
	}
	if !ok {
		return fmt.Errorf("rows of %s: %w", b.table, err)
	}
	switch refused.Code {
	case codeForeignKey:
		if refused.SchemaName == b.to.Schema && refused.TableName == b.to.Table {
			break
		}
		return nil // somebody has begun to refer to a row: it is left the next time
	case codeUnique, codeExclusion:
		return fmt.Errorf("a row of %s is in %s already, by %s; nothing of this batch was done, and what was moved before stays moved: find out how it came there", b.table, b.to, pgx.Identifier{refused.ConstraintName}.Sanitize())
	case codeDivision:
		return fmt.Errorf("%s: %w", b.table, errUneven)
	}
	refused.Detail, refused.Where = "", "" // rows of people
	return fmt.Errorf("rows of %s: %w", b.table, refused)
}

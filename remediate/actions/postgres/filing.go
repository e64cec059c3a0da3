package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ai-micro-service/upkeep/internal/depot"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A filing moves the rows of one table that are past their age into objects of a
// store, one object a batch, in this order: the rows are read, the object is put,
// which returns when it is there for good, and then one transaction deletes exactly
// those versions of the rows and writes the object down in the ledger.
//
// Whoever is killed in between leaves an object that no entry names. The rows are
// still there and are read again; while nobody has changed them they give the same
// object, under the same name.
//
// Nothing is held while the store works: no lock, no transaction. A row that was
// changed meanwhile is another version, and then nothing of the batch is deleted:
// it is read again, and this time its rows are held until the end, without those
// that others hold.
type filing struct {
	movement
	store depot.Store
	label string // of the store, for people
	links []link // foreign keys to the table: rows that they refer to stay
	kind  string // the type of the age column

	part    place // whose rows these are: the table, or a partition of it
	oid     int64 // of part
	indexed bool  // an index of it leads with the age column

	c       *pgx.Conn
	fence   remediate.Fence
	pace    *pace
	columns []depot.Column
	version int
	cut     string // rows of this moment or later stay
	most    int    // rows in a batch

	last  string // where the next batch begins; "" at the beginning
	past  bool   // rows of just that age are passed over
	moved int64
	busy  int // so many batches more are held from the beginning

	afterPut, inEnd func() // for tests
}

const (
	// fileRows is how many rows a batch has. Batches of 1,000 to 50,000 rows take
	// the same time a row; a small one holds its rows for a shorter time.
	fileRows = 5_000

	// heldLess is how much smaller a batch is whose rows are held.
	heldLess = 10

	// fileBytes bounds what a batch holds in memory, and a store is asked to take.
	fileBytes = 16 << 20

	// putHeld is how long a store may take while the rows of a batch are held.
	putHeld = 20 * time.Second

	// busyFor is how many batches are held from the beginning after one whose rows
	// were changed meanwhile: the next ones would be put in vain too.
	busyFor = 8

	// pulse is how often a session says something while a store works: one that
	// says nothing is taken for one whose owner stands still.
	pulse = time.Second
)

// cutSQL is the moment before which rows are past their age. A column without a time
// zone is compared in that of the database, as the measure does it, and so before
// the session takes UTC.
const cutSQL = `
select case $2::text when 'timestamptz' then to_char((clock_timestamp() - make_interval(secs => $1)) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'
       else to_char((clock_timestamp() - make_interval(secs => $1))::timestamp, 'YYYY-MM-DD HH24:MI:SS.US') end`

// begin prepares a session for the batches.
func (m *filing) begin(ctx context.Context) (err error) {
	if m.columns, err = filedColumns(ctx, m.c, m.from); err != nil {
		return err
	}
	if err := m.c.QueryRow(ctx, "select current_setting('server_version_num')::int").Scan(&m.version); err != nil {
		return fmt.Errorf("version: %w", err)
	}
	if err := m.c.QueryRow(ctx, cutSQL, m.age.Seconds(), m.kind).Scan(&m.cut); err != nil {
		return fmt.Errorf("the server's time: %w", err)
	}
	if _, err := m.c.Exec(ctx, formSQL); err != nil {
		return fmt.Errorf("form of the rows: %w", err)
	}
	return ensureLedger(ctx, m.c, m.fence)
}

// run moves the rows of one table, or of one partition, until nothing is left that
// can go. What others hold is passed over and met again in the next pass.
func (m *filing) run(ctx context.Context, of leaf) (err error) {
	m.part, m.oid = place{of.Schema, of.Table}, of.OID
	if m.indexed, err = one(ctx, m.c, pgx.RowTo[bool], indexedSQL, m.oid, m.column); err != nil {
		return fmt.Errorf("indexes of %s: %w", m.part, err)
	}
	for range passes {
		m.last, m.past = "", false
		before := m.moved
		for {
			more, err := m.next(ctx)
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
		if m.moved == before {
			break
		}
	}
	return nil
}

// next moves one batch and reports whether there was one.
func (m *filing) next(ctx context.Context) (bool, error) {
	first, err := m.try(ctx, m.busy > 0)
	l := first
	m.busy = max(0, m.busy-1)
	for try, began := 1, time.Now(); passing(err); try++ {
		if time.Since(began) > pauseMost {
			return false, fmt.Errorf("%s: in vain for %s: %w: %w", m.part, pauseMost, err, errPaused)
		}
		if try > 1 {
			if err := wait(ctx, min(time.Duration(try)*50*time.Millisecond, time.Second)); err != nil {
				return false, err
			}
		}
		l, err = m.try(ctx, true)
		m.busy = busyFor
	}
	if err != nil {
		return false, fmt.Errorf("rows of %s: %w", m.part, discreet(err))
	}
	n := l.parcel.Rows
	m.moved += int64(n)
	if n == 0 {
		l = first // everything in it is held by others
	}
	m.past = n == 0 && (m.past || l.last == m.last)
	m.last = l.last
	return l.parcel.Rows > 0, nil
}

// errDifferent says that a row was changed between the moments at which it was
// read and was to be deleted.
var errDifferent = errors.New("rows were changed while they were being moved")

// passing reports whether a batch may succeed when it is tried once more.
func passing(err error) bool {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return slices.Contains([]string{codeLock, codeDeadlock, codeConflict, codeForeignKey}, refused.Code)
	}
	return errors.Is(err, errDifferent)
}

// discreet takes what stands in the rows out of an error.
func discreet(err error) error {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		refused.Detail, refused.Where = "", ""
	}
	return err
}

// A load is what was read for one batch.
type load struct {
	parcel    depot.Parcel
	text      []byte
	ids       []string          // ctid of each row
	versions  map[string]string // xmin by ctid
	oid, node int64
	last      string
	low, high float64 // ages of the oldest and the newest, in seconds since 1970
	full      bool
}

// try moves one batch. Held says that its rows are locked from the moment on at
// which they are read.
func (m *filing) try(ctx context.Context, held bool) (l load, err error) {
	if err := m.pace.keep(ctx, m.c); err != nil {
		return l, err
	}
	tx, err := m.c.BeginTx(ctx, writing())
	if err != nil {
		return l, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // no error after a commit
	if l, err = m.read(ctx, tx, held); err != nil || l.parcel.Rows == 0 {
		return l, err
	}
	name, content, err := l.parcel.Seal(l.text)
	if err != nil {
		return l, err
	}
	if !held {
		if err := tx.Commit(ctx); err != nil {
			return l, err
		}
	}
	if err := m.fence.Check(ctx); err != nil {
		return l, err
	}
	if err := m.put(ctx, held, name, content); err != nil {
		return l, err
	}
	if m.afterPut != nil {
		m.afterPut()
	}
	if held {
		return l, m.finish(ctx, tx, name, l)
	}
	end, err := m.c.BeginTx(ctx, writing())
	if err != nil {
		return l, err
	}
	defer func() { _ = end.Rollback(context.WithoutCancel(ctx)) }() // as above
	return l, m.finish(ctx, end, name, l)
}

// writing is the kind of transactions that change rows, whatever the server, the
// database and the role are set to.
func writing() pgx.TxOptions {
	return pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}
}

// put puts an object and says something in the session meanwhile.
func (m *filing) put(ctx context.Context, held bool, name string, content []byte) error {
	if held {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, putHeld, fmt.Errorf("the store did not take an object within %s, while rows were held", putHeld))
		defer cancel()
	}
	done := make(chan error, 1)
	go func() { done <- m.store.Put(ctx, name, content) }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(pulse):
			if _, err := m.c.Exec(ctx, "select"); err != nil {
				return errors.Join(<-done, fmt.Errorf("session: %w", err))
			}
		}
	}
}

// finish deletes the rows of a batch, writes its object down and commits.
func (m *filing) finish(ctx context.Context, tx pgx.Tx, name string, l load) error {
	if err := m.remove(ctx, tx, l); err != nil {
		return err
	}
	if err := enter(ctx, tx, name, m.label, m.cut, l.parcel); err != nil {
		return err
	}
	if m.inEnd != nil {
		m.inEnd()
	}
	if err := m.fence.Check(ctx); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// rows is how many rows a batch has at most. One whose rows are held until the store
// has taken them is small, since others wait for them for so long.
func (m *filing) rows(held bool) int {
	if held {
		return max(1, m.most/heldLess)
	}
	return m.most
}

// cursor is the statement that reads a batch. The rows come in the order of their
// age where an index has it, so that an object has a narrow range of it, and else
// as they lie, which needs none.
func (m *filing) cursor(held bool) string {
	age, kind := "t."+pgx.Identifier{m.column}.Sanitize(), m.kind
	if kind == "date" {
		kind = "timestamp" // a day is past its age when its midnight is
	}
	sql := "declare upkeep_batch no scroll cursor for select t.ctid, t.xmin, extract(epoch from " + age + "::timestamptz)::float8, " + age + "::timestamptz, " + age
	columns := make([]string, len(m.columns))
	for i, c := range m.columns {
		columns[i] = ", t." + pgx.Identifier{c.Name}.Sanitize()
	}
	sql += strings.Join(columns, "") + " from only " + m.part.String() + " t where " + age + " < $1::text::" + kind
	sign := " >= "
	if m.past {
		sign = " > "
	}
	switch {
	case m.indexed && m.last != "":
		sql += " and " + age + sign + "$2::text::" + m.kind
	case m.last != "":
		sql += " and t.ctid > $2::text::tid"
	}
	var free strings.Builder
	for _, l := range m.links {
		free.WriteString(" and " + l.free())
	}
	sql += free.String()
	if m.indexed {
		sql += " order by " + age + ", t.ctid"
	}
	sql += " limit " + strconv.Itoa(m.rows(held))
	if held {
		sql += " for update of t skip locked"
	}
	return sql
}

// read reads a batch.
func (m *filing) read(ctx context.Context, tx pgx.Tx, held bool) (l load, err error) {
	if m.indexed {
		// The planner takes the first rows of a large share for cheaper by a sort.
		if _, err := tx.Exec(ctx, "set local enable_seqscan = off; set local enable_bitmapscan = off", pgx.QueryExecModeSimpleProtocol); err != nil {
			return l, err
		}
	}
	args := []any{m.cut}
	if m.last != "" {
		args = append(args, m.last)
	}
	// A statement without a name is planned for what it is asked now.
	if _, err := tx.Exec(ctx, m.cursor(held), append([]any{pgx.QueryExecModeExec}, args...)...); err != nil {
		return l, err
	}
	if l.oid, l.node, err = m.identity(ctx, tx); err != nil {
		return l, err
	}
	l.versions, l.last = make(map[string]string), m.last
	l.parcel = depot.Parcel{
		Database: m.database, Schema: m.from.Schema, Table: m.from.Table, Columns: m.columns, Column: m.column,
		Server: m.version, Load: loadStatement(m.from, m.columns),
	}
	// The first fetches are small: nobody knows yet how large a row is.
	for fetch := 16; !l.full && l.parcel.Rows < m.rows(held) && len(l.text) < fileBytes; fetch = min(2*fetch, 1024) {
		if err := m.fetch(ctx, tx.Conn(), fetch, &l); err != nil {
			return l, err
		}
	}
	_, err = tx.Exec(ctx, "close upkeep_batch", pgx.QueryExecModeSimpleProtocol)
	return l, err
}

// fetch reads some more rows of a batch, as text, and writes them as COPY does.
func (m *filing) fetch(ctx context.Context, c *pgx.Conn, n int, l *load) error {
	answer := c.PgConn().Exec(ctx, "fetch forward "+strconv.Itoa(n)+" from upkeep_batch")
	got := 0
	for answer.NextResult() {
		rows := answer.ResultReader()
		for rows.NextRow() {
			values := rows.Values()
			id := string(values[0])
			l.ids = append(l.ids, id)
			l.versions[id] = string(values[1])
			if err := l.aged(string(values[2]), string(values[3])); err != nil {
				return errors.Join(err, answer.Close())
			}
			l.last = id
			if m.indexed {
				l.last = string(values[4])
			}
			l.text = appendRow(l.text, values[5:])
			got++
		}
	}
	l.parcel.Rows += got
	l.full = got < n
	return answer.Close()
}

// aged widens the range of ages by a row's.
func (l *load) aged(seconds, text string) error {
	age, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return fmt.Errorf("age of a row: %w", err)
	}
	if l.parcel.Oldest == "" || age < l.low {
		l.low, l.parcel.Oldest = age, text
	}
	if l.parcel.Newest == "" || age > l.high {
		l.high, l.parcel.Newest = age, text
	}
	return nil
}

// identity tells which table has the name now and in which file its rows are: in
// another, a ctid is of another row.
func (m *filing) identity(ctx context.Context, tx pgx.Tx) (oid, node int64, err error) {
	err = tx.QueryRow(ctx, `select c.oid::int8, coalesce(pg_relation_filenode(c.oid), 0)::int8 from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = $2`, m.part.Schema, m.part.Table).Scan(&oid, &node)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && oid != m.oid {
		return 0, 0, fmt.Errorf("it is another table than that of the plan: %w", remediate.ErrGone)
	}
	return oid, node, err
}

// remove deletes the versions of the rows that were read, all of them or none. The
// lock comes first: with it, nobody writes the table anew.
func (m *filing) remove(ctx context.Context, tx pgx.Tx, l load) error {
	if _, err := tx.Exec(ctx, "lock table only "+m.part.String()+" in row exclusive mode", pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	_, node, err := m.identity(ctx, tx)
	if err != nil {
		return err
	}
	if node != l.node {
		return errDifferent
	}
	rows, err := tx.Query(ctx, "delete from only "+m.part.String()+" where ctid = any($1::text[]::tid[]) returning ctid::text, xmin::text", l.ids)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	n := 0
	var id, version string
	_, err = pgx.ForEachRow(rows, []any{&id, &version}, func() error {
		if was, read := l.versions[id]; !read || was != version {
			return errDifferent
		}
		n++
		return nil
	})
	if err == nil && n != len(l.ids) {
		err = errDifferent
	}
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

// filedText is what a person would type for all batches at once.
func (m movement) filedText(label string, columns []depot.Column) string {
	return strings.Join([]string{
		"COPY (SELECT ", list(names(columns)), " FROM ", m.from.String(), " WHERE ", m.which(), ") TO objects in ", label,
		", and then DELETE FROM ", m.from.String(), " the same rows -- in small batches",
	}, "")
}

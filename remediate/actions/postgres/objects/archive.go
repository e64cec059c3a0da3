package objects

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// cutSQL is the moment before which rows are past their age. A column without a time
// zone is compared in that of the database, as the measure does it, and so before
// the session takes UTC.
const cutSQL = `
select case $2::text when 'timestamptz'
       then to_char((clock_timestamp() - make_interval(secs => $1)) at time zone 'UTC',
              'YYYY-MM-DD HH24:MI:SS.US') || '+00'
       else to_char((clock_timestamp() - make_interval(secs => $1))::timestamp, 'YYYY-MM-DD HH24:MI:SS.US') end`

// begin prepares a session for the batches.
func (m *archiver) begin(ctx context.Context) (err error) {
	m.sealer = depot.NewSealer(m.store)
	if m.quota == nil {
		if m.quota, err = m.fence.Quota(remediate.Step{}); err != nil {
			return err
		}
	}
	if m.columns, err = filedColumns(ctx, m.c, m.From); err != nil {
		return err
	}
	if m.root, err = session.One(ctx, m.c, pgx.RowTo[int64],
		"select c.oid::int8 from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and "+
			"c.relname = $2", m.From.Schema, m.From.Name); err != nil {
		return fmt.Errorf("%s: %w", m.From, err)
	}
	if m.widths, err = readWidths(ctx, m.c, m.root); err != nil {
		return err
	}
	if m.types, err = filedTypes(ctx, m.c, m.root); err != nil {
		return err
	}
	if m.named, err = namesOf(ctx, m.c, m.From, m.root); err != nil {
		return err
	}
	if m.doubtful, err = doubtfulOf(ctx, m.c, m.root); err != nil {
		return err
	}
	if m.tree, err = relation.ReadTree(ctx, m.c, m.root); err != nil {
		return err
	}
	if m.reader, err = relation.NewReader(ctx, m.c); err != nil {
		return err
	}
	m.version = m.reader.Version
	// What was read above is of the plan's table only where this is the same.
	if err := m.unchanged(ctx, m.c, m.root); err != nil {
		return err
	}
	if err := m.c.QueryRow(ctx, cutSQL, m.Age.Seconds(), m.kind).Scan(&m.cut); err != nil {
		return fmt.Errorf("the server's time: %w", err)
	}
	if _, err := m.c.Exec(ctx, formSQL); err != nil {
		return fmt.Errorf("form of the rows: %w", err)
	}
	if m.encoding, err = encodingOf(ctx, m.c); err != nil {
		return err
	}
	return ensureLedger(ctx, m.c, m.fence)
}

// end gives up what the batches have kept.
func (m *archiver) end() {
	if m.sealer != nil {
		m.sealer.Close()
	}
}

// all moves the rows of those parts that were there when the plan was made.
func (m *archiver) all(ctx context.Context, parts []relation.Node) error {
	for _, n := range parts {
		if _, known := m.plan.Relations[n.OID]; !known {
			continue
		}
		if err := m.run(ctx, leaf{n.OID, n.Schema, n.Table}); err != nil {
			return err
		}
	}
	return nil
}

// run moves the rows of one table, or of one partition, until nothing is left that
// can go. What others hold is passed over and met again in the next pass.
func (m *archiver) run(ctx context.Context, of leaf) (err error) {
	m.part, m.oid, m.fewer = rows.Table{Schema: of.Schema, Name: of.Table}, of.OID, 1
	m.line = []relation.Node{{OID: of.OID, Schema: of.Schema, Table: of.Table}}
	m.line = append(m.line, relation.Lineage(m.tree, of.OID)...)
	if m.indexed, err = session.One(ctx, m.c, pgx.RowTo[bool], rows.IndexedSQL, m.oid, m.Column); err != nil {
		return fmt.Errorf("indexes of %s: %w", m.part, err)
	}
	for range rows.Passes {
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
func (m *archiver) next(ctx context.Context) (bool, error) {
	first, err := m.try(ctx, m.busy > 0)
	l := first
	m.busy = max(0, m.busy-1)
	for tries := session.StartRetries(); passing(err); {
		if err = m.explained(ctx, err); !passing(err) {
			break
		}
		if errors.Is(err, errWide) { // no other session is in the way
			m.fewer *= 8
		} else {
			m.busy = rows.BusyFor
			if err := tries.Again(ctx, m.part.String(), err); err != nil {
				return false, err
			}
		}
		l, err = m.try(ctx, m.busy > 0)
	}
	if err != nil {
		return false, fmt.Errorf("rows of %s: %w", m.part, m.explained(ctx, discreet(err)))
	}
	n := l.parcel.Rows
	m.moved += int64(n)
	m.fewer = max(1, m.fewer/2)
	if n == 0 {
		l = first // everything in it is held by others
	}
	m.past = n == 0 && (m.past || l.last == m.last)
	m.last = l.last
	return l.parcel.Rows > 0, nil
}

// explained returns that the table is not as it was planned for, where an error may be
// due to that.
func (m *archiver) explained(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*pgconn.PgError](err); !ok && !errors.Is(err, errDifferent) || m.c.IsClosed() {
		return err
	}
	if changed := m.unchanged(ctx, m.c, m.oids()...); changed != nil {
		if _, refused := remediate.Refused(changed); refused {
			return changed
		}
	}
	return err
}

// passing reports whether a batch may succeed when it is tried once more.
func passing(err error) bool {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return slices.Contains([]string{session.CodeLock, session.CodeDeadlock, session.CodeConflict,
			session.CodeForeignKey},
			refused.Code)
	}
	return errors.Is(err, errDifferent) || errors.Is(err, errWide)
}

// try moves one batch. Held says that its rows are locked from the moment on at
// which they are read.
func (m *archiver) try(ctx context.Context, held bool) (l load, err error) {
	if err := m.pace.Keep(ctx, m.c); err != nil {
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
	if !held {
		if err := tx.Commit(ctx); err != nil {
			return l, err
		}
	}
	if err := m.quota.Reserve(ctx, l.amount()); err != nil {
		return l, err
	}
	name, content, err := m.sealer.Seal(&l.parcel)
	if err != nil {
		return l, err
	}
	if err := m.fence.Check(ctx); err != nil {
		return l, err
	}
	if err := m.put(ctx, held, name, content, l.parcel); err != nil {
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

// put puts an object, reads it back, and says something in the session meanwhile.
func (m *archiver) put(ctx context.Context, held bool, name string, content depot.Content, p depot.Parcel) error {
	if held {
		limit := putHeld * time.Duration(1+content.Size()>>26)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit,
			fmt.Errorf("the store did not take an object and give it back within %s, while rows were held", limit))
		defer cancel()
	}
	done := make(chan error, 1)
	go func() {
		err := depot.PutFrom(ctx, m.store, name, content)
		if err == nil {
			if err = depot.ReadBack(ctx, m.store, name, p); err != nil {
				err = fmt.Errorf("read back: %w", err)
			}
		}
		done <- err
	}()
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

// finish deletes the rows of a batch, writes its object down and commits, unless
// something that the plan relies on has changed.
func (m *archiver) finish(ctx context.Context, tx pgx.Tx, name string, l load) error {
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
	if err := m.asPlanned(ctx, tx, l); err != nil {
		return err
	}
	m.quota.Take(l.amount())
	err := tx.Commit(ctx)
	if session.RolledBack(err) {
		m.quota.Return(l.amount())
	} else if err != nil {
		m.quota.Unsure()
	}
	return err
}

// asPlanned compares what a batch has relied on with the plan. The locks of the batch
// keep it so until the commit.
func (m *archiver) asPlanned(ctx context.Context, tx pgx.Tx, l load) error {
	if err := m.unchanged(ctx, tx, m.oids()...); err != nil {
		return err
	}
	if len(m.types) == 0 {
		return nil // new columns have no defaults to consider
	}
	types, err := filedTypes(ctx, tx, m.root)
	if err != nil {
		return err
	}
	if what := unlike(l.parcel.Types, types); what != "" {
		return remediate.Refuse(remediate.ReasonChanged,
			"while rows were moved, a type was changed: %s: what is moved stays moved; plan again", what)
	}
	return nil
}

// remove deletes the versions of the rows that were read, all of them or none. The
// lock comes first: with it, no session rewrites the table, or redefines it or what is
// above it otherwise.
func (m *archiver) remove(ctx context.Context, tx pgx.Tx, l load) error {
	if _, err := tx.Exec(ctx, relation.LockText(m.line...), pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	_, node, err := m.identity(ctx, tx)
	if err != nil {
		return err
	}
	if node != l.node {
		return errDifferent
	}
	gone, err := tx.Query(ctx, "delete from only "+m.part.String()+" where ctid = any($1::text[]::tid[]) and "+
		rows.TriggersFire+" returning ctid::text, xmin::text", l.ids)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	n := 0
	var id, version string
	_, err = pgx.ForEachRow(gone, []any{&id, &version}, func() error {
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

// A leaf is a table with rows of its own: the table itself, or a partition.
type leaf struct {
	OID           int64
	Schema, Table string
}

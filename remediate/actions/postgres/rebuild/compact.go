package rebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

const (
	// batchFor is how long a batch should take: so long others may wait for a row
	// that is being moved.
	batchFor = 25 * time.Millisecond

	// batchMost ends a batch that takes far longer than it should.
	batchMost = 100 * time.Millisecond

	// batchLock is how long a batch waits for a lock. It is below deadlock_timeout
	// by far, so that a deadlock with us never ends another session.
	batchLock = 100 * time.Millisecond

	// leastPages and mostPages bound how many pages a batch empties. On a busy machine
	// a batch takes long however small it is, and fewer pages would only be more of them.
	leastPages = 8
	mostPages  = 256

	// behind is how far a replica may be before the next batch waits for it.
	behind = 5 * time.Second

	// vainPasses is how often in a row the end of the table is emptied without becoming
	// shorter: others put rows there meanwhile, or hold locks or snapshots that keep it.
	vainPasses = 6
)

// A mover empties the end of one table.
type mover struct {
	session.Job
	conn  *pgx.Conn
	fence remediate.Fence
	step  repackStep
	block int64
	goal  int64

	relied reliance
	lock   string // of the table, as far as moving rows relies on it

	list, update string // statements
	name         string
}

// applyRows makes the table as small as the step wants it, as far as that goes.
func (a Repack) applyRows(ctx context.Context, f remediate.Fence, s repackStep) error {
	goal := s.Args.Goal
	m := mover{
		Job: session.Job{
			Target: a.Target, Server: session.Planned(s.Step), Action: "postgres/repack", Writes: true,
			Place: s.Args.Place,
			// Behind a waiting VACUUM only sessions queue that would conflict with it anyway.
			LockTimeout: 5 * time.Second,
		},
		fence: f, step: s, goal: goal, name: s.Args.Name(),
	}
	column := pgx.Identifier{s.Args.Column}.Sanitize()
	m.update = fmt.Sprintf("update only %s set %[2]s = %[2]s where ctid = any ($1) returning ctid", m.name, column)
	where := "ctid >= format('(%s,0)', $1)::tid and ctid < format('(%s,0)', $2)::tid"
	if version, err := strconv.Atoi(s.Args.Version); err != nil || version < 140000 {
		// Before 14 a range of ctids is found by reading the whole table.
		where = "ctid = any (array(select format('(%s,%s)', p, i)::tid from generate_series($1, $2 - 1) p, " +
			"generate_series(1, current_setting('block_size')::int / 28) i))"
	}
	m.list = "select array_agg(held.ctid) from (select ctid from only " + m.name + " where " + where +
		" for no key update skip locked) held"
	m.Done = func(ctx context.Context, c *pgx.Conn) (bool, error) {
		m.conn = c
		pages, err := m.size(ctx)
		if errors.Is(err, remediate.ErrGone) {
			_, why := relianceOf(ctx, c, s)
			err = cmp.Or(why, err)
		}
		if err != nil || pages > goal {
			return false, err
		}
		return true, Refresh(ctx, c, f, s.Args.TableArgs)
	}
	m.Work = m.shrink
	return m.Run(ctx, f, s.Do)
}

// size is how many pages the table has now. It is by the oid of the plan: another
// table of the same name is not touched.
func (m *mover) size(ctx context.Context) (int64, error) {
	var pages *int64
	err := m.conn.QueryRow(ctx, `select pg_relation_size(c.oid) / current_setting('block_size')::int8,
		current_setting('block_size')::int8
		from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = $1::int8::oid and n.nspname = $2
			and c.relname = $3`,
		m.step.Args.OID, m.Schema, m.Table).Scan(&pages, &m.block)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && pages == nil {
		return 0, fmt.Errorf("table %q: %w", m.Table, remediate.ErrGone)
	}
	if err != nil {
		return 0, fmt.Errorf("the table's size: %w", err)
	}
	return *pages, nil
}

// shrink empties the end and cuts it off, again where others have come in between.
func (m *mover) shrink(ctx context.Context, _ *pgx.Conn) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	pause, began, last := session.LockPauseFirst, int64(-1), int64(math.MaxInt64)
	for idle := 0; ; {
		// The first vacuum tells where there is room, the others also cut off.
		if err := m.vacuum(ctx); err != nil {
			return err
		}
		pages, err := m.size(ctx)
		switch {
		case err != nil:
			return m.blamed(ctx, err)
		case pages <= m.goal:
			return nil
		case idle > vainPasses:
			return m.rest(ctx, pages, began)
		case began < 0:
			began = pages
		}
		full, err := m.pass(ctx, pages)
		if err != nil {
			return err
		}
		if full && pages >= last {
			// There is no more room in front: it is as small as it gets.
			return m.rest(ctx, pages, began)
		}
		if pages < last {
			idle = 0
		} else if idle++; idle > 1 {
			// Others put rows there as fast as they are moved away, or keep the end
			// from being cut off.
			if err := session.Pause(ctx, m.conn, pause); err != nil {
				return err
			}
			pause = min(2*pause, session.LockPauseMost)
		}
		last = min(last, pages)
	}
}

// begin compares what the plan relies on before anything is done, and has what
// compares it planned once for all batches.
func (m *mover) begin(ctx context.Context) (err error) {
	if _, err := m.conn.Exec(ctx, "set plan_cache_mode = force_generic_plan"); err != nil {
		return err
	}
	if m.relied, err = relianceOf(ctx, m.conn, m.step); err != nil {
		return err
	}
	for oid, r := range m.relied.contract.Relations {
		m.lock = relation.LockText(relation.Node{OID: oid, Schema: m.Schema, Table: m.Table})
		if err := r.Unfit(relation.Update); err != nil {
			return err
		}
	}
	return nil
}

// rest judges a table that does not become smaller by moving rows, and says what
// has kept its end.
func (m *mover) rest(ctx context.Context, pages, began int64) error {
	if pages <= began-(began-m.goal)/2 {
		return nil // more than half of what was to be won
	}
	said := fmt.Sprintf("the table still has %d of %d pages; the goal was %d", pages, began, m.goal)
	var who string
	var age int64
	err := m.conn.QueryRow(ctx, session.HolderSQL).Scan(&who, &age)
	if err == nil {
		said += ": " + who + " may still see the rows that were there"
	}
	return errors.New(said + "; others put rows there as fast as they are moved away, or held locks whenever the end " +
		"was to be cut off")
}

// vacuum removes what has moved away, tells the free space map of the room, and
// cuts off the end where it is empty.
func (m *mover) vacuum(ctx context.Context) error {
	if err := m.fence.Check(ctx); err != nil {
		return err
	}
	err := m.Exec(ctx, m.conn, "VACUUM (ANALYZE, INDEX_CLEANUP on, TRUNCATE on) "+m.name)
	return m.blamed(ctx, err)
}

// blamed says of a fault that the table is not what the plan was made for, where that
// is so.
func (m *mover) blamed(ctx context.Context, fault error) error {
	if fault == nil || ctx.Err() != nil || m.conn.IsClosed() {
		return fault
	}
	return cmp.Or(m.relied.holds(ctx, m.conn), fault)
}

// pass moves the rows behind the goal, from the last page on. Full says that there
// was no room for them in front.
func (m *mover) pass(ctx context.Context, pages int64) (full bool, err error) {
	size, asked := int64(leastPages), time.Now()
	for end := pages; end > m.goal; {
		if err := m.fence.Check(ctx); err != nil {
			return false, err
		}
		began := time.Now()
		first := max(end-size, m.goal)
		full, err := m.batch(ctx, first, end, pages)
		if err != nil && !session.LockTimedOut(err) || full {
			return full, err
		}
		took := time.Since(began)
		switch {
		case took > batchFor:
			size = max(size/2, leastPages)
		case took < batchFor/3:
			size = min(size*2, mostPages)
		}
		end = first
		// As long as it works it leaves others alone, and replicas time to follow.
		if err := session.Pause(ctx, m.conn, min(took, batchFor)); err != nil {
			return false, err
		}
		if time.Since(asked) > time.Second {
			if err := m.follow(ctx); err != nil {
				return false, err
			}
			asked = time.Now()
		}
	}
	return false, nil
}

// follow waits until no replica is far behind. What cannot be seen is not waited for.
func (m *mover) follow(ctx context.Context) error {
	for {
		var hidden int
		var seconds float64
		if err := m.conn.QueryRow(ctx, session.LagSQL).Scan(&hidden, &seconds); err != nil {
			return fmt.Errorf("how far replicas are behind: %w", err)
		}
		if hidden > 0 || seconds < behind.Seconds() {
			return nil
		}
		if err := session.Pause(ctx, m.conn, session.LockPauseFirst); err != nil {
			return err
		}
	}
}

// moveSQL is a batch. It is done on the server, since its rows are locked
// meanwhile and each round would be a journey there and back. What it works on is
// in settings of the transaction, for a block has no parameters.
//
// An update finds room on the row's own page first, so it is done again and again:
// the page fills up with versions that cannot be removed before the transaction
// ends, and then the row goes where the free space map says, which is further in
// front, or on a page that is to be emptied later. Rows that somebody holds stay.
const moveSQL = `do $upkeep$
declare
  first bigint := current_setting('upkeep.first')::bigint;
  pages bigint := current_setting('upkeep.pages')::bigint;
  until timestamptz := clock_timestamp() + current_setting('upkeep.most')::interval;
  here tid[];
  left_here tid[];
  moved tid;
  page bigint;
begin
  execute current_setting('upkeep.list') into here using first, current_setting('upkeep.end')::bigint;
  while cardinality(here) > 0 and clock_timestamp() < until loop
    left_here := '{}';
    for moved in execute current_setting('upkeep.update') using here loop
      page := split_part(substr(moved::text, 2), ',', 1)::bigint;
      if page >= pages then
        raise exception using errcode = 'UK001', message = 'the table has grown';
      elsif page >= first then
        left_here := left_here || moved;
      end if;
    end loop;
    here := left_here;
  end loop;
end $upkeep$`

// grown is the error by which a batch is taken back.
const grown = "UK001"

// batch moves the rows of pages first to end (not with it) in one transaction.
// Full says that there was no room for them, and that the batch was taken back.
func (m *mover) batch(ctx context.Context, first, end, pages int64) (full bool, err error) {
	tx, err := m.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing, after a commit
	// A batch that a crash of the server takes back is no loss.
	_, err = tx.Exec(ctx, `select set_config(name, value, true) from unnest($1::text[], $2::text[]) s (name, value)`,
		[]string{"lock_timeout", "synchronous_commit", "row_security", "upkeep.list", "upkeep.update", "upkeep.first",
			"upkeep.end", "upkeep.pages", "upkeep.most"},
		[]string{
			strconv.FormatInt(batchLock.Milliseconds(), 10), "off", "off", m.list, m.update,
			strconv.FormatInt(first, 10), strconv.FormatInt(end, 10), strconv.FormatInt(pages, 10), batchMost.String(),
		})
	if err != nil {
		return false, fmt.Errorf("a batch: %w", err)
	}
	// The lock keeps what the batch relies on from now to the commit. An ancestor needs
	// none: what it hands down, it hands down with a lock of the table itself.
	_, err = tx.Exec(ctx, m.lock, pgx.QueryExecModeSimpleProtocol)
	if err == nil {
		_, err = tx.Exec(ctx, moveSQL, pgx.QueryExecModeSimpleProtocol)
	}
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == grown {
		return true, nil
	}
	if err != nil {
		_ = tx.Rollback(context.WithoutCancel(ctx)) // it is aborted
		return false, m.blamed(ctx, fmt.Errorf("the rows of pages %d to %d: %w", first, end-1, err))
	}
	if err := m.relied.holds(ctx, tx); err != nil {
		return false, err
	}
	return false, tx.Commit(ctx)
}

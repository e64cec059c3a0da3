package partition

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A part is one step on one partition.
type part struct {
	rows.Movement
	j     session.Job
	c     *pgx.Conn
	fence remediate.Fence
	args  Args
	quota *remediate.Quota
	self  rows.Table
	part  partition // as the plan has it

	version      int
	limit        string // the statement_timeout of the session
	source, dest int64  // the roots of the plan; 0: no table
	reader       relation.Reader
	plan         relation.Contract
}

// partOf reads the partition of a step.
func partOf(s remediate.Step) (p part, err error) {
	args, err := remediate.ArgsOf[Args](s)
	if err != nil {
		return p, err
	}
	if p.Movement, err = rows.MovementOf(args.Args); err != nil {
		return p, err
	}
	p.args, p.self = args, rows.Table{Schema: args.PartSchema, Name: args.PartTable}
	p.part = partition{OID: args.PartOID, Schema: args.PartSchema, Table: args.PartTable, From: args.Low, To: args.High}
	p.source, p.dest = args.FromOID, args.ToOID
	if args.Part != Finish && !(bound(p.part.From) && bound(p.part.To)) {
		return p, fmt.Errorf("step: bounds %q and %q: %w", p.part.From, p.part.To, rows.ErrUnknownStep)
	}
	if p.plan, err = relation.Parse(args.Contract); err != nil {
		return p, err
	}
	switch args.Kind {
	case "date", "timestamp", "timestamptz":
		return p, nil
	}
	return p, fmt.Errorf("step: kind %q: %w", args.Kind, rows.ErrUnknownStep)
}

// A partState is the current place of a partition.
type partState struct {
	Name     string // schema and table, quoted
	Parent   int64  // 0: it is a table of its own
	Pending  bool
	Marked   int64 // the oid of our constraint; 0: it has none
	Ours     bool  // the comment of that says the table and the bounds of the plan
	Proven   bool  // and that a run of ours has detached it, under the name of the plan
	Plain    bool
	Named    bool // it, the source and the destination have the names that the plan has
	Bounded  bool // it has the bounds of the plan, where it has any
	Old      bool // all of its rows go, by these bounds
	Defaults bool // the source has a default partition
}

// whereSQL reports where table $1 is. $2 to $4 are the names of itself and of the
// roots, $5 and $6 the roots, $7 and $8 the bounds. %[1]s is what tells a pending
// detachment, %[2]s the type of the column, %[3]s and %[4]s how bounds are written,
// %[5]s when all rows go.
const whereSQL = `
select format('%%I.%%I', n.nspname, c.relname), coalesce(i.inhparent, 0)::int8, coalesce(%[1]s, false),
       coalesce(k.oid, 0)::int8,
       coalesce(starts_with(obj_description(k.oid, 'pg_constraint'),
         format('upkeep: partition of %%s FROM (%%s) TO (%%s)', $5::int8, $7::text, $8::text)), false),
       coalesce(obj_description(k.oid, 'pg_constraint') =
         format('upkeep: partition of %%s FROM (%%s) TO (%%s), detached as %%s, table %%s',
           $5::int8, $7::text, $8::text, $2::text, $1::int8), false),
       c.relkind = 'r' and not exists (select from pg_inherits o where o.inhparent = c.oid),
       coalesce(to_regclass($2)::oid = c.oid and to_regclass($3)::oid = $5::int8::oid
         and ($4::text = '' or to_regclass(nullif($4, ''))::oid = $6::int8::oid), false),
       coalesce(case when v.low is null then b.b[1] else %[3]s end = $7 and case when v.high is null then b.b[2]
         else %[4]s end = $8, i.inhparent is null),
       coalesce(%[5]s, false),
       coalesce((select p.partdefid <> 0 from pg_partitioned_table p where p.partrelid = $5::int8::oid), false)
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_inherits i on i.inhrelid = c.oid
  left join pg_constraint k on k.conrelid = c.oid and k.conname = '` + boundName + `'
  cross join lateral (select regexp_match(pg_get_expr(c.relpartbound, c.oid),
    '^FOR VALUES FROM \((.*)\) TO \((.*)\)$')) b(b)
  cross join lateral (select case when b.b[1] like '''%%' then trim(both '''' from b.b[1])::%[2]s end as low, case
    when b.b[2] like '''%%' then trim(both '''' from b.b[2])::%[2]s end as high) v
  cross join (select case when $7::text like '''%%' then trim(both '''' from $7::text)::%[2]s end as low, case
    when $8::text like '''%%' then trim(both '''' from $8::text)::%[2]s end as high) w
 where c.oid = $1::int8::oid and $9::float8 is not null and $10::timestamptz is not null
   and $11::timestamptz is not null`

// whereabouts returns where the partition is; ErrGone where the table is not there any more.
func (p part) whereabouts(ctx context.Context, q read.Querier) (now partState, err error) {
	kind := p.args.Kind
	old := "w.high <= now() - make_interval(secs => $9)"
	if p.Back {
		old = "true" // the plan has looked at rows of open bounds; a row is kept by its bounds
	}
	to := ""
	if p.To != (rows.Table{}) {
		to = p.To.String()
	}
	sql := fmt.Sprintf(whereSQL, pendingSQL(p.version), kind, written(kind, "v.low"), written(kind, "v.high"), old)
	now, err = session.One(ctx, q, pgx.RowToStructByPos[partState], sql, p.part.OID, p.self.String(),
		p.From.String(), to,
		p.source, p.dest, p.part.From, p.part.To, p.Age.Seconds(), p.Since, p.Until)
	if errors.Is(err, pgx.ErrNoRows) {
		return now, fmt.Errorf("partition %s: %w", p.self, remediate.ErrGone)
	}
	if err != nil {
		return now, fmt.Errorf("partition %s: %w", p.self, err)
	}
	return now, nil
}

// still refuses a partition that is not as the plan has it.
func (p part) still(now partState) error {
	changed := func(format string, args ...any) error {
		return remediate.Refuse(remediate.ReasonChanged, format, args...)
	}
	switch {
	case !now.Named:
		return changed("partition %s, or a table of the plan, has another name than when the plan was made (it is %s)",
			p.self, now.Name)
	case !now.Plain:
		return changed("%s has partitions or children of its own", p.self)
	case !now.Bounded:
		return changed("partition %s has other bounds than when the plan was made", p.self)
	case !now.Old:
		return changed("partition %s is not past its age by the server's clock", p.self)
	case now.Parent == p.source, now.Parent == 0 && now.Ours:
		return nil
	case now.Parent == 0:
		return changed("%s is no partition of %s any more: somebody has detached it", p.self, p.From)
	}
	return changed("partition %s is another table's", p.self)
}

// relied refuses where a root, or the partition itself while it has none of our
// constraints, is not as the plan relied on. It takes no lock: what is compared is
// locked by then, or catalogs that no lock keeps.
func (p part) relied(ctx context.Context, q read.Querier, now partState) error {
	oids := []int64{p.source}
	if p.dest != 0 {
		oids = append(oids, p.dest)
	}
	if now.Marked == 0 && now.Parent == p.source && !now.Pending {
		oids = append(oids, p.part.OID)
	}
	is, err := p.reader.Read(ctx, q, oids)
	if err != nil {
		return fmt.Errorf("what partition %s relies on: %w", p.self, err)
	}
	return p.plan.Only(oids...).Check(is)
}

func (p part) detachText() string {
	return fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s", p.From, p.self)
}

// mark gives the partition the constraint by which it is known as one of ours, and
// which keeps other rows out of it while it is detached.
func (p part) mark(ctx context.Context, now partState) error {
	if now.Ours {
		return nil
	}
	return p.soon(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := p.exec(ctx, tx, "LOCK TABLE ONLY "+p.self.String()+" IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		if err := p.relied(ctx, tx, now); err != nil {
			return err
		}
		return p.exec(ctx, tx, p.marks(now)...)
	})
}

func (p part) marks(now partState) (statements []string) {
	if now.Ours {
		return nil
	}
	if now.Marked != 0 { // of a run that was about other bounds, or of an older one
		statements = append(statements, fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", p.self, boundName))
	}
	return append(statements,
		fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s CHECK (%s) NOT VALID", p.self, boundName,
			within(p.Column, p.part.From, p.part.To)),
		p.comments(""))
}

// comments says by our constraint whose partition it is, and how it left its table.
func (p part) comments(how string) string {
	return fmt.Sprintf("COMMENT ON CONSTRAINT %s ON %s IS %s", boundName, p.self,
		session.Literal(fmt.Sprintf("upkeep: partition of %d FROM (%s) TO (%s)%s", p.source, p.part.From,
			p.part.To, how)))
}

// claim says by our constraint that we have detached the partition. Before that it may
// have been anybody, so that nothing is dropped.
func (p part) claim() string {
	return p.comments(fmt.Sprintf(", detached as %s, table %d", p.self, p.part.OID))
}

// transact does work in one transaction, and cancels it when ctx ends.
func (p part) transact(ctx context.Context, work func(ctx context.Context, tx pgx.Tx) error) error {
	return session.Cancellable(ctx, p.c, func(ctx context.Context) error {
		return pgx.BeginTxFunc(ctx, p.c, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite},
			func(tx pgx.Tx) error { return work(ctx, tx) })
	})
}

// exec runs statements of a transaction.
func (p part) exec(ctx context.Context, tx pgx.Tx, statements ...string) error {
	for _, s := range statements {
		if _, err := tx.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// do runs one statement. A lock is waited for at most so long; 0: as long as the
// step may take.
func (p part) do(ctx context.Context, lock time.Duration, statement string) error {
	if err := p.fence.Check(ctx); err != nil {
		return err
	}
	if _, err := p.c.Exec(ctx, "select set_config('lock_timeout', $1, false)",
		strconv.FormatInt(lock.Milliseconds(), 10)+
			"ms"); err != nil {
		return fmt.Errorf("lock_timeout: %w", err)
	}
	err := session.Cancellable(ctx, p.c, func(ctx context.Context) error {
		_, err := p.c.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// soon does work in one transaction that blocks no session for longer than a moment:
// where a lock is not to be had at once, or a statement takes too long on a busy server, it is
// tried again after a pause that lets everybody pass.
func (p part) soon(ctx context.Context, work func(ctx context.Context, tx pgx.Tx) error) error {
	limits := fmt.Sprintf("set local lock_timeout = '%dms'; set local statement_timeout = '%dms'",
		session.RowWait.Milliseconds(), handTime.Milliseconds())
	for began := time.Now(); ; {
		if err := p.fence.Check(ctx); err != nil {
			return err
		}
		err := p.transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
			if err := p.exec(ctx, tx, limits); err != nil {
				return err
			}
			return work(ctx, tx)
		})
		refused, ok := errors.AsType[*pgconn.PgError](err)
		met := ok && (refused.Code == session.CodeLock || refused.Code == session.CodeDeadlock)
		if !met && !session.TimedOut(err) || ctx.Err() != nil {
			return err
		}
		if time.Since(began) > session.PauseMost {
			return fmt.Errorf("no success after %s of retries: %w", session.PauseMost, err)
		}
		if err := session.Pause(ctx, p.c, time.Second); err != nil {
			return err
		}
	}
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
)

// handTime is how long the transaction may take in which a partition changes hands
// or leaves its table: nobody else can use the table meanwhile.
const handTime = 500 * time.Millisecond

// boundName is the constraint by which a partition proves its bounds, so that it
// need not be read while nobody else can use its table.
const boundName = "upkeep_bounds"

// A partition is one of a table that is partitioned by the range of its age column.
type partition struct {
	OID           int64
	Schema, Table string
	Plain         bool   // it has rows of its own, and no partitions
	Pending       bool   // its detachment was begun and not finished
	From, To      string // its bounds, as the server writes them; "" for the default partition
	Old, Young    bool   // all of its rows are past their age; none is
}

func (p partition) place() place { return place{p.Schema, p.Table} }

// partsSQL lists the partitions of a table that is partitioned by the range of the
// column $2 alone. Bounds are compared as rows are. %[1]s is the column's type, %[2]s
// what tells a detachment that is pending, which servers before 14 do not know.
const partsSQL = `
select c.oid::int8, n.nspname::text, c.relname::text, c.relkind = 'r', %[2]s, coalesce(b.low, ''), coalesce(b.high, ''),
       case when b.high like '''%%''' then trim(both '''' from b.high)::%[1]s <= now() - make_interval(secs => $3) else false end,
       case when b.low like '''%%''' then trim(both '''' from b.low)::%[1]s >= now() - make_interval(secs => $3) else false end
  from pg_partitioned_table p
  join pg_attribute a on a.attrelid = p.partrelid and a.attnum = p.partattrs[0]
  join pg_inherits i on i.inhparent = p.partrelid
  join pg_class c on c.oid = i.inhrelid
  join pg_namespace n on n.oid = c.relnamespace
  cross join lateral (select m[1] as low, m[2] as high from regexp_match(pg_get_expr(c.relpartbound, c.oid), '^FOR VALUES FROM \((.*)\) TO \((.*)\)$') m) b
 where p.partrelid = $1::int8::oid and p.partstrat = 'r' and p.partnatts = 1 and a.attname = $2
 order by c.relname, n.nspname`

// parts lists the partitions of the source; none where it is not partitioned by age.
func (m movement) parts(ctx context.Context, q read.Querier, s survey) ([]partition, error) {
	if s.source.Kind != "p" || m.back {
		return nil, nil
	}
	pending := "i.inhdetachpending"
	if s.version < 140000 {
		pending = "false"
	}
	all, err := many[partition](ctx, q, fmt.Sprintf(partsSQL, s.kind, pending), s.source.OID, m.column, m.age.Seconds())
	if err != nil {
		return nil, fmt.Errorf("partitions of %s: %w", m.from, err)
	}
	return all, nil
}

// wholes are the steps on partitions that go as a whole, and what keeps them from it.
func (m movement) wholes(ctx context.Context, q read.Querier, s survey, rel relation, r remediate.Request) (steps []remediate.Step, facts []string, err error) {
	parts, err := m.parts(ctx, q, s)
	if err != nil {
		return nil, nil, err
	}
	why := ""
	switch {
	case !rel.Owner:
		why = fmt.Sprintf("role %s does not own %s", rel.Role, m.from)
	case len(s.links) > 0:
		why = "other tables refer to its rows"
	case m.to != (place{}):
		if why, err = m.unlike(ctx, q, s); err != nil {
			return nil, nil, err
		}
	}
	// CONCURRENTLY is not to be had before 14, nor beside a default partition.
	concurrently := s.version >= 140000 && !slices.ContainsFunc(parts, func(p partition) bool { return p.To == "" })
	old := 0
	for _, p := range parts {
		args := m.partArgs(p, r)
		switch {
		case p.Pending && (!p.Old || !p.Plain || why != ""):
			if !rel.Owner {
				return nil, nil, remediate.Refuse(remediate.ReasonPrivilege, "the detachment of %s was interrupted, and its rows are seen by nobody; role %s does not own %s, and cannot finish it: alter table %s detach partition %s finalize", p.place(), rel.Role, m.from, m.from, p.place())
			}
			args["part"], args["pending"] = "detach", "true"
			steps = append(steps, remediate.Step{Do: fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s FINALIZE", m.from, p.place()), Args: args})
			facts = append(facts, fmt.Sprintf("the detachment of %s was interrupted, and its rows are seen by nobody; it is finished, and the rows stay in that table", p.place()))
		case !p.Old || !p.Plain:
		case why != "":
			old++
		default:
			steps = append(steps, m.whole(p, args, concurrently)...)
		}
	}
	if old > 0 {
		facts = append(facts, fmt.Sprintf("%d partitions are past their age as a whole, and go row by row all the same: %s", old, why))
	}
	return steps, facts, nil
}

func (m movement) partArgs(p partition, r remediate.Request) map[string]string {
	return map[string]string{
		"database": m.database, "schema": r.Subject["schema"], "table": r.Subject["table"], "column": m.column, "age": seconds(m.age),
		"from_schema": m.from.Schema, "from_table": m.from.Table, "to_schema": m.to.Schema, "to_table": m.to.Table,
		"part_schema": p.Schema, "part_table": p.Table, "part_oid": strconv.FormatInt(p.OID, 10), "low": p.From, "high": p.To,
	}
}

// whole are the steps by which one partition goes.
func (m movement) whole(p partition, args map[string]string, concurrently bool) []remediate.Step {
	if m.to != (place{}) {
		args["part"] = "hand over"
		return []remediate.Step{{
			Do:   fmt.Sprintf("BEGIN; ALTER TABLE %s DETACH PARTITION %s; ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s); COMMIT", m.from, p.place(), m.to, p.place(), p.From, p.To),
			Undo: fmt.Sprintf("BEGIN; ALTER TABLE %s DETACH PARTITION %s; ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s); COMMIT", m.to, p.place(), m.from, p.place(), p.From, p.To),
			Args: args,
		}}
	}
	detach := fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s", m.from, p.place())
	if concurrently {
		detach += " CONCURRENTLY"
	}
	drop := maps.Clone(args)
	args["part"], drop["part"] = "detach", "drop"
	return []remediate.Step{
		{Do: detach, Undo: fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)", m.from, p.place(), p.From, p.To), Args: args},
		{Do: "DROP TABLE " + p.place().String(), Args: drop},
	}
}

// likeSQL tells what keeps partitions of the first table from becoming partitions of
// the second: another key, other columns, or an index that would have to be built
// meanwhile.
const likeSQL = `
select case
  when not (select count(*) = 1 from pg_partitioned_table p join pg_attribute a on a.attrelid = p.partrelid and a.attnum = p.partattrs[0]
             where p.partrelid = d.oid and p.partstrat = 'r' and p.partnatts = 1 and a.attname = $3)
  then 'it is not partitioned by the range of that column'
  when exists (select attname, atttypid, atttypmod, attcollation, attgenerated from pg_attribute where attrelid = s.oid and attnum > 0 and not attisdropped
               except select attname, atttypid, atttypmod, attcollation, attgenerated from pg_attribute where attrelid = d.oid and attnum > 0 and not attisdropped)
    or exists (select attname from pg_attribute where attrelid = d.oid and attnum > 0 and not attisdropped
               except select attname from pg_attribute where attrelid = s.oid and attnum > 0 and not attisdropped)
  then 'its columns are not exactly the same'
  when exists (select attname from pg_attribute where attrelid = d.oid and attnum > 0 and attnotnull and not attisdropped
               except select attname from pg_attribute where attrelid = s.oid and attnum > 0 and attnotnull and not attisdropped)
    or exists (select from pg_constraint where conrelid = d.oid and contype in ('c', 'f', 'x'))
  then 'it has constraints that the partitions lack'
  when exists (select regexp_replace(pg_get_indexdef(indexrelid), '^CREATE (UNIQUE )?INDEX .* ON (ONLY )?.* USING ', '\1') from pg_index where indrelid = d.oid
               except select regexp_replace(pg_get_indexdef(indexrelid), '^CREATE (UNIQUE )?INDEX .* ON (ONLY )?.* USING ', '\1') from pg_index where indrelid = s.oid)
  then 'it has an index that the partitions lack'
  when not pg_has_role(d.relowner, 'USAGE')
  then 'the role does not own it'
  else '' end
  from pg_class s, pg_class d
 where s.oid = $1::int8::oid and d.oid = $2::int8::oid`

// unlike returns why partitions of the source cannot become the destination's.
func (m movement) unlike(ctx context.Context, q read.Querier, s survey) (string, error) {
	if s.dest.Kind != "p" {
		return fmt.Sprintf("%s is not partitioned", m.to), nil
	}
	why, err := one(ctx, q, pgx.RowTo[string], likeSQL, s.source.OID, s.dest.OID, m.column)
	if err != nil {
		return "", fmt.Errorf("whether %s takes partitions of %s: %w", m.to, m.from, err)
	}
	if why != "" {
		why = m.to.String() + ": " + why
	}
	return why, nil
}

// A standing is where a partition is at the moment.
type standing struct {
	Name    string // schema and table, quoted
	Parent  int64  // 0: it is a table of its own
	Pending bool
	Proven  bool // it has the constraint that proves its bounds
}

const standingOfSQL = `
select format('%%I.%%I', n.nspname, c.relname), coalesce(i.inhparent, 0)::int8, coalesce(%s, false),
       exists (select from pg_constraint k where k.conrelid = c.oid and k.conname = $2)
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_inherits i on i.inhrelid = c.oid
 where c.oid = $1::text::oid`

// A part is one step on one partition.
type part struct {
	c        *pgx.Conn
	fence    remediate.Fence
	args     map[string]string
	from, to place
	self     place
	source   int64 // 0 where it is not there any more
	dest     int64
	version  int
}

// bound reports whether a text is how the server writes a bound; nothing else
// reaches a statement.
func bound(text string) bool {
	if text == "MINVALUE" || text == "MAXVALUE" {
		return true
	}
	inner, ok := strings.CutPrefix(text, "'")
	inner, closed := strings.CutSuffix(inner, "'")
	return ok && closed && !strings.ContainsFunc(inner, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune(" :+.-", r))
	})
}

// partStep carries out a step on one partition.
func partStep(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	p := part{c: c, fence: f, args: s.Args, from: place{s.Args["from_schema"], s.Args["from_table"]}, to: place{s.Args["to_schema"], s.Args["to_table"]}, self: place{s.Args["part_schema"], s.Args["part_table"]}}
	if s.Args["part"] != "detach" && !(bound(s.Args["low"]) && bound(s.Args["high"])) {
		return fmt.Errorf("step: bounds %q and %q: %w", s.Args["low"], s.Args["high"], errNothing)
	}
	err := c.QueryRow(ctx, "select current_setting('server_version_num')::int, coalesce(to_regclass($1)::oid, 0)::int8, coalesce(to_regclass($2)::oid, 0)::int8", p.from.String(), p.to.String()).Scan(&p.version, &p.source, &p.dest)
	if err != nil {
		return err
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	now, err := p.stands(ctx)
	if s.Args["part"] == "drop" && errors.Is(err, remediate.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	switch s.Args["part"] {
	case "detach":
		return p.detach(ctx, now)
	case "drop":
		return p.drop(ctx, now)
	default:
		return p.handOver(ctx, now)
	}
}

// stands tells where the partition is, and that it has its name still.
func (p part) stands(ctx context.Context) (now standing, err error) {
	pending := "i.inhdetachpending"
	if p.version < 140000 {
		pending = "false"
	}
	now, err = one(ctx, p.c, pgx.RowToStructByPos[standing], fmt.Sprintf(standingOfSQL, pending), p.args["part_oid"], boundName)
	if errors.Is(err, pgx.ErrNoRows) {
		return now, fmt.Errorf("partition %s: %w", p.self, remediate.ErrGone)
	}
	if err != nil {
		return now, fmt.Errorf("partition %s: %w", p.self, err)
	}
	var same bool
	err = p.c.QueryRow(ctx, "select to_regclass($1)::oid = $2::text::oid", p.self.String(), p.args["part_oid"]).Scan(&same)
	if err == nil && !same {
		err = fmt.Errorf("partition %s is called %s by now: %w", p.self, now.Name, remediate.ErrGone)
	}
	return now, err
}

// detach takes the partition out of its table. One whose detachment was interrupted
// is finished.
func (p part) detach(ctx context.Context, now standing) error {
	alter := fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s", p.from, p.self)
	switch {
	case now.Parent == 0:
		return nil
	case now.Parent != p.source:
		return fmt.Errorf("partition %s is another table's by now: %w", p.self, remediate.ErrGone)
	case now.Pending:
		return p.do(ctx, 0, alter+" FINALIZE")
	case p.args["pending"] != "":
		return fmt.Errorf("partition %s is one of %s again: %w", p.self, p.from, errNothing)
	}
	var alone bool
	err := p.c.QueryRow(ctx, "select partdefid = 0 from pg_partitioned_table where partrelid = $1::int8::oid", p.source).Scan(&alone)
	switch {
	case err != nil:
		return fmt.Errorf("partitions of %s: %w", p.from, err)
	case alone && p.version >= 140000:
		// It waits for those who use the table, and nobody waits for it. With a
		// lock_timeout it would stop half way, and the rows be seen by nobody.
		return p.do(ctx, 0, alter+" CONCURRENTLY")
	}
	return p.soon(ctx, alter)
}

// drop removes a partition that is a table of its own, when none of its rows is
// younger than it should be.
func (p part) drop(ctx context.Context, now standing) error {
	if now.Parent != 0 {
		return fmt.Errorf("partition %s was not detached", p.self)
	}
	age, err := strconv.ParseInt(p.args["age"], 10, 64)
	if err != nil || age <= 0 {
		return fmt.Errorf("step: age %q: %w", p.args["age"], errNothing)
	}
	var young bool
	column := pgx.Identifier{p.args["column"]}.Sanitize()
	err = p.c.QueryRow(ctx, "select exists (select from "+p.self.String()+" t where t."+column+" is null or t."+column+" >= now() - make_interval(secs => $1))", float64(age)).Scan(&young)
	if err != nil {
		return fmt.Errorf("rows of %s: %w", p.self, err)
	}
	if young {
		return remediate.Refuse(remediate.ReasonUnfit, "%s holds rows that are not past their age: it stays, detached from %s", p.self, p.from)
	}
	return p.soon(ctx, "DROP TABLE "+p.self.String())
}

// handOver makes the partition one of the destination's, so that its rows are at
// any moment in the one or in the other.
func (p part) handOver(ctx context.Context, now standing) error {
	var statements []string
	switch {
	case p.dest == 0:
		return fmt.Errorf("%s: %w", p.to, remediate.ErrGone)
	case now.Parent == p.dest:
		return nil
	case now.Parent == 0: // its detachment was interrupted, and is finished by now
	case now.Parent != p.source:
		return fmt.Errorf("partition %s is another table's by now: %w", p.self, remediate.ErrGone)
	case now.Pending:
		if err := p.do(ctx, 0, fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s FINALIZE", p.from, p.self)); err != nil {
			return err
		}
	default:
		statements = append(statements, fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s", p.from, p.self))
	}
	if !now.Proven {
		if err := p.soon(ctx, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s CHECK (%s) NOT VALID", p.self, boundName, p.proof())); err != nil {
			return err
		}
	}
	if err := p.do(ctx, 5*time.Second, fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s", p.self, boundName)); err != nil {
		return err
	}
	return p.soon(ctx, append(statements,
		fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)", p.to, p.self, p.args["low"], p.args["high"]),
		fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", p.self, boundName))...)
}

// proof is the condition that the bounds are kept.
func (p part) proof() string {
	column := pgx.Identifier{p.args["column"]}.Sanitize()
	all := column + " is not null"
	if low := p.args["low"]; low != "MINVALUE" {
		all += " and " + column + " >= " + low
	}
	if high := p.args["high"]; high != "MAXVALUE" {
		all += " and " + column + " < " + high
	}
	return all
}

// do runs one statement. A lock is waited for at most so long; 0: as long as the
// step may take.
func (p part) do(ctx context.Context, lock time.Duration, statement string) error {
	if err := p.fence.Check(ctx); err != nil {
		return err
	}
	if _, err := p.c.Exec(ctx, "select set_config('lock_timeout', $1, false)", strconv.FormatInt(lock.Milliseconds(), 10)+"ms"); err != nil {
		return fmt.Errorf("lock_timeout: %w", err)
	}
	err := bounded(ctx, p.c, func(ctx context.Context) error {
		_, err := p.c.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// soon runs statements in one transaction that nobody waits for longer than a
// moment: where a lock is not to be had at once, it is tried again after a pause
// that lets everybody pass.
func (p part) soon(ctx context.Context, statements ...string) error {
	limits := fmt.Sprintf("set local lock_timeout = '%dms'; set local statement_timeout = '%dms'", rowWait.Milliseconds(), handTime.Milliseconds())
	for began := time.Now(); ; {
		if err := p.fence.Check(ctx); err != nil {
			return err
		}
		err := bounded(ctx, p.c, func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, p.c, func(tx pgx.Tx) error {
				for _, s := range append([]string{limits}, statements...) {
					if _, err := tx.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol); err != nil {
						return fmt.Errorf("%s: %w", s, err)
					}
				}
				return nil
			})
		})
		refused, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || refused.Code != codeLock && refused.Code != codeDeadlock || time.Since(began) > pauseMost {
			return err
		}
		if err := wait(ctx, time.Second); err != nil {
			return err
		}
	}
}

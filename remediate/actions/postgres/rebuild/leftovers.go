package rebuild

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// leftoverSQL finds what interrupted builds of this very index have left, ours or
// others': an invalid index of the same definition, of a name that the server gives
// (which cuts the name to make room for the suffix, at the border of a character).
const leftoverSQL = `
select l.oid::int8, l.relname::text, l.relname ~ '_ccold[0-9]*$'
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_index j on j.indrelid = i.indrelid and not j.indisvalid and j.indexrelid <> i.indexrelid
  join pg_class l on l.oid = j.indexrelid
 where n.nspname = $1
   and c.relname = $2
   and l.relname ~ '_cc(new|old)[0-9]*$'
   and length(regexp_replace(l.relname, '_cc(new|old)[0-9]*$', '')) > 0
   and starts_with(c.relname, regexp_replace(l.relname, '_cc(new|old)[0-9]*$', ''))
   and (octet_length(l.relname) >= 60 or regexp_replace(l.relname, '_cc(new|old)[0-9]*$', '') = c.relname)
   and l.relam = c.relam and l.reloptions is not distinct from c.reloptions
   and j.indisunique = i.indisunique and j.indnkeyatts = i.indnkeyatts
   and j.indkey = i.indkey and j.indclass = i.indclass and j.indcollation = i.indcollation and j.indoption = i.indoption
   and pg_get_expr(j.indexprs, j.indrelid) is not distinct from pg_get_expr(i.indexprs, i.indrelid)
   and pg_get_expr(j.indpred, j.indrelid) is not distinct from pg_get_expr(i.indpred, i.indrelid)
   and not exists (select from pg_stat_progress_create_index p
                    where p.datid = (select oid from pg_database where datname = current_database())
                      and p.relid = i.indrelid)
 order by 1`

// A leftover is an invalid index that an interrupted build has left.
type leftover struct {
	OID  int64
	Name string
	Old  bool // the new index is in its place
}

func leftovers(ctx context.Context, q read.Querier, schema, index string) ([]leftover, error) {
	rows, err := q.Query(ctx, leftoverSQL, schema, index)
	if err != nil {
		return nil, fmt.Errorf("leftovers: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[leftover])
	if err != nil {
		return nil, fmt.Errorf("leftovers: %w", err)
	}
	return all, nil
}

func oids(all []leftover) (list []int64) {
	for _, l := range all {
		list = append(list, l.OID)
	}
	return list
}

// planLeftovers divides leftovers into those that upkeep has noted as its own, which are
// dropped first, and those of others, which stay.
func (a reindex) planLeftovers(ctx context.Context, q read.Querier, rel relation.Subject, r remediate.Request) (
	drops []remediate.Step, known oidList, facts []string, err error) {
	all, err := leftovers(ctx, q, r.Subject["schema"], r.Subject["index"])
	if err != nil || len(all) == 0 {
		return nil, nil, nil, err
	}
	ours, err := a.begun.left(r.Subject["database"], rel.Table)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, l := range all {
		if slices.Contains(ours, l.OID) {
			drop := "DROP INDEX CONCURRENTLY " + pgx.Identifier{r.Subject["schema"], l.Name}.Sanitize()
			drops = append(drops, remediate.StepOf(drop, dropArgs{indexArgsOf(r), l.Name, l.OID}))
			continue
		}
		known = append(known, l.OID)
		facts = append(facts, fmt.Sprintf("the invalid index %s was not seen to be built by upkeep: it stays; drop "+
			"it by hand, or with postgres/drop_index because=invalid",
			pgx.Identifier{r.Subject["schema"], l.Name}.Sanitize()))
	}
	return drops, known, facts, nil
}

// ours are the leftovers of this step's earlier attempts. An attempt notes before it
// begins what is there already, and soon after which index it builds. Where upkeep has
// several replicas the attempt may have been another's, whose notes are not here: then
// what was there when the run began is not ours.
func (a reindex) ours(ctx context.Context, q read.Querier, s buildStep) (own, others []leftover, err error) {
	all, err := leftovers(ctx, q, s.Args.Schema, s.Args.Index)
	if err != nil {
		return nil, nil, err
	}
	r, begun, err := a.begun.of(s.Args.Database, s.Args.OID)
	if err != nil {
		return nil, nil, err
	}
	for _, l := range all {
		mine := false
		switch {
		case begun && (slices.Contains(r.Left, l.OID) || l.OID == s.Args.OID):
			mine = true
		case begun:
			mine = !r.Seen && !slices.Contains(r.Known, l.OID)
		case !a.target.Alone:
			mine = !slices.Contains(s.Args.Known, l.OID)
		}
		if mine {
			own = append(own, l)
		} else {
			others = append(others, l)
		}
	}
	return own, others, nil
}

// begin notes that a build begins, and what is there before it.
func (a reindex) begin(ctx context.Context, c *pgx.Conn, s buildStep) (attempt, error) {
	var r attempt
	own, others, err := a.ours(ctx, c, s)
	if err != nil {
		return r, err
	}
	if r, _, err = a.begun.of(s.Args.Database, s.Args.OID); err != nil {
		return r, err
	}
	if err := c.QueryRow(ctx, "select indrelid::int8 from pg_index where indexrelid = $1::int8::oid", s.Args.OID).Scan(
		&r.Table); err != nil {
		return r, fmt.Errorf("the table of the index: %w", err)
	}
	r.Known, r.Left, r.Seen = oids(others), oids(own), false
	return r, a.begun.note(r)
}

// watchEvery is how often it is looked which index a build makes, until that is known.
const watchEvery = 50 * time.Millisecond

// watchSQL finds the index that a session builds: it holds a lock of it until the end.
const watchSQL = `
select i.indexrelid::int8
  from pg_locks l
  join pg_index i on i.indexrelid = l.relation
 where l.locktype = 'relation' and l.pid = $1 and l.granted and l.mode = 'ShareUpdateExclusiveLock'
   and l.database = (select oid from pg_database where datname = current_database())
   and i.indrelid = $2::int8::oid and not i.indisvalid and i.indexrelid <> $3::int8::oid`

// watch notes which index the session pid builds, by a session c of its own, which it
// closes. Without it, or before it has looked, what was there before tells them apart.
func (a reindex) watch(ctx context.Context, c *pgx.Conn, pid uint32, r attempt) {
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }() // it only looks
	for {
		var oid int64
		err := c.QueryRow(ctx, watchSQL, int32(pid), r.Table,
			r.Index).Scan(&oid)
		switch {
		case err == nil && !slices.Contains(r.Known, oid):
			r.Left, r.Seen = append(r.Left, oid), true
			_ = a.begun.note(r) // else what was there before tells them apart
			return
		case err != nil && !errors.Is(err, pgx.ErrNoRows):
			return
		}
		if session.Wait(ctx, watchEvery) != nil {
			return
		}
	}
}

// sweep drops what earlier attempts at this step have left, and forgets them. A
// refusal to go on does not hinder it, the loss of the right does.
func (a reindex) sweep(ctx context.Context, c *pgx.Conn, f remediate.Fence, s buildStep) error {
	own, _, err := a.ours(ctx, c, s)
	if err != nil {
		return err
	}
	for _, l := range own {
		if err := f.Keeps(ctx); err != nil {
			return err
		}
		drop := "DROP INDEX CONCURRENTLY " + pgx.Identifier{s.Args.Schema, l.Name}.Sanitize()
		if err := (session.Job{}).Exec(ctx, c, drop); err != nil {
			return fmt.Errorf("%s: %w", drop, err)
		}
	}
	return nil
}

// forget drops the note of a step that has left nothing.
func (a reindex) forget(ctx context.Context, c *pgx.Conn, s buildStep) error {
	own, _, err := a.ours(ctx, c, s)
	if err != nil || len(own) > 0 {
		return err
	}
	return a.begun.forget(attempt{Database: s.Args.Database, Index: s.Args.OID})
}

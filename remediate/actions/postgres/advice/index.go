package advice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// indexSQL returns of one index what matters before it is dropped, and all that
// makes it again. Which one, is asked by name or by number.
//
// Rights: none beyond CONNECT. Versions: 13 and later; a row as JSON has the columns
// that the server has, so that those of later versions are no errors on older ones.
// When the index was made is known where the server tracks the time of commits.
const indexSQL = `
select c.oid::int8, t.oid::int8, n.nspname::text, t.relname::text, c.relname::text,
       c.relkind::text, current_user::text, pg_is_in_recovery(),
       ` + relation.MayDropSQL + `,
       i.indisvalid and i.indisready and i.indislive,
       array_remove(array[
         case when n.nspname = any (array['pg_catalog', 'information_schema']) then 'it is one of the catalogs' end,
         case when c.relpersistence = 't' then 'it is of a temporary table' end,
         case when c.relispartition
           then 'it is part of an index of a partitioned table: that is dropped as a whole or not at all' end,
         case when i.indisprimary then 'it is the primary key' end,
         case when i.indisexclusion then 'it enforces an exclusion constraint' end,
         case when i.indisreplident then 'it names rows for logical replication' end,
         case when i.indisclustered then 'CLUSTER orders the table by it' end,
         (select 'the constraint ' || quote_ident(k.conname) || ' of ' || k.conrelid::regclass || ' needs it'
           from pg_constraint k where k.conindid = c.oid order by k.oid limit 1),
         (select 'the extension ' || quote_ident(e.extname) || case when d.objid = c.oid then ' has made it'
           when d.objid = t.oid then ' has made its table' else ' has made its schema' end
            from pg_depend d join pg_extension e on e.oid = d.refobjid
           where d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'
             and (d.classid = 'pg_class'::regclass and d.objid in (c.oid, t.oid)
               or d.classid = 'pg_namespace'::regclass and d.objid = n.oid) limit 1),
         (select 'depends on it: ' || pg_describe_object(d.classid, d.objid, d.objsubid) from pg_depend d
           where d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid order by d.classid, d.objid limit 1)
       ], null)::text[],
       i.indisunique,
       i.indexprs is not null,
       coalesce((select quote_ident(k.conname) from pg_constraint k
         where k.contype = 'f' and k.conrelid = i.indrelid
           and (i.indkey::int2[])[0:array_length(k.conkey, 1) - 1] @> k.conkey
           and not exists (
             select from pg_index o
               join pg_class oc on oc.oid = o.indexrelid
               join pg_am m on m.oid = oc.relam and m.amname = 'btree'
              where o.indrelid = i.indrelid and o.indexrelid <> i.indexrelid
                and o.indisvalid and o.indisready and o.indislive and o.indpred is null
                and (o.indkey::int2[])[0:array_length(k.conkey, 1) - 1] @> k.conkey)
         order by k.oid limit 1), ''),
       coalesce(pg_stat_get_numscans(c.oid), 0),
       coalesce((select to_jsonb(s) ->> 'last_idx_scan' from pg_stat_all_indexes s where s.indexrelid = c.oid), ''),
       pg_relation_size(c.oid),
       pg_get_indexdef(c.oid),
       coalesce((select quote_literal(s.spcname) from pg_tablespace s where s.oid = c.reltablespace), ''),
       coalesce((select quote_literal(d.description) from pg_description d where d.classoid = 'pg_class'::regclass
         and d.objoid = c.oid and d.objsubid = 0), ''),
       array(select a.attnum || ' SET STATISTICS ' || a.attstattarget from pg_attribute a where a.attrelid = c.oid
         and a.attnum > 0 and a.attstattarget >= 0 order by a.attnum)::text[],
       pg_get_userbyid(c.relowner)::text,
       case when current_setting('track_commit_timestamp')::bool then pg_xact_commit_timestamp(i.xmin) end,
       coalesce((select 'session ' || p.pid from pg_stat_progress_create_index p where p.relid = t.oid
         or p.relid is null and p.datid = (select oid from pg_database where datname = current_database()) limit 1), '')
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_index i on i.indexrelid = c.oid
  join pg_class t on t.oid = i.indrelid
 where `

// Traits is one row of indexSQL.
type Traits struct {
	OID, TableOID        int64
	Schema, Table, Index string
	Kind                 string
	Role                 string
	Recovery             bool
	MayDrop              bool
	Valid                bool
	Needed               []string // for something else than queries, and for what
	Unique               bool
	Expressions          bool
	ForeignKey           string // of the table, for which this is the only index
	Scans                int64
	LastScan             string // 16 and later; "" where it is not known
	SizeBytes            int64
	Definition           string
	Tablespace, Comment  string // as literals; "" for none
	Targets              []string
	Owner                string
	Made                 *time.Time
	Building             string
}

// ReadTraits finds an index by its names.
func ReadTraits(ctx context.Context, q read.Querier, schema, table, index string) (Traits, error) {
	x, err := oneTraits(ctx, q, "n.nspname = $1 and t.relname = $2 and c.relname = $3", schema, table, index)
	if err != nil {
		return x, fmt.Errorf("index %s: %w", pgx.Identifier{schema, index}.Sanitize(), err)
	}
	return x, nil
}

// ReadTraitsOf finds an index by its number.
func ReadTraitsOf(ctx context.Context, q read.Querier, oid int64) (Traits, error) {
	x, err := oneTraits(ctx, q, "c.oid = $1::int8::oid", oid)
	if err != nil {
		return x, fmt.Errorf("index %d: %w", oid, err)
	}
	return x, nil
}

func oneTraits(ctx context.Context, q read.Querier, which string, args ...any) (x Traits, err error) {
	rows, err := q.Query(ctx, indexSQL+which, args...)
	if err == nil {
		x, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Traits])
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = remediate.ErrGone
	}
	return x, err
}

// Name is the index's name, quoted.
func (x Traits) Name() string { return pgx.Identifier{x.Schema, x.Index}.Sanitize() }

// drop is the statement that drops it, and again those that make it again, as psql
// takes them: its definition, where it was, its statistics targets and its comment.
// Its owner is always the table's.
func (x Traits) drop() string { return "DROP INDEX CONCURRENTLY " + x.Name() }

// Again is the statement that makes the index once more.
func (x Traits) Again() string {
	create := x.Definition
	for _, head := range []string{"CREATE INDEX ", "CREATE UNIQUE INDEX "} {
		if rest, ok := strings.CutPrefix(create, head); ok {
			create = head + "CONCURRENTLY " + rest
			break
		}
	}
	all := []string{create}
	if x.Tablespace != "" {
		all = []string{"SET default_tablespace = " + x.Tablespace, create, "RESET default_tablespace"}
	}
	for _, t := range x.Targets {
		all = append(all, "ALTER INDEX "+x.Name()+" ALTER COLUMN "+t)
	}
	if x.Comment != "" {
		all = append(all, "COMMENT ON INDEX "+x.Name()+" IS "+x.Comment)
	}
	return strings.Join(all, ";\n") + ";"
}

// Facts returns for people what they would lose.
func (x Traits) Facts(because string) []string {
	all := []string{fmt.Sprintf("the index has %s and was scanned %d times", session.Bytes(x.SizeBytes), x.Scans)}
	if x.LastScan != "" {
		all[0] += ", the last time at " + x.LastScan
	}
	all = append(all, "it is "+x.Definition+", owned by "+x.Owner)
	if x.Expressions && because != BecauseInvalid {
		all = append(all, "the planner uses the statistics of its expressions; those of the index that stays are "+
			"there for it after an ANALYZE")
	}
	return all
}

// Why an index is dropped: the values of the parameter because.
const (
	BecauseUnused    = "unused"
	BecauseDuplicate = "duplicate"
	BecauseInvalid   = "invalid"
)

// ProvenAfter is how long scans must have been counted before their absence says
// anything: a month has the work of its end in it.
const ProvenAfter = 30 * 24 * time.Hour

// MayGo refuses an index that is there for more than queries, whatever the reason.
func (x Traits) MayGo(because string) error {
	switch {
	case x.Recovery:
		return remediate.Refuse(remediate.ReasonReadOnly, "the server is a replica; name the primary as the target")
	case x.Kind != "i":
		return remediate.Refuse(remediate.ReasonUnfit,
			"it is the index of a partitioned table, which cannot be dropped concurrently")
	case len(x.Needed) > 0:
		return remediate.Refuse(remediate.ReasonUnfit, "%s", x.Needed[0])
	case because != BecauseInvalid && x.Unique:
		return remediate.Refuse(remediate.ReasonUnfit, "it is unique: it keeps rows apart that no query need look for")
	case because == BecauseUnused && x.ForeignKey != "":
		return remediate.Refuse(remediate.ReasonUnfit,
			"it alone finds the rows of the foreign key %s, which are looked for only when a row that they refer to "+
				"goes or changes", x.ForeignKey)
	case because == BecauseUnused && x.Expressions:
		return remediate.Refuse(remediate.ReasonUnfit,
			"the planner uses the statistics of its expressions without a scan: make them with CREATE STATISTICS (14 "+
				"and later) and drop it by hand")
	case x.Building != "":
		return &remediate.Refusal{Reason: session.ReasonHeadroom, Detail: "an index of the table is being built by " +
			x.Building, Until: time.Now().Add(session.BuiltAgain)}
	case !x.MayDrop: // the last: a plan is made all the same
		return remediate.Refuse(remediate.ReasonPrivilege,
			"role %s may not drop the index: it must own the table or its schema; grant %s to it", x.Role,
			pgx.Identifier{x.Owner}.Sanitize())
	}
	return nil
}

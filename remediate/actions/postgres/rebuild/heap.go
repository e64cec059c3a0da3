package rebuild

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A heap is what one must know of a table before it is written anew.
type heap struct {
	relation.Subject

	Toast, Indexes int64   // bytes
	Block          int64   // bytes of a page
	Rows           float64 // as of the last vacuum or analyze; -1 without one
	Persistence    string  // pg_class.relpersistence
	Tablespace     int64   // 0 is the database's own
	DefaultSpace   int64   // that of the database
	Partition      bool
	Children       bool // others inherit from it
	Select, Update bool // the role may
	Filtered       bool // row security hides rows from the role
	Superuser      bool

	bloat read.TableBloatRow // the estimate, where estimated
	seen  bool               // there is an estimate
}

// heapSQL reads it by the table's oid.
const heapSQL = `
select coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0), pg_indexes_size(c.oid),
  current_setting('block_size')::int8,
       c.reltuples::float8, c.relpersistence::text, c.reltablespace::int8, (select d.dattablespace::int8
         from pg_database d where d.datname = current_database()),
       c.relispartition, exists (select from pg_inherits i where i.inhparent = c.oid),
       has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'UPDATE'),
       row_security_active(c.oid), (select r.rolsuper from pg_roles r where r.rolname = current_user)
  from pg_class c
 where c.oid = $1::int8::oid`

// SurveyHeap looks at a table that is to be written anew, by whatever way.
func SurveyHeap(ctx context.Context, db *target.Database, rel relation.Subject, r remediate.Request) (h heap,
	err error) {
	h.Subject = rel
	err = db.QueryRow(ctx, heapSQL, rel.OID).Scan(&h.Toast, &h.Indexes, &h.Block, &h.Rows,
		&h.Persistence, &h.Tablespace, &h.DefaultSpace,
		&h.Partition, &h.Children, &h.Select, &h.Update, &h.Filtered, &h.Superuser)
	if errors.Is(err, pgx.ErrNoRows) {
		return h, remediate.Refuse(remediate.ReasonGone, "table %s was dropped meanwhile", r.Subject["table"])
	}
	if err != nil {
		return h, fmt.Errorf("the table's sizes: %w", err)
	}
	if !h.Select {
		return h, remediate.Refuse(remediate.ReasonPrivilege,
			"role %s may not read the table, and without that not its statistics: GRANT SELECT ON TABLE, or "+
				"pg_read_all_data", h.Role)
	}
	rows, err := read.ReadTableBloat(ctx, db, relation.Names(r))
	if err != nil {
		return h, fmt.Errorf("the estimate of bloat: %w", err)
	}
	if len(rows) == 1 {
		h.bloat, h.seen = rows[0], true
	}
	return h, nil
}

// Plain refuses what is no table that can be written anew.
func (h heap) Plain(r remediate.Request, kinds, instead string) error {
	name := r.Subject["table"]
	switch schema := r.Subject["schema"]; {
	case !strings.Contains(kinds, h.Kind):
		return remediate.Refuse(remediate.ReasonUnfit, "%s is no table that can be written anew%s", name, instead)
	case schema == "pg_catalog" || schema == "information_schema" || strings.HasPrefix(schema, "pg_toast"):
		return remediate.Refuse(remediate.ReasonUnfit, "%s is the server's own table", name)
	case h.Persistence == "t":
		return remediate.Refuse(remediate.ReasonUnfit, "%s is a temporary table: only its session can work on it", name)
	}
	return nil
}

const (
	// leastGain is the share of the heap that must be won. Below it the work costs
	// more than the room is worth, and the estimate may be off by as much.
	leastGain = 0.2

	// slack is how much larger than by the estimate a table may be that is as small
	// as it gets: rows are not all alike.
	slack = 1.1
)

// needed is how many pages the rows would need, by the estimate.
func (h heap) needed() int64 {
	return max(h.bloat.HeapBytes-h.bloat.BloatBytes, 0) / h.Block
}

// pages is how many the table has.
func (h heap) pages() int64 { return h.SizeBytes / h.Block }

// Worth refuses where little can be won, and tells how much otherwise.
func (h heap) Worth(ctx context.Context, db *target.Database, r remediate.Request) (facts []string, err error) {
	if !h.seen {
		return nil, remediate.Refuse(remediate.ReasonCannotHelp,
			"the table was never analyzed, so the reclaimable space is unknown: run ANALYZE (postgres/vacuum does), "+
				"then plan again")
	}
	gain := h.SizeBytes - h.needed()*h.Block
	said := fmt.Sprintf("written anew, its %.0f rows would take %d of its %d pages, as %.0f of such rows fit on a page",
		h.Rows, h.needed(), h.pages(), h.Rows/float64(max(h.needed(), 1)))
	if float64(gain) < leastGain*float64(h.SizeBytes) || h.SizeBytes == 0 {
		return nil, remediate.Refuse(remediate.ReasonCannotHelp, "%s: that is less than %.0f %% won", said,
			leastGain*100)
	}
	facts = append(facts, fmt.Sprintf("%s: that is %s of %s won", said, remediate.Quantity("_bytes", float64(gain)),
		remediate.Quantity("_bytes", float64(h.SizeBytes))))
	ratio, known, err := read.MeasureTableBloat(ctx, db, relation.Names(r), h.SizeBytes)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil:
		return append(facts, fmt.Sprintf("the estimate could not be checked: %v", err)),
			nil //nolint:nilerr // the estimate is enough, as if the extension were not installed
	case known && ratio < leastGain:
		return nil, remediate.Refuse(remediate.ReasonCannotHelp,
			"pgstattuple_approx finds %s of the table free or dead, whatever the estimate says (%s)",
			remediate.Quantity("_ratio", ratio),
			remediate.Quantity("_ratio", h.bloat.Ratio))
	case known:
		facts = append(facts, fmt.Sprintf("pgstattuple_approx finds %s of it free or dead",
			remediate.Quantity("_ratio", ratio)))
	}
	return facts, nil
}

// copyBytes is what a copy of the table with its indexes takes, beside it: the
// rows by the estimate where there is one, the rest as it is now.
func (h heap) copyBytes() int64 {
	rows := h.SizeBytes
	if h.seen {
		rows = min(rows, int64(float64(h.needed()*h.Block)*slack))
	}
	return rows + h.Toast + h.Indexes
}

// Room refuses where the disk is known to be too small for a copy. WAL of about
// the same size is written too; how long that is kept is the server's affair.
func (h heap) Room(ctx context.Context, db *target.Database) (string, error) {
	need := h.copyBytes()
	said := fmt.Sprintf("a copy of the table and its indexes takes about %s, and as much WAL is written",
		remediate.Quantity("_bytes", float64(need)))
	free, known, err := h.freeBytes(ctx, db)
	if err != nil {
		return "", fmt.Errorf("the free disk: %w", err)
	}
	switch {
	case !known:
		return said + "; how much disk is free cannot be seen from here", nil
	case float64(free) < float64(need)*slack:
		return "", remediate.Refuse(remediate.ReasonUnfit, "%s, but only %s is free on its disk", said,
			remediate.Quantity("_bytes", float64(free)))
	}
	return fmt.Sprintf("%s; %s is free", said, remediate.Quantity("_bytes", float64(free))), nil
}

// freeBytes returns what is free on the disk of the table's tablespace, where
// upkeep runs beside the server and may look.
func (h heap) freeBytes(ctx context.Context, db *target.Database) (free int64, known bool, err error) {
	var data, port string
	var started int64
	var local bool
	if err := db.QueryRow(ctx, session.PlaceSQL).Scan(&data, &port, &started, &local); err != nil {
		return 0, false, err
	}
	if !local || !session.LivesIn(data, port, started) {
		return 0, false, nil
	}
	folder := data
	space := h.Tablespace
	if space == 0 {
		space = h.DefaultSpace
	}
	const pgDefault, pgGlobal = 1663, 1664
	if space != pgDefault && space != pgGlobal {
		folder = filepath.Join(data, "pg_tblspc", strconv.FormatInt(space, 10))
	}
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, false, nil //nolint:nilerr // what cannot be seen is not known
	}
	return int64(s.Bavail) * s.Bsize, true, nil
}

// Rewritten reports whether the table has another file than before.
func Rewritten(ctx context.Context, c *pgx.Conn, was TableArgs) (bool, error) {
	var oid, node int64
	err := c.QueryRow(ctx, `select c.oid::int8, c.relfilenode::int8 from pg_class c
		join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = $2`, was.Schema, was.Table).Scan(&oid, &node)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, fmt.Errorf("table %q: %w", was.Table, remediate.ErrGone)
	case err != nil:
		return false, fmt.Errorf("the table's file: %w", err)
	case oid != was.OID:
		return false, remediate.Refuse(remediate.ReasonChanged,
			"table %q is another than the plan was made for: plan again",
			was.Table)
	}
	return node != was.Node, nil
}

// stale is by how much the number of pages in the catalog may differ from the
// table's own before it is analyzed again.
const stale = 0.1

// Refresh analyzes a table that has become smaller and whose figures do not say
// so: the work was interrupted between the two.
func Refresh(ctx context.Context, c *pgx.Conn, f remediate.Fence, of TableArgs) error {
	var known, pages float64
	err := c.QueryRow(ctx, "select relpages::float8, pg_relation_size(oid)::float8 / "+
		"current_setting('block_size')::float8 from pg_class where oid = $1::int8::oid", of.OID).Scan(&known, &pages)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("table %q: %w", of.Table, remediate.ErrGone)
	case err != nil:
		return fmt.Errorf("the table's figures: %w", err)
	case known <= pages*(1+stale)+1:
		return nil
	}
	return AnalyzeRest(ctx, c, f, of.Place)
}

// TableArgs are the arguments of a step that makes one table anew.
type TableArgs struct {
	session.Place

	OID  int64 `arg:"oid"`
	Node int64 `arg:"node,omitempty"` // the file that it has before
}

// ArgsOf are the arguments for a table as it is now.
func ArgsOf(r remediate.Request, rel relation.Subject) TableArgs {
	return TableArgs{Place: session.PlaceOf(r), OID: rel.OID, Node: rel.Node}
}

// longSQL names the oldest transaction of this database that anybody but upkeep
// has open. It needs pg_monitor to see the sessions of others.
const longSQL = `
select format('session %s of %s (%s, %s)', pid, usename, coalesce(nullif(application_name, ''), 'no application_name'),
  state),
       extract(epoch from clock_timestamp() - xact_start)::float8
  from pg_stat_activity
 where datname = current_database() and backend_type = 'client backend' and xact_start is not null
   and pid <> pg_backend_pid()
   and not starts_with(application_name, 'upkeep ')
 order by xact_start
 limit 1`

// tooOld is how old a transaction may be before a table is written anew. Both ways
// must wait for it: one keeps all it has copied for so long, the other cannot
// give back a page that has rows which it may still see.
const tooOld = 5 * time.Minute

// unhindered refuses for now where an old transaction would keep the work waiting.
func unhindered(ctx context.Context, db *target.Database) error {
	var who string
	var age float64
	err := db.QueryRow(ctx, longSQL).Scan(&who, &age)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("the oldest transaction: %w", err)
	case age < tooOld.Seconds():
		return nil
	}
	return &remediate.Refusal{
		Reason: remediate.ReasonCannotHelp,
		Detail: fmt.Sprintf("%s has a transaction open for %s, and its end would have to be waited for", who,
			remediate.Quantity("_seconds", age)),
		Until: time.Now().Add(time.Minute),
	}
}

// AnalyzeRest does what is left of a step that was interrupted between its vacuum and
// its analyze, which are a transaction each.
func AnalyzeRest(ctx context.Context, c *pgx.Conn, f remediate.Fence, of session.Place) error {
	if err := f.Check(ctx); err != nil {
		return err
	}
	statement := "ANALYZE " + of.Name()
	if _, err := c.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// newXmin is a fact about rows that are written anew.
func newXmin(which string) string {
	return "each row " + which + " gets a new xmin: an application that locks optimistically by xmin reports a " +
		"conflict where it has read the row before"
}

package relation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
)

// A Node is one relation of a tree of partitions or inheritance.
type Node struct {
	OID           int64
	Schema, Table string
	Kind          string // pg_class.relkind
	Above         bool   // it is an ancestor
	Parent        int64  // by which it was found; 0 for the relation itself
	Pending       bool   // its detachment was begun and not finished
}

// Name is the node's name, quoted.
func (n Node) Name() string { return pgx.Identifier{n.Schema, n.Table}.Sanitize() }

// treeSQL finds the relation $1, what inherits from it or is a partition of it, and
// its ancestors. pg_partition_tree() would lock all of them.
const treeSQL = `
with recursive below(oid, parent) as (
  select $1::int8::oid, 0::oid
  union
  select i.inhrelid, i.inhparent from below b join pg_catalog.pg_inherits i on i.inhparent = b.oid
), above(oid, child) as (
  select i.inhparent, i.inhrelid from pg_catalog.pg_inherits i where i.inhrelid = $1::int8::oid
  union
  select i.inhparent, i.inhrelid from above a join pg_catalog.pg_inherits i on i.inhrelid = a.oid
)
select c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, t.above, t.parent::int8,
       coalesce((select (to_jsonb(i) ->> 'inhdetachpending')::bool from pg_catalog.pg_inherits i
         where i.inhrelid = c.oid and i.inhparent = t.parent), false)
  from (select oid, parent, false as above from below union all select distinct oid, 0::oid, true from above) t
  join pg_catalog.pg_class c on c.oid = t.oid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 order by t.above, t.parent <> 0, n.nspname, c.relname`

// ReadTree returns a relation, all that is below it and all that is above it. It
// takes no lock.
func ReadTree(ctx context.Context, q read.Querier, oid int64) ([]Node, error) {
	rows, err := q.Query(ctx, treeSQL, oid)
	if err != nil {
		return nil, fmt.Errorf("the parts of a table: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Node])
	if err != nil {
		return nil, fmt.Errorf("the parts of a table: %w", err)
	}
	return all, nil
}

// Lineage returns the ancestors of one node of a tree, of the tree itself and of
// what is above it.
func Lineage(tree []Node, oid int64) (line []Node) {
	for at := oid; at != 0; {
		i := slices.IndexFunc(tree, func(n Node) bool { return n.OID == at && !n.Above })
		if i < 0 {
			break
		}
		if at != oid {
			line = append(line, tree[i])
		}
		at = tree[i].Parent
	}
	for _, n := range tree {
		if n.Above {
			line = append(line, n)
		}
	}
	return line
}

// LockText locks relations against everything that a contract is about, as far as a
// lock of rows can, in the order of their oids. Their names are resolved again after
// a wait: a contract is compared after it, never before.
func LockText(nodes ...Node) string {
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(a, b Node) int { return int(a.OID - b.OID) })
	nodes = slices.CompactFunc(nodes, func(a, b Node) bool { return a.OID == b.OID })
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = "only " + n.Name()
	}
	return "lock table " + strings.Join(names, ", ") + " in row exclusive mode"
}

package rows_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

func tableKinds() []kind {
	return []kind{
		{name: "detach or inherit, source", do: func(q *gust) error { return q.detach(srcName) }},
		{name: "detach or inherit, archive", do: func(q *gust) error { return q.detach(q.archive()) }},
		{name: "exchange leaf, source", do: func(q *gust) error { return q.exchange(srcName) }},
		{name: "exchange leaf, archive", do: func(q *gust) error { return q.exchange(q.archive()) }},
		{name: "rename and recreate", do: recreate},
		{name: "rename", do: rename},
		{name: "set schema", do: setSchema},
		{name: "set unlogged", do: func(q *gust) error {
			table, err := q.leaf(q.either())
			if err != nil {
				return err
			}
			return q.unlog(table, "alter table "+table+" set unlogged")
		}},
	}
}

// partitioned reports whether a table is.
func (q *gust) partitioned(table string) (yes bool, err error) {
	err = q.QueryRow(context.Background(),
		"select coalesce((select relkind = 'p' from pg_class where oid = to_regclass($1)), false)", table).Scan(&yes)
	return yes, err
}

// bounds are those of a partition, as a statement has them.
func (q *gust) bounds(leaf string) (text string, err error) {
	err = q.QueryRow(context.Background(),
		"select coalesce(pg_get_expr(relpartbound, oid), '') from pg_class where oid = to_regclass($1)", leaf).
		Scan(&text)
	return text, err
}

// keep writes down that rows stay in a table that the storm has taken out, until it
// is put back.
func (q *gust) keep(table, where string) error {
	ids, _, err := q.ids("select id from only %s", table)
	q.later(func() {
		for _, id := range ids {
			if where == "" {
				delete(q.model.kept, id)
			} else {
				q.model.kept[id] = where
			}
		}
	})
	return err
}

// detach takes a leaf out of a partitioned table. A plain one gets a child.
func (q *gust) detach(root string) error {
	parts, err := q.partitioned(root)
	if err != nil {
		return err
	}
	if !parts {
		return q.inherit(root)
	}
	leaf, err := q.leaf(root)
	if err != nil {
		return err
	}
	bounds, err := q.bounds(leaf)
	if err != nil {
		return err
	}
	if err := q.do("alter table %s detach partition %s", root, leaf); err != nil {
		return err
	}
	if err := q.keep(leaf, leaf); err != nil {
		return err
	}
	q.hazard("detach", func(q *gust) error {
		if err := q.do("alter table %s attach partition %s %s", root, leaf, bounds); err != nil {
			return err
		}
		return q.keep(leaf, "")
	})
	return nil
}

// inherit makes a child with some old rows; undone, it is a table of its own.
func (q *gust) inherit(root string) error {
	child := q.fresh("public.child_")
	if err := q.do("create table %s () inherits (%s)", child, root); err != nil {
		return err
	}
	if err := q.own(child); err != nil {
		return err
	}
	if root == srcName {
		if err := q.put(child, 5, 198, 182); err != nil {
			return err
		}
	}
	q.hazard("inherit", func(q *gust) error {
		if err := q.do("alter table %s no inherit %s", child, root); err != nil {
			return err
		}
		return q.keep(child, child)
	})
	return nil
}

// exchange puts another table of the same name into the place of a leaf: one that
// mangles, one that is unlogged, or just another.
func (q *gust) exchange(root string) error {
	parts, err := q.partitioned(root)
	if err != nil {
		return err
	}
	if !parts {
		return q.inherit(root)
	}
	leaf, err := q.leaf(root)
	if err != nil {
		return err
	}
	bounds, err := q.bounds(leaf)
	if err != nil {
		return err
	}
	old := q.fresh("old_")
	unlogged := q.rng.IntN(3) == 0
	how := ""
	if unlogged {
		how = "unlogged"
	}
	for _, sql := range []string{
		fmt.Sprintf("alter table %s detach partition %s", root, leaf),
		fmt.Sprintf("alter table %s rename to %s", leaf, old),
		fmt.Sprintf("create %s table %s (like public.%s including all)", how, leaf, old),
		// LIKE copies what a run has begun with
		fmt.Sprintf("alter table %s drop constraint if exists upkeep_bounds", leaf),
	} {
		if err := q.do("%s", sql); err != nil {
			return err
		}
	}
	if err := q.own(leaf); err != nil {
		return err
	}
	if err := q.keep("public."+old, old); err != nil {
		return err
	}
	if unlogged {
		return q.unlog(leaf, fmt.Sprintf("alter table %s attach partition %s %s", root, leaf, bounds))
	}
	if q.rng.IntN(2) == 0 {
		name := q.fresh("t")
		if err := q.do("create trigger %s before insert on %s for each row execute function public.mangle()", name,
			leaf); err != nil {
			return err
		}
		q.hazard("exchange", func(q *gust) error { return q.do("drop trigger if exists %s on %s", name, leaf) })
	}
	return q.do("alter table %s attach partition %s %s", root, leaf, bounds)
}

// recreate gives the name of a table to another, which has a few rows of its own.
func recreate(q *gust) error {
	table := q.either()
	parts, err := q.partitioned(table)
	if err != nil {
		return err
	}
	if parts {
		return q.exchange(table)
	}
	old := q.fresh("old_")
	for _, sql := range []string{
		fmt.Sprintf("alter table %s rename to %s", table, old),
		fmt.Sprintf("create table %s (like public.%s including all)", table, old),
	} {
		if err := q.do("%s", sql); err != nil {
			return err
		}
	}
	if err := q.own(table); err != nil {
		return err
	}
	if err := q.keep("public."+old, old); err != nil {
		return err
	}
	if table == srcName {
		return q.put(srcName, 120, 198, 182)
	}
	return nil
}

// rename takes the name of a table or of a leaf away.
func rename(q *gust) error {
	table, err := q.part(q.either())
	if err != nil {
		return err
	}
	schema, name, _ := strings.Cut(table, ".")
	away := q.fresh("away_")
	q.hazard("rename", func(q *gust) error { return q.do("alter table %s.%s rename to %s", schema, away, name) })
	return q.do("alter table %s rename to %s", table, away)
}

func setSchema(q *gust) error {
	table, err := q.part(q.either())
	if err != nil {
		return err
	}
	_, name, _ := strings.Cut(table, ".")
	q.hazard("set schema", func(q *gust) error { return q.do("alter table other.%s set schema public", name) })
	return q.do("alter table %s set schema other", table)
}

// unlog makes a table one that a crash empties, by a statement. What comes into it
// until it is logged again has come by the storm, or is as good as lost.
func (q *gust) unlog(table, sql string) error {
	if err := q.do("%s", sql); err != nil {
		return err
	}
	before, _, err := q.ids("select id from only %s", table)
	if err != nil {
		return err
	}
	since := q.serial
	logged := false
	if err := q.QueryRow(context.Background(), "select relpersistence = 'p' from pg_class where oid = to_regclass($1)",
		table).Scan(&logged); err != nil || logged {
		return err // 13 to 17 do as asked to a partitioned table, which has no rows
	}
	q.hazard("set unlogged", func(q *gust) error {
		if err := q.do("alter table %s set logged", table); err != nil {
			return err
		}
		after, _, err := q.ids("select id from only %s", table)
		for _, id := range after {
			if !slices.Contains(before, id) && q.touched[id] <= since {
				q.lose(fmt.Sprintf("row %d was moved into %s while that was unlogged", id, table))
			}
		}
		return err
	})
	return nil
}

func quietKinds() []kind {
	return []kind{
		{name: "analyze", out: func(w *world) error { return w.plain("analyze " + srcName) }},
		{name: "vacuum", out: func(w *world) error { return w.plain("vacuum " + srcName) }},
		{name: "create index concurrently", out: func(w *world) error {
			leaf := w.someLeaf()
			name := w.fresh("ix_")
			if err := w.plain("create index concurrently " + name + " on " + leaf + " (n, body)"); err != nil {
				return err
			}
			return w.plain("drop index if exists " + name)
		}},
		{name: "reindex concurrently", out: func(w *world) error {
			return w.plain("reindex table concurrently " +
				w.someLeaf())
		}},
		{name: "comment", do: func(q *gust) error {
			return q.do("comment on table %s is '%s'", q.either(),
				q.fresh("c"))
		}},
		{name: "new partition or table", do: func(q *gust) error { return q.newPart(40) }},
		{name: "set statistics", do: func(q *gust) error {
			return q.do("alter table %s alter column body set statistics %d", q.either(), 10+q.rng.IntN(90))
		}},
	}
}

// newPart makes one more partition of the source for rows that are older still, or a
// table that has nothing to do with it.
func (q *gust) newPart(rows int) error {
	if !q.scene.parts {
		return q.do("create table %s (id int)", q.fresh("public.aside_"))
	}
	name := q.fresh("public.src_p")
	high := 600 + 10*q.serial
	if err := q.do("create table %s partition of %s for values from (%s) to (%s)", name, srcName, q.moment(high+10),
		q.moment(high)); err != nil {
		return err
	}
	if err := q.own(name); err != nil {
		return err
	}
	return q.put(srcName, rows, high+9, high+1)
}

// someLeaf is a table with rows of the source, or of the archive.
func (w *world) someLeaf() (leaf string) {
	leaf = srcName
	w.blow("choose a leaf", func(q *gust) (err error) {
		leaf, err = q.leaf(q.either())
		return err
	})
	return leaf
}

// plain runs one statement outside of a transaction. An index that it leaves invalid
// is dropped.
func (w *world) plain(sql string) error {
	ctx := context.Background()
	w.must("set lock_timeout = '" + w.patience() + "'")
	_, err := w.conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	w.must("set lock_timeout = '10s'")
	w.tell("", []string{sql}, err)
	if err == nil || !strings.Contains(sql, "concurrently") {
		return err
	}
	rows, fault := w.conn.Query(ctx, "select indexrelid::regclass::text from pg_index where not indisvalid and "+
		"indislive and indrelid in (select oid from pg_class where relkind = 'r')")
	if fault != nil {
		return fault
	}
	left, fault := pgx.CollectRows(rows, pgx.RowTo[string])
	if fault != nil {
		return fault
	}
	w.invalid = append(w.invalid, left...)
	return err
}

// sweep drops the invalid indexes that the storm has left.
func (w *world) sweep() {
	for _, index := range w.invalid {
		w.blow("sweep", func(q *gust) error { return q.do("drop index if exists %s", index) })
	}
	w.invalid = nil
}

package rows_test

import (
	"context"
	"fmt"
	"slices"
)

// A kind is one kind of statement.
type kind struct {
	name string
	do   func(q *gust) error  // in a transaction, or
	out  func(w *world) error // outside of one
}

// kinds are all kinds of statements. Each can be drawn in each scene: where it has no
// partition or no destination to work on, it works on what there is.
func kinds() []kind {
	return append(append(dmlKinds(), columnKinds()...), append(append(triggerKinds(), tableKinds()...),
		quietKinds()...)...)
}

// possible reports whether a kind can fall between two batches of an action.
func possible(string, string) bool { return true }

// archive is the other table: the destination, or the source without one.
func (w *world) archive() string {
	if w.scene.to == "table" {
		return dstName
	}
	return srcName
}

// either is the source or the destination.
func (q *gust) either() string {
	if q.rng.IntN(2) == 0 {
		return srcName
	}
	return q.archive()
}

// fresh is a new name.
func (w *world) fresh(prefix string) string {
	w.serial++
	return fmt.Sprintf("%s%d", prefix, w.serial)
}

// list asks for texts.
func (q *gust) list(sql string, args ...any) (all []string, err error) {
	rows, err := q.Query(context.Background(), sql, args...)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// leaves are the partitions or the children of a table.
func (q *gust) leaves(table string) ([]string, error) {
	return q.list("select format('%I.%I', n.nspname, c.relname) from pg_inherits i join pg_class c on c.oid = "+
		"i.inhrelid join pg_namespace n on n.oid = c.relnamespace where i.inhparent = to_regclass($1) order by 1",
		table)
}

// leaf is one of the tables with rows of a table: itself where it has no others.
func (q *gust) leaf(table string) (string, error) {
	all, err := q.leaves(table)
	if err != nil || len(all) == 0 {
		return table, err
	}
	return all[q.rng.IntN(len(all))], nil
}

// part is a table or one of its leaves.
func (q *gust) part(table string) (string, error) {
	if q.rng.IntN(2) == 0 {
		return table, nil
	}
	return q.leaf(table)
}

// extras are the columns that the storm has added.
func (q *gust) extras(table string) ([]string, error) {
	return q.list("select attname::text from pg_attribute where attrelid = to_regclass($1) and attname ~ '^c[0-9]' "+
		"and attgenerated = '' and not attisdropped order by attnum", table)
}

func columnKinds() []kind {
	return []kind{
		{name: "add column, backfill", do: addColumn},
		{name: "drop column", do: dropColumn},
		{name: "exchange column by rename", do: exchangeColumn},
		{name: "swap names of columns", do: swapColumns},
		{name: "alter type", do: alterType},
		{name: "narrow type", do: narrowType},
		{name: "collation", do: collate},
		{name: "default", do: setDefault},
		{name: "generated column", do: generateColumn},
	}
}

func addColumn(q *gust) error {
	c := q.fresh("c")
	if err := q.do("alter table %s add column %s text", srcName, c); err != nil {
		return err
	}
	return q.write(c, fmt.Sprintf("id %% 3 = %d", q.rng.IntN(3)))
}

// write gives a column of some rows a value.
func (q *gust) write(column, where string) error {
	mark := q.fresh("v")
	ids, _, err := q.ids("update %s set %s = '%s-' || id where %s returning id", srcName, column, mark, where)
	q.later(func() {
		q.model.set(ids, column, func(_ int, id int64) string { return fmt.Sprintf("%s-%d", mark, id) })
	})
	return err
}

func dropColumn(q *gust) error {
	all, err := q.extras(srcName)
	if err != nil {
		return err
	}
	c := q.fresh("c")
	if len(all) > 0 {
		c = all[q.rng.IntN(len(all))]
	} else if err := q.do("alter table %s add column %s text default 'd'", srcName, c); err != nil {
		return err
	}
	// Else rows that come back in between lose a value that the model does not know of.
	if err := q.do("lock table %s in access exclusive mode", srcName); err != nil {
		return err
	}
	ids, _, err := q.ids("select id from %s", srcName)
	if err != nil {
		return err
	}
	q.later(func() { q.model.forget(ids, c) })
	q.hazard("drop column", func(q *gust) error {
		return q.do("alter table %s add column if not exists %s text",
			srcName, c)
	})
	return q.do("alter table %s drop column %s", srcName, c)
}

func exchangeColumn(q *gust) error {
	c := q.fresh("x")
	if err := q.do("alter table %s add column %s text", srcName, c); err != nil {
		return err
	}
	ids, _, err := q.ids("update %s set %s = '%s-' || id returning id", srcName, c, c)
	if err != nil {
		return err
	}
	q.later(func() {
		q.model.set(ids, "body", func(_ int, id int64) string { return fmt.Sprintf("%s-%d", c, id) })
	})
	if err := q.do("alter table %s drop column body", srcName); err != nil {
		return err
	}
	return q.do("alter table %s rename column %s to body", srcName, c)
}

func swapColumns(q *gust) error {
	ids, _, err := q.ids("select id from %s", srcName)
	if err != nil {
		return err
	}
	q.later(func() {
		for _, id := range ids {
			if row := q.model.rows[id]; row != nil {
				body, has := row["body"]
				pad, had := row["pad"]
				delete(row, "body")
				delete(row, "pad")
				if had {
					row["body"] = pad
				}
				if has {
					row["pad"] = body
				}
			}
		}
	})
	for _, to := range [][2]string{{"body", "swap"}, {"pad", "body"}, {"swap", "pad"}} {
		if err := q.do("alter table %s rename column %s to %s", srcName, to[0], to[1]); err != nil {
			return err
		}
	}
	// The lock of the first rename holds what was read before, unless somebody came first.
	again, _, err := q.ids("select id from %s", srcName)
	if err == nil && len(again) != len(ids) {
		err = fmt.Errorf("rows came in between")
	}
	return err
}

func alterType(q *gust) error {
	now, err := q.list("select format_type(atttypid, atttypmod) from pg_attribute where attrelid = to_regclass($1) "+
		"and attname = 'n'", srcName)
	if err != nil || len(now) == 0 {
		return fmt.Errorf("type of n: %w", err)
	}
	to := map[string]string{"integer": "bigint", "bigint": "numeric", "numeric": "text", "text": "varchar(30)"}[now[0]]
	if to == "" {
		to = "text"
	}
	return q.do("alter table %s alter column n type %s using n::%s", srcName, to, to)
}

// narrowType makes the archive round what it takes.
func narrowType(q *gust) error {
	table := q.archive()
	if err := q.do("lock table %s in access exclusive mode", table); err != nil {
		return err
	}
	ids, before, err := q.ids("select id, amount::text from %s", table)
	if err != nil {
		return err
	}
	for i, id := range ids {
		if row := q.model.rows[id]; row != nil && row["amount"] != before[i] {
			q.lose(fmt.Sprintf("row %d in %s has amount = %q, and it was %q", id, table, before[i], row["amount"]))
			break
		}
	}
	if err := q.do("alter table %s alter column amount type numeric(20,1)", table); err != nil {
		return err
	}
	ids, after, err := q.ids("select id, amount::text from %s", table)
	if err != nil {
		return err
	}
	q.later(func() { q.model.set(ids, "amount", func(i int, _ int64) string { return after[i] }) })
	q.hazard("narrow type", func(q *gust) error {
		return q.do("alter table %s alter column amount type numeric",
			table)
	})
	return nil
}

func collate(q *gust) error {
	table := q.either()
	q.hazard("collation", func(q *gust) error { return q.do("alter table %s alter column body type text", table) })
	return q.do(`alter table %s alter column body type text collate "C"`, table)
}

func setDefault(q *gust) error {
	table := q.either()
	column := []string{"body", "n", "amount"}[q.rng.IntN(3)]
	q.hazard("default", func(q *gust) error {
		return q.do("alter table %s alter column %s drop default", table,
			column)
	})
	return q.do("alter table %s alter column %s set default 7", table, column)
}

// generateColumn adds one that is made of another; one time in two its values are
// kept and it is no longer generated.
func generateColumn(q *gust) error {
	c := q.fresh("c")
	if err := q.do("alter table %s add column %s text generated always as (coalesce(body, '') || '-g') stored", srcName,
		c); err != nil {
		return err
	}
	if q.rng.IntN(2) == 0 {
		q.hazard("generated column", func(q *gust) error {
			return q.do("alter table %s drop column if exists %s",
				srcName, c)
		})
		return nil
	}
	if err := q.do("alter table %s alter column %s drop expression", srcName, c); err != nil {
		return err
	}
	ids, texts, err := q.ids("select id, %s from %s", c, srcName)
	q.later(func() { q.model.set(ids, c, func(i int, _ int64) string { return texts[i] }) })
	return err
}

// level gives the archive the columns and the types that the source has.
func (w *world) level() {
	if w.scene.to != "table" {
		return
	}
	w.blow("level", func(q *gust) error {
		missing, err := q.list(`select format('alter table public.dst add column %I %s', s.attname, format_type(s.atttypid, s.atttypmod)) from pg_attribute s
			where s.attrelid = to_regclass('public.src') and s.attnum > 0 and not s.attisdropped and s.attgenerated = ''
			  and not exists (select from pg_attribute d where d.attrelid = to_regclass('public.dst') and d.attname = s.attname and not d.attisdropped)
			union all
			select format('alter table public.dst alter column %I type %s using %1$I::%2$s', s.attname, format_type(s.atttypid, s.atttypmod)) from pg_attribute s
			  join pg_attribute d on d.attrelid = to_regclass('public.dst') and d.attname = s.attname and not d.attisdropped and (d.atttypid, d.atttypmod) <> (s.atttypid, s.atttypmod)
			where s.attrelid = to_regclass('public.src') and s.attnum > 0 and not s.attisdropped
			union all
			select format('alter table public.src add column %I %s', d.attname, format_type(d.atttypid, d.atttypmod)) from pg_attribute d
			where d.attrelid = to_regclass('public.dst') and d.attnum > 0 and not d.attisdropped and d.attgenerated = '' and to_regclass('public.src') is not null
			  and not exists (select from pg_attribute s where s.attrelid = to_regclass('public.src') and s.attname = d.attname and not s.attisdropped)`)
		if err != nil {
			return err
		}
		for _, sql := range missing {
			if err := q.do("%s", sql); err != nil {
				return err
			}
		}
		return nil
	})
}

func triggerKinds() []kind {
	return []kind{
		{name: "trigger after delete", do: func(q *gust) error { return q.trigger(srcName, "after delete", "tell") }},
		{name: "trigger before insert", do: func(q *gust) error {
			return q.trigger(q.either(), "before insert", []string{"mangle", "vanish"}[q.rng.IntN(2)])
		}},
		{name: "trigger before update", do: func(q *gust) error {
			return q.trigger(q.either(), "before update",
				"mangle")
		}},
		{name: "trigger enabled", do: enableTrigger},
		{name: "rule on delete", do: func(q *gust) error {
			return q.rule(srcName, "delete", "do also insert into public.audit values (old.id, 'rule')")
		}},
		{name: "rule on insert", do: func(q *gust) error {
			return q.rule(q.archive(), "insert",
				"do instead nothing")
		}},
		{name: "foreign key no action", do: func(q *gust) error { return q.refer("no action") }},
		{name: "foreign key cascade", do: func(q *gust) error { return q.refer("cascade") }},
		{name: "foreign key set null", do: func(q *gust) error { return q.refer("set null") }},
		{name: "row security", do: secure},
		{name: "publication", do: publish},
		{name: "replica identity", do: identify},
	}
}

func (q *gust) trigger(root, when, function string) error {
	table, err := q.part(root)
	if err != nil {
		return err
	}
	name := q.fresh("t")
	q.hazard("trigger", func(q *gust) error { return q.do("drop trigger if exists %s on %s", name, table) })
	return q.do("create trigger %s %s on %s for each row execute function public.%s()", name, when, table, function)
}

// enableTrigger makes one that is disabled, and enables it one time in two.
func enableTrigger(q *gust) error {
	table, err := q.part(q.either())
	if err != nil {
		return err
	}
	name := q.fresh("t")
	q.hazard("trigger", func(q *gust) error { return q.do("drop trigger if exists %s on %s", name, table) })
	if err := q.do("create trigger %s before insert or update on %s for each row execute function public.mangle()",
		name, table); err != nil {
		return err
	}
	how := []string{"disable", "enable always", "enable replica"}[q.rng.IntN(3)]
	return q.do("alter table %s %s trigger %s", table, how, name)
}

func (q *gust) rule(root, event, does string) error {
	table, err := q.part(root)
	if err != nil {
		return err
	}
	name := q.fresh("r")
	q.hazard("rule", func(q *gust) error { return q.do("drop rule if exists %s on %s", name, table) })
	return q.do("create rule %s as on %s to %s where coalesce(current_setting('storm.me', true), '') <> 'yes' %s", name,
		event, table, does)
}

// refer makes a table that refers to old rows of the source, or of a leaf of it.
func (q *gust) refer(action string) error {
	table, err := q.part(srcName)
	if err != nil {
		return err
	}
	kids := q.fresh("public.kid_")
	key, on := "(ref)", "(id)"
	if q.scene.parts {
		key, on = "(ref, ref_at)", "(id, at)"
	}
	for _, sql := range []string{
		"create table " + kids + " (id int primary key, ref bigint, ref_at timestamptz)",
		"create index on " + kids + " " + key,
		"alter table " + kids + " add foreign key " + key + " references " + table + " " + on + " on delete " + action,
	} {
		if err := q.do("%s", sql); err != nil {
			return err
		}
	}
	if err := q.own(kids); err != nil {
		return err
	}
	if err := q.breed(kids, table, 6); err != nil {
		return err
	}
	q.hazard("foreign key", func(q *gust) error {
		if err := q.do("lock table %s in access exclusive mode", kids); err != nil {
			return err
		}
		q.lose(q.kidsDiffer(context.Background(), q.Tx, kids)...)
		q.later(func() { delete(q.model.kids, kids) })
		return q.do("drop table %s", kids)
	})
	return nil
}

// breed adds rows that refer to old ones.
func (q *gust) breed(kids, table string, n int) error {
	ids, refs, err := q.ids("insert into %s select coalesce((select max(id) from %s), 0) + row_number() over (), id, "+
		"at from (select id, at from %s where at < now() - interval '180 days' order by id %% 7, id limit %d) s "+
		"returning id, ref::text", kids, kids, table, n)
	q.later(func() {
		if q.model.kids[kids] == nil {
			q.model.kids[kids] = make(map[int64]int64)
		}
		for i, id := range ids {
			var ref int64
			_, _ = fmt.Sscan(refs[i], &ref) // it is a number
			q.model.kids[kids][id] = ref
		}
	})
	return err
}

func secure(q *gust) error {
	table, err := q.part(q.either())
	if err != nil {
		return err
	}
	policy := q.fresh("p")
	q.hazard("row security", func(q *gust) error {
		return q.do("drop policy if exists %s on %s; alter table %s no force row level security, disable row level "+
			"security", policy, table, table)
	})
	return q.do("alter table %s enable row level security, force row level security; create policy %s on %s using "+
		"(id %% 2 = 0)", table, policy, table)
}

func publish(q *gust) error {
	table, err := q.part(q.either())
	if err != nil {
		return err
	}
	what := []string{"all tables", "table " + table}
	if q.world.version >= 15 {
		what = append(what, "tables in schema public")
	}
	name := q.fresh("pub_")
	q.hazard("publication", func(q *gust) error { return q.do("drop publication if exists %s", name) })
	chosen := what[q.rng.IntN(len(what))]
	return q.do("create publication %s for %s", name, chosen)
}

func identify(q *gust) error {
	table, err := q.part(q.either())
	if err != nil {
		return err
	}
	q.hazard("replica identity", func(q *gust) error { return q.do("alter table %s replica identity default", table) })
	return q.do("alter table %s replica identity %s", table, []string{"full", "nothing"}[q.rng.IntN(2)])
}

// referred are the rows that others refer to, as a condition of the storm's own
// statements: what would cascade is not part of the model.
func (q *gust) unreferred() string {
	var all []int64
	for _, kids := range q.model.kids {
		for _, ref := range kids {
			all = append(all, ref)
		}
	}
	slices.Sort(all)
	text := "id <> all ('{"
	for i, id := range slices.Compact(all) {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprint(id)
	}
	return text + "}')"
}

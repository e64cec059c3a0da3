-- What does each table hold, and how wide are its columns?
--
-- The estimate itself is made in bloat/bloat.go from these rows: how many pages the
-- rows would need if they were written anew.
--
-- Rights: SELECT on the tables (pg_read_all_data), or superuser: what ANALYZE
-- found is shown only to those who may read the table. Versions: 13 and later.
-- Cost: one pass over pg_class, pg_attribute and the statistics; no file is
-- looked at. Of what was dropped since the question began, the server says null.
select n.nspname,
       c.relname,
       c.relpages::int8,
       c.reltuples::float8,
       current_setting('block_size')::int8,
       coalesce((select o.option_value::int8 from pg_options_to_table(c.reloptions) o where o.option_name = 'fillfactor'), 100),
       array_agg(a.attlen::int4 order by a.attnum),
       array_agg(a.attalign::text order by a.attnum),
       array_agg(s.width::float8 order by a.attnum),
       array_agg(s.null_frac::float8 order by a.attnum),
       coalesce(has_table_privilege(c.oid, 'SELECT'), true),
       coalesce(min(o.relpages) filter (where o.reltuples >= 0), 0)::int8,
       coalesce(min(o.reltuples) filter (where o.reltuples >= 0), 0)::float8
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_class o on o.oid = c.reltoastrelid
  left join column_statistics s on s.relid = c.oid and s.attnum = a.attnum
 where c.relkind in ('r', 'm')
   and c.relpersistence <> 't'
   and n.nspname <> all (array['pg_catalog', 'information_schema'])
   and ($1 = '' or n.nspname = $1)
   and ($2 = '' or c.relname = $2)
 group by n.nspname, c.oid, c.relname, c.relpages, c.reltuples, c.reloptions
 order by 1, 2

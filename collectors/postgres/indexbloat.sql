-- What does each B-tree index hold, and how wide are its keys?
--
-- The estimate itself is made in bloat/bloat.go from these rows: how many pages the
-- index would need if it were built anew.
--
-- Rights: SELECT on the tables (pg_read_all_data), or superuser: what ANALYZE
-- found is shown only to those who may read the table. Versions: 13 and later.
-- Cost: one pass over pg_index, pg_attribute and the statistics; no file is
-- looked at. Of what was dropped since the question began, the server says null.
--
-- An index of an expression has statistics under its own name, a column those of
-- its table. Equal keys share one entry (deduplication) when every operator
-- class says that equal is equal to the byte (support function 4), when the
-- collation does, and when there are no INCLUDE columns; a unique index has no
-- equal keys but for versions of one row.
select n.nspname,
       t.relname,
       c.relname,
       c.relpages::int8,
       c.reltuples::float8,
       current_setting('block_size')::int8,
       coalesce((select o.option_value::int8 from pg_options_to_table(c.reloptions) o where o.option_name = 'fillfactor'), 90),
       array_agg(a.attlen::int4 order by a.attnum),
       array_agg(a.attalign::text order by a.attnum),
       array_agg(s.width::float8 order by a.attnum),
       array_agg(s.null_frac::float8 order by a.attnum),
       array_agg(s.distinct_values::float8 order by a.attnum),
       not i.indisunique
         and i.indnatts = i.indnkeyatts
         and coalesce((select o.option_value::bool from pg_options_to_table(c.reloptions) o where o.option_name = 'deduplicate_items'), true)
         and bool_and(coalesce(l.collisdeterministic, true))
         and bool_and(exists (select from pg_amproc p where p.amprocfamily = k.opcfamily and p.amproclefttype = k.opcintype and p.amprocrighttype = k.opcintype and p.amprocnum = 4)),
       coalesce(has_table_privilege(t.oid, 'SELECT'), true)
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
  join pg_class t on t.oid = i.indrelid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_am m on m.oid = c.relam and m.amname = 'btree'
  join pg_attribute a on a.attrelid = c.oid
  left join pg_opclass k on k.oid = i.indclass[a.attnum - 1]
  left join pg_collation l on l.oid = a.attcollation
  left join column_statistics s
    on s.relid = case i.indkey[a.attnum - 1] when 0 then c.oid else t.oid end
   and s.attnum = case i.indkey[a.attnum - 1] when 0 then a.attnum else i.indkey[a.attnum - 1] end
 where c.relkind = 'i'
   and i.indisvalid
   and c.relpersistence <> 't'
   and n.nspname <> all (array['pg_catalog', 'information_schema', 'pg_toast'])
   and ($1 = '' or n.nspname = $1)
   and ($2 = '' or t.relname = $2)
   and ($3 = '' or c.relname = $3)
 group by n.nspname, t.oid, t.relname, c.oid, c.relname, c.relpages, c.reltuples, c.reloptions, i.indisunique, i.indnatts, i.indnkeyatts
 order by 1, 2, 3

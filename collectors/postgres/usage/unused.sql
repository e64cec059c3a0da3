-- Which indexes has no query used, of those that are there for queries alone?
--
-- Rights: none beyond CONNECT; the cumulative statistics are for everybody.
-- Versions: 13 and later. Cost: one pass over pg_index and pg_constraint; no file
-- is looked at.
--
-- An index that is not scanned can still be needed: it enforces something
-- (unique, primary, exclusion, any constraint), names rows for replication, orders
-- CLUSTER, finds the rows that refer to a row when that is deleted, gives the
-- planner the statistics of an expression, or is part of one on all partitions,
-- and cannot go alone. What an extension has made is its own business: of a table that
-- it has made only the table says so, and of one that it makes later only its schema.
-- An index of a partitioned table has no scans of its own.
select n.nspname, t.relname, c.relname, c.oid::int8, c.relpages * current_setting('block_size')::float8
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
  join pg_class t on t.oid = i.indrelid
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'i'
   and c.relpersistence <> 't'
   and not c.relispartition
   and i.indisvalid and i.indisready and i.indislive
   and not i.indisunique and not i.indisprimary and not i.indisexclusion and not i.indisreplident and not i.indisclustered
   and i.indexprs is null
   and n.nspname <> all (array['pg_catalog', 'information_schema', 'pg_toast'])
   and coalesce(pg_stat_get_numscans(c.oid), 0) = 0
   and not exists (select from pg_constraint k where k.conindid = c.oid)
   and not exists (
     select from pg_depend d
      where d.deptype = 'e'
        and (d.classid = 'pg_class'::regclass and d.objid in (c.oid, i.indrelid) or d.classid = 'pg_namespace'::regclass and d.objid = n.oid)
   )
   and not exists (
     select from pg_constraint k
      where k.contype = 'f'
        and k.conrelid = i.indrelid
        and (i.indkey::int2[])[0:array_length(k.conkey, 1) - 1] @> k.conkey
   )
 order by 1, 2, 3

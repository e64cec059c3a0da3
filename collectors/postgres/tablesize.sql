-- How large are each table's heap, what it stores out of line, and its indexes?
--
-- Rights: none beyond CONNECT. Versions: 13 and later. Cost: every file of the
-- database is looked at (not read): some 5 microseconds a file.
--
-- A table that somebody has locked for himself alone would be waited for; it is
-- left out this time, as is one that was dropped since the question began: the server
-- says null.
select * from (
select n.nspname, c.relname,
       pg_relation_size(c.oid)::float8 as heap,
       coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0)::float8,
       pg_indexes_size(c.oid)::float8 as indexes
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'm')
   and c.relpersistence <> 't'
   and n.nspname <> all (array['pg_catalog', 'information_schema'])
   and c.oid <> all (array(select l.relation from pg_locks l where l.mode = 'AccessExclusiveLock' and l.relation is not null and l.database = (select d.oid from pg_database d where d.datname = current_database())))
offset 0) sizes
 where heap is not null and indexes is not null

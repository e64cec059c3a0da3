-- Which indexes did an interrupted CREATE INDEX or REINDEX CONCURRENTLY leave invalid?
--
-- Rights: none beyond CONNECT. Versions: 13 and later. Cost: one pass over
-- pg_index; the file of each invalid index is looked at.
--
-- One that is being built now is invalid too, and not a leftover. Of one that was dropped
-- since the question began the server says null.
select * from (
select n.nspname, t.relname, c.relname, pg_relation_size(c.oid)::float8 as bytes
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
  join pg_class t on t.oid = i.indrelid
  join pg_namespace n on n.oid = c.relnamespace
 where not i.indisvalid
   and c.relkind = 'i'
   and c.relpersistence <> 't'
   and not exists (select from pg_stat_progress_create_index p where p.datid = (select oid from pg_database where datname = current_database()) and p.relid = i.indrelid)
offset 0) indexes
 where bytes is not null
 order by 1, 2, 3

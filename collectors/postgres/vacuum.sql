-- How much of each table is dead, and when it was last vacuumed and analyzed?
--
-- Partitioned tables have no rows of their own; their partitions are here.
--
-- Rights: none beyond CONNECT; the cumulative statistics are for everybody.
-- Versions: 13 and later. Cost: one pass over pg_class, no file is looked at.
--
-- The ratio and the number of changed rows are null where they are not known: the
-- statistics are gone (a crash empties them) while the catalog still knows of rows.
select n.nspname,
       c.relname,
       pg_stat_get_live_tuples(c.oid)::float8,
       pg_stat_get_dead_tuples(c.oid)::float8,
       case
         when pg_stat_get_live_tuples(c.oid) + pg_stat_get_dead_tuples(c.oid) > 0
           then pg_stat_get_dead_tuples(c.oid)::float8 / (pg_stat_get_live_tuples(c.oid) + pg_stat_get_dead_tuples(c.oid))
         when c.reltuples = 0 or c.relpages = 0 then 0
       end,
       greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)),
       greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)),
       pg_stat_get_vacuum_count(c.oid),
       age(c.relfrozenxid)::int8,
       mxid_age(c.relminmxid)::int8,
       case
         when pg_stat_get_live_tuples(c.oid) + pg_stat_get_dead_tuples(c.oid) + pg_stat_get_mod_since_analyze(c.oid) > 0 or c.reltuples <= 0 or c.relpages = 0
           then pg_stat_get_mod_since_analyze(c.oid)::float8
       end,
       pg_stat_get_analyze_count(c.oid)
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'm')
   and c.relpersistence <> 't'
   and n.nspname <> all (array['pg_catalog', 'information_schema'])
   and ($1 = '' or n.nspname = $1)
   and ($2 = '' or c.relname = $2)
 order by 1, 2

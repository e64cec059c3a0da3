-- How much of each table is dead, and when it was last vacuumed and analyzed?
--
-- Partitioned tables have no rows of their own; their partitions are here. A table is as
-- old as its TOAST, which may be vacuumed without it or left out. One of an access method
-- that keeps no transaction ids has no age.
--
-- Rights: none beyond CONNECT; the cumulative statistics are for everybody.
-- Versions: 13 and later. Cost: one pass over pg_class; the file is looked at (not
-- read) of tables alone that were never vacuumed or analyzed or are empty, unless somebody has locked
-- them for himself alone.
--
-- A crash or a reset empties the counters. Those of a table are whole again once it was
-- vacuumed or analyzed. Until then they are changes since their beginning, and whole only
-- where they explain all that is there: as many rows as the catalog knows of, in as many
-- pages as the file has by now (a fifth may be missing: the catalog estimates). Of a table that
-- the catalog knows nothing of, a row explains what its columns take, 64 bytes for each
-- whose length varies, and a quarter for what pages lose, and nothing can have died where nothing was inserted.
-- A file without a page has no rows, whatever a session that has just vacuumed it tells.
-- Counters that are too young say too little: a dead row that they do not know of is no
-- sign that no dead row exists, and the catalog has the number of live ones. What is
-- not known is null.
with counts as (
  select c.oid, n.nspname, c.relname, c.reltuples, c.relpages,
         greatest(case when c.relfrozenxid::text <> '0' then age(c.relfrozenxid) end, case when o.relfrozenxid::text <> '0' then age(o.relfrozenxid) end) as xids,
         greatest(case when c.relminmxid::text <> '0' then mxid_age(c.relminmxid) end, case when o.relminmxid::text <> '0' then mxid_age(o.relminmxid) end) as multixacts,
         pg_stat_get_live_tuples(c.oid)::float8 as live,
         pg_stat_get_dead_tuples(c.oid)::float8 as dead,
         pg_stat_get_mod_since_analyze(c.oid)::float8 as changed,
         greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)) as vacuumed,
         greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)) as analyzed
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    left join pg_class o on o.oid = c.reltoastrelid and c.reltoastrelid <> 0
   where c.relkind in ('r', 'm')
     and c.relpersistence <> 't'
     and n.nspname <> all (array['pg_catalog', 'information_schema'])
     and ($1 = '' or n.nspname = $1)
     and ($2 = '' or c.relname = $2)
), locked as materialized (
  select l.relation as oid
    from pg_locks l
   where l.mode = 'AccessExclusiveLock' and l.relation is not null and l.database = (select d.oid from pg_database d where d.datname = current_database())
), judged as (
  select t.*,
         case
           when t.relpages = 0 and t.oid not in (select l.oid from locked l) and pg_relation_size(t.oid) = 0 then 'none'
           when t.vacuumed is not null or t.analyzed is not null then 'whole'
           when t.reltuples > t.live + t.dead then 'young'
           when t.oid in (select l.oid from locked l) then 'young'
           when t.reltuples > 0 and t.relpages > 0 then
             case when (t.live + t.dead) * 1.25 >= t.reltuples / t.relpages * (pg_relation_size(t.oid) / current_setting('block_size')::int8) then 'whole' else 'young' end
           when pg_stat_get_tuples_inserted(t.oid) > 0 and pg_relation_size(t.oid) <= current_setting('block_size')::int8 + (t.live + t.dead) * 1.25
             * (select 28 + sum(case when a.attlen > 0 then greatest(a.attlen, 8) else 64 end) from pg_attribute a where a.attrelid = t.oid and a.attnum > 0) then 'whole'
           else 'young'
         end as counters
    from counts t
)
select t.nspname,
       t.relname,
       case when t.counters = 'none' then 0 when t.counters = 'whole' then t.live when t.reltuples > 0 then greatest(t.live, t.reltuples) end,
       case when t.counters = 'none' then 0 when t.counters = 'whole' or t.dead > 0 then t.dead end,
       case
         when t.counters = 'none' then 0
         when t.counters = 'whole' then case when t.dead > 0 then t.dead / (t.live + t.dead) else 0 end
         when t.dead > 0 and t.reltuples > 0 then t.dead / (greatest(t.live, t.reltuples) + t.dead)
       end,
       t.counters = 'young',
       t.vacuumed,
       t.analyzed,
       pg_stat_get_vacuum_count(t.oid),
       t.xids::int8,
       t.multixacts::int8,
       case when t.counters <> 'young' or t.changed > 0 then t.changed end,
       pg_stat_get_analyze_count(t.oid)
  from judged t
 order by 1, 2

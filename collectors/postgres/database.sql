-- What has each database done since its statistics were reset, and how old are its oldest transactions?
--
-- Rights: none beyond CONNECT; the cumulative statistics are for everybody.
-- Versions: 13 and later. Cost: one row for each database, no file is looked at.
select d.datname,
       s.xact_commit::float8, s.xact_rollback::float8,
       s.blks_read::float8, s.blks_hit::float8,
       s.tup_returned::float8, s.tup_fetched::float8, s.tup_inserted::float8, s.tup_updated::float8, s.tup_deleted::float8,
       s.temp_files::float8, s.temp_bytes::float8,
       s.deadlocks::float8, s.conflicts::float8, s.checksum_failures::float8,
       age(d.datfrozenxid)::float8, mxid_age(d.datminmxid)::float8,
       s.stats_reset
  from pg_database d
  join pg_stat_database s on s.datid = d.oid
 where d.datallowconn
   and not d.datistemplate
 order by 1

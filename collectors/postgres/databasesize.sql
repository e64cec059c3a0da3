-- How large is each database?
--
-- Rights: CONNECT on each database, or pg_read_all_stats (in pg_monitor).
-- Versions: 13 and later. Cost: every file of every database is looked at (not
-- read): some 5 microseconds a file.
-- Of one that was dropped meanwhile, or whose DROP DATABASE was interrupted, the server
-- finds no file and says null.
select *
  from (select d.datname, pg_database_size(d.oid)::float8 as bytes
          from pg_database d
         where has_database_privilege(d.oid, 'CONNECT') or pg_has_role('pg_read_all_stats', 'MEMBER')
        offset 0) sizes
 where bytes is not null
 order by 1

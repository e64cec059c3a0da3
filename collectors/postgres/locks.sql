-- Who waits for a lock, for how long, and whose session is in the way?
--
-- Rights: pg_read_all_stats (in pg_monitor), to see other roles' sessions.
-- Versions: 13 and later. Cost: one pass over the sessions; who blocks is asked
-- only for those that wait.
--
-- A session that waits behind others does not block by itself: only
-- those that do not wait are counted as blockers. A prepared transaction has no process,
-- and its number is 0.
with waiting as (
  select pid, datname, clock_timestamp() - coalesce(state_change, query_start, xact_start) as since, pg_blocking_pids(pid) as blockers
    from pg_stat_activity
   where wait_event_type = 'Lock'
)
select coalesce(case when p.pid = 0 then w.datname else b.datname end, ''), coalesce(b.usename, ''), coalesce(b.application_name, ''),
       case when p.pid = 0 then 'prepared' else coalesce(b.state, b.backend_type, 'hidden') end,
       count(distinct w.pid)::float8,
       max(extract(epoch from w.since))::float8
  from waiting w
  cross join lateral unnest(w.blockers) as p (pid)
  left join pg_stat_activity b on b.pid = p.pid
 where (b.pid is not null or p.pid = 0)
   and b.wait_event_type is distinct from 'Lock'
 group by 1, 2, 3, 4
 order by 5 desc, 1, 2, 3, 4

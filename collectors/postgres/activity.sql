-- Who is connected, what do they do, and for how long?
--
-- Rights: pg_read_all_stats (in pg_monitor); without it the kinds and states of
-- other roles' sessions are hidden, and the last column says so. A session that
-- has only just begun has no state either.
-- Versions: 13 and later; since 16 connections may be reserved for a role. Cost: one pass
-- over the sessions, no table is read.
select count(*) filter (where state = 'active')::float8,
       count(*) filter (where state = 'idle')::float8,
       count(*) filter (where state like 'idle in transaction%')::float8,
       count(*) filter (where state is null or state not in ('active', 'idle') and state not like 'idle in transaction%')::float8,
       count(*)::float8,
       (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true)::int, 0))::float8,
       greatest(extract(epoch from max(at) - min(xact_start)), 0)::float8,
       greatest(extract(epoch from max(at) - min(state_change) filter (where state like 'idle in transaction%')), 0)::float8,
       count(*) filter (where wait_event_type = 'Lock')::float8,
       count(*) filter (where state is null and query = '<insufficient privilege>')
  from pg_stat_activity, (select clock_timestamp() as at offset 0) looked -- both ages are of one moment
 where pid <> pg_backend_pid()
   and (backend_type = 'client backend' or backend_type is null and datid is not null and usesysid is not null)

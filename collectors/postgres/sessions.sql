-- Whose session is in the way most, of each kind and in each database?
--
--   idle         idle within its transaction for longest
--   transaction  its transaction is open for longest
--   blocker      keeps the session that waits longest from its lock, and waits for none itself
--   horizon      keeps the most dead rows from being removed
--
-- Not only sessions hold dead rows and locks: prepared transactions do, and the
-- xmin of replication slots, and standbys that feed theirs back. A logical slot
-- holds back only the catalog's rows, and is left out. A snapshot of another
-- database holds nothing here, and neither does a vacuum.
--
-- Rights: pg_read_all_stats (in pg_monitor); without it other roles' sessions are
-- hidden, which is asked before. Versions: 13 and later; what only later ones
-- know is read out of the row as JSON. Cost: one pass over the sessions; who blocks is
-- asked only for those that wait.
--
-- Of two that hold the same rows the one whose transaction it is comes first: others
-- have seen it, and hold them for its sake.
--
-- $1 is a kind and $2 a database; empty means all.
with recursive me as (
  select a.usesysid, r.rolsuper
    from pg_stat_activity a join pg_roles r on r.oid = a.usesysid
   where a.pid = pg_backend_pid()
), sessions as materialized (
  select a.*, greatest(age(a.backend_xid), age(a.backend_xmin))::int8 as holds,
         case when age(a.backend_xid) >= age(a.backend_xmin) or a.backend_xmin is null then a.backend_xid::text else a.backend_xmin::text end as oldest,
         coalesce(a.usesysid = me.usesysid and (a.application_name = 'upkeep' or starts_with(a.application_name, 'upkeep ')), false) as ours,
         coalesce(r.rolsuper, false) as super,
         coalesce(me.rolsuper or not r.rolsuper and (pg_has_role(a.usesysid, 'USAGE') or pg_has_role('pg_signal_backend', 'USAGE')), false) as may
    from me
    cross join pg_stat_activity a
    left join pg_roles r on r.oid = a.usesysid
   where a.pid <> pg_backend_pid()
), edges as materialized (
  select s.pid as waiter, s.datname, b.blocker, clock_timestamp() - coalesce(s.state_change, s.query_start, s.xact_start) as since
    from sessions s
    cross join lateral unnest(pg_blocking_pids(s.pid)) as b (blocker)
   where s.wait_event_type = 'Lock'
), waits (waiter, datname, since, blocker) as (
  select waiter, datname, since, blocker from edges
  union
  select w.waiter, w.datname, w.since, e.blocker from waits w join edges e on e.waiter = w.blocker
), roots as (
  select blocker, datname, count(distinct waiter) as blocked, max(since) as since
    from waits
   where blocker not in (select waiter from edges)
   group by 1, 2
), slots as (
  select slot_name::text as name, xmin::text as oldest, active, age(xmin)::int8 as holds,
         coalesce(case when not active then (to_jsonb(s) ->> 'inactive_since')::timestamptz end, pg_postmaster_start_time()) as since
    from pg_replication_slots s
   where xmin is not null
), databases as (
  select datname::text as name from pg_database where datallowconn and not datistemplate and ($2 = '' or datname = $2)
), found (kind, database, what, pid, name, since, holds, oldest, rank, owns, blocked) as (
  select 'idle', datname::text, 'session', pid, null::text, state_change, holds, oldest, extract(epoch from clock_timestamp() - state_change), false, 0
    from sessions where backend_type = 'client backend' and state like 'idle in transaction%' and not ours
  union all
  select 'transaction', datname::text, 'session', pid, null, xact_start, holds, oldest, extract(epoch from clock_timestamp() - xact_start), false, 0
    from sessions where backend_type = 'client backend' and xact_start is not null and not ours
  union all
  select 'blocker', coalesce(s.datname, r.datname)::text, 'session', r.blocker, null, clock_timestamp() - r.since, s.holds, s.oldest, extract(epoch from r.since), false, r.blocked
    from roots r join sessions s on s.pid = r.blocker
  union all
  -- A prepared transaction has no process to be named by; the oldest represents them.
  select 'blocker', r.datname::text, 'prepared', 0, (select p.gid from pg_prepared_xacts p where p.database = r.datname order by p.prepared limit 1),
         clock_timestamp() - r.since, null, null, extract(epoch from r.since), false, r.blocked
    from roots r where r.blocker = 0
  union all
  select 'horizon', d.name, 'session', s.pid, null, coalesce(s.xact_start, s.backend_start), s.holds, s.oldest, s.holds, coalesce(age(s.backend_xid) = s.holds, false), 0
    from sessions s join databases d on s.datname = d.name or s.datname is null
   where s.holds is not null and s.pid not in (select pid from pg_stat_progress_vacuum)
     and not (s.ours and s.application_name = 'upkeep') -- who only reads is gone in a moment
  union all
  select 'horizon', database::text, 'prepared', 0, gid, prepared, age(transaction)::int8, transaction::text, age(transaction), true, 0 from pg_prepared_xacts
  union all
  select 'horizon', d.name, 'slot', 0, s.name, s.since, s.holds, s.oldest, s.holds, false, 0 from slots s cross join databases d
)
select distinct on (f.kind, f.database)
       f.kind, f.database, f.what, f.pid, coalesce(f.name, ''),
       coalesce(s.usename::text, p.owner::text, ''), coalesce(s.application_name, ''), coalesce(host(s.client_addr), ''), coalesce(s.backend_type, ''), coalesce(s.state, ''), coalesce(s.query, ''),
       s.backend_start, s.xact_start, s.query_start, s.state_change, f.since,
       greatest(extract(epoch from clock_timestamp() - f.since), 0)::float8, coalesce(f.holds, 0), coalesce(f.oldest, ''),
       coalesce(nullif(f.blocked, 0), (select count(distinct w.waiter) from waits w where w.blocker = f.pid and f.pid <> 0)),
       coalesce(s.backend_xid is not null, f.what = 'prepared'), coalesce(s.ours, false), coalesce(s.super, false), coalesce(s.may, false)
  from found f
  join databases d on d.name = f.database
  left join sessions s on s.pid = f.pid and f.what = 'session'
  left join pg_prepared_xacts p on f.what = 'prepared' and p.gid = f.name
 where $1 = '' or f.kind = $1
 order by f.kind, f.database, f.rank desc, f.owns desc, f.since

-- How much of each sequence is used up, and of the column that takes its values?
--
-- Rights: SELECT on the sequences (pg_read_all_data); the last value of one that
-- may not be read is null. Versions: 13 and later. Cost: one page is read for
-- each sequence.
--
-- A sequence can have room where the column that it feeds has none: the nearer
-- end counts. One that cycles has no end. A column takes the values of a sequence that it
-- owns, or that its default names; of several columns, that with the nearest end counts.
-- One that was dropped since the question began has no rights to it, and its value is not asked for.
select n.nspname, c.relname,
       coalesce(f.relname, ''), coalesce(f.attname, ''),
       case when s.seqincrement > 0
              then (v.last::float8 - s.seqmin) / nullif(least(s.seqmax, case f.atttypid when 'int2'::regtype then 32767 when 'int4'::regtype then 2147483647 else s.seqmax end)::float8 - s.seqmin, 0)
              else (s.seqmax - v.last::float8) / nullif(s.seqmax::float8 - greatest(s.seqmin, case f.atttypid when 'int2'::regtype then -32768 when 'int4'::regtype then -2147483648 else s.seqmin end), 0)
       end::float8,
       coalesce(has_sequence_privilege(c.oid, 'SELECT, USAGE'), true)
  from pg_sequence s
  join pg_class c on c.oid = s.seqrelid
  join pg_namespace n on n.oid = c.relnamespace
  cross join lateral (select case when has_sequence_privilege(c.oid, 'SELECT, USAGE') then pg_sequence_last_value(c.oid) end as last offset 0) v
  left join lateral (
    select t.relname, a.attname, a.atttypid
      from (select d.refobjid, d.refobjsubid
              from pg_depend d
             where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_class'::regclass
               and d.deptype in ('a', 'i') and d.refobjsubid > 0
             union
            select f.adrelid, f.adnum
              from pg_depend d
              join pg_attrdef f on f.oid = d.objid
             where d.classid = 'pg_attrdef'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid) fed (rel, col)
      join pg_class t on t.oid = fed.rel
      join pg_attribute a on a.attrelid = fed.rel and a.attnum = fed.col
     where t.relpersistence <> 't'
     order by array_position(array['int2'::regtype, 'int4'::regtype]::oid[], a.atttypid), t.relname, a.attname
     limit 1) f on true
 where not s.seqcycle
   and c.relpersistence <> 't'

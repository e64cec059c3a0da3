-- How much of each sequence is used up, and of the column that takes its values?
--
-- Rights: SELECT on the sequences (pg_read_all_data); the last value of one that
-- may not be read is null. Versions: 13 and later. Cost: one page is read for
-- each sequence.
--
-- A sequence can have room where the column that it feeds has none: the nearer
-- end counts. One that cycles has no end.
select n.nspname, c.relname,
       coalesce(t.relname, ''), coalesce(a.attname, ''),
       case when s.seqincrement > 0
              then (pg_sequence_last_value(c.oid)::float8 - s.seqmin) / nullif(least(s.seqmax, case a.atttypid when 'int2'::regtype then 32767 when 'int4'::regtype then 2147483647 else s.seqmax end)::float8 - s.seqmin, 0)
              else (s.seqmax - pg_sequence_last_value(c.oid)::float8) / nullif(s.seqmax::float8 - greatest(s.seqmin, case a.atttypid when 'int2'::regtype then -32768 when 'int4'::regtype then -2147483648 else s.seqmin end), 0)
       end::float8,
       has_sequence_privilege(c.oid, 'SELECT') or has_sequence_privilege(c.oid, 'USAGE')
  from pg_sequence s
  join pg_class c on c.oid = s.seqrelid
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i') and d.refobjsubid > 0
  left join pg_class t on t.oid = d.refobjid
  left join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
 where not s.seqcycle
   and c.relpersistence <> 't'

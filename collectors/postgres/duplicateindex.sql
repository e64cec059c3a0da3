-- What makes each index what it is, of tables that have several?
--
-- Which of them says what another says too is found out in duplicateindex.go.
--
-- Rights: none beyond CONNECT. Versions: 13 and later. Cost: one pass over
-- pg_index and pg_attribute for the tables with more than one index; no file is
-- looked at.
--
-- The text of a key is its column, or its expression; what orders it is its
-- operator class with its parameters, its collation, and its direction. Servers
-- before 15 have no column indnullsnotdistinct, and a row as JSON has what there is. An
-- index that was dropped since the question began has no definition, and is like no other.
select n.nspname, t.relname, c.relname, c.oid::int8, t.oid::int8,
       c.relpages * current_setting('block_size')::float8,
       m.amname::text,
       i.indisunique,
       i.indisprimary or i.indisexclusion or i.indisreplident or i.indisclustered or c.relispartition
         or exists (select from pg_constraint k where k.conindid = c.oid)
         or exists (
              select from pg_depend d
               where d.deptype = 'e'
                 and (d.classid = 'pg_class'::regclass and d.objid in (c.oid, i.indrelid) or d.classid = 'pg_namespace'::regclass and d.objid = n.oid)),
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false),
       i.indimmediate,
       coalesce(pg_get_expr(i.indpred, i.indrelid), ''),
       array(select case k.attnum when 0 then coalesce(pg_get_indexdef(i.indexrelid, k.n::int, false), c.oid::text) else k.attnum::text end from unnest(i.indkey::int2[]) with ordinality as k (attnum, n) order by k.n),
       i.indnkeyatts::int4,
       array(select concat_ws(' ', i.indclass[k - 1], i.indcollation[k - 1], i.indoption[k - 1], array_to_string(a.attoptions, ','))
               from generate_series(1, i.indnkeyatts) k
               join pg_attribute a on a.attrelid = c.oid and a.attnum = k
              order by k),
       c.reltablespace::int8::text || ' ' || array_to_string(array(select o from unnest(c.reloptions) o order by o), ',')
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
  join pg_class t on t.oid = i.indrelid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_am m on m.oid = c.relam
 where c.relkind = 'i'
   and c.relpersistence <> 't'
   and i.indisvalid and i.indisready and i.indislive
   and n.nspname <> all (array['pg_catalog', 'information_schema', 'pg_toast'])
   and i.indrelid in (select o.indrelid from pg_index o group by o.indrelid, o.indkey[0] having count(*) > 1)
 order by 5, 4

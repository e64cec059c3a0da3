-- What an action relies on of the relations $1 (oid[]), a line for each thing: oid,
-- kind, name for people, line (what is compared), mark (words for what is unfit).
-- Any role; 13 and later. Some 1 ms for two tables. Takes no lock on them.
--
-- Texts of expressions hold ":location N" up to 16, which differs with how the
-- statement was typed; no index has its oid or name here, for REINDEX changes both;
-- rights are those of the role, so that a GRANT to another changes nothing.
with rels as materialized (
  select c.oid, c.relnamespace, c,
         array(select r from (select c.oid as r union all select a.relid
           from pg_catalog.pg_partition_ancestors(c.oid) a) x) as line,
         c.relreplident = 'n' or c.relreplident = 'd' and not exists (select from pg_catalog.pg_index i
           where i.indrelid = c.oid and i.indisprimary) as unnamed
    from pg_catalog.pg_class c
   where c.oid = any($1::oid[])
), parts(oid, kind, name, line, mark) as (
  select r.oid, 'table', v.name, v.line, v.mark
    from rels r
    join pg_catalog.pg_namespace n on n.oid = r.relnamespace
   cross join lateral (values
         ('name', pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident((r.c).relname), ''),
         ('kind', concat_ws(' ', (r.c).relkind, (r.c).relispartition, (r.c).reloftype), (r.c).relkind::text),
         ('persistence', (r.c).relpersistence::text, (r.c).relpersistence::text),
         ('replica identity', (r.c).relreplident::text, case when r.unnamed then 'unnamed' else '' end),
         ('row security', concat_ws(' ', (r.c).relrowsecurity, (r.c).relforcerowsecurity, row_security_active(r.oid)),
           case when row_security_active(r.oid) then 'secured' else '' end),
         ('owner', (r.c).relowner::text, ''),
         ('bounds', coalesce(md5(regexp_replace((r.c).relpartbound::text, ':location -?\d+', '', 'g')), ''),
           '')) v(name, line, mark)
  union all
  select r.oid, 'right', v.name, v.line::text, ''
    from rels r
   cross join lateral (values
         ('role', current_user::text),
         ('USAGE of the schema', has_schema_privilege(r.relnamespace, 'USAGE')::text),
         ('SELECT', has_table_privilege(r.oid, 'SELECT')::text),
         ('INSERT', has_table_privilege(r.oid, 'INSERT')::text),
         ('DELETE', has_table_privilege(r.oid, 'DELETE')::text),
         ('UPDATE', has_table_privilege(r.oid, 'UPDATE')::text)) v(name, line)
  union all
  select r.oid, 'setting', 'session_replication_role', current_setting('session_replication_role'),
    current_setting('session_replication_role')
    from rels r
  union all
  select a.attrelid, 'column', pg_catalog.quote_ident(a.attname) || ' ' || pg_catalog.format_type(a.atttypid,
    a.atttypmod),
         concat_ws(' ', a.attnum, quote_ident(a.attname), a.atttypid, a.atttypmod, a.attcollation, a.attnotnull,
           a.attidentity, a.attgenerated, md5(regexp_replace(d.adbin::text, ':location -?\d+', '', 'g')),
                   t.typname, t.typtype, t.typbasetype, t.typnotnull, md5(regexp_replace(t.typdefaultbin::text,
                     ':location -?\d+', '', 'g')), k.checks), ''
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_type t on t.oid = a.atttypid
    left join pg_catalog.pg_attrdef d on a.atthasdef and d.adrelid = a.attrelid and d.adnum = a.attnum
    left join lateral (select string_agg(concat_ws(' ', k.conname, k.convalidated,
      md5(regexp_replace(k.conbin::text, ':location -?\d+', '', 'g'))), ',' order by k.conname) as checks
                         from pg_catalog.pg_constraint k where k.contypid = t.oid) k on t.typtype = 'd'
   where a.attrelid = any($1) and a.attnum > 0 and not a.attisdropped
  union all
  -- A trigger is of people where no constraint of the server's own made it; those that
  -- a partition inherits are internal before 15, and have a parent.
  select g.tgrelid, case when k.contype in ('f', 'p', 'u', 'x') then 'reference' else 'trigger' end,
         pg_catalog.quote_ident(case when k.contype in ('f', 'p', 'u', 'x') then k.conname else g.tgname end),
         concat_ws(' ', case when k.contype in ('f', 'p', 'u', 'x') then 'RI' else g.tgname::text end, g.tgfoid,
           g.tgtype, g.tgenabled, g.tgdeferrable, g.tginitdeferred, g.tgattr::text, encode(g.tgargs, 'hex'),
                   md5(regexp_replace(g.tgqual::text, ':location -?\d+', '', 'g')), g.tgoldtable, g.tgnewtable,
                   k.conname, k.conrelid, k.confrelid, k.contype, k.confdeltype, k.confupdtype, k.confmatchtype,
                     k.conkey::text, k.confkey::text),
         concat_ws(' ', case when coalesce(k.contype, 't') not in ('f', 'p', 'u', 'x') and (not g.tgisinternal
           or g.tgparentid <> 0) then 'people' end,
                   case when k.contype = 'f' and k.confrelid = g.tgrelid then 'referred' end,
                   case when g.tgenabled = 'D' then 'off' end,
                   case when g.tgtype & 8 <> 0 then 'DELETE' end, case when g.tgtype & 4 <> 0 then 'INSERT' end, case
                     when g.tgtype & 16 <> 0 then 'UPDATE' end)
    from pg_catalog.pg_trigger g
    left join pg_catalog.pg_constraint k on k.oid = g.tgconstraint
   where g.tgrelid = any($1)
  union all
  select w.ev_class, 'rule', pg_catalog.quote_ident(w.rulename),
         concat_ws(' ', w.rulename, w.ev_type, w.ev_enabled, w.is_instead,
           md5(regexp_replace(w.ev_qual::text, ':location -?\d+', '', 'g')),
             md5(regexp_replace(w.ev_action::text, ':(location|stmt_location|stmt_len) -?\d+', '', 'g'))),
         concat_ws(' ', case when w.ev_enabled = 'D' then 'off' end, case w.ev_type when '2' then 'UPDATE'
           when '3' then 'INSERT' when '4' then 'DELETE' end)
    from pg_catalog.pg_rewrite w
   where w.ev_class = any($1)
  union all
  select p.polrelid, 'policy', pg_catalog.quote_ident(p.polname),
         concat_ws(' ', p.polname, p.polcmd, p.polpermissive, p.polroles::text,
           md5(regexp_replace(p.polqual::text, ':location -?\d+', '', 'g')), md5(regexp_replace(p.polwithcheck::text,
             ':location -?\d+', '', 'g'))), ''
    from pg_catalog.pg_policy p
   where p.polrelid = any($1)
  union all
  select k.conrelid, 'constraint', pg_catalog.quote_ident(k.conname),
         concat_ws(' ', k.conname, k.contype, k.convalidated, k.condeferrable, k.condeferred, k.conkey::text,
           k.confrelid, k.confkey::text, k.confdeltype, md5(regexp_replace(k.conbin::text, ':location -?\d+', '',
             'g')), to_jsonb(k) ->> 'conenforced'), ''
    from pg_catalog.pg_constraint k
   where k.conrelid = any($1) and k.contype in ('c', 'f', 'p', 'u', 'x')
  union all
  select i.indrelid, 'unique', pg_catalog.quote_ident(x.relname),
         concat_ws(' ', i.indisunique, i.indisprimary, i.indisexclusion, i.indimmediate, i.indisreplident,
           i.indnkeyatts, i.indkey::text, i.indclass::text, i.indcollation::text,
                   md5(regexp_replace(i.indexprs::text, ':location -?\d+', '', 'g')),
                     md5(regexp_replace(i.indpred::text, ':location -?\d+', '', 'g')),
                       to_jsonb(i) ->> 'indnullsnotdistinct'), ''
    from pg_catalog.pg_index i
    join pg_catalog.pg_class x on x.oid = i.indexrelid
   where i.indrelid = any($1) and i.indisvalid and (i.indisunique or i.indisexclusion or i.indisreplident)
  union all
  select h.inhrelid, 'parent', h.inhparent::regclass::text, concat_ws(' ', h.inhparent, h.inhseqno,
    to_jsonb(h) ->> 'inhdetachpending'), ''
    from pg_catalog.pg_inherits h
   where h.inhrelid = any($1)
  union all
  select q.partrelid, 'key', 'its partition key', concat_ws(' ', q.partstrat, q.partdefid, q.partattrs::text,
    q.partclass::text, q.partcollation::text, md5(regexp_replace(q.partexprs::text, ':location -?\d+', '', 'g'))), ''
    from pg_catalog.pg_partitioned_table q
   where q.partrelid = any($1)
  union all
  select r.oid, 'publication', pg_catalog.quote_ident(b.pubname), concat_ws(' ', b.pubname, b.pubinsert, b.pubupdate,
    b.pubdelete, b.pubtruncate, b.pubviaroot, x.prrelid, md5(regexp_replace((to_jsonb(x) - 'oid')::text,
      ':location -?\d+', '', 'g'))),
         concat_ws(' ', case when b.pubdelete then 'DELETE' end, case when b.pubinsert then 'INSERT' end, case
           when b.pubupdate then 'UPDATE' end,
                   -- The row filter that counts for r reads a column outside its replica identity.
                   case when (x.prrelid = r.oid or b.pubviaroot) and (r.c).relreplident <> 'f' and exists (
                     select from regexp_matches(to_jsonb(x) ->> 'prqual', ':varattno (\d+)', 'g') v
                       join pg_catalog.pg_attribute f on f.attrelid = x.prrelid and f.attnum = v[1]::int2
                       join pg_catalog.pg_attribute a on a.attrelid = r.oid and a.attname = f.attname
                      where not exists (select from pg_catalog.pg_index i
                                         where i.indrelid = r.oid and case (r.c).relreplident
                                           when 'd' then i.indisprimary when 'i' then i.indisreplident end
                                           and a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1])))
                                             then 'filtered' end)
    from pg_catalog.pg_publication b
    join rels r on true
    left join pg_catalog.pg_publication_rel x on x.prpubid = b.oid and x.prrelid = any(r.line)
   where b.puballtables or x.oid is not null
/*15*/  union all
/*15*/  select r.oid, 'publication', pg_catalog.quote_ident(b.pubname), concat_ws(' ', b.pubname, b.pubinsert,
/*15*/    b.pubupdate, b.pubdelete, b.pubtruncate, b.pubviaroot, y.pnnspid),
/*15*/         concat_ws(' ', case when b.pubdelete then 'DELETE' end, case when b.pubinsert then 'INSERT' end, case
/*15*/           when b.pubupdate then 'UPDATE' end)
/*15*/    from pg_catalog.pg_publication_namespace y
/*15*/    join pg_catalog.pg_publication b on b.oid = y.pnpubid
/*15*/    join pg_catalog.pg_class z on z.relnamespace = y.pnnspid
/*15*/    join rels r on z.oid = any(r.line)
  union all
  select s.srrelid, 'subscription', s.srsubid::text, s.srsubid::text, ''
    from pg_catalog.pg_subscription_rel s
   where s.srrelid = any($1)
  union all
  select e.objid, 'extension', pg_catalog.quote_ident(x.extname), e.refobjid::text, ''
    from pg_catalog.pg_depend e
    join pg_catalog.pg_extension x on x.oid = e.refobjid
   where e.classid = 'pg_catalog.pg_class'::regclass and e.objid = any($1) and e.objsubid = 0 and e.deptype = 'e'
)
select oid::int8, kind, name, line, mark from parts

-- Rights of upkeep on PostgreSQL 13 and later, as statements for psql 13 or later. Once
-- for each database, and once more for each table that an action is to work on:
--
--   psql -v role=upkeep -v schema=public -v table=logs -f FILE DATABASE
--
-- Without a table, what needs one is left out, and said. Granting twice is the same as
-- once. Who runs this must own the objects, or be a superuser.
\set ON_ERROR_STOP on
set client_min_messages = warning;
set search_path = pg_catalog, public;
\if :{?role}
\else
\set role 'upkeep'
\endif
\if :{?schema}
\else
\set schema public
\endif
\if :{?database}
\else
\set database :DBNAME
\endif
\set lends false
\set owns false
select pg_get_userbyid(d.datdba) as database_owner, r.rolname = :'role' as owns_database, r.rolname <> :'role' and not r.rolsuper as lends_database
  from pg_database d join pg_roles r on r.oid = d.datdba where d.datname = current_database() \gset
\if :{?table}
select to_regclass(format('%I.%I', :'schema', :'table')) is null as gone \gset
\if :gone
do $$ begin raise exception 'there is no table of that name in that schema of this database'; end $$;
\endif
select pg_get_userbyid(c.relowner) as owner, r.rolname = :'role' as owns, r.rolname <> :'role' and not r.rolsuper as lends
  from pg_class c join pg_roles r on r.oid = c.relowner where c.oid = to_regclass(format('%I.%I', :'schema', :'table')) \gset
\endif
select current_setting('server_version_num')::int / 10000 as version, current_setting('server_version_num')::int / 10000 between 0 and 13 as until_13, current_setting('server_version_num')::int / 10000 between 0 and 16 as until_16, current_setting('server_version_num')::int / 10000 between 14 and 999 as since_14, current_setting('server_version_num')::int / 10000 between 17 and 999 as since_17 \gset

-- monitoring: Collectors read, and guards ask how much room there is.
grant connect on database :"database" to :"role"; -- to be let in where PUBLIC is not
grant pg_monitor to :"role"; -- other roles' sessions and statements, replicas, the folder of the log
\if :since_14
grant pg_read_all_data to :"role"; -- what ANALYZE found in tables, the last values of sequences, the ages of rows
\endif
\if :until_13
grant usage on schema :"schema" to :"role"; -- the same
grant select on all tables in schema :"schema" to :"role"; -- the same
grant select on all sequences in schema :"schema" to :"role"; -- the same
\endif

-- postgres/advise_indexes: AdviseIndexes writes a list of the indexes of a server that are unused, duplicate, redundant, invalid or bloated, and of foreign keys without one.
grant connect on database :"database" to :"role"; -- to read the catalogs and the statistics of its indexes
\if :since_14
grant pg_read_all_data to :"role"; -- to estimate the bloat of indexes
\endif
\if :until_13
grant select on all tables in schema :"schema" to :"role"; -- to estimate the bloat of indexes
\endif

-- postgres/analyze: Analyze gathers the planner's statistics of one table anew, with ANALYZE.
\if :until_16
\if :{?table}
\if :lends
grant :"owner" to :"role"; -- to analyze the table
\elif :owns
\else
do $$ begin raise exception 'the table belongs to a superuser, and who may act for it is one: give the table an owner of its own before (alter table … owner to …)'; end $$;
\endif
\else
\warn 'postgres/analyze: rights are left out that name the table; give psql -v table=…'
\endif
\endif
\if :since_17
\if :{?table}
grant maintain on table :"schema".:"table" to :"role"; -- to analyze the table
\else
\warn 'postgres/analyze: rights are left out that name the table; give psql -v table=…'
\endif
\endif
\if :since_17
grant usage on schema :"schema" to :"role"; -- to name the table
\endif

-- postgres/archive: Archive moves the rows of one table that are past their age to another table, in small batches that move and delete in one statement.
grant usage on schema :"schema" to :"role"; -- the table and the destination
\if :{?table}
grant select, delete on table :"schema".:"table" to :"role"; -- take rows that are past their age
grant update on table :"schema".:"table" to :"role"; -- hold rows while they are taken
grant insert on table :"schema".:"table" to :"role"; -- the destination's table, where it is a table
\else
\warn 'postgres/archive: rights are left out that name the table; give psql -v table=…'
\endif
grant pg_monitor to :"role"; -- see how far replicas are behind
\if :until_16
\if :{?table}
\if :lends
grant :"owner" to :"role"; -- vacuum and analyze the table afterwards
\elif :owns
\else
do $$ begin raise exception 'the table belongs to a superuser, and who may act for it is one: give the table an owner of its own before (alter table … owner to …)'; end $$;
\endif
\else
\warn 'postgres/archive: rights are left out that name the table; give psql -v table=…'
\endif
\endif
\if :since_17
\if :{?table}
grant maintain on table :"schema".:"table" to :"role"; -- vacuum and analyze the table afterwards
\else
\warn 'postgres/archive: rights are left out that name the table; give psql -v table=…'
\endif
\endif
create schema if not exists upkeep authorization :"role"; -- write down which rows are in which object, where the destination is a folder or a bucket

-- postgres/drop_index: DropIndex drops one index that is unused, a duplicate or invalid, with DROP INDEX CONCURRENTLY.
\if :{?table}
\if :lends
grant :"owner" to :"role"; -- to drop an index of the table
\elif :owns
\else
do $$ begin raise exception 'the table belongs to a superuser, and who may act for it is one: give the table an owner of its own before (alter table … owner to …)'; end $$;
\endif
\else
\warn 'postgres/drop_index: rights are left out that name the table; give psql -v table=…'
\endif
grant pg_monitor to :"role"; -- to see how old the transactions of others are

-- postgres/freeze: Freeze vacuums the tables of a database whose transactions are oldest, the oldest first, with VACUUM (FREEZE).
\if :until_16
\if :{?table}
\if :lends
grant :"owner" to :"role"; -- to vacuum a table; to own the database suffices for its catalogs, and those that all databases share want a superuser
\elif :owns
\else
do $$ begin raise exception 'the table belongs to a superuser, and who may act for it is one: give the table an owner of its own before (alter table … owner to …)'; end $$;
\endif
\else
\warn 'postgres/freeze: rights are left out that name the table; give psql -v table=…'
\endif
\endif
\if :since_17
grant pg_maintain to :"role"; -- to vacuum every table and catalog
grant pg_read_all_data to :"role"; -- to use every schema, without which no table in it is vacuumed
\endif
grant pg_read_all_stats to :"role"; -- to see who holds transactions back

-- postgres/purge: Purge deletes the rows of one table that are past their age, in small batches, for good.
grant usage on schema :"schema" to :"role"; -- the table
\if :{?table}
grant select, delete on table :"schema".:"table" to :"role"; -- delete rows that are past their age
grant update on table :"schema".:"table" to :"role"; -- hold rows while they are taken
\else
\warn 'postgres/purge: rights are left out that name the table; give psql -v table=…'
\endif
grant pg_monitor to :"role"; -- see how far replicas are behind
\if :until_16
\if :{?table}
\if :lends
grant :"owner" to :"role"; -- vacuum and analyze the table afterwards
\elif :owns
\else
do $$ begin raise exception 'the table belongs to a superuser, and who may act for it is one: give the table an owner of its own before (alter table … owner to …)'; end $$;
\endif
\else
\warn 'postgres/purge: rights are left out that name the table; give psql -v table=…'
\endif
\endif
\if :since_17
\if :{?table}
grant maintain on table :"schema".:"table" to :"role"; -- vacuum and analyze the table afterwards
\else
\warn 'postgres/purge: rights are left out that name the table; give psql -v table=…'
\endif
\endif

-- postgres/reindex: Reindex builds one bloated index anew with REINDEX INDEX CONCURRENTLY, while reads and writes go on.
\if :{?table}
\if :lends
grant :"owner" to :"role"; -- to build the index anew and to drop what an interruption leaves; MAINTAIN does not allow the second
\elif :owns
\else
do $$ begin raise exception 'the table belongs to a superuser, and who may act for it is one: give the table an owner of its own before (alter table … owner to …)'; end $$;
\endif
\else
\warn 'postgres/reindex: rights are left out that name the table; give psql -v table=…'
\endif
grant pg_monitor to :"role"; -- to see how old the transactions of others are, and to measure with pgstatindex

-- postgres/repack: Repack gives the space of one bloated table back to the disk, without a lock that others wait for longer than a moment.
\if :{?table}
\if :lends
grant :"owner" to :"role"; -- to lock, to vacuum and to analyze the table, and to read and to move its rows
\elif :owns
\else
do $$ begin raise exception 'the table belongs to a superuser, and who may act for it is one: give the table an owner of its own before (alter table … owner to …)'; end $$;
\endif
\else
\warn 'postgres/repack: rights are left out that name the table; give psql -v table=…'
\endif
grant usage on schema :"schema" to :"role"; -- to find the table

-- postgres/reset_statements: ResetStatements begins the statistics of pg_stat_statements anew, after it has written down who was slowest.
grant execute on function pg_stat_statements_reset to :"role"; -- to reset the statistics, in the database that has the extension
grant pg_read_all_stats to :"role"; -- to see every statement before

-- postgres/restore_archived: Restore archived brings rows of a span of time back from the table that postgres/archive has moved them to.
grant usage on schema :"schema" to :"role"; -- the table and the destination
\if :{?table}
grant select, delete on table :"schema".:"table" to :"role"; -- take rows that are past their age
grant update on table :"schema".:"table" to :"role"; -- hold rows while they are taken
grant insert on table :"schema".:"table" to :"role"; -- the destination's table, where it is a table
\else
\warn 'postgres/restore_archived: rights are left out that name the table; give psql -v table=…'
\endif
grant pg_monitor to :"role"; -- see how far replicas are behind
\if :until_16
\if :{?table}
\if :lends
grant :"owner" to :"role"; -- vacuum and analyze the table afterwards
\elif :owns
\else
do $$ begin raise exception 'the table belongs to a superuser, and who may act for it is one: give the table an owner of its own before (alter table … owner to …)'; end $$;
\endif
\else
\warn 'postgres/restore_archived: rights are left out that name the table; give psql -v table=…'
\endif
\endif
\if :since_17
\if :{?table}
grant maintain on table :"schema".:"table" to :"role"; -- vacuum and analyze the table afterwards
\else
\warn 'postgres/restore_archived: rights are left out that name the table; give psql -v table=…'
\endif
\endif
grant temporary on database :"database" to :"role"; -- look at the rows of an object before they are brought back

-- postgres/terminate: Terminate ends the worst blocking session of a database with pg_terminate_backend, after a person has approved it.
grant pg_read_all_stats to :"role"; -- to see the sessions of others
grant pg_signal_backend to :"role"; -- to end the sessions of roles that are no superusers

-- postgres/vacuum: Vacuum removes the dead rows of one table and analyzes it, with VACUUM (ANALYZE).
\if :until_16
\if :{?table}
\if :lends
grant :"owner" to :"role"; -- to vacuum the table
\elif :owns
\else
do $$ begin raise exception 'the table belongs to a superuser, and who may act for it is one: give the table an owner of its own before (alter table … owner to …)'; end $$;
\endif
\else
\warn 'postgres/vacuum: rights are left out that name the table; give psql -v table=…'
\endif
\endif
\if :since_17
\if :{?table}
grant maintain on table :"schema".:"table" to :"role"; -- to vacuum the table
\else
\warn 'postgres/vacuum: rights are left out that name the table; give psql -v table=…'
\endif
\endif
\if :since_17
grant usage on schema :"schema" to :"role"; -- to name the table
\endif
grant pg_read_all_stats to :"role"; -- to name who holds dead rows back

-- postgres/vacuum_full: VacuumFull writes one table and its indexes anew with VACUUM (FULL, ANALYZE), under a lock that blocks all reads and writes.
\if :until_16
\if :{?table}
\if :lends
grant :"owner" to :"role"; -- to vacuum the table
\elif :owns
\else
do $$ begin raise exception 'the table belongs to a superuser, and who may act for it is one: give the table an owner of its own before (alter table … owner to …)'; end $$;
\endif
\else
\warn 'postgres/vacuum_full: rights are left out that name the table; give psql -v table=…'
\endif
\endif
\if :since_17
\if :{?table}
grant maintain on table :"schema".:"table" to :"role"; -- to vacuum the table
\else
\warn 'postgres/vacuum_full: rights are left out that name the table; give psql -v table=…'
\endif
\endif
grant usage on schema :"schema" to :"role"; -- to find the table
\if :{?table}
grant select on table :"schema".:"table" to :"role"; -- to see the statistics that the estimate is made from
\else
\warn 'postgres/vacuum_full: rights are left out that name the table; give psql -v table=…'
\endif

#!/bin/sh
# Run once, when the data folder of PostgreSQL is made: a role with no more rights than upkeep needs.
set -eu
psql -v ON_ERROR_STOP=1 --username postgres --dbname postgres -v password="$(cat /run/secrets/upkeep_postgres_password)" <<'SQL'
create extension if not exists pg_stat_statements;
create role upkeep login password :'password';
grant pg_read_all_data, pg_monitor, pg_maintain to upkeep;
SQL

#!/bin/sh
# Run once, when the data folder of PostgreSQL is made: a role with no more rights than upkeep needs, and the
# databases of the sample services with the role that owns them.
set -eu
psql -v ON_ERROR_STOP=1 --username postgres --dbname postgres -v password="$(cat /run/secrets/upkeep_postgres_password)" \
	-v app_password="$(cat /run/secrets/app_postgres_password)" <<'SQL'
create extension if not exists pg_stat_statements;
create role upkeep login password :'password';
grant pg_read_all_data, pg_monitor, pg_maintain to upkeep;
create role app login password :'app_password';
create database authdb owner app;
create database apidb owner app;
create database admindb owner app;
SQL

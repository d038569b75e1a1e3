#!/bin/sh
# Runs once, when the postgres container creates its data folder: one database and one role per service; no role can
# connect to the database of another service.
set -eu
for service in posts comments people notify; do
    password=$(printenv "$(echo "$service" | tr '[:lower:]' '[:upper:]')_DATABASE_PASSWORD")
    psql --set ON_ERROR_STOP=1 --set service="$service" --set password="$password" --username postgres <<'SQL'
create role :"service" login password :'password';
create database :"service" owner :"service";
revoke all on database :"service" from public;
SQL
done
psql --set ON_ERROR_STOP=1 --username postgres \
    --command 'revoke all on database postgres from public' --command 'revoke all on database template1 from public'

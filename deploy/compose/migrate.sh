#!/bin/sh
# Brings the schema up to date, makes the programs' groups with their rights, and a login in each with the password of its
# secret. Runs before every start; the same again changes nothing. DATABASE_URL is that of the tables' owner.
set -eu
secrets="${SECRETS:-/run/secrets}"
psql="$(python -c 'from copytrader_core.store.embedded import server_program; print(server_program("psql"))')"

copytrader db roles
for program in ingest assets executor operator reader; do
    # host:port:database:user:password, as libpq reads it.
    PROGRAM_PASSWORD="$(cut -d: -f5- "$secrets/pgpass-$program")" "$psql" --quiet --set=ON_ERROR_STOP=1 \
        --set=program="$program" "$DATABASE_URL" <<'SQL'
\getenv word PROGRAM_PASSWORD
SELECT format('CREATE ROLE %I LOGIN', :'program') WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = :'program') \gexec
SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', :'program', :'word') \gexec
SELECT format('GRANT %I TO %I', 'copytrader_' || :'program', :'program') \gexec
SQL
done
echo "the database is up to date"

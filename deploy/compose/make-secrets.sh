#!/bin/sh
# Makes what is missing under secrets/: a password for each login of the database and for Grafana. What is there stays.
# The provider's token is yours to write into secrets/x-token. Files belong to the user of the image, 10001.
set -eu
cd "$(dirname "$0")"
umask 077
word() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }
for program in owner ingest assets executor operator reader; do
    [ "$program" = owner ] && login=copytrader_owner || login="$program"
    [ -e "secrets/pgpass-$program" ] || printf '127.0.0.1:5432:copytrader:%s:%s\n' "$login" "$(word)" > "secrets/pgpass-$program"
done
[ -e secrets/pg-owner-password ] || cut -d: -f5- secrets/pgpass-owner | tr -d '\n' > secrets/pg-owner-password
[ -e secrets/grafana-admin ] || word > secrets/grafana-admin
[ "$(id -u)" != 0 ] || chown 10001:10001 secrets/pgpass-* secrets/x-token secrets/wallet-key secrets/rpc-url-* 2>/dev/null || true
# Grafana's own user reads its password.
chmod 0644 secrets/grafana-admin
ls -l secrets

#!/bin/sh
# Makes the passwords of the compose stack, once. They are not in git.
set -eu
dir=$(dirname "$0")/secrets
mkdir -p "$dir"
chmod 700 "$dir"
umask 022 # the folder is closed; within the containers other users read the files
word() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
for name in upkeep_alertmanager_token upkeep_prometheus_token upkeep_postgres_password upkeep_redis_password postgres_password grafana_password; do
	[ -s "$dir/$name" ] || word >"$dir/$name"
done
[ -s "$dir/redis_users" ] || cat >"$dir/redis_users" <<EOF
user default off
user upkeep on >$(cat "$dir/upkeep_redis_password") ~* +info +bgsave +client|setname +ping
EOF

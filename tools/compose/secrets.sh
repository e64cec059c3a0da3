#!/bin/sh
# Makes the passwords of the compose stack, once. They are not in git.
set -eu
dir=$(dirname "$0")/secrets
mkdir -p "$dir"
chmod 700 "$dir"
umask 022 # the folder is closed; within the containers other users read the files
word() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
for name in upkeep_alertmanager_token upkeep_prometheus_token upkeep_postgres_password upkeep_redis_password app_postgres_password app_redis_password postgres_password \
	alertmanager_password grafana_password; do
	[ -s "$dir/$name" ] || word >"$dir/$name"
done
# upkeep has what "upkeep rights --kind redis" says. The sample services read and write keys.
cat >"$dir/redis_users" <<EOF
user default off
user upkeep on >$(cat "$dir/upkeep_redis_password") resetkeys resetchannels -@all +ping +info +slowlog|get +slowlog|len +latency|histogram +client|setname +hello +multi +discard +bgsave
user app on >$(cat "$dir/app_redis_password") ~* -@all +@read +@write +@connection -@dangerous
EOF
# Alertmanager has the hash of a password: who posts an alert to it has upkeep act. upkeep is built for it.
if ! [ -s "$dir/alertmanager_web" ]; then
	touch "$dir/alertmanager_web" # compose looks for it
	docker compose run --rm --no-deps -T --build upkeep password upkeep <"$dir/alertmanager_password" >"$dir/alertmanager_web.new"
	mv "$dir/alertmanager_web.new" "$dir/alertmanager_web"
fi

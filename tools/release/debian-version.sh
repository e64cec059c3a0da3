#!/bin/sh
# Writes a version as dpkg has it, so that it sorts as releases follow one another. A tag v1.2.3-rc.1 is 1.2.3~rc.1,
# which comes before 1.2.3; what git describe writes of a commit after a tag, v1.2.3-4-gabc, is 1.2.3+4.gabc, which
# comes after it; a commit without a tag comes before all versions, by its date.
#
#   tools/release/debian-version.sh VERSION SECONDS
set -eu
plain=${1#v}
if echo "$plain" | grep -qE '^[0-9]+\.[0-9]+\.[0-9]+-[0-9]+-g[0-9a-f]+(-dirty)?$'; then
	echo "$plain" | sed 's/-/+/; s/-/./g'
elif echo "$plain" | grep -qE '^[0-9]+\.[0-9]+\.[0-9]+([-+].*)?$'; then
	echo "$plain" | sed 's/-/~/; s/-/./g'
else
	echo "0.0.0~git$(date -u -d "@$2" +%Y%m%d%H%M).$(echo "$plain" | tr -- '-' '.')"
fi

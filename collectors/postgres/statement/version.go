package statement

import (
	"fmt"
	"strconv"
	"strings"
)

// Recent returns an error that says what to do where the extension pg_stat_statements has
// stayed old, as after pg_upgrade: before 1.8 its columns have other names.
func Recent(version string) error {
	major, minor, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(minor); err != nil || major != "1" || n >= 8 {
		return nil //nolint:nilerr // a version that is written in another way is a newer one
	}
	return fmt.Errorf("pg_stat_statements has version %s in this database, 1.8 or later is needed: "+
		"ALTER EXTENSION pg_stat_statements UPDATE", version)
}

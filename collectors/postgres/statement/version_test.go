package statement_test

import (
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/collectors/postgres/statement"
)

func TestRecent(t *testing.T) {
	for version, recent := range map[string]bool{"1.4": false, "1.7": false, "1.8": true, "1.10": true, "1.12": true,
		"2.0": true, "unpackaged": true} {
		err := statement.Recent(version)
		if (err == nil) != recent || err != nil && !strings.Contains(err.Error(), "ALTER EXTENSION") {
			t.Errorf("%s: %v", version, err)
		}
	}
}

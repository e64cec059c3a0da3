package console

import (
	"strings"
	"testing"
)

// A long error is cut between words: half of an address would be another address.
func TestShort(t *testing.T) {
	const address = "https://service.example:8443/health"
	head := strings.Repeat("a ", problemLimit/2-5)
	for _, tc := range []struct{ name, text, want string }{
		{"short", "connection  refused\nconnection refused\n", "connection refused"},
		{"address at the limit", head + address + " refused the connection", head + address + " …"},
		{"address at the end", head + address, head + address},
		{"a limit between words", strings.Repeat("a ", problemLimit), strings.Repeat("a ",
			problemLimit/2) + "a …"},
		{"no words", strings.Repeat("a", 3*problemLimit), strings.Repeat("a", problemLimit) + "…"},
	} {
		if got := short(tc.text); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

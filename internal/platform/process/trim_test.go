package process_test

import (
	"os"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/process"
)

// What is given back is not needed, and what is needed comes again: the test goes on.
func TestTrim(t *testing.T) {
	pages := func() (kb string) {
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "RssFile:")
		return strings.Fields(rest)[0]
	}
	before := pages()
	for range 3 {
		if err := process.Trim(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s kB of files before, %s kB after", before, pages())
	if before == "" || pages() == "" {
		t.Error("/proc/self/status is read no more")
	}
}

package main

import (
	"os"
	"strings"
	"testing"
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
		if err := trim(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s kB of files before, %s kB after", before, pages())
	if c := command(); len(c.Commands()) < 5 || c.UsageString() == "" {
		t.Errorf("commands: %v", c.Commands())
	}
}

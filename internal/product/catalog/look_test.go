package catalog_test

import (
	"testing"

	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/look"
)

// Every metric that the look reads is declared by a collector: a name that is mistyped would be a finding that
// never comes.
func TestLookReadsWhatIsDeclared(t *testing.T) {
	all, seen := declared(t), make(map[string]bool)
	for _, name := range look.Metrics() {
		if all[name] == nil || seen[name] {
			t.Errorf("%s is declared by no collector, or listed twice", name)
		}
		seen[name] = true
	}
	names := make(map[string]bool)
	for _, c := range catalog.EveryCollector() {
		names[c.Name] = true
	}
	for _, kind := range []string{"postgres", "redis", "docker", "host"} {
		for _, name := range look.Expected(kind) {
			if !names[name] {
				t.Errorf("there is no collector %s", name)
			}
		}
	}
}

package app

import (
	"slices"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// A collector is switched off for every target, or for those that are named; the others have the settings.
func TestConfigured(t *testing.T) {
	t.Parallel()
	var c config.Config
	c.Collectors.Settings = map[string]config.Collector{
		"redis/slowlog":   {DisabledFor: []string{"old"}, Every: time.Hour},
		"redis/clients":   {Disabled: true},
		"postgres/vacuum": {DisabledFor: []string{"main", "other"}},
	}
	var all []collectors.Collector
	for _, name := range []string{"redis/slowlog", "redis/clients", "redis/memory"} {
		for _, target := range []string{"old", "new"} {
			all = append(all, collectors.Collector{Name: name, Target: target, Every: time.Minute})
		}
	}
	all = append(all, collectors.Collector{Name: "postgres/vacuum", Target: "main", Every: time.Minute})
	var got []string
	for _, k := range configured(&c, all) {
		got = append(got, k.Name+" "+k.Target+" "+k.Every.String())
	}
	if want := []string{"redis/slowlog new 1h0m0s", "redis/memory old 1m0s", "redis/memory new 1m0s"}; !slices.Equal(got,
		want) {
		t.Errorf("%q, want %q", got, want)
	}
}

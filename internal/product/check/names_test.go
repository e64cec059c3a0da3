package check_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/pkg/labels"
	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/check"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// aboutNames is a configuration that can be read, in which everything is called by the names and little is right.
func aboutNames(t *testing.T, names []string) []byte {
	t.Helper()
	var redis, probe, archives, policies, schedules, windows []any
	for _, name := range names {
		redis = append(redis, map[string]any{"name": name, "url": "redis://h"})
		probe = append(probe, map[string]any{"name": name, "url": "http://h/", "ca_file": "/no/" + name})
		archives = append(archives, map[string]any{"database": "d", "table": name, "column": name,
			"to": map[string]any{"folder": "/no/" + name}})
		match, err := labels.NewMatcher(labels.MatchEqual, "alertname", "x"+name)
		if err != nil {
			t.Fatal(err)
		}
		policies = append(policies, map[string]any{"name": name, "match": []any{match.String()},
			"action":  "redis/bgsave",
			"subject": map[string]any{"server": name + "x"}})
		schedules = append(schedules, map[string]any{"name": name, "cron": "0 3 * * *", "action": "redis/bgsave",
			"subject": map[string]any{"server": name + "y"}})
		windows = append(windows, map[string]any{"name": name, "time_intervals": []any{map[string]any{
			"years": []any{"2001"}}}})
	}
	text, err := yaml.Marshal(map[string]any{"targets": map[string]any{"redis": redis, "probe": probe,
		"postgres": []any{
			map[string]any{"name": "main", "url": "postgres://h/d", "archives": archives}}},
		"policies": policies, "schedules": schedules, "windows": windows})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Whatever things are called in a configuration, what is found is said in one line each, with its place, and each thing
// once.
func TestNamesInFindings(t *testing.T) {
	t.Parallel()
	unique := make(map[string]bool)
	visibletest.Names(t, func(name string) {
		if len(name) < 2000 && utf8.ValidString(name) && !strings.ContainsAny(name, "\x00$") { // of labels
			unique[name] = true
		}
	})
	place := regexp.MustCompile(`^f:\d+: (warning: )?.`)
	found := 0
	for names := range slices.Chunk(slices.Sorted(maps.Keys(unique)), 80) {
		c, source, err := config.ParseSource("f", aboutNames(t, names), app.Known())
		if err != nil {
			t.Fatal(err)
		}
		all, err := check.Config(c, source)
		if err != nil {
			t.Fatal(err)
		}
		found += len(all)
		seen := make(map[string]bool)
		for _, f := range all {
			line := f.String()
			if visibletest.Line(t, line); !place.MatchString(line) || seen[line] {
				t.Errorf("not one line, or there twice: %q", line)
			}
			seen[line] = true
		}
	}
	if found < 3*len(unique) {
		t.Errorf("%d findings about %d names", found, len(unique))
	}
}

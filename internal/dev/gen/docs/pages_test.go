package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/remediate"
)

func TestCommittedPagesAreCurrent(t *testing.T) {
	files, err := pages()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", "..", "..", "..", name))
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is old; run make generate\n%s", name, diff)
		}
	}
}

func TestDutiesNameUnitsThatThereAre(t *testing.T) {
	var names []string
	for _, c := range catalog.EveryCollector() {
		names = append(names, c.Name)
	}
	for _, a := range catalog.EveryAction() {
		names = append(names, a.Name)
	}
	rules, err := alerts.Parse(alerts.Files())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		names = append(names, r.Name)
	}
	var reference strings.Builder
	for _, page := range []string{"cli.md", "config.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		reference.Write(text)
	}
	for _, d := range duties() {
		for _, way := range d.ways {
			if !strings.Contains(reference.String(), "\n## "+way+"\n") &&
				!strings.Contains(reference.String(), "\n## `"+way+"[]`\n") {
				t.Errorf("%q: there is no %s", d.what, way)
			}
		}
		if len(d.units)+len(d.ways) == 0 && d.missing == "" {
			t.Errorf("%q is done by nothing, and not said to be missing", d.what)
		}
		for _, u := range d.units {
			if !slices.Contains(names, u) {
				t.Errorf("%q: there is no %s", d.what, u)
			}
		}
	}
}

func TestEveryStateHasAMeaning(t *testing.T) {
	for _, s := range remediate.States() {
		if meaning(s) == "" {
			t.Errorf("%s has no meaning", s)
		}
	}
}

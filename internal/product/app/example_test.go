package app_test

import (
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// The example is valid with the existing actions, and nothing in it
// acts without a person.
func TestExample(t *testing.T) {
	c, err := config.Parse("upkeep.example.yaml", []byte(config.Example()), app.Known())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Policies {
		for _, s := range p.Steps {
			if s.Mode == "auto" {
				t.Errorf("policy %q: %s acts by itself", p.Name, s.Action)
			}
		}
	}
}

// So are the archives, which are a comment in it because they name tables.
func TestExampleArchives(t *testing.T) {
	text := config.Example()
	if !strings.Contains(text, "      # archives:\n") {
		return // it names none
	}
	text = strings.ReplaceAll(text, "      # archives:\n", "      archives:\n")
	text = strings.ReplaceAll(text, "      #   - {database:", "        - {database:")
	c, err := config.Parse("upkeep.example.yaml", []byte(text), app.Known())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Targets.Postgres[0].Archives); n != 3 {
		t.Errorf("%d archives, want the three of the manual", n)
	}
}

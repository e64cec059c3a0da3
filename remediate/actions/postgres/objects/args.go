package objects

import (
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
)

// Args are the arguments of a step that moves rows into objects, or back.
type Args struct {
	rows.Args

	Label    string `arg:"label"` // of the store
	Volatile bool   `arg:"volatile,omitempty"`
	Earlier  bool   `arg:"earlier_table,omitempty"`
}

// A Step is one with these arguments.
type Step = remediate.Typed[Args]

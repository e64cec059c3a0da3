package app

import (
	"github.com/ai-micro-service/upkeep/internal/config"
	"github.com/ai-micro-service/upkeep/internal/target"
)

// Targets makes the targets of a configuration. It connects to none of them; they
// are the caller's to close.
func Targets(c *config.Config) (target.Set, error) { return targets(c) }

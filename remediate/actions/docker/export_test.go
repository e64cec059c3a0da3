package docker

import (
	"context"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
)

// Put archives lines of which none may have been blanked.
func Put(ctx context.Context, to depot.Store, id string, lines []byte) error {
	return put(ctx, to, id, lines, lines)
}

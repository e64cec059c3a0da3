// Package keep writes what is to be remembered of logs.
package keep

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// A Keeper writes states to a file, in the order in which they were taken.
type Keeper struct {
	Taken atomic.Uint64 // states

	mu      sync.Mutex
	written uint64 // the number of the last one
	sum     [sha256.Size]byte
}

// Write writes a state by its number, unless a later one was written.
func (k *Keeper) Write(path string, text []byte, number uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	sum := sha256.Sum256(text)
	if number < k.written || sum == k.sum {
		return nil
	}
	if err := target.WriteNote(path, json.RawMessage(text)); err != nil {
		return fmt.Errorf("stored state of logs: %w", err)
	}
	k.written, k.sum = number, sum
	return nil
}

package guard_test

import (
	"errors"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
)

// That our own store does not answer says nothing of Alertmanager: the run goes on from
// where it was when the store is back, and is not held for another reason.
func TestSuppressedWithoutTheStore(t *testing.T) {
	away := &store.AwayError{Err: errors.New("the disk is full")}
	err := guard.Suppressed(deliveries{err: away}).Check(t.Context(),
		remediate.Proposal{Run: remediate.Run{Request: remediate.Request{Incident: 5}}})
	if _, refused := remediate.Refused(err); refused || !store.Away(err) {
		t.Errorf("%v, want that the store is away", err)
	}
}

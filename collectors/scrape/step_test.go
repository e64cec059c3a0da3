package scrape

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
)

// Collectors of one target are asked in step, those of another are not; no pause is much shorter or longer than the
// interval, and after a question in time the next is in the next step.
func TestSteps(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(18, 1))
	of := func(target string, every time.Duration) *asker {
		return &asker{Collector: collectors.Collector{Target: target, Every: every}}
	}
	often, rare, other := of("main", time.Minute), of("main", 10*time.Minute), of("other", time.Minute)
	apart := false
	for range 2000 {
		since := time.Duration(random.Int64N(int64(24 * time.Hour)))
		for _, a := range []*asker{often, rare, other} {
			if pause := a.pause(since); pause <= 0 || pause > a.Every+a.Every/10 {
				t.Fatalf("every %s: a pause of %s", a.Every, pause)
			}
		}
		step := since + rare.pause(since)
		if took := time.Duration(random.Int64N(int64(40 * time.Second))); often.pause(step+took)+took != time.Minute ||
			rare.pause(step+took)+took != 10*time.Minute {
			t.Fatalf("at a step and %s later: %s and %s", took, often.pause(step+took), rare.pause(step+took))
		}
		apart = apart || other.pause(step) != time.Minute
	}
	if !apart {
		t.Error("two targets are asked in the same step")
	}
}

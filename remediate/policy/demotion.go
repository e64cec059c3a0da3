package policy

import (
	"fmt"
	"math"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Wilson returns the lower bound of the share that resolved of all, by Wilson's
// score interval: with z = 1.2816 the true share is above it in nine of ten cases.
func Wilson(resolved, all int, z float64) float64 {
	if all <= 0 {
		return 0
	}
	n := float64(all)
	share := float64(resolved) / n
	middle := share + z*z/(2*n)
	spread := z * math.Sqrt(share*(1-share)/n+z*z/(4*n*n))
	return max(0, (middle-spread)/(1+z*z/n))
}

// Falls reports whether a policy is to be demoted: of its judged runs so
// few have resolved that the share it promises cannot be relied on.
func Falls(terms remediate.Terms, resolved, all int) (falls bool, why string) {
	if terms.Effect <= 0 || all < fewest {
		return false, ""
	}
	bound := Wilson(resolved, all, oneInTen)
	if bound >= terms.Effect {
		return false, ""
	}
	return true, fmt.Sprintf("%d of %d runs resolved the incident (lower bound %.0f %%); at least %.0f %% is required",
		resolved, all, bound*100, terms.Effect*100)
}

// Package axis says from which value to which the axis of a chart goes.
package axis

import "math"

// Range returns the ends of an axis for values, with a tenth of their distance as room at both. An axis of values
// that are not negative begins at zero at the least, and one of values that are no larger than most ends there: a
// share is no more than 1. Without values, and where all of them are zero, it goes from 0 to 1.
func Range(values []float64, most float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	if low > high || low == 0 && high == 0 {
		return 0, min(1, most)
	}
	room := (high - low) / 10
	if room == 0 {
		room = math.Abs(high) / 10
	}
	least := math.Inf(-1)
	if low >= 0 {
		least = 0
	}
	if high > most {
		most = math.Inf(1)
	}
	return max(low-room, least), min(high+room, most)
}

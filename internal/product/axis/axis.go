// Package axis says from which value to which the axis of a chart goes.
package axis

import "math"

// farthest is the largest value that an axis shows: the distance of two of them is still a number.
const farthest = math.MaxFloat64 / 4

// Finite reports whether a chart can show a value.
func Finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// Range returns the ends of an axis for values, with a tenth of their distance as room at both. An axis of values
// that are not negative begins at zero at the least, and one of values that are no larger than most ends there: a
// share is no more than 1. Without values, and where all of them are zero, it goes from 0 to 1.
//
// Both ends are finite, and low is less than high, whatever the values are: those that are not finite do not count.
func Range(values []float64, most float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if Finite(v) {
			low, high = min(low, max(v, -farthest)), max(high, min(v, farthest))
		}
	}
	room := (high - low) / 10
	if room == 0 {
		room = math.Abs(high) / 10
	}
	if low > high || room == 0 { // none, or nothing that differs from zero
		return 0, min(1, most)
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

package axis_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/product/axis"
)

func TestRange(t *testing.T) {
	none := math.Inf(1)
	for name, c := range map[string]struct {
		values          []float64
		most, low, high float64
	}{
		"without values":                     {nil, none, 0, 1},
		"zero":                               {[]float64{0, 0}, none, 0, 1},
		"room at both ends":                  {[]float64{30, 20}, none, 19, 31},
		"not below zero":                     {[]float64{1, 101}, none, 0, 111},
		"negative values":                    {[]float64{-10, 10}, none, -12, 12},
		"one value":                          {[]float64{50}, none, 45, 55},
		"one negative value":                 {[]float64{-50}, none, -55, -45},
		"shares end at 1":                    {[]float64{0.75, 1}, 1, 0.725, 1},
		"shares from zero to 1":              {[]float64{0, 1}, 1, 0, 1},
		"what is more than a share is shown": {[]float64{0, 2}, 1, 0, 2.2},
		"small shares":                       {[]float64{0, 0.01}, 1, 0, 0.011},
	} {
		if low, high := axis.Range(c.values, c.most); math.Abs(low-c.low) > 1e-12 || math.Abs(high-c.high) > 1e-12 {
			t.Errorf("%s: from %v to %v, want %v to %v", name, low, high, c.low, c.high)
		}
	}
}

// Whatever the values are, an axis has two finite ends, the lower one first, and every value is between them.
func TestRangeOfAnything(t *testing.T) {
	odd := []float64{0, math.Copysign(0, -1), 1, -1, 0.5, 1 - 1e-16, 5e-324, -5e-324, 1e-308, math.MaxFloat64,
		-math.MaxFloat64, math.MaxFloat64 / 4, math.Inf(1), math.Inf(-1), math.NaN(), 1e16, 1e16 + 2, 1e300, -1e300}
	r := rand.New(rand.NewPCG(14, 1))
	for range 20_000 {
		values := make([]float64, r.IntN(5))
		for i := range values {
			if values[i] = odd[r.IntN(len(odd))]; r.IntN(3) == 0 {
				values[i] = r.NormFloat64() * math.Pow(10, float64(r.IntN(40)-20))
			}
		}
		most := math.Inf(1)
		if r.IntN(2) == 0 {
			most = 1
		}
		low, high := axis.Range(values, most)
		if !axis.Finite(low) || !axis.Finite(high) || low >= high || !axis.Finite(high-low) {
			t.Fatalf("%v: from %v to %v", values, low, high)
		}
		for _, v := range values {
			const tiny = 1e-300 // what is as near to zero is zero
			if axis.Finite(v) && math.Abs(v) <= math.MaxFloat64/4 && (v < low-tiny || v > high+tiny) {
				t.Fatalf("%v: from %v to %v is without %v", values, low, high, v)
			}
		}
	}
}

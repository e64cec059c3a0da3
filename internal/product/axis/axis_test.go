package axis_test

import (
	"math"
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

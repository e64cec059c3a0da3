package alerts_test

import (
	"math"
	"slices"
)

// A history is a series by the hour: the maximum of each hour, NaN where nothing was read.
type history []float64

// A dayValue is one sample a day, as upkeep:capacity_used:day has them; at is an hour.
type dayValue struct {
	at int
	v  float64
}

// A capacity is what the recording rules say of a series, in plain loops: rules and model are
// written apart and compared.
type capacity struct {
	hours  history
	days   []dayValue
	limits history // nil: it stays what it is
}

// A growth is the estimate at one hour; a value that is absent is NaN.
type growth struct{ median, p90, likely, soon float64 }

func newCapacity(hours history) *capacity {
	c := &capacity{hours: hours}
	for h := range hours {
		v, last := c.max1d(h), -1000
		if len(c.days) > 0 {
			last = c.days[len(c.days)-1].at
		}
		if !math.IsNaN(v) && (h%24 == 0 || last <= h-25) {
			c.days = append(c.days, dayValue{h, v})
		}
	}
	return c
}

func (c *capacity) max1d(h int) float64 {
	most := math.NaN()
	for i := max(0, h-23); i <= h; i++ {
		if v := c.hours[i]; !math.IsNaN(v) && !(most >= v) {
			most = v
		}
	}
	return most
}

// existed reports whether anything was recorded in the day before an hour.
func (c *capacity) existed(h int) bool {
	for i := max(0, h-23); i <= h; i++ {
		if !math.IsNaN(c.max1d(i)) {
			return true
		}
	}
	return false
}

// limit returns the limit that was recorded in an hour.
func (c *capacity) limit(h int) float64 {
	if c.limits == nil || h < 0 || math.IsNaN(c.hours[h]) {
		return math.NaN()
	}
	return c.limits[h]
}

// another reports whether the limit of an hour is that of another disk than some days before.
func (c *capacity) another(h, days int) bool {
	return math.Abs(math.Log(c.limit(h)/c.limit(h-days*24))) > 0.3
}

// others reports whether the limits of two weeks are those of several disks.
func (c *capacity) others(h int) bool {
	low, high := math.Inf(1), math.Inf(-1)
	for i := max(0, h-14*24+1); i <= h; i++ {
		if v := c.limit(i); !math.IsNaN(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	return high > 1.35*low
}

// within returns the days after one hour until another.
func (c *capacity) within(after, until int) []dayValue {
	from, _ := slices.BinarySearchFunc(c.days, after+1, func(d dayValue, h int) int { return d.at - h })
	to, _ := slices.BinarySearchFunc(c.days, until+1, func(d dayValue, h int) int { return d.at - h })
	return c.days[from:to]
}

// changes returns by how much the days of four weeks differ from those some days before.
func (c *capacity) changes(h, days int) (all []float64) {
	for _, d := range c.within(h-28*24, h) {
		if before := c.within(d.at-days*24-25, d.at-days*24); len(before) > 0 && !c.another(d.at, days) {
			all = append(all, d.v-before[len(before)-1].v)
		}
	}
	return all
}

func quantile(q float64, of []float64) float64 {
	if len(of) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(of))
	rank := q * float64(len(sorted)-1)
	low := int(rank)
	high := min(low+1, len(sorted)-1)
	return sorted[low]*(1-(rank-float64(low))) + sorted[high]*(rank-float64(low))
}

// line returns the slope of days, a day, and how straight they are (R²).
func line(days []dayValue) (slope, r2 float64) {
	n := float64(len(days))
	var t, v, tt, tv, vv float64
	for _, d := range days {
		x := float64(d.at) / 24
		t, v = t+x, v+d.v
	}
	t, v = t/n, v/n
	for _, d := range days {
		x := float64(d.at)/24 - t
		tt, tv, vv = tt+x*x, tv+x*(d.v-v), vv+(d.v-v)*(d.v-v)
	}
	slope = tv / tt
	return slope, slope * slope * (n*n - 1) / 12 / (vv / n)
}

// changed reports whether the change of a week was recorded at an hour.
func (c *capacity) changed(h int) bool { return !math.IsNaN(c.max1d(h)) && c.existed(h-7*24) }

// lines returns what capacity-lines records at an hour: slope, straightness and number of the days.
func (c *capacity) lines(h int) (slope, straight, number float64) {
	days := c.within(h-14*24, h)
	slope, straight, number = math.NaN(), math.NaN(), float64(len(days))
	if len(days) < 2 {
		return slope, straight, number
	}
	slope, r2 := line(days)
	if len(days) >= 7 && (c.changed(h) || c.changed(h-1)) && !math.IsInf(r2, 0) && !c.others(h) {
		straight = r2
	}
	return slope, straight, number
}

const (
	evaluated  = 6  // hours between two evaluations of lines and trends
	trendLasts = 13 // hours that a trend is read for
)

// trend returns what capacity-trends records at an hour.
func (c *capacity) trend(h int) (median, p90 float64) {
	if week := c.changes(h, 7); len(week) >= 7 {
		median := quantile(0.5, week)
		if !(quantile(0.3, week) > 0) {
			return math.NaN(), math.NaN()
		}
		if two := c.changes(h, 14); len(two) > 0 && quantile(0.6, two) <= 0.6*median {
			return math.NaN(), math.NaN()
		}
		return median / 7, quantile(0.9, week) / 7
	}
	slope, straight, number := c.lines(h)
	if math.IsNaN(straight) { // that of the evaluation before is read
		_, straight, _ = c.lines(h - evaluated)
	}
	if !(straight >= 0.6) {
		return math.NaN(), math.NaN()
	}
	return slope, slope * (1 + 1.28*math.Sqrt(max(1/straight-1, 0)/(number-2)))
}

func (c *capacity) at(h int, limit float64) growth {
	g := growth{math.NaN(), math.NaN(), math.NaN(), math.NaN()}
	now := c.max1d(h)
	if math.IsNaN(now) {
		return g
	}
	last := (h - 1) / evaluated * evaluated // in an hour of both, the trend comes after what reads it
	for t := last; t > h-trendLasts && math.IsNaN(g.median); t -= evaluated {
		g.median, g.p90 = c.trend(t)
	}
	if g.median > 0 {
		g.likely = 86400 * max(limit-now, 0) / g.median
	}
	if g.median > 0 && g.p90 > 0 {
		g.soon = 86400 * max(limit-now, 0) / g.p90
	}
	return g
}

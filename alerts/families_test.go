package alerts_test

import (
	"math"
	"math/rand/v2"
)

// families are the ways in which something fills up.
func families() []string {
	return []string{"steady", "weekly", "month end", "archive run", "step", "clean-up", "reset", "gaps", "seven days",
		"saw-tooth", "shrinking", "full"}
}

// trending reports whether series of a family fill up in the end.
func trending(family string) bool {
	return family != "saw-tooth" && family != "shrinking" && family != "full"
}

const (
	perHour = 12           // samples of a generated series
	perDay  = 24 * perHour //
	past    = 42           // days before the question
	ahead   = 30           // days from the question to the limit, without noise
)

// A generated series has samples of five minutes, NaN where nothing was read, until it is full or for
// as long again as the limit is away.
type generated struct {
	family  string
	samples []float64
	limit   float64
	begins  int // the first sample
	full    int // when it first reached the limit, -1: it does not
}

// now is the sample at which it is asked when the series is full.
const now = past * perDay

func generate(family string, seed uint64) generated {
	r := rand.New(rand.NewPCG(seed, uint64(len(family)*1000+int(family[1]))))
	const base = 100.0
	daily := base * 0.0005 * math.Pow(60, r.Float64()) // 0.05 % to 3 % a day
	noise := daily * (0.2 + 1.8*r.Float64())
	g := generated{family: family, samples: make([]float64, (past+2*ahead)*perDay), full: -1}
	trend := shape(family, daily, r)
	g.limit = trend(past + ahead)
	switch family {
	case "saw-tooth":
		g.limit = base + 30*daily
	case "shrinking":
		g.limit = base + 10*daily
	case "full":
		g.limit = base + 1.5*noise
	case "seven days":
		g.begins = now - 7*perDay - perHour
	}
	gone := gaps(family, r)
	day := 0.0
	for i := range g.samples {
		if i%perDay == 0 {
			day = r.NormFloat64() * noise
		}
		v := trend(float64(i)/perDay) + day + r.NormFloat64()*noise*0.25
		if family == "full" {
			v = min(v, g.limit)
		}
		g.samples[i] = math.Max(v, 0)
		if g.full < 0 && i > now && v >= g.limit && family != "full" {
			g.full = i
		}
		if i < g.begins || gone(i) {
			g.samples[i] = math.NaN()
		}
	}
	return g
}

// shape returns a family without its noise, by the day.
func shape(family string, daily float64, r *rand.Rand) func(day float64) float64 {
	const base = 100.0
	when, size := float64(past)-2-25*r.Float64(), 10+20*r.Float64() // of what happens once, in days and days of growth
	period := float64(5 + r.IntN(16))
	steady := func(day float64) float64 { return base + daily*day }
	once := func(by float64) func(float64) float64 {
		return func(day float64) float64 {
			if day >= when {
				return steady(day) + by
			}
			return steady(day)
		}
	}
	switch family {
	case "weekly":
		return func(day float64) float64 { return steady(day) + 2*daily*math.Sin(2*math.Pi*day/7) }
	case "month end":
		return func(day float64) float64 {
			if math.Mod(day, 30) >= 27 {
				return steady(day) + 4*daily
			}
			return steady(day)
		}
	case "archive run":
		return once(-size * daily)
	case "clean-up":
		return once(-size / 3 * daily)
	case "step":
		return once(size / 2 * daily)
	case "reset":
		return func(day float64) float64 {
			if day >= when {
				return 0.1*base + daily*(day-when)
			}
			return steady(day)
		}
	case "saw-tooth":
		return func(day float64) float64 { return base + daily*math.Mod(day, period) }
	case "shrinking":
		return func(day float64) float64 { return base - min(daily*day, base*0.8) }
	case "full":
		return func(float64) float64 { return base + 2*daily }
	}
	return steady
}

// gaps returns which samples were not read: three times up to two days.
func gaps(family string, r *rand.Rand) func(int) bool {
	if family != "gaps" {
		return func(int) bool { return false }
	}
	var from, to [3]int
	for i := range from {
		from[i] = r.IntN(now - 2*perDay)
		to[i] = from[i] + 1 + r.IntN(2*perDay)
	}
	return func(at int) bool {
		for i := range from {
			if at >= from[i] && at < to[i] {
				return true
			}
		}
		return false
	}
}

// hourly returns the maximum of each hour; the hour h is what was read after the one before until h.
func (g generated) hourly() history {
	hours := make(history, len(g.samples)/perHour)
	for h := range hours {
		hours[h] = math.NaN()
		for i := max(0, (h-1)*perHour+1); i <= h*perHour; i++ {
			if v := g.samples[i]; !math.IsNaN(v) && !(hours[h] >= v) {
				hours[h] = v
			}
		}
	}
	return hours
}

package alerts_test

import (
	"fmt"
	"math"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// An alarm of a forecast, and how far it looks ahead: an alarm is false where the series is not full
// within twice that.
type alarm struct {
	name    string
	horizon float64 // days
	fires   []bool  // by the sample
}

// predictLinear is Prometheus' function, of what is available, for each sample.
func predictLinear(g generated, window int, ahead float64) []bool {
	fires := make([]bool, len(g.samples))
	for at := now - 28*perDay; at < len(g.samples); at++ {
		var n, x, y, xx, xy float64
		for i := at - window + 1; i <= at; i++ {
			if v := g.samples[i]; !math.IsNaN(v) {
				t := float64(i - at)
				n, x, y, xx, xy = n+1, x+t, y+g.limit-v, xx+t*t, xy+t*(g.limit-v)
			}
		}
		if n < 2 {
			continue
		}
		slope := (n*xy - x*y) / (n*xx - x*x)
		fires[at] = y/n-slope*x/n+slope*ahead*perHour*24 < 0
	}
	return lasting(fires, 6) // for: 30m
}

// lasting keeps what fires for that many samples.
func lasting(fires []bool, samples int) []bool {
	kept, n := make([]bool, len(fires)), 0
	for i, f := range fires {
		if n++; !f {
			n = 0
		}
		kept[i] = n > samples
	}
	return kept
}

// ours are the conditions of HostFilesystemFullSoon, but for the share that is used.
func ours(g generated, c *capacity) []bool {
	fires := make([]bool, len(g.samples))
	for at := now - 28*perDay; at < len(g.samples); at++ {
		if at%perHour == 0 && at/perHour < len(c.hours) {
			fires[at] = c.at(at/perHour, g.limit).likely < 14*86400
		} else {
			fires[at] = fires[at-1]
		}
	}
	quick, long := predictLinear(g, perHour, 4./24), predictLinear(g, 6*perHour, 0.5)
	for i := range fires {
		fires[i] = fires[i] || quick[i] && long[i]
	}
	return lasting(fires, 6)
}

// judge counts the alarms that were false, and returns how many days before it was full the first
// of the others was.
func (a alarm) judge(g generated) (wrong int, lead float64) {
	lead = math.NaN()
	end := len(g.samples)
	if g.full >= 0 {
		end = g.full
	}
	for at := now - 28*perDay + 1; at < end; at++ {
		if !a.fires[at] || a.fires[at-1] {
			continue
		}
		switch days := float64(g.full-at) / perDay; {
		case g.samples[at] >= g.limit, g.family == "full": // it is
		case g.full < 0 || days > 2*a.horizon:
			wrong++
		case math.IsNaN(lead):
			lead = days
		}
	}
	return wrong, lead
}

// A score is what a backtest found.
type score struct {
	errors  []float64 // of the days to the limit
	silent  int       // series with a trend of which nothing was said
	series  int       // with a trend
	invents int       // series without a trend of which something was said
	others  int
	wrong   map[string]int
	leads   map[string][]float64
}

func newScore() score { return score{wrong: make(map[string]int), leads: make(map[string][]float64)} }

// add adds what was found in another.
func (s *score) add(o score) {
	s.errors = append(s.errors, o.errors...)
	s.silent, s.series = s.silent+o.silent, s.series+o.series
	s.invents, s.others = s.invents+o.invents, s.others+o.others
	for name, n := range o.wrong {
		s.wrong[name] += n
		s.leads[name] = append(s.leads[name], o.leads[name]...)
	}
}

func backtest(first, last uint64, of ...string) score {
	s := newScore()
	for _, family := range of {
		for seed := first; seed <= last; seed++ {
			g := generate(family, seed)
			c := newCapacity(g.hourly())
			said := c.at(past*24, g.limit).likely / 86400
			switch {
			case trending(family) && math.IsNaN(said):
				s.series, s.silent = s.series+1, s.silent+1
			case trending(family):
				s.series++
				truth := float64(g.full-now) / perDay
				s.errors = append(s.errors, math.Abs(said-truth)/truth)
			default:
				s.others++
				if !math.IsNaN(said) && family != "full" {
					s.invents++
				}
			}
			for _, a := range []alarm{
				{"ours", 14, ours(g, c)},
				{"[1h], 1d", 1, predictLinear(g, perHour, 1)},
				{"[6h], 4d", 4, predictLinear(g, 6*perHour, 4)},
			} {
				wrong, lead := a.judge(g)
				s.wrong[a.name] += wrong
				if trending(family) {
					if math.IsNaN(lead) {
						lead = 0 // it was full before
					}
					s.leads[a.name] = append(s.leads[a.name], lead)
				}
			}
		}
	}
	return s
}

// earlier returns the share of the series of which one alarm came no later than another.
func (s score) earlier(one, other string) float64 {
	n := 0
	for i, lead := range s.leads[one] {
		if lead >= s.leads[other][i] {
			n++
		}
	}
	return float64(n) / float64(len(s.leads[one]))
}

// The forecast beside what the days then brought, on series that it was not tuned on; seeds from 1
// to 200 are those that it was tuned on.
func BenchmarkBacktest(b *testing.B) {
	for b.Loop() {
		all := newScore()
		for _, family := range families() {
			s := backtest(1001, 1200, family)
			all.add(s)
			fmt.Printf("  %-12s error %5.1f %%  silent %3d/%d  invented %d/%d  false alarms %4d, %5d [1h] 1d, %5d [6h] 4d"+
				"  lead %.1f %.1f %.1f d\n", family, 100*quantile(0.5, s.errors), s.silent, s.series, s.invents, s.others,
				s.wrong["ours"], s.wrong["[1h], 1d"], s.wrong["[6h], 4d"], quantile(0.5, s.leads["ours"]),
				quantile(0.5, s.leads["[1h], 1d"]), quantile(0.5, s.leads["[6h], 4d"]))
		}
		s := all
		middle, silent := quantile(0.5, s.errors), float64(s.silent)/float64(s.series)
		day, four := s.earlier("ours", "[1h], 1d"), s.earlier("ours", "[6h], 4d")
		fmt.Printf("  all: error %.1f %%, silent %.1f %%, false alarms %d beside %d and %d, no later in %.1f %% and %.1f %%\n",
			100*middle, 100*silent, s.wrong["ours"], s.wrong["[1h], 1d"], s.wrong["[6h], 4d"], 100*day, 100*four)
		b.ReportMetric(100*middle, "%error")
		b.ReportMetric(100*silent, "%silent")
		b.ReportMetric(float64(s.wrong["ours"]), "false")
		if middle > 0.15 || silent > 0.2 {
			b.Errorf("the median error is %.3f (0.15 at most), silent are %.3f (0.2 at most)", middle, silent)
		}
		if s.wrong["ours"]*10 > s.wrong["[1h], 1d"] || s.wrong["ours"]*3 > s.wrong["[6h], 4d"] {
			b.Errorf("%v false alarms: ours are a tenth and a third of the others at most", s.wrong)
		}
	}
}

// A few seeds of the backtest, so that a change of the rules that spoils it is seen at once.
func TestBacktest(t *testing.T) {
	s := backtest(1, 8, families()...)
	if e := quantile(0.5, s.errors); e > 0.2 {
		t.Errorf("the median error of the days to the limit is %.1f %%", 100*e)
	}
	if s.silent*5 > s.series {
		t.Errorf("of %d of %d series that fill up nothing is said", s.silent, s.series)
	}
	if s.wrong["ours"]*5 > s.wrong["[1h], 1d"] || s.wrong["ours"]*2 > s.wrong["[6h], 4d"] {
		t.Errorf("false alarms: %v", s.wrong)
	}
}

// What 500 resources cost an evaluation, of which half have a limit. Before it they are evaluated once a
// day: what an evaluation reads of the past is a value a day.
func BenchmarkCapacityRules(b *testing.B) {
	s := newStage(b)
	var all []labels.Labels
	var series []history
	for i := range 250 {
		hours := generate(families()[i%len(families())], uint64(i)).hourly()
		limit := make(history, len(hours))
		for h := range limit {
			limit[h] = 200
		}
		name := fmt.Sprintf("s%d", i)
		all = append(all, labels.FromStrings("__name__", "upkeep_redis_memory_used_bytes", "server", name),
			labels.FromStrings("__name__", "upkeep_postgres_database_size_bytes", "server", name, "database", "d"),
			labels.FromStrings("__name__", "upkeep_redis_memory_max_bytes", "server", name))
		series = append(series, hours, hours, limit)
	}
	values := make([]float64, len(all))
	for h := range past * 24 {
		if h%24 != 0 && h < (past-1)*24 {
			continue
		}
		for i := range series {
			values[i] = series[i][h]
		}
		s.read(h, all, values)
	}
	const scrapes = 240 // of the last hour, each 15 s
	a := s.db.Appender(b.Context())
	for at := 1; at <= scrapes; at++ {
		for i, l := range all {
			moment := hour(past*24 - 1).Add(time.Duration(at) * 15 * time.Second)
			if _, err := a.Append(0, l, moment.UnixMilli(), values[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := a.Commit(); err != nil {
		b.Fatal(err)
	}
	took, worked := make([][]float64, len(s.groups)), make([][]float64, len(s.groups))
	for b.Loop() {
		for i, g := range s.groups {
			began, before := time.Now(), processors(b)
			g.Eval(b.Context(), hour(past*24))
			took[i] = append(took[i], float64(time.Since(began).Microseconds())/1000)
			worked[i] = append(worked[i], float64((processors(b)-before).Microseconds())/1000)
		}
	}
	var hourly float64
	for i, g := range s.groups {
		b.ReportMetric(quantile(0.5, took[i]), g.Name()+"-ms")
		b.ReportMetric(quantile(0.5, worked[i]), g.Name()+"-cpu-ms")
		middle := quantile(0.5, worked[i])
		hourly += middle / g.Interval().Hours()
		if middle > 50 {
			b.Errorf("an evaluation of %s takes %.1f ms of a processor, 50 at most", g.Name(), middle)
		}
	}
	b.ReportMetric(hourly, "cpu-ms/hour")
}

// processors returns the time of processors that this process has taken.
func processors(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package alerts_test

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	promrules "github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/teststorage"
)

// A stage evaluates the recording rules of capacity, hour by hour.
type stage struct {
	t      testing.TB
	db     *teststorage.TestStorage
	engine *promql.Engine
	groups []*promrules.Group // those that record, in the order of the file
}

func newStage(t testing.TB) *stage {
	t.Helper()
	return stageOf(t, "capacity.rules.yaml", "capacity-recorded", "capacity-lines", "capacity-weeks", "capacity-trends")
}

// stageOf evaluates groups of a file.
func stageOf(t testing.TB, file string, names ...string) *stage {
	t.Helper()
	s := &stage{t: t, db: teststorage.New(t, func(o *tsdb.Options) { // few blocks, as the embedded storage has
		o.MinBlockDuration, o.MaxBlockDuration = (9 * 24 * time.Hour).Milliseconds(), (9 * 24 * time.Hour).Milliseconds()
	})}
	s.engine = promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: 5 * time.Minute,
		LookbackDelta: 5 * time.Minute, Parser: parser.NewParser(parser.Options{})})
	m := promrules.NewManager(&promrules.ManagerOptions{
		QueryFunc: promrules.EngineQueryFunc(s.engine, s.db), AppendableV2: s.db, Queryable: s.db, Context: t.Context(),
		NotifyFunc: func(context.Context, string, ...*promrules.Alert) {}, Parser: parser.NewParser(parser.Options{}),
	})
	groups, errs := m.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, file)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, name := range names {
		for _, g := range groups {
			if g.Name() == name {
				s.groups = append(s.groups, g)
			}
		}
	}
	return s
}

// hour returns the moment of an hour of the generated series: hour 0 is a midnight.
func hour(h int) time.Time { return time.Unix(1_700_006_400, 0).Add(time.Duration(h) * time.Hour) }

// read stores what was read of series in an hour, a minute before its end, and evaluates.
func (s *stage) read(h int, all []labels.Labels, values []float64) {
	s.t.Helper()
	a := s.db.Appender(s.t.Context())
	for i, l := range all {
		if math.IsNaN(values[i]) {
			continue
		}
		if _, err := a.Append(0, l, hour(h).Add(-time.Minute).UnixMilli(), values[i]); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := a.Commit(); err != nil {
		s.t.Fatal(err)
	}
	for _, g := range s.groups {
		if h%int(g.Interval().Hours()) != 0 {
			continue
		}
		g.Eval(s.t.Context(), hour(h))
		for _, r := range g.Rules() {
			if err := r.LastError(); err != nil {
				s.t.Fatalf("%s: %v", r.Name(), err)
			}
		}
	}
}

// ask returns the values of a series by the label server, at one hour.
func (s *stage) ask(expr string, h int) map[string]float64 {
	s.t.Helper()
	q, err := s.engine.NewInstantQuery(s.t.Context(), s.db, nil, expr, hour(h))
	if err != nil {
		s.t.Fatal(err)
	}
	defer q.Close()
	v, err := q.Exec(s.t.Context()).Vector()
	if err != nil {
		s.t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, one := range v {
		all[one.Metric.Get("server")] = one.F
	}
	return all
}

// A disk is one that grows by one a day and is replaced by another one, on which there is more or less than was on it.
type disk struct {
	name        string
	begins, day int     // when it is read first, and when it is replaced
	times, more float64 // the limit as many times, and so much more on it
}

func disks() []disk {
	return []disk{{"bigger disk", 0, 30, 3, 200}, {"smaller disk", 0, 30, 0.5, -60}, {"new, on a bigger disk", 27, 34, 3, 200}}
}

func (d disk) generate() (generated, history) {
	g := generated{family: d.name, samples: make([]float64, (past+2*ahead)*perDay), limit: 400}
	for i := range g.samples {
		day := float64(i) / perDay
		if g.samples[i] = 100 + day + 0.3*math.Sin(9*day); i < d.begins*perDay {
			g.samples[i] = math.NaN()
		}
		if i >= d.day*perDay+perDay/2 {
			g.samples[i] += d.more
		}
	}
	limits := slices.Repeat(history{g.limit}, len(g.samples)/perHour)
	for h := d.day*24 + 12; h < len(limits); h++ {
		limits[h] *= d.times
	}
	return g, limits
}

// judge looks at what is said twelve or eight days after it was replaced: that it grows by one a day, or nothing.
func (d disk) judge(t *testing.T, last map[string]float64) {
	t.Helper()
	for _, name := range []string{"median28d", "p90_28d"} {
		v := last["upkeep:capacity_growth_per_day:"+name+" of "+d.name]
		if old := d.begins == 0; v != 0 && math.Abs(v-1) > 0.3 || old && v == 0 {
			t.Errorf("%s of %s is %v", name, d.name, v)
		}
	}
}

// The rules say of every family what the model says, at every hour that is looked at, and nothing
// of a series that is younger than seven days.
func TestCapacityIsTheModels(t *testing.T) {
	s := newStage(t)
	var used, limitsOf []labels.Labels
	var series []generated
	var models []*capacity
	add := func(g generated, limits history) {
		l := func(name string) labels.Labels {
			return labels.FromStrings("__name__", name, "server", g.family, "job", "j")
		}
		used = append(used, l("upkeep_redis_memory_used_bytes"))
		limitsOf = append(limitsOf, l("upkeep_redis_memory_max_bytes"))
		m := newCapacity(g.hourly())
		if m.limits = limits; limits == nil {
			m.limits = slices.Repeat(history{g.limit}, len(m.hours))
		}
		series, models = append(series, g), append(models, m)
	}
	for _, f := range families() {
		add(generate(f, 1), nil)
	}
	for _, disk := range disks() {
		add(disk.generate())
	}
	const hours = (past + 3) * 24
	compared, estimates := 0, 0
	last := make(map[string]float64)
	for h := range hours {
		values := make([]float64, 0, 2*len(series))
		for _, m := range models {
			values = append(values, m.hours[h])
		}
		for _, m := range models {
			values = append(values, m.limit(h))
		}
		s.read(h, slices.Concat(used, limitsOf), values)
		if h%24 != 0 && h%31 != 7 {
			continue
		}
		for name, of := range map[string]func(growth) float64{
			"upkeep:capacity_growth_per_day:median28d": func(g growth) float64 { return g.median },
			"upkeep:capacity_growth_per_day:p90_28d":   func(g growth) float64 { return g.p90 },
			"upkeep:capacity_seconds_to_limit:likely":  func(g growth) float64 { return g.likely },
			"upkeep:capacity_seconds_to_limit:soon":    func(g growth) float64 { return g.soon },
		} {
			got := s.ask(name, h)
			for i, m := range models {
				want := of(m.at(h, m.limits[h]))
				if math.IsNaN(m.hours[h]) && (name[len(name)-6:] == "likely" || name[len(name)-4:] == "soon") {
					want = math.NaN() // the limit is not known then
				}
				v, there := got[series[i].family]
				if h == past*24 {
					last[name+" of "+series[i].family] = v
				}
				compared++
				if there {
					estimates++
				}
				if there == math.IsNaN(want) || there && math.Abs(v-want) > 1e-6*math.Abs(want) {
					t.Errorf("%s of %s at hour %d is %v (%v), the model says %v", name, series[i].family, h, v, there, want)
				}
				if there && h < 7*24 {
					t.Errorf("%s of %s has a value after %d hours", name, series[i].family, h)
				}
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d compared, %d estimates", compared, estimates)
	for _, disk := range disks() {
		disk.judge(t, last)
	}
	if estimates < compared/10 {
		t.Errorf("only %d of %d values are there", estimates, compared)
	}
}

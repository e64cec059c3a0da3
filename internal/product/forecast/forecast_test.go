package forecast_test

import (
	"context"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/product/forecast"
)

// An engine answers as Prometheus does.
type engine struct {
	*promql.Engine
	storage storage.Queryable
}

func (e engine) Query(ctx context.Context, expr string, at time.Time) (all []prom.Sample, err error) {
	q, err := e.NewInstantQuery(ctx, e.storage, nil, expr, at)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	v, err := q.Exec(ctx).Vector()
	for _, s := range v {
		all = append(all, prom.Sample{Labels: s.Metric.Map(), Value: s.F})
	}
	return all, err
}

// What reaches its limit first is first; what has no trend has no growth, and what has ended
// is not there.
func TestRead(t *testing.T) {
	e := engine{promqltest.NewTestEngine(t, false, 0, 100000), promqltest.LoadedStorage(t, `load 1h
  upkeep:capacity_used:max1d{resource="database",server="main",database="shop"} 100x240
  upkeep:capacity_used:day{resource="database",server="main",database="shop"} 100x240
  upkeep:capacity_growth_per_day:median28d{resource="database",server="main",database="shop"} 5x240
  upkeep:capacity_used:change7d{resource="database",server="main",database="shop"} 30x240
  upkeep:capacity_used:max1d{resource="database",server="main",database="still"} 100x240
  upkeep:capacity_used:max1d{resource="table",server="main",database="shop",schema="public",table="gone"} 100x100
  upkeep:capacity_growth_per_day:median28d{resource="table",server="main",database="shop",schema="public",table="gone"} 100x100
  upkeep:capacity_used:max1d{resource="filesystem",server="h",mountpoint="/",device="d",fstype="ext4"} 50x240
  upkeep:capacity_limit{resource="filesystem",server="h",mountpoint="/",device="d",fstype="ext4"} 80x240
  upkeep:capacity_growth_per_day:median28d{resource="filesystem",server="h",mountpoint="/",device="d",fstype="ext4"} 3x240
  upkeep:capacity_growth_per_day:p90_28d{resource="filesystem",server="h",mountpoint="/",device="d",fstype="ext4"} 6x240
  upkeep:capacity_seconds_to_limit:likely{resource="filesystem",server="h",mountpoint="/",device="d",fstype="ext4"} 864000x240
  upkeep:capacity_seconds_to_limit:soon{resource="filesystem",server="h",mountpoint="/",device="d",fstype="ext4"} 432000x240
  upkeep:capacity_used:max1d{resource="connections",server="main"} 40x240
  upkeep:capacity_limit{resource="connections",server="main"} 97x240
`)}
	at := time.Unix(0, 0).Add(240*time.Hour + 30*time.Minute) // between two evaluations
	rows, err := forecast.Read(t.Context(), e, "", at)
	if err != nil {
		t.Fatal(err)
	}
	want := []forecast.Row{
		{Resource: "filesystem", Unit: "bytes", Used: 50, Limit: new(80.0), Growth: new(3.0), Fast: new(6.0),
			Likely: new(864000.0), Soon: new(432000.0),
			Subject: map[string]string{"server": "h", "mountpoint": "/", "device": "d", "fstype": "ext4"}},
		{Resource: "connections", Unit: "number", Used: 40, Limit: new(97.0), Subject: map[string]string{"server": "main"}},
		{Resource: "database", Unit: "bytes", Days: 241, Used: 100, Growth: new(5.0), Week: new(30.0),
			Subject: map[string]string{"server": "main", "database": "shop"}},
		{Resource: "database", Unit: "bytes", Used: 100,
			Subject: map[string]string{"server": "main", "database": "still"}},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if rows, err = forecast.Read(t.Context(), e, "connections", at); err != nil || len(rows) != 1 ||
		rows[0].Name() != "main" {
		t.Errorf("of one kind: %+v %v", rows, err)
	}
	if rows[0].Limit == nil || *rows[0].Limit != 97 {
		t.Errorf("its limit: %+v", rows[0])
	}
	if _, err := forecast.Read(t.Context(), e, `"} or vector(1)`, at); err != nil {
		t.Errorf("a kind that needs quoting: %v", err)
	}
}

// The kinds that can be asked for are those that the rules record; another one is no empty answer.
func TestResources(t *testing.T) {
	text, err := fs.ReadFile(alerts.Files(), "capacity.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var recorded []string
	for _, m := range regexp.MustCompile(`labels: \{resource: (\w+)\}`).FindAllStringSubmatch(string(text), -1) {
		recorded = append(recorded, m[1])
	}
	slices.Sort(recorded)
	if diff := cmp.Diff(slices.Compact(recorded), slices.Sorted(slices.Values(forecast.Resources()))); diff != "" {
		t.Errorf("(-rules +forecast):\n%s", diff)
	}
	for _, known := range append(forecast.Resources(), "") {
		if err := forecast.Known(known); err != nil {
			t.Error(err)
		}
	}
	if err := forecast.Known("databse"); err == nil || !strings.Contains(err.Error(), "want one of filesystem, ") {
		t.Errorf("an unknown kind: %v", err)
	}
}

// Package forecast reads what the recording rules of capacity say: what is used, how it grows,
// and when it reaches its limit.
package forecast

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
)

// An Asker answers questions in PromQL.
type Asker interface {
	Query(ctx context.Context, expr string, at time.Time) ([]prom.Sample, error)
}

// A Row is what is known of one resource. What is not known is nil: there is no trend, or no limit.
type Row struct {
	Resource string            `json:"resource"`
	Subject  map[string]string `json:"subject"` // its labels
	Unit     string            `json:"unit"`    // bytes, ratio or number
	Days     int               `json:"days"`    // of the last 28, that have a value
	Used     float64           `json:"used"`    // most of the last 24 hours
	Limit    *float64          `json:"limit"`
	Growth   *float64          `json:"growth_per_day"`     // median of 28 days
	Fast     *float64          `json:"growth_per_day_p90"` // of the fastest weeks
	Week     *float64          `json:"change_in_a_week"`   // beside the same time a week ago
	Likely   *float64          `json:"seconds_to_limit"`
	Soon     *float64          `json:"seconds_to_limit_soon"`
}

// Name returns the subject in one word, as people write it.
func (r Row) Name() string {
	var parts []string
	for _, label := range []string{"server", "database", "schema", "table", "container", "mountpoint"} {
		if v := r.Subject[label]; v != "" {
			parts = append(parts, v)
		}
	}
	return strings.Join(parts, " ")
}

// Resources are the kinds of what fills up, as the rules of capacity name them.
func Resources() []string {
	return []string{"filesystem", "inodes", "database", "table", "wal", "log", "connections", "redis_memory", "cpu",
		"memory"}
}

// Known returns an error for a kind of resource that no rule has; "" is all of them.
func Known(resource string) error {
	if resource == "" || slices.Contains(Resources(), resource) {
		return nil
	}
	return fmt.Errorf("resource %q: want one of %s", resource, strings.Join(Resources(), ", "))
}

// hidden are the labels that are not part of a subject.
func hidden() []string { return []string{"__name__", "resource", "job", "instance"} }

// Read asks for all resources, or those of one kind, at a moment; the zero time is now. Those
// that reach their limit first come first, then those that grow most.
func Read(ctx context.Context, p Asker, resource string, at time.Time) ([]Row, error) {
	rows := make(map[string]*Row)
	var order []string
	for i, q := range []struct {
		series string
		set    func(*Row, float64)
	}{
		{"last_over_time(upkeep:capacity_used:max1d%s[2h])", func(r *Row, v float64) { r.Used = v }},
		{"last_over_time(upkeep:capacity_limit%s[2h])", func(r *Row, v float64) { r.Limit = &v }},
		{"count_over_time(upkeep:capacity_used:day%s[28d])", func(r *Row, v float64) { r.Days = int(v) }},
		{"last_over_time(upkeep:capacity_growth_per_day:median28d%s[2h])", func(r *Row, v float64) { r.Growth = &v }},
		{"last_over_time(upkeep:capacity_growth_per_day:p90_28d%s[2h])", func(r *Row, v float64) { r.Fast = &v }},
		{"last_over_time(upkeep:capacity_used:change7d%s[2h])", func(r *Row, v float64) { r.Week = &v }},
		{"last_over_time(upkeep:capacity_seconds_to_limit:likely%s[2h])", func(r *Row, v float64) { r.Likely = &v }},
		{"last_over_time(upkeep:capacity_seconds_to_limit:soon%s[2h])", func(r *Row, v float64) { r.Soon = &v }},
	} {
		matcher := ""
		if resource != "" {
			matcher = fmt.Sprintf("{resource=%q}", resource)
		}
		samples, err := p.Query(ctx, fmt.Sprintf(q.series, matcher), at)
		if err != nil {
			return nil, fmt.Errorf("forecast: %w", err)
		}
		for _, s := range samples {
			key := subjectKey(s.Labels)
			if rows[key] == nil {
				if i > 0 {
					continue // it has ended
				}
				rows[key] = newRow(s.Labels)
				order = append(order, key)
			}
			q.set(rows[key], s.Value)
		}
	}
	all := make([]Row, 0, len(order))
	for _, key := range order {
		all = append(all, *rows[key])
	}
	slices.SortStableFunc(all, func(a, b Row) int {
		return cmp.Or(cmp.Compare(first(a.Likely), first(b.Likely)), cmp.Compare(a.Resource, b.Resource),
			cmp.Compare(most(b.Growth), most(a.Growth)), cmp.Compare(a.Name(), b.Name()))
	})
	return all, nil
}

func newRow(l map[string]string) *Row {
	r := &Row{Resource: l["resource"], Subject: maps.Clone(l), Unit: unit(l["resource"])}
	for _, name := range hidden() {
		delete(r.Subject, name)
	}
	return r
}

func subjectKey(l map[string]string) string {
	var b strings.Builder
	b.WriteString(l["resource"])
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if !slices.Contains(hidden(), name) {
			fmt.Fprintf(&b, "\x00%s\x00%s", name, l[name])
		}
	}
	return b.String()
}

func unit(resource string) string {
	switch resource {
	case "connections", "cpu":
		return "number"
	case "inodes":
		return "ratio"
	}
	return "bytes"
}

// first sorts what reaches no limit to the end.
func first(seconds *float64) float64 {
	if seconds == nil {
		return math.Inf(1)
	}
	return *seconds
}

func most(growth *float64) float64 {
	if growth == nil {
		return 0
	}
	return *growth
}

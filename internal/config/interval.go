package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/prometheus/alertmanager/timeinterval"
	"go.yaml.in/yaml/v3"
)

// interval reads one of Alertmanager's time intervals. Its own types parse what is
// in the lists; what is around them, they would let pass: keys that are none, and
// an interval that is always or never open.
func (d *decoder) interval(n *yaml.Node, v reflect.Value, what string) {
	all := []string{"times", "weekdays", "days_of_month", "months", "years", "location"}
	if n.Kind != yaml.MappingNode {
		d.fault(n, "%s is %s; keys and values were expected: %s", what, kind(n), strings.Join(all, ", "))
		return
	}
	var t timeinterval.TimeInterval
	var seen []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		if slices.Contains(seen, key.Value) {
			d.fault(key, "%q stands here for the second time", key.Value)
			continue
		}
		seen = append(seen, key.Value)
		switch key.Value {
		case "times":
			t.Times = ranges(d, value, key.Value, "{start_time: '01:00', end_time: '05:00'}", d.clock, func(timeinterval.TimeRange) bool { return true })
		case "weekdays":
			t.Weekdays = ranges(d, value, key.Value, "saturday or monday:friday", d.scalar, func(timeinterval.WeekdayRange) bool { return true })
		case "days_of_month":
			t.DaysOfMonth = ranges(d, value, key.Value, "1:7 or -1", d.scalar, func(timeinterval.DayOfMonthRange) bool { return true })
		case "months":
			// Alertmanager takes a thirteenth month, which never comes.
			t.Months = ranges(d, value, key.Value, "january or 3:5", d.scalar, func(r timeinterval.MonthRange) bool { return r.Begin >= 1 && r.End <= 12 })
		case "years":
			t.Years = ranges(d, value, key.Value, "2026 or 2026:2028", d.scalar, func(timeinterval.YearRange) bool { return true })
		case "location":
			t.Location = d.location(value)
		default:
			d.fault(key, "unknown key %q; %s", key.Value, expected(key.Value, all))
		}
	}
	if len(seen) == 0 || len(seen) == 1 && seen[0] == "location" {
		d.fault(n, "%s names no time, so it is always open; at least one of %s was expected", what, strings.Join(all[:5], ", "))
	}
	v.Set(reflect.ValueOf(t))
}

// ranges reads a list of ranges. An empty one would never be open.
func ranges[T any](d *decoder, n *yaml.Node, key, like string, shape func(n *yaml.Node, key, like string) bool, sound func(T) bool) (all []T) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		d.fault(n, "%s is %s; a list was expected that is not empty, of things like %s", key, kind(n), like)
		return nil
	}
	for _, item := range n.Content {
		item = resolve(item)
		if !shape(item, key, like) {
			continue
		}
		var one T
		if err := item.Decode(&one); err != nil {
			d.fault(item, "%s: %s; something like %s was expected", key, strings.TrimPrefix(err.Error(), "yaml: "), like)
		} else if !sound(one) {
			d.fault(item, "%s: %s never comes; something like %s was expected", key, kind(item), like)
		} else {
			all = append(all, one)
		}
	}
	return all
}

// scalar reports whether an item is a single value.
func (d *decoder) scalar(n *yaml.Node, key, like string) bool {
	if n.Kind != yaml.ScalarNode || null(n) {
		d.fault(n, "an entry of %s is %s; something like %s was expected", key, kind(n), like)
		return false
	}
	return true
}

// clock reports whether an item is two times of a day and nothing else.
func (d *decoder) clock(n *yaml.Node, key, like string) bool {
	if n.Kind != yaml.MappingNode {
		d.fault(n, "an entry of %s is %s; something like %s was expected", key, kind(n), like)
		return false
	}
	names := []string{"start_time", "end_time"}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], resolve(n.Content[i+1])
		if !slices.Contains(names, name.Value) {
			d.fault(name, "unknown key %q; %s", name.Value, expected(name.Value, names))
			return false
		}
		if value.Kind != yaml.ScalarNode {
			d.fault(value, "%s is %s; a time was expected, like '01:00'", name.Value, kind(value))
			return false
		}
	}
	return true
}

// location reads a time zone.
func (d *decoder) location(n *yaml.Node) *timeinterval.Location {
	var l timeinterval.Location
	if !d.scalar(n, "location", "Europe/Berlin") {
		return nil
	}
	if err := n.Decode(&l); err != nil {
		d.fault(n, "location is %s; a time zone that this machine knows was expected, like Europe/Berlin or UTC", kind(n))
		return nil
	}
	return &l
}

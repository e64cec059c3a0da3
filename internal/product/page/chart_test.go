package page

import (
	"strings"
	"testing"
	"time"
)

// A chart has a line for each series, with gaps where values are missing, the limit, and the time in which the run
// acted; it begins with the first value, and every number in it is within its box.
func TestChart(t *testing.T) {
	t.Parallel()
	at := func(minute int) time.Time { return time.Date(2026, 11, 30, 3, minute, 0, 0, time.UTC) }
	limit := 0.3
	c := Chart{Metric: "upkeep_test_ratio", Limit: &limit, From: at(0), To: at(40), Acted: at(20), Done: at(22),
		Lines: [][]Point{{{at(10), 0.75}, {at(11), 0.76}, {at(12), 0.75}, {at(30), 0.1}, {at(31), 0.1}}}}
	c.Trim(at(19))
	if !c.From.Equal(at(10)) {
		t.Errorf("it begins at %s", c.From)
	}
	var b strings.Builder
	if err := c.svg().Render(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for part, n := range map[string]int{"<polyline": 2, `class="limit"`: 1, `class="span"`: 1, `class="mark"`: 1,
		"03:10:00 UTC": 2, "03:40:00 UTC": 2, "NaN": 0, "Inf": 0, `="-`: 0, "style=": 0} {
		if got := strings.Count(text, part); got != n {
			t.Errorf("%d times %s, want %d: %s", got, part, n, text)
		}
	}
	empty := Chart{Metric: "m", From: at(0), To: at(0)}
	empty.Trim(at(0))
	b.Reset()
	if err := empty.svg().Render(&b); err != nil || strings.Contains(b.String(), "NaN") {
		t.Errorf("%v %s", err, &b)
	}
}

package page

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A drawing is what a chart is made of.
type drawing struct {
	shapes map[string]int // by element and class
	text   []string
}

// drawn reads a chart, which must be XML whose every number is within its box.
func drawn(t *testing.T, c Chart) drawing {
	t.Helper()
	var b strings.Builder
	if err := c.svg().Render(&b); err != nil {
		t.Fatal(err)
	}
	is := drawing{shapes: make(map[string]int)}
	d := xml.NewDecoder(strings.NewReader(b.String()))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return is
		}
		if err != nil {
			t.Fatalf("%v in %s", err, &b)
		}
		switch token := token.(type) {
		case xml.StartElement:
			class := ""
			for _, a := range token.Attr {
				inBox(t, token.Name.Local, a)
				if a.Name.Local == "class" {
					class = "." + a.Value
				}
			}
			is.shapes[token.Name.Local+class]++
		case xml.CharData:
			is.text = append(is.text, string(token))
		}
	}
}

// inBox tests that an attribute with numbers is within the view box.
func inBox(t *testing.T, element string, a xml.Attr) {
	t.Helper()
	most := map[string]float64{"x": chartWidth, "x1": chartWidth, "x2": chartWidth, "cx": chartWidth,
		"width": chartWidth,
		"y":     chartHeight, "y1": chartHeight, "y2": chartHeight, "cy": chartHeight, "height": chartHeight, "r": 5}
	numbers := map[string]float64{a.Value: most[a.Name.Local]}
	if a.Name.Local == "points" {
		numbers = make(map[string]float64)
		for point := range strings.FieldsSeq(a.Value) {
			at, value, _ := strings.Cut(point, ",")
			numbers[at], numbers[value] = chartWidth, chartHeight
		}
		if len(strings.Fields(a.Value)) < 2 {
			t.Errorf("a line of one point shows nothing: %s", a.Value)
		}
	} else if most[a.Name.Local] == 0 {
		return
	}
	for text, most := range numbers {
		if v, err := strconv.ParseFloat(text, 64); err != nil || !(v >= 0 && v <= most) {
			t.Errorf("%s has %s=%q", element, a.Name.Local, a.Value)
		}
	}
}

// Whatever values a series, a limit and the times of a run have, the chart is sound.
func TestChartOfAnything(t *testing.T) {
	t.Parallel()
	odd := []float64{0, 1, -1, 0.3, 5e-324, math.MaxFloat64, -math.MaxFloat64, math.Inf(1), math.Inf(-1), math.NaN(),
		1e15,
		1e15 + 1}
	r := rand.New(rand.NewPCG(14, 3))
	value := func() float64 {
		if r.IntN(2) == 0 {
			return odd[r.IntN(len(odd))]
		}
		return r.NormFloat64() * math.Pow(10, float64(r.IntN(12)))
	}
	from := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	moment := func() time.Time { return from.Add(time.Duration(r.IntN(5000)-2000) * time.Second) }
	for range 3000 {
		c := Chart{Metric: []string{"a_ratio", "a_seconds", "a_bytes", "a"}[r.IntN(4)], From: from,
			To: from.Add(time.Duration(r.IntN(3000)) * time.Second)}
		if r.IntN(2) == 0 {
			c.Limit = new(value())
		}
		if r.IntN(2) == 0 {
			c.Acted, c.Done = moment(), moment()
		}
		if r.IntN(4) == 0 {
			c.Done = time.Time{}
		}
		for range r.IntN(4) {
			var line []Point
			for range r.IntN(6) {
				line = append(line, Point{moment(), value()})
			}
			slices.SortFunc(line, func(a, b Point) int { return a.At.Compare(b.At) })
			c.Lines = append(c.Lines, line)
		}
		if r.IntN(2) == 0 {
			c.Trim(moment())
		}
		drawn(t, c)
		if t.Failed() {
			t.Fatalf("%+v", c)
		}
	}
}

// What a chart draws of a series: a line of values that follow each other, a dot of one alone, and nothing of what is
// no number.
func TestLinesOfAChart(t *testing.T) {
	t.Parallel()
	from, nan := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC), math.NaN()
	for name, c := range map[string]struct {
		values      [][2]float64 // minutes, and the value then
		lines, dots int
	}{
		"none":                   {nil, 0, 0},
		"one":                    {[][2]float64{{0, 1}}, 0, 1},
		"two":                    {[][2]float64{{0, 1}, {4, 2}}, 1, 0},
		"a gap in the middle":    {[][2]float64{{0, 1}, {4, 2}, {20, 3}, {24, 4}}, 2, 0},
		"a step that is longer":  {[][2]float64{{0, 1}, {4, 2}, {16, 3}, {20, 4}}, 1, 0},
		"one alone behind a gap": {[][2]float64{{0, 1}, {4, 2}, {20, 3}}, 1, 1},
		"no number first":        {[][2]float64{{0, nan}, {4, 1}, {8, 2}}, 1, 0},
		"no number between":      {[][2]float64{{0, 1}, {4, 2}, {8, nan}, {12, 3}, {16, 4}}, 2, 0},
		"one between no numbers": {[][2]float64{{0, nan}, {4, 1}, {8, math.Inf(1)}}, 0, 1},
		"no numbers alone":       {[][2]float64{{0, nan}, {4, math.Inf(1)}, {8, math.Inf(-1)}}, 0, 0},
	} {
		var line []Point
		for _, v := range c.values {
			line = append(line, Point{from.Add(time.Duration(v[0]) * time.Minute), v[1]})
		}
		is := drawn(t, Chart{Metric: "m", From: from, To: from.Add(2 * time.Hour), Lines: [][]Point{line}})
		if is.shapes["polyline.line l0"] != c.lines || is.shapes["circle.line l0"] != c.dots {
			t.Errorf("%s: %v, want %d lines and %d dots", name, is.shapes, c.lines, c.dots)
		}
	}
}

// The axis of a chart has the unit of the metric, the limit is in its range, and the marks of time its zone.
func TestAxesOfAChart(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	line := [][]Point{{{from, 10}, {from.Add(time.Hour), 20}}}
	for name, c := range map[string]struct {
		chart Chart
		want  []string
	}{
		"within a day": {Chart{Metric: "m_bytes", From: from, To: from.Add(3 * time.Hour), Lines: line},
			[]string{"9 B", "15 B", "21 B", "00:00:00 UTC", "01:00:00 UTC", "02:00:00 UTC", "03:00:00 UTC"}},
		"over a day": {Chart{Metric: "m", From: from, To: from.Add(72 * time.Hour), Lines: line}, []string{"9", "15",
			"21",
			"30 Nov 00:00 UTC", "1 Dec 00:00 UTC", "2 Dec 00:00 UTC", "3 Dec 00:00 UTC"}},
		"a limit above": {Chart{Metric: "m_seconds", From: from, To: from.Add(3 * time.Hour), Limit: new(30.0),
			Lines: line},
			[]string{"8s", "20s", "32s", "00:00:00 UTC", "01:00:00 UTC", "02:00:00 UTC", "03:00:00 UTC"}},
		"shares": {Chart{Metric: "m_ratio", From: from, To: from.Add(3 * time.Hour), Limit: new(0.0), Lines: [][]Point{
			{{from, 1}}}}, []string{"0 %", "50 %", "100 %", "00:00:00 UTC", "01:00:00 UTC", "02:00:00 UTC",
			"03:00:00 UTC"}},
		"a limit that is no number": {Chart{Metric: "m", From: from, To: from.Add(3 * time.Hour),
			Limit: new(math.NaN())},
			[]string{"0", "0.5", "1", "00:00:00 UTC", "01:00:00 UTC", "02:00:00 UTC", "03:00:00 UTC"}},
	} {
		is := drawn(t, c.chart)
		if !slices.Equal(is.text, c.want) {
			t.Errorf("%s: %q, want %q", name, is.text, c.want)
		}
		if want := map[bool]int{true: 1}[c.chart.Limit != nil &&
			!math.IsNaN(*c.chart.Limit)]; is.shapes["line.limit"] != want {
			t.Errorf("%s: %d limits are drawn", name, is.shapes["line.limit"])
		}
	}
}

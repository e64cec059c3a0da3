package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
)

// A drawing is what a chart is made of: its height, its shapes by element and class, and its texts.
type drawing struct {
	height float64
	shapes map[string]int
	text   []string
}

// draw reads a chart, which must be XML whose every number is within its box.
func draw(t *testing.T, c Chart) drawing {
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
			is.take(t, token)
		case xml.CharData:
			is.text = append(is.text, string(token))
		}
	}
}

func (d *drawing) take(t *testing.T, e xml.StartElement) {
	t.Helper()
	class := ""
	for _, a := range e.Attr {
		switch a.Name.Local {
		case "class":
			class = "." + a.Value
		case "viewBox":
			if _, err := fmt.Sscanf(a.Value, "0 0 720 %g", &d.height); err != nil {
				t.Fatal(a.Value)
			}
		case "x", "x1", "x2", "cx", "width":
			inside(t, e.Name.Local, a.Value, chartWidth)
		case "y", "y1", "y2", "cy", "height":
			inside(t, e.Name.Local, a.Value, d.height)
		case "points":
			for point := range strings.FieldsSeq(a.Value) {
				x, y, _ := strings.Cut(point, ",")
				inside(t, e.Name.Local, x, chartWidth)
				inside(t, e.Name.Local, y, d.height)
			}
		}
	}
	d.shapes[e.Name.Local+class]++
}

// inside tests that a text is a number from 0 to most.
func inside(t *testing.T, element, text string, most float64) {
	t.Helper()
	if v, err := strconv.ParseFloat(text, 64); err != nil || !(v >= 0 && v <= most) {
		t.Errorf("a %s is at %s, of %g", element, text, most)
	}
}

// anyChart is a chart of anything.
func anyChart(r *rand.Rand, kind ChartKind) Chart {
	odd := []float64{0, 1, -1, 0.5, 5e-324, math.MaxFloat64, -math.MaxFloat64, math.Inf(1), math.Inf(-1), math.NaN(),
		1e15}
	value := func() *float64 {
		switch r.IntN(3) {
		case 0:
			return nil
		case 1:
			return new(odd[r.IntN(len(odd))])
		}
		return new(r.NormFloat64() * math.Pow(10, float64(r.IntN(12))))
	}
	c := Chart{Kind: kind, Title: "title", Unit: []Unit{Ratio, Seconds, Bytes, Number, Rate}[r.IntN(5)],
		From: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Days: r.IntN(40), Limit: value(), Start: value()}
	c.Known = r.IntN(c.Days + 1)
	if r.IntN(2) == 0 {
		c.Slow = math.Abs(r.NormFloat64()) * 10
		c.Fast = c.Slow * (1 + r.Float64())
	}
	for i := range r.IntN(5) {
		line := Line{Name: fmt.Sprint("series", i)}
		values := c.Days
		if kind == Bars {
			values = 2
		}
		for range values {
			line.Values = append(line.Values, value())
		}
		c.Series = append(c.Series, line)
	}
	if r.IntN(2) == 0 {
		c.Gaps = []string{"2026-11-02", "2026-11-30", "2027-01-01"}
	}
	return c
}

// Whatever values a chart has, it is sound: what is no number is not drawn, and nothing is outside of the box.
func TestChartsOfAnything(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(14, 16))
	for range 1500 {
		for _, kind := range []ChartKind{Lines, Band, Bars} {
			c := anyChart(r, kind)
			draw(t, c)
			if t.Failed() {
				t.Fatalf("%+v", c)
			}
		}
	}
}

// What is drawn of a series: a line of days that follow each other, a dot of one alone, nothing of what is not known.
func TestShapesOfCharts(t *testing.T) {
	t.Parallel()
	one, nan := new(1.0), new(math.NaN())
	for name, c := range map[string]struct {
		values      []*float64
		lines, dots int
	}{
		"none": {nil, 0, 0}, "one": {[]*float64{one}, 0, 1}, "two": {[]*float64{one, one}, 1, 0},
		"a gap": {[]*float64{one, one, nil, one, one}, 2, 0}, "alone": {[]*float64{one, one, nil, one}, 1, 1},
		"unknown": {[]*float64{nil, nil}, 0, 0}, "no number": {[]*float64{nan, one, nan}, 0, 1},
		"at both ends": {[]*float64{nil, one, one, nil}, 1, 0},
	} {
		is := draw(t, Chart{Kind: Lines, Days: len(c.values), Series: []Line{{Name: "a", Values: c.values}}})
		if is.shapes["polyline.line s0"] != c.lines || is.shapes["circle.dot s0"] != c.dots {
			t.Errorf("%s: %v, want %d lines and %d dots", name, is.shapes, c.lines, c.dots)
		}
	}
	band := Chart{Kind: Band, Days: 10, Known: 5, Start: one, Limit: new(3.0), Slow: 0.1, Fast: 0.2, Series: []Line{{}}}
	if is := draw(t, band); is.shapes["polygon.band"] != 1 || is.shapes["line.limit"] != 1 {
		t.Errorf("a band: %v", is.shapes)
	}
	for _, without := range []Chart{{Kind: Band, Start: one}, {Kind: Band, Limit: one}, {Kind: Band, Start: nan,
		Limit: one}} {
		if is := draw(t, without); is.shapes["polygon.band"] != 0 {
			t.Errorf("a band of nothing: %+v", without)
		}
	}
	bars := draw(t, Chart{Kind: Bars, Unit: Number, Series: []Line{{Name: "a", Values: []*float64{new(10.0), nil}},
		{Name: "b", Values: []*float64{new(0.0), nan}}}})
	if bars.shapes["rect.bar b0"] != 3 || bars.shapes["rect.bar b1"] != 1 { // one of each is of the legend
		t.Errorf("bars: %v", bars.shapes)
	}
	if text := strings.Join(bars.text, "|"); strings.Count(text, "no data") != 2 || !strings.Contains(text, "10") {
		t.Errorf("bars: %s", text)
	}
}

// The names of what is drawn shape nothing of a chart.
func TestNamesInCharts(t *testing.T) {
	t.Parallel()
	for _, kind := range []ChartKind{Lines, Bars} {
		of := func(name string) drawing {
			return draw(t, Chart{Kind: kind, Title: words(name).Text, Days: 2, Series: []Line{{Name: words(name).Text,
				Values: []*float64{new(1.0), new(2.0)}}}})
		}
		plain := of("plain")
		visibletest.Names(t, func(name string) {
			if got := of(name); fmt.Sprint(got.shapes) != fmt.Sprint(plain.shapes) || got.height != plain.height {
				t.Errorf("%q makes %v, want %v", name, got.shapes, plain.shapes)
			}
		})
	}
}

// How numbers are written: in their unit, without an exponent, and never as all or nothing where they are not.
func TestWrite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		unit Unit
		v    float64
		want string
	}{
		{Ratio, 0, "0 %"}, {Ratio, 1, "100 %"}, {Ratio, 0.9999999, "99.999 %"}, {Ratio, 0.995, "99.500 %"}, {Ratio, 0.5,
			"50 %"},
		{Ratio, 0.12345, "12.3 %"}, {Ratio, 12.34, "1234 %"}, {Ratio, -0.5, "-50 %"}, {Seconds, 0, "0 s"},
		{Seconds, 1e-9, "0 s"}, {Seconds, 2e-6, "2 µs"}, {Seconds, 0.0015, "1.5 ms"}, {Seconds, 1, "1 s"},
		{Seconds, 119, "119 s"}, {Seconds, 120, "2 min"}, {Seconds, 7200, "2 h"}, {Seconds, 172800, "2 d"},
		{Seconds, -7200, "−2 h"}, {Bytes, 1023, "1023 B"}, {Bytes, -2048, "−2 KiB"}, {Number, 7, "7"}, {Number, 1e14,
			"100000000000000"},
		{Number, 12345.6, "12346"}, {Number, 0.12345, "0.1235"}, {Number, 999.96, "1000"}, {Rate, 0.5, "0.5/s"},
		{Rate, 1234.5, "1234/s"}, {Date, 0, "1970-01-01 00:00"},
	} {
		if got := write(c.unit, c.v); got != c.want {
			t.Errorf("%v as %q: %q, want %q", c.v, c.unit, got, c.want)
		}
	}
	r := rand.New(rand.NewPCG(14, 17))
	for range 5000 {
		v := r.NormFloat64() * math.Pow(10, float64(r.IntN(12)))
		for _, u := range []Unit{Ratio, Bytes, Number, Rate} {
			if text := write(u, v); strings.Contains(text, "e+") {
				t.Fatalf("%v as %q is %q", v, u, text)
			}
		}
		share := r.Float64()
		if text := percent(share); text == "100 %" || text == "0 %" {
			t.Fatalf("a share of %v is %s", share, text)
		}
	}
}

// A difference says which way it went, and "same" only where nothing is to be seen.
func TestDifference(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		unit    Unit
		is, was *float64
		want    string
	}{
		{Number, nil, new(1.0), "–"}, {Number, nil, nil, "–"}, {Number, new(1.0), nil, "nothing to compare"},
		{Number, new(1.0), new(1.0), "same"}, {Number, new(3.0), new(1.0), "+2"}, {Number, new(1.0), new(3.0), "−2"},
		{Ratio, new(0.5), new(0.25), "+25 points"}, {Ratio, new(0.250001), new(0.25), "same"},
		{Ratio, new(0.0), new(0.001), "−0.1 points"}, {Ratio, new(20.0), new(0.0), "+2000 points"},
		{Bytes, new(0.0), new(2048.0), "−2 KiB"}, {Seconds, new(90.0), new(30.0), "+60 s"},
	} {
		if got := change(c.unit, c.is, c.was); got.Text != c.want {
			t.Errorf("%q, want %q", got.Text, c.want)
		}
	}
}

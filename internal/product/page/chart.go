package page

import (
	"math"
	"strconv"
	"strings"
	"time"

	. "maragu.dev/gomponents"

	"github.com/ai-micro-service/upkeep/internal/product/axis"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Chart is a metric around a run.
type Chart struct {
	Metric   string
	Limit    *float64
	From, To time.Time
	Acted    time.Time // when it began to change something; zero where it has not
	Done     time.Time // when the last step was done
	Lines    [][]Point // of the series; a few at most
	Missing  string    // why it has no line
}

// Point is a value of a series.
type Point struct {
	At    time.Time
	Value float64
}

// The measures of a chart, in units of its view box.
const (
	chartWidth, chartHeight         = 720.0, 240.0
	marginLeft, marginRight         = 74.0, 12.0
	marginTop, marginBottom         = 18.0, 26.0
	ticksAcross, ticksUp            = 4, 3
	plotWidth, plotHeight   float64 = chartWidth - marginLeft - marginRight, chartHeight - marginTop - marginBottom
)

// Trim leaves out the time before the first value, up to a moment: Prometheus may be young.
func (c *Chart) Trim(most time.Time) {
	first := most
	for _, line := range c.Lines {
		if len(line) > 0 && line[0].At.Before(first) {
			first = line[0].At
		}
	}
	if first.After(c.From) {
		c.From = first
	}
}

// svg draws the chart.
func (c Chart) svg() Node {
	low, high := c.bounds()
	// What is outside is drawn at the edge: the clocks of two machines may differ.
	x := func(at time.Time) float64 {
		return marginLeft + plotWidth*within(float64(at.Sub(c.From))/float64(max(c.To.Sub(c.From), 1)))
	}
	y := func(v float64) float64 { return marginTop + within((high-v)/(high-low))*plotHeight }
	var parts Group
	if !c.Acted.IsZero() {
		end := c.Done
		if end.IsZero() {
			end = c.To
		}
		parts = append(parts, shape("rect", "span", "x", x(c.Acted), "y", marginTop, "width",
			max(x(end)-x(c.Acted), 1), "height", plotHeight))
	}
	for i := range ticksUp {
		v := low + (high-low)*float64(i)/(ticksUp-1)
		parts = append(parts, c.across("grid", y(v)),
			label(marginLeft-6, y(v)+4, "end", remediate.Quantity(c.Metric, rounded(v))))
	}
	for i := range ticksAcross {
		at := c.From.Add(c.To.Sub(c.From) * time.Duration(i) / (ticksAcross - 1))
		anchor := map[int]string{0: "start", ticksAcross - 1: "end"}[i]
		parts = append(parts, label(x(at), chartHeight-8, anchor, c.tick(at)))
	}
	if c.Limit != nil && axis.Finite(*c.Limit) {
		parts = append(parts, c.across("limit", y(*c.Limit)))
	}
	for i, line := range c.Lines {
		parts = append(parts, c.line(i, line, x, y))
	}
	if !c.Acted.IsZero() {
		parts = append(parts, shape("line", "mark", "x1", x(c.Acted), "x2", x(c.Acted), "y1", marginTop, "y2",
			marginTop+plotHeight))
	}
	title := c.Metric + " from " + zoned(c.From) + " to " + zoned(c.To)
	return El("svg", Attr("class", "chart"), Attr("viewBox", "0 0 "+digits(chartWidth)+" "+digits(chartHeight)),
		Attr("role", "img"), Attr("aria-label", title), parts)
}

// within is a part of a whole, from 0 to 1.
func within(part float64) float64 { return min(max(part, 0), 1) }

// across is a line over the whole width.
func (c Chart) across(class string, y float64) Node {
	return shape("line", class, "x1", marginLeft, "x2", chartWidth-marginRight, "y1", y, "y2", y)
}

// tick writes a moment below the chart.
func (c Chart) tick(at time.Time) string {
	if c.To.Sub(c.From) > 24*time.Hour {
		return at.UTC().Format("2 Jan 15:04") + " UTC"
	}
	return at.UTC().Format("15:04:05") + " UTC"
}

// line draws a series, with a gap where values are missing or are no finite numbers. A value alone is a dot.
func (c Chart) line(i int, all []Point, x func(time.Time) float64, y func(float64) float64) Node {
	gap := 3 * c.step(all)
	var drawn Group
	var points []string
	flush := func() {
		switch len(points) {
		case 0:
		case 1:
			at, value, _ := strings.Cut(points[0], ",")
			drawn = append(drawn, El("circle", Attr("class", "line l"+strconv.Itoa(i)), Attr("cx", at),
				Attr("cy", value), Attr("r", "1")))
		default:
			drawn = append(drawn, El("polyline", Attr("class", "line l"+strconv.Itoa(i)),
				Attr("points", strings.Join(points, " "))))
		}
		points = nil
	}
	for n, p := range all {
		if n > 0 && p.At.Sub(all[n-1].At) > gap {
			flush()
		}
		if !axis.Finite(p.Value) {
			flush()
			continue
		}
		points = append(points, digits(x(p.At))+","+digits(y(p.Value)))
	}
	flush()
	return drawn
}

// step is the least distance between two values.
func (c Chart) step(all []Point) time.Duration {
	least := c.To.Sub(c.From)
	for n := 1; n < len(all); n++ {
		least = min(least, all[n].At.Sub(all[n-1].At))
	}
	return least
}

// bounds returns from which value to which the chart goes.
func (c Chart) bounds() (low, high float64) {
	var all []float64
	for _, line := range c.Lines {
		for _, p := range line {
			all = append(all, p.Value)
		}
	}
	if c.Limit != nil {
		all = append(all, *c.Limit)
	}
	most := math.Inf(1)
	if strings.HasSuffix(c.Metric, "_ratio") {
		most = 1
	}
	return axis.Range(all, most)
}

// rounded leaves three digits of a number on an axis.
func rounded(v float64) float64 {
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	if err != nil {
		return v
	}
	return short
}

func shape(name, class string, attributes ...any) Node {
	all := Group{Attr("class", class)}
	for i := 0; i+1 < len(attributes); i += 2 {
		key, _ := attributes[i].(string)
		value, _ := attributes[i+1].(float64)
		all = append(all, Attr(key, digits(value)))
	}
	return El(name, all)
}

func label(x, y float64, anchor, text string) Node {
	if anchor == "" {
		anchor = "middle"
	}
	return El("text", Attr("x", digits(x)), Attr("y", digits(y)), Attr("text-anchor", anchor), Text(text))
}

func digits(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

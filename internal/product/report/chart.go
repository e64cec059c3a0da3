package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	. "maragu.dev/gomponents"

	"github.com/ai-micro-service/upkeep/internal/product/axis"
)

// ChartKind is how a chart shows its values.
type ChartKind string

// The kinds of charts.
const (
	Lines ChartKind = "lines" // a value a day; a day without one is a gap in the line
	Band  ChartKind = "band"  // the same, and where it is expected to go
	Bars  ChartKind = "bars"  // a value of each subject, beside another one
)

// A Chart is drawn as SVG.
type Chart struct {
	Kind   ChartKind `json:"kind"`
	Title  string    `json:"title"`
	Unit   Unit      `json:"unit"`
	From   time.Time `json:"from,omitzero"`
	Days   int       `json:"days,omitempty"`
	Known  int       `json:"known_days,omitempty"` // of a band: those that are over
	Gaps   []string  `json:"days_without_data,omitempty"`
	Limit  *float64  `json:"limit,omitempty"`
	Start  *float64  `json:"start,omitempty"` // where a band begins
	Slow   float64   `json:"growth_per_day,omitempty"`
	Fast   float64   `json:"growth_per_day_p90,omitempty"`
	Series []Line    `json:"series"`
}

// A Line is one series of a chart, or one group of bars.
type Line struct {
	Name   string     `json:"name"`
	Values []*float64 `json:"values"`
	Legend []string   `json:"legend,omitempty"` // of bars
}

// The measures of a chart, in units of its view box: an A4 page shows one of them in a quarter of
// a millimetre.
const (
	chartWidth, plotHeight              = 720, 150
	leftMargin, rightMargin, topMargin  = 70, 10, 10
	axisHeight, legendLine, barHeight   = 20, 15, 13
	barLabel, barGap, barValue, ticksAt = 260, 6, 70, 3
)

// svg draws the chart.
func (c Chart) svg() Node {
	if c.Kind == Bars {
		return c.bars()
	}
	low, high := c.bounds()
	x := func(at float64) float64 {
		return leftMargin + at*(chartWidth-leftMargin-rightMargin)/float64(max(c.Days, 1))
	}
	y := func(v float64) float64 { return topMargin + min(max((high-v)/(high-low), 0), 1)*plotHeight }
	height := topMargin + plotHeight + axisHeight + legendLine*len(c.Series)
	if c.Kind == Band {
		height += legendLine
	}
	parts := Group{c.gaps(x), c.axis(x, y, low, high)}
	if c.Kind == Band {
		parts = append(parts, c.band(x, y))
	}
	for i, line := range c.Series {
		at := topMargin + plotHeight + axisHeight + legendLine*i + 10
		parts = append(parts, c.line(i, line, x, y), shape("line", "line s"+strconv.Itoa(i), "x1", leftMargin, "x2",
			leftMargin+24, "y1", at-4, "y2", at-4), label("legend", leftMargin+30, float64(at), line.Name))
	}
	return c.picture(height, parts)
}

// picture is the SVG element. Its title is what a screen reader says.
func (c Chart) picture(height int, parts Node) Node {
	return El("svg", Attr("viewBox", fmt.Sprintf("0 0 %d %d", chartWidth, height)), Attr("role", "img"),
		Attr("aria-label", c.Title), El("title", Text(c.Title)), parts)
}

// bounds returns from which value to which the chart goes.
func (c Chart) bounds() (low, high float64) {
	var all []float64
	see := func(v *float64) {
		if v != nil {
			all = append(all, *v)
		}
	}
	for _, s := range c.Series {
		for _, v := range s.Values {
			see(v)
		}
	}
	see(c.Limit)
	see(c.Start)
	most := math.Inf(1)
	if c.Unit == Ratio {
		most = 1
	}
	return axis.Range(all, most)
}

// gaps marks the days without data.
func (c Chart) gaps(x func(float64) float64) Node {
	var all Group
	for i := range c.Days {
		date := c.From.AddDate(0, 0, i).Format(time.DateOnly)
		if slices.Contains(c.Gaps, date) {
			all = append(all, El("rect", Attr("class", "gap"), number("x", x(float64(i))), number("y", topMargin),
				number("width", x(1)-x(0)), number("height", plotHeight), El("title", Text("no data on "+date))))
		}
	}
	return all
}

func (c Chart) axis(x, y func(float64) float64, low, high float64) Node {
	var all Group
	for i := range ticksAt {
		v := low + (high-low)*float64(i)/(ticksAt-1)
		all = append(all, shape("line", "grid", "x1", leftMargin, "x2", chartWidth-rightMargin, "y1", y(v), "y2", y(v)),
			label("tick end", leftMargin-6, y(v)+4, write(c.Unit, v)))
	}
	every := max(1, int(math.Ceil(float64(c.Days)/8)))
	for i := 0; i < c.Days; i += every {
		all = append(all, label("tick", x(float64(i)), topMargin+plotHeight+14, c.From.AddDate(0, 0,
			i).Format("2 Jan")))
	}
	return all
}

// drawn reports whether there is a value that a chart can show.
func drawn(v *float64) bool { return v != nil && axis.Finite(*v) }

// line draws what is known; it ends before a day without a value and begins after it.
func (c Chart) line(i int, l Line, x, y func(float64) float64) Node {
	var all Group
	class := "line s" + strconv.Itoa(i)
	for at := 0; at < len(l.Values); at++ {
		if !drawn(l.Values[at]) {
			continue
		}
		points, last := "", at
		for last < len(l.Values) && drawn(l.Values[last]) {
			points += fmt.Sprintf("%.1f,%.1f ", x(float64(last)+0.5), y(*l.Values[last]))
			last++
		}
		if last == at+1 { // a day alone is a dot
			all = append(all, shape("circle", "dot s"+strconv.Itoa(i), "cx", x(float64(at)+0.5), "cy", y(*l.Values[at]),
				"r", 2))
		} else {
			all = append(all, El("polyline", Attr("class", class), Attr("points", points)))
		}
		at = last
	}
	return all
}

// band draws what is expected: between the growth of the median week and that of the fastest, up
// to the limit.
func (c Chart) band(x, y func(float64) float64) Node {
	if !drawn(c.Start) || !drawn(c.Limit) {
		return nil
	}
	at := func(growth float64, day int) float64 {
		return min(*c.Start+growth*float64(day), max(*c.Limit, *c.Start))
	}
	left := c.Days - c.Known
	points := ""
	for i := 0; i <= left; i++ {
		points += fmt.Sprintf("%.1f,%.1f ", x(float64(c.Known+i)), y(at(c.Fast, i)))
	}
	for i := left; i >= 0; i-- {
		points += fmt.Sprintf("%.1f,%.1f ", x(float64(c.Known+i)), y(at(c.Slow, i)))
	}
	foot := float64(topMargin + plotHeight + axisHeight + legendLine*len(c.Series) + 10)
	return Group{El("polygon", Attr("class", "band"), Attr("points", points)),
		shape("line", "limit", "x1", leftMargin, "x2", chartWidth-rightMargin, "y1", y(*c.Limit), "y2", y(*c.Limit)),
		label("legend", leftMargin, foot, "dashed: the limit ("+write(c.Unit, *c.Limit)+"); grey: expected, from "+
			write(c.Unit, c.Slow)+" to "+write(c.Unit, c.Fast)+" a day")}
}

// bars draws two bars for each subject, one below the other.
func (c Chart) bars() Node {
	most := 0.0
	for _, s := range c.Series {
		for _, v := range s.Values {
			if drawn(v) {
				most = max(most, *v)
			}
		}
	}
	if most == 0 {
		most = 1
	}
	legend := []string{"this period", "the period before"}
	if len(c.Series) > 0 && c.Series[0].Legend != nil {
		legend = c.Series[0].Legend
	}
	var parts Group
	at := float64(topMargin)
	for _, s := range c.Series {
		parts = append(parts, label("legend end", barLabel-8, at+barHeight, shorten(s.Name, 36)))
		for i, v := range s.Values {
			if !drawn(v) {
				parts = append(parts, label("tick", barLabel, at+barHeight-3, unknown))
			} else {
				width := max(*v, 0) / most * (chartWidth - barLabel - barValue - rightMargin)
				parts = append(parts, shape("rect", "bar b"+strconv.Itoa(i), "x", barLabel, "y", at, "width",
					max(width, 1),
					"height", barHeight-2), label("tick", barLabel+width+5, at+barHeight-3, write(c.Unit, *v)))
			}
			at += barHeight
		}
		at += barGap
	}
	for i, name := range legend {
		parts = append(parts, shape("rect", "bar b"+strconv.Itoa(i), "x", barLabel+i*150, "y", at+4, "width", 12,
			"height",
			barHeight-2), label("legend", float64(barLabel+i*150+18), at+13, name))
	}
	return c.picture(int(at)+legendLine+8, parts)
}

// shape is an element with attributes that are numbers.
func shape(name, class string, attributes ...any) Node {
	all := Group{Attr("class", class)}
	for i := 0; i+1 < len(attributes); i += 2 {
		all = append(all, Attr(fmt.Sprint(attributes[i]), digits(attributes[i+1])))
	}
	return El(name, all)
}

func digits(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

func number(name string, v float64) Node { return Attr(name, digits(v)) }

func label(class string, x, y float64, text string) Node {
	return El("text", Attr("class", class), number("x", x), number("y", y), Text(text))
}

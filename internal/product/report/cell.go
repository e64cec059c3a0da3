package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A Unit is that of the values of a column or a chart.
type Unit string

// The units.
const (
	Words   Unit = ""
	Ratio   Unit = "ratio"
	Seconds Unit = "seconds"
	Bytes   Unit = "bytes"
	Number  Unit = "number"
	Rate    Unit = "per second"
	Date    Unit = "date" // seconds since 1970
)

// A Column is the heading of a column with the unit of its values.
type Column struct {
	Name string `json:"name"`
	Unit Unit   `json:"unit,omitempty"`
}

// A Cell is a text, and the number that it writes where it is one.
type Cell struct {
	Text  string   `json:"text"`
	Value *float64 `json:"value,omitempty"`
}

// unknown is what is written where there is no value.
const unknown = "no data"

// words is a cell with a text of others, which is only shown.
func words(text string) Cell { return Cell{Text: visible.Text(text)} }

// value is a cell with a number, or "no data".
func value(u Unit, v *float64) Cell {
	if v == nil || math.IsNaN(*v) || math.IsInf(*v, 0) {
		return Cell{Text: unknown}
	}
	return Cell{Text: write(u, *v), Value: v}
}

func count(n int64) Cell { return value(Number, new(float64(n))) }

// noPoint is the least difference of ratios that is shown: a thousandth of a point.
const noPoint = 1e-5

// change is a cell with the difference to the period before, or why it has no number.
func change(u Unit, is, was *float64) Cell {
	switch {
	case is == nil:
		return Cell{Text: "–"}
	case was == nil:
		return Cell{Text: "nothing to compare"}
	}
	return difference(u, *is-*was)
}

// difference is a cell with a difference.
func difference(u Unit, d float64) Cell {
	text := write(u, math.Abs(d))
	if u == Ratio {
		text = short(math.Abs(d)*100) + " points"
	}
	switch {
	case d == 0, u == Ratio && math.Abs(d) < noPoint:
		return Cell{Text: "same", Value: &d}
	case d > 0:
		return Cell{Text: "+" + text, Value: &d}
	}
	return Cell{Text: "−" + text, Value: &d}
}

// write writes a number in its unit.
func write(u Unit, v float64) string {
	switch u {
	case Ratio:
		if v > 0.99 && v < 1 { // 99.9996 % is not all
			return fmt.Sprintf("%.3f %%", math.Floor(v*1e5)/1e3)
		}
		return short(v*100) + " %"
	case Seconds:
		return inTime(v)
	case Bytes:
		return sign(v) + remediate.Quantity("_bytes", math.Abs(v))
	case Rate:
		return short(v) + "/s"
	case Date:
		return time.Unix(int64(v), 0).UTC().Format("2006-01-02 15:04")
	}
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	if a := math.Abs(v); a >= 1000 && a < 1e15 { // four digits would have an exponent
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// short writes a number with three digits, or all of those before the point.
func short(v float64) string {
	if a := math.Abs(v); a >= 99.95 && a < 1e15 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func sign(v float64) string {
	if v < 0 {
		return "−"
	}
	return ""
}

// inTime writes seconds in the largest unit that leaves a number above one.
func inTime(v float64) string {
	a := math.Abs(v)
	for _, u := range []struct {
		least, size float64
		name        string
	}{{2 * 86400, 86400, "d"}, {2 * 3600, 3600, "h"}, {120, 60, "min"}, {1, 1, "s"}, {1e-3, 1e-3, "ms"},
		{1e-6, 1e-6, "µs"}} {
		if a >= u.least {
			return sign(v) + short(a/u.size) + " " + u.name
		}
	}
	return "0 s"
}

// share is a cell with the part of the period that the data of a row cover.
func share(v *float64) Cell {
	if v == nil {
		return Cell{Text: unknown}
	}
	return Cell{Text: percent(*v), Value: v}
}

// percent writes a share. What is not whole is not written as 100 %, what is not empty not as 0 %.
func percent(v float64) string {
	switch n := math.Round(v * 100); {
	case v <= 0:
		return "0 %"
	case v >= 1:
		return "100 %"
	default:
		return strconv.FormatFloat(min(max(n, 1), 99), 'f', 0, 64) + " %"
	}
}

func shorten(text string, most int) string {
	if letters := []rune(text); len(letters) > most {
		return string(letters[:most-1]) + "…"
	}
	return text
}

package remediate

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Never is the age of what has never happened, where a measure needs a number.
const Never = 10 * 365 * 24 * time.Hour

// Quantity writes the value of a metric for people, in the unit that its name ends with. It has no exponent but
// where a value is beyond any that a metric of ours has.
func Quantity(metric string, v float64) string {
	switch {
	case strings.HasSuffix(metric, "_ratio"):
		return short(v*100) + " %"
	case strings.HasSuffix(metric, "_seconds") && v == Never.Seconds():
		return "never"
	case strings.HasSuffix(metric, "_seconds"):
		return seconds(v)
	case strings.HasSuffix(metric, "_bytes"):
		return bytes(v)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// seconds writes a duration. A time.Duration has 292 years at most, and is a number.
func seconds(v float64) string {
	if !(math.Abs(v) <= math.MaxInt64/float64(time.Second)-1) {
		return short(v) + " s"
	}
	return (time.Duration(v*1000) * time.Millisecond).Round(precision(v)).String()
}

func precision(seconds float64) time.Duration {
	if math.Abs(seconds) < 10 {
		return 10 * time.Millisecond
	}
	return time.Second
}

func bytes(v float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for math.Abs(v) >= 1024 && len(units) > 1 {
		v, units = v/1024, units[1:]
	}
	return short(v) + " " + units[0]
}

// short writes three digits of a number, or all of those before the point.
func short(v float64) string {
	if a := math.Abs(v); a >= 999.5 && a < 1e15 { // %.3g has an exponent from here on
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return fmt.Sprintf("%.3g", v)
}

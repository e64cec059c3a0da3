package remediate

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Never is the age of what has never happened, where a measure needs a number.
const Never = 10 * 365 * 24 * time.Hour

// Quantity writes the value of a metric for people, in the unit that its name ends with.
func Quantity(metric string, v float64) string {
	switch {
	case strings.HasSuffix(metric, "_ratio"):
		return fmt.Sprintf("%.3g %%", v*100)
	case strings.HasSuffix(metric, "_seconds") && v == Never.Seconds():
		return "never"
	case strings.HasSuffix(metric, "_seconds"):
		return (time.Duration(v*1000) * time.Millisecond).Round(precision(v)).String()
	case strings.HasSuffix(metric, "_bytes"):
		return bytes(v)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

func precision(seconds float64) time.Duration {
	if seconds < 10 {
		return 10 * time.Millisecond
	}
	return time.Second
}

func bytes(v float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for v >= 1024 && len(units) > 1 {
		v, units = v/1024, units[1:]
	}
	return fmt.Sprintf("%.3g %s", v, units[0])
}

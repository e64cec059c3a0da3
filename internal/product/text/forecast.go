package text

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/forecast"
)

// Forecast writes what grows; all: also what does not grow and has no limit.
func Forecast(w io.Writer, rows []forecast.Row, all bool, now time.Time) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "Nothing is recorded yet. The rules record once an hour.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "RESOURCE\tON\tUSED\tLIMIT\tA DAY\tA WEEK\tAT THE LIMIT IN\tON\tDAYS")
	hidden := 0
	for _, r := range rows {
		if !all && r.Limit == nil && (r.Growth == nil || *r.Growth <= 0) {
			hidden++
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", r.Resource, r.Name(), amountOf(&r.Used, r.Unit),
			amountOf(r.Limit, r.Unit), change(r.Growth, r.Unit), change(r.Week, r.Unit), band(r), date(r, now), r.Days)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if hidden > 0 {
		fmt.Fprintf(w, "%d more do not grow and have no limit; --all shows them.\n", hidden)
	}
	return nil
}

// amountOf writes an amount in its unit.
func amountOf(v *float64, unit string) string {
	switch {
	case v == nil:
		return "–"
	case unit == "ratio":
		return fmt.Sprintf("%.3g %%", 100**v)
	case unit == "number":
		return fmt.Sprintf("%.4g", *v)
	}
	size, name := *v, "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if math.Abs(size) < 1024 {
			break
		}
		size, name = size/1024, next
	}
	return fmt.Sprintf("%.4g %s", size, name)
}

func change(v *float64, unit string) string {
	if v != nil && *v > 0 {
		return "+" + amountOf(v, unit)
	}
	return amountOf(v, unit)
}

// longest is up to when a forecast is written as days: beyond that it says little.
const longest = 3 * 365 * 24 * time.Hour

// band writes the time at the pace of the fastest weeks and at the median.
func band(r forecast.Row) string {
	if r.Likely == nil {
		return "–"
	}
	likely := inDays(*r.Likely)
	if r.Soon == nil || inDays(*r.Soon) == likely {
		return likely
	}
	return inDays(*r.Soon) + " – " + likely
}

func inDays(seconds float64) string {
	if seconds > longest.Seconds() {
		return "over 3 years"
	}
	return fmt.Sprintf("%.0f d", seconds/86400)
}

func date(r forecast.Row, now time.Time) string {
	if r.Likely == nil || *r.Likely > longest.Seconds() {
		return "–"
	}
	return now.Add(time.Duration(*r.Likely) * time.Second).Format(time.DateOnly)
}

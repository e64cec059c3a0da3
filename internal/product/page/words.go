package page

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/remediate"
)

// zoned writes a moment with its zone.
func zoned(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05") + " UTC" }

// moment is a moment with its zone.
func moment(at time.Time) Node {
	return Time(DateTime(at.UTC().Format(time.RFC3339)), Text(zoned(at)))
}

// clock is a moment of today without its date, and any other with it.
func clock(now, at time.Time) string {
	if now.UTC().Format(time.DateOnly) == at.UTC().Format(time.DateOnly) {
		return at.UTC().Format("15:04:05") + " UTC"
	}
	return zoned(at)
}

// since is a moment with how long ago it was, or how far it is ahead.
func since(now, at time.Time) Node {
	if at.IsZero() {
		return Text("never")
	}
	age, text := now.Sub(at), ""
	switch {
	case age < -time.Second:
		text = ", in " + Age(-age)
	case age < time.Second:
		text = ", now"
	default:
		text = ", " + Age(age) + " ago"
	}
	return Time(DateTime(at.UTC().Format(time.RFC3339)), Text(clock(now, at)+text))
}

// Age writes a duration in its largest unit, or in two of them.
func Age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// Quantity writes the value of a metric, or a dash where it is not known.
func Quantity(metric string, v *float64) string {
	if v == nil {
		return "–"
	}
	return remediate.Quantity(metric, *v)
}

// class is the style of a run's state.
func class(s remediate.State) string {
	switch {
	case s == remediate.Resolved:
		return "good"
	case s.Useless():
		return "bad"
	case s == remediate.AwaitingApproval:
		return "ask"
	case !s.Ended(), s == remediate.Inconclusive:
		return "busy"
	}
	return ""
}

// pill is a state in its colour.
func pill(class, text string) Node { return Span(Class("pill "+class), Text(text)) }

// rating is the style of a severity.
func rating(s remediate.Severity) string {
	switch s {
	case remediate.Critical:
		return "bad"
	case remediate.Warning:
		return "busy"
	default:
		return ""
	}
}

// labels lists labels, without those that are shown elsewhere.
func labels(all map[string]string, without ...string) Node {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(all)),
		func(n string) bool { return slices.Contains(without, n) })
	if len(names) == 0 {
		return nil
	}
	return Ul(Class("labels"), Map(names, func(n string) Node {
		return Li(Span(Class("soft"), Text(n+" ")), Text(all[n]))
	}))
}

// subject writes on what a run works, in a few words.
func subject(r remediate.Request) string {
	s := r.Subject
	var named []string
	for _, name := range []string{"database", "schema", "table", "index", "container", "key"} {
		if s[name] != "" {
			named = append(named, s[name])
		}
	}
	text := strings.Join(named, ".")
	if text == "" {
		var rest []string
		for _, name := range slices.Sorted(maps.Keys(s)) {
			if name != "server" {
				rest = append(rest, name+"="+s[name])
			}
		}
		text = strings.Join(rest, " ")
	}
	if text == "" {
		return s["server"]
	}
	return text + " on " + s["server"]
}

// Subject writes on what a run works, in a few words.
func Subject(r remediate.Request) string { return subject(r) }

// RunPath is where the page of a run is, before its number.
const RunPath = "/runs/"

func runLink(id int64) Node {
	return A(Href(RunPath+strconv.FormatInt(id, 10)), Text("run "+strconv.FormatInt(id, 10)))
}

// heads are the headings of a table.
func heads(columns ...string) Node {
	return THead(Tr(Map(columns, func(c string) Node { return Th(Text(c), Attr("scope", "col")) })))
}

// plural writes a number with its noun.
func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}

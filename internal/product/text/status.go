package text

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/collectors/probe"
	"github.com/ai-micro-service/upkeep/internal/platform/terminal"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// Status writes in a line how things are, and then each of them, the most urgent first.
func Status(w io.Writer, s console.Status, now time.Time) {
	screen := terminal.Of(w)
	line := func(style terminal.Style, head, format string, args ...any) {
		screen.Say(style, head)
		fmt.Fprintf(screen, " "+format+"\n", args...)
	}
	fmt.Fprintln(screen, summary(s))
	for _, r := range s.Stuck {
		line(terminal.Bad, "STUCK", "run %d: %s on %s is %s: %s. See upkeep show %d; cancel it with upkeep cancel %d "+
			"--why …", r.Run.ID, r.Run.Request.Action, journal.Subject(r.Run.Request.Subject), r.Run.State, r.Why,
			r.Run.ID, r.Run.ID)
	}
	for _, p := range s.Pauses {
		line(terminal.Busy, "PAUSED", "%s by %s: %s", p.Scope, p.By, p.Reason)
		if p.Unknown != "" {
			fmt.Fprintf(screen, "  %s: this pauses nothing\n", p.Unknown)
		}
	}
	for _, r := range s.Awaiting {
		line(terminal.Ask, "AWAITING APPROVAL", "run %d: %s on %s. See upkeep show %d; then upkeep approve %d, or "+
			"upkeep reject %d --why …", r.ID, r.Request.Action, journal.Subject(r.Request.Subject), r.ID, r.ID, r.ID)
	}
	for _, t := range s.Targets {
		if t.State == "down" {
			do := "Start it, or check its address and login: upkeep check --connect"
			if slices.Contains(t.Kinds, "probe") {
				do = "What to do: " + probe.Advice(t.Why)
			}
			line(terminal.Bad, "DOWN", "%s (%s): %s. %s", t.Name, strings.Join(t.Kinds, ", "),
				strings.TrimSuffix(t.Why, "."), do)
		}
	}
	for _, e := range s.Incidents {
		severity := severityCell(e.Severity().String())
		line(severity.Style, "FIRING", "%s %s, %s: %s", severity.Text, e.Name(), terminal.Age(now, e.Opened),
			e.Alert.Annotations["summary"])
	}
	if rest := s.Open - int64(len(s.Incidents)); rest > 0 {
		fmt.Fprintf(screen, "and %d more alerts: upkeep alerts\n", rest)
	}
	for _, k := range s.Collectors {
		if k.Note != "" {
			line(terminal.Busy, "NOTE", "%s: %s", k.Server, OneLine(k.Note))
		}
	}
	for _, p := range problems(s) {
		line(terminal.Busy, "CANNOT READ", "%s: %s%s", p.where, p.text, advice(p.text))
	}
}

// summary says in one line how things are.
func summary(s console.Status) string {
	targets := counted(len(s.Targets), "target", "targets")
	var states []string
	for _, state := range []string{"down", "failing"} {
		n := 0
		for _, t := range s.Targets {
			if t.State == state {
				n++
			}
		}
		if n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, state))
		}
	}
	parts := []string{strings.Join(append([]string{targets}, states...), ", ")}
	firing := "no alert is firing"
	if s.Open > 0 {
		var by []string
		for _, severity := range remediate.Severities() {
			if n := s.Firing[severity.String()]; n > 0 {
				by = append(by, fmt.Sprintf("%d %s", n, severity))
			}
		}
		firing = fmt.Sprintf("%d firing (%s)", s.Open, strings.Join(by, ", "))
	}
	parts = append(parts, firing)
	for _, of := range []struct {
		n         int
		one, many string
	}{{len(s.Stuck), "run is stuck", "runs are stuck"}, {len(s.Awaiting), "run awaits approval", "runs await approval"},
		{len(s.Pauses), "pause", "pauses"}} {
		if of.n > 0 {
			parts = append(parts, counted(of.n, of.one, of.many))
		}
	}
	return strings.Join(parts, "; ")
}

// counted writes a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// A problem is what collectors cannot read.
type problem struct{ text, where string }

// namedAt is how many collectors with the same error are named.
const namedAt = 3

// problems lists the errors of collectors, each once. Why a target is down is said with it.
func problems(s console.Status) (all []problem) {
	var texts []string
	where := make(map[string][]string)
	for _, k := range s.Collectors {
		if k.Err == "" || slices.ContainsFunc(s.Targets, func(t console.TargetLine) bool {
			return t.Name == k.Server && t.State == "down"
		}) {
			continue
		}
		text := OneLine(k.Err)
		if where[text] == nil {
			texts = append(texts, text)
		}
		where[text] = append(where[text], k.Server+" "+k.Collector)
	}
	for _, text := range texts {
		names := where[text]
		named := strings.Join(names[:min(len(names), namedAt)], ", ")
		if len(names) > namedAt {
			named += fmt.Sprintf(" and %d more", len(names)-namedAt)
		}
		all = append(all, problem{text, named})
	}
	return all
}

// OneLine is an error without the lines that are in it twice. In an answer for people a line ends with an escape.
func OneLine(err string) string {
	var lines []string
	for _, line := range strings.Split(strings.NewReplacer(`\n`, "\n", `\t`, " ").Replace(err), "\n") {
		if line = strings.Join(strings.Fields(line), " "); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " ")
}

// advice says what to do about an error of a collector, where its words show it.
func advice(text string) string {
	lower := strings.ToLower(text)
	for _, one := range []struct{ has, do string }{
		{"permission denied", "upkeep rights prints the grants"},
		{"noperm", "upkeep rights --kind redis prints the ACL"},
		{"password", "check the password: upkeep check --connect"},
		{"connection refused", "start it, or check its address: upkeep check --connect"},
		{"no such host", "check its address: upkeep check --connect"},
		{"timeout", "it may be overloaded; upkeep status -v shows the durations"},
		{"deadline exceeded", "it may be overloaded; upkeep status -v shows the durations"},
	} {
		if strings.Contains(lower, one.has) {
			return "; " + one.do
		}
	}
	return "; docs/collectors.md says what the collector needs"
}

// Collectors lists the collectors.
func Collectors(w io.Writer, s console.Status, now time.Time, wide bool) error {
	t := table(w, wide, "TARGET", "COLLECTOR", "SAMPLES", "DURATION", "ANSWERED", "STATE").Yield("TARGET", "STATE")
	for _, k := range s.Collectors {
		answered, state := terminal.Age(now, k.At), terminal.Cell{Text: "ok"}
		switch text := cmp.Or(k.Err, k.Down); {
		case text != "":
			state = terminal.Cell{Text: OneLine(text), Style: terminal.Bad}
		case k.At.IsZero():
			answered, state.Text = "–", "not asked yet"
		}
		t.Row(k.Server, k.Collector, k.Samples, k.Took.Round(time.Millisecond), answered, state)
	}
	return t.Flush()
}

package text

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/terminal"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// table begins a table; a wide one is not shortened.
func table(w io.Writer, wide bool, heads ...string) *terminal.Table {
	return terminal.Of(w).Table(heads...).Whole(wide)
}

// Runs lists runs; wide: with all that a list knows of them.
func Runs(w io.Writer, lines []console.Line, now time.Time, wide bool) error {
	switch {
	case len(lines) == 0:
		_, err := fmt.Fprintln(w, "No runs yet.")
		return err
	case wide:
		return wideRuns(w, lines)
	}
	t := table(w, false, "RUN", "AGE", "ACTION", "STATE", "ON", "WHY").Yield("ON", "WHY")
	for _, l := range lines {
		t.Row(l.ID, terminal.Age(now, l.Changed), l.Request.Action, stateCell(l.State),
			terminal.Cell{Text: page.Subject(l.Request), Tail: true}, l.Why)
	}
	return t.Flush()
}

func wideRuns(w io.Writer, lines []console.Line) error {
	t := table(w, true, "RUN", "CHANGED", "ACTION", "STATE", "BEFORE → AFTER", "LIMIT", "ON", "BY", "POLICY", "WHY")
	for _, l := range lines {
		t.Row(l.ID, l.Changed.Local().Format(time.DateTime), l.Request.Action, stateCell(l.State),
			page.Quantity(l.Lowers, l.Before)+" → "+page.Quantity(l.Lowers, l.After),
			page.Quantity(l.Lowers, l.Request.Limit), journal.Subject(l.Request.Subject), l.Request.By,
			cmp.Or(l.Request.Policy, "–"), l.Why)
	}
	return t.Flush()
}

// Run writes a run in a line.
func Run(w io.Writer, l console.Line) error {
	_, err := fmt.Fprintf(w, "%s  run %d  %s  %s  %s: %s\n", l.Changed.Local().Format(time.DateTime), l.ID,
		l.Request.Action, l.State, page.Subject(l.Request), l.Why)
	return err
}

// stateCell is a state in its colour.
func stateCell(s remediate.State) terminal.Cell {
	c := terminal.Cell{Text: string(s)}
	switch {
	case s == remediate.Resolved:
		c.Style = terminal.Good
	case s.Useless():
		c.Style = terminal.Bad
	case s == remediate.AwaitingApproval:
		c.Style = terminal.Ask
	case !s.Ended(), s == remediate.Inconclusive:
		c.Style = terminal.Busy
	}
	return c
}

// Alerts writes the alerts that fire.
func Alerts(w io.Writer, all []remediate.Incident, now time.Time, wide bool) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No alert is firing.")
		return err
	}
	t := table(w, wide, "SEVERITY", "ALERT", "SINCE", "ON", "SUMMARY").Yield("ALERT", "ON", "SUMMARY")
	for _, e := range all {
		on := maps.Clone(e.Alert.Labels)
		for _, name := range []string{"alertname", "severity", "job", "instance"} {
			delete(on, name)
		}
		since := terminal.Age(now, e.Opened)
		if wide {
			since = e.Opened.Local().Format(time.DateTime)
		}
		severity := severityCell(e.Severity().String())
		severity.Text = e.Alert.Labels["severity"]
		t.Row(severity, e.Name(), since, journal.Subject(on), e.Alert.Annotations["summary"])
	}
	return t.Flush()
}

// Targets lists targets.
func Targets(w io.Writer, all []console.TargetLine, now time.Time, wide bool) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No targets.")
		return err
	}
	t := table(w, wide, "TARGET", "KIND", "STATE", "FIRING", "ANSWERED", "WHY").Yield("TARGET", "WHY")
	for _, l := range all {
		t.Row(l.Name, strings.Join(l.Kinds, ", "), targetCell(l), firingOf(l), terminal.Age(now, l.Answered), l.Why)
	}
	return t.Flush()
}

// targetCell is the state of a target in its colour.
func targetCell(l console.TargetLine) terminal.Cell {
	return terminal.Cell{Text: l.State, Style: map[string]terminal.Style{"up": terminal.Good, "down": terminal.Bad,
		"failing": terminal.Busy}[l.State]}
}

// firingOf counts the open incidents of a target and says how bad the worst is.
func firingOf(l console.TargetLine) terminal.Cell {
	if l.Open == 0 {
		return terminal.Cell{Text: "–"}
	}
	c := severityCell(l.Severity)
	c.Text = fmt.Sprintf("%d %s", l.Open, l.Severity)
	return c
}

// severityCell is a severity in its colour.
func severityCell(severity string) terminal.Cell {
	return terminal.Cell{Text: severity, Style: map[string]terminal.Style{"critical": terminal.Bad,
		"warning": terminal.Busy}[severity]}
}

// Policies writes policies, and below them why some are demoted.
func Policies(w io.Writer, lines []console.PolicyLine, wide bool) error {
	t := table(w, wide, "POLICY", "MODE", "ACTION", "EFFECT", "MATCH").Yield("POLICY", "ACTION", "MATCH")
	for _, l := range lines {
		var modes, actions []string
		for _, s := range l.Steps {
			actions = append(actions, s.Action)
			if !slices.Contains(modes, string(s.Mode)) {
				modes = append(modes, string(s.Mode))
			}
		}
		mode := terminal.Cell{Text: strings.Join(modes, ", ")}
		if !l.Demoted.IsZero() {
			mode = terminal.Cell{Text: "demoted", Style: terminal.Ask}
		}
		effect := "–"
		if l.Judged > 0 {
			effect = fmt.Sprintf("%d of %d", l.Resolved, l.Judged)
		}
		t.Row(l.Name, mode, strings.Join(actions, ", then "), effect, strings.Join(l.Match, ", "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, l := range lines {
		if !l.Demoted.IsZero() {
			fmt.Fprintf(w, "\n%s is demoted since %s: %s\nIts runs need approval until: upkeep policy promote %q "+
				"--why …\n", l.Name, l.Demoted.Local().Format(time.DateTime), l.Why, l.Name)
		}
	}
	return nil
}

// Actions lists actions.
func Actions(w io.Writer, all []console.ActionLine, wide bool) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No target takes an action.")
		return err
	}
	t := table(w, wide, "ACTION", "RISK", "TARGETS", "LABELS", "SUMMARY").Yield("LABELS", "SUMMARY")
	for _, a := range all {
		t.Row(a.Name, a.Risk, len(a.Targets), strings.Join(a.Labels, " "), a.Summary)
	}
	return t.Flush()
}

// Action writes what an action needs and does.
func Action(w io.Writer, a console.ActionLine) {
	fmt.Fprintf(w, "%s: %s\n\n", a.Name, a.Summary)
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "  %-10s %s\n", name, text)
		}
	}
	line("targets", strings.Join(a.Targets, ", "))
	line("labels", strings.Join(a.Labels, ", "))
	line("alone on", strings.Join(a.Exclusive, ", "))
	line("lowers", strings.Join(a.Lowers, ", "))
	line("risk", a.Risk)
	for _, name := range []string{"lock", "blocks", "wal", "disk", "undo"} {
		line(name, a.Effects[name])
	}
	line("timeout", a.Timeout+" for a step")
	if a.Asks {
		line("approval", "every run needs it")
	}
	if a.Windowed {
		line("window", "runs in a maintenance window only")
	}
	if len(a.Params) > 0 {
		fmt.Fprint(w, "\nparameters (--with NAME=VALUE):\n")
	}
	for _, p := range a.Params {
		fmt.Fprintf(w, "  %s (%s", p.Name, p.Type)
		if p.Default != "" {
			fmt.Fprintf(w, ", default %s", p.Default)
		}
		fmt.Fprintf(w, "): %s\n", p.Doc)
	}
	var labels []string
	for _, label := range a.Labels {
		labels = append(labels, label+"=…")
	}
	fmt.Fprintf(w, "\nSee what it would do: upkeep plan %s %s\n", a.Name, strings.Join(labels, " "))
}

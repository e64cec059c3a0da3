package config

import (
	"maps"
	"reflect"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// windows parses each interval.
func (d *decoder) windows(c *Config, n *yaml.Node) {
	for i := range c.Windows {
		w := &c.Windows[i]
		w.parsed.Name = w.Name
		for j, spec := range w.TimeIntervals {
			node := resolve(at(n, "windows", i, "time_intervals", j))
			interval, err := schedule.ParseInterval(spec)
			switch {
			case d.faultIn(node): // said already
			case err != nil:
				d.fault(wrongPart(node, spec), "window %s: %v", strconv.Quote(w.Name), err)
			default:
				d.noneEmpty(node, w.Name)
			}
			w.parsed.Intervals = append(w.parsed.Intervals, interval)
		}
	}
	d.twice(n, "windows", "window", c.windowNames())
}

// noneEmpty rejects an empty list: Alertmanager reads it as "never", most people
// as "always".
func (d *decoder) noneEmpty(n *yaml.Node, name string) {
	for _, key := range keys(reflect.TypeFor[schedule.Spec]()) {
		if list := under(n, key); list != nil && resolve(list).Kind == yaml.SequenceNode &&
			len(resolve(list).Content) == 0 {
			d.fault(list, "window %s: %s is empty; an entry was expected, or no %s at all", strconv.Quote(name), key,
				key)
		}
	}
}

// wrongPart returns the node of the first entry of an interval that is wrong by
// itself, or else the interval.
func wrongPart(n *yaml.Node, s schedule.Spec) *yaml.Node {
	wrong := func(s schedule.Spec) bool { _, err := schedule.ParseInterval(s); return err != nil }
	for i, t := range s.Times {
		if wrong(schedule.Spec{Times: []schedule.Times{t}}) {
			return at(n, "times", i)
		}
	}
	for _, list := range []struct {
		key     string
		entries []string
		alone   func(entry []string) schedule.Spec
	}{
		{"weekdays", s.Weekdays, func(one []string) schedule.Spec { return schedule.Spec{Weekdays: one} }},
		{"days_of_month", s.DaysOfMonth, func(one []string) schedule.Spec { return schedule.Spec{DaysOfMonth: one} }},
		{"months", s.Months, func(one []string) schedule.Spec { return schedule.Spec{Months: one} }},
		{"years", s.Years, func(one []string) schedule.Spec { return schedule.Spec{Years: one} }},
	} {
		for i := range list.entries {
			if wrong(list.alone(list.entries[i : i+1])) {
				return at(n, list.key, i)
			}
		}
	}
	return at(n, "location")
}

func (c *Config) windowNames() (all []string) {
	for _, w := range c.Windows {
		all = append(all, w.Name)
	}
	return all
}

// inWindows checks the windows that somebody names.
func (d *decoder) inWindows(c *Config, n *yaml.Node, who string, names []string) {
	for i, name := range names {
		if !slices.Contains(c.windowNames(), name) {
			d.fault(at(n, "windows", i), "%s: unknown window %q; %s", who, name,
				expected(name, "windows", c.windowNames()))
		}
	}
}

// policies checks each chain, and makes one of the short form.
func (d *decoder) policies(c *Config, n *yaml.Node) {
	var names []string
	for i := range c.Policies {
		p, node := &c.Policies[i], at(n, "policies", i)
		names = append(names, p.Name)
		who := "policy " + strconv.Quote(p.Name)
		if p.Name == "." || p.Name == ".." { // browsers take them out of the address of its page
			d.fault(at(node, "name"), "a policy cannot be called %q, because its page would have no address; choose "+
				"another name", p.Name)
		}
		d.inWindows(c, node, who, p.Windows)
		if !has(node, "steps") {
			d.short(p, node, who)
			continue
		}
		for _, key := range []string{"action", "mode", "subject", "with"} {
			if has(node, key) {
				d.fault(at(node, key), "%s has both steps and %s; %s was expected within a step", who, key, key)
			}
		}
		if len(p.Steps) == 0 && !d.faultIn(at(node, "steps")) {
			d.fault(at(node, "steps"), "%s has no step; at least one was expected", who)
		}
		for j, s := range p.Steps {
			d.step(at(node, "steps", j), who, policy.Step{Action: s.Action, Mode: remediate.Mode(s.Mode),
				Subject: s.Subject, With: s.With, Terms: p.terms(s)}, false)
			d.inWindows(c, at(node, "steps", j), who, s.Windows)
		}
	}
	d.twice(n, "policies", "policy", names)
}

// short takes a policy of one step that is written without steps.
func (d *decoder) short(p *Policy, n *yaml.Node, who string) {
	if p.Action == "" {
		if !d.faultIn(resolve(n)) {
			d.fault(n, "%s has neither action nor steps; one was expected", who)
		}
		return
	}
	d.step(n, who, policy.Step{Action: p.Action, Mode: remediate.Mode(p.Mode), Subject: p.Subject, With: p.With,
		Terms: p.terms(Step{})}, false)
	p.Steps = []Step{{Action: p.Action, Mode: p.Mode, Subject: p.Subject, With: p.With}}
}

// step checks the keys of a step against its action.
func (d *decoder) step(n *yaml.Node, who string, s policy.Step, literal bool) {
	if s.Action == "" {
		return // said already
	}
	if _, ok := d.known.Actions[s.Action]; !ok {
		d.fault(at(n, "action"), "%s: unknown action %q; %s", who, s.Action,
			expected(s.Action, "actions", slices.Sorted(maps.Keys(d.known.Actions))))
		return
	}
	a := d.known.Actions[s.Action]
	if a.Asks && s.Mode == remediate.Auto {
		d.fault(at(n, "mode"), "%s: %s always needs approval; mode must be ask or observe", who, s.Action)
	}
	if a.Windowed && s.Mode != remediate.Observe && len(s.Terms.Windows) == 0 {
		d.fault(at(n, "action"), "%s: %s needs a maintenance window; name one in windows", who, s.Action)
	}
	for _, m := range s.Check(d.known.Actions, literal) {
		d.fault(at(n, m.Key, m.Name), "%s: %s", who, m.Text)
	}
}

func (d *decoder) schedules(c *Config, n *yaml.Node) {
	var names []string
	for i, s := range c.Schedules {
		node, who := at(n, "schedules", i), "schedule "+strconv.Quote(s.Name)
		names = append(names, s.Name)
		d.inWindows(c, node, who, s.Windows)
		d.step(node, who, s.Step(), true)
		for _, label := range d.known.Actions[s.Action].Subject {
			if _, named := s.Subject[label]; !named && s.Query == "" && !d.faultIn(resolve(node)) {
				d.fault(at(node, "subject"),
					"%s: %s needs the label %q in its subject; name it, or a query that finds it", who, s.Action, label)
			}
		}
		if s.Query != "" && !c.Embedded.Enabled && c.Prometheus.URL == "" {
			d.fault(at(node, "query"),
				"%s has a query, but no Prometheus is configured; set prometheus.url, or use subject instead of query",
				who)
		}
		if s.Query != "" {
			d.query(at(node, "query"), who, s.Query)
		}
		d.when(s, node, who)
	}
	d.twice(n, "schedules", "schedule", names)
}

// when checks the times of a schedule.
func (d *decoder) when(s Schedule, n *yaml.Node, who string) {
	if _, err := schedule.ParseCron(s.Cron); err != nil && s.Cron != "" {
		d.fault(at(n, "cron"), "%s: %v", who, err)
	}
	if _, err := schedule.Zone(s.TimeZone); err != nil {
		d.fault(at(n, "time_zone"), "%s: %v", who, err)
	}
}

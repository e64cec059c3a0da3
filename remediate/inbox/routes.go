package inbox

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/timeinterval"
	"go.yaml.in/yaml/v3"
)

// A routing is the routes and time intervals of an Alertmanager's configuration. Before
// 0.28 its API does not return what a time interval mutes, and after it returns what was
// muted when the group was last looked at; the configuration tells it for now.
type routing struct {
	root      *route
	intervals map[string][]timeinterval.TimeInterval
}

// A route is a node of the routing tree.
type route struct {
	receiver     string
	match        labels.Matchers
	mute, active []string // names of intervals, which children do not inherit
	goOn         bool
	routes       []*route
}

// The parts of Alertmanager's configuration that are read, as its API writes it.
type routingText struct {
	Route     *routeText      `yaml:"route"`
	Intervals []intervalsText `yaml:"time_intervals"`
	Mute      []intervalsText `yaml:"mute_time_intervals"` // the older name
}

type intervalsText struct {
	Name      string                      `yaml:"name"`
	Intervals []timeinterval.TimeInterval `yaml:"time_intervals"`
}

type routeText struct {
	Receiver string            `yaml:"receiver"`
	Match    map[string]string `yaml:"match"`
	MatchRE  map[string]string `yaml:"match_re"`
	Matchers []string          `yaml:"matchers"`
	Mute     []string          `yaml:"mute_time_intervals"`
	Active   []string          `yaml:"active_time_intervals"`
	Continue bool              `yaml:"continue"`
	Routes   []*routeText      `yaml:"routes"`
}

func parseRouting(text string) (*routing, error) {
	var read routingText
	if err := yaml.Unmarshal([]byte(text), &read); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if read.Route == nil {
		return nil, fmt.Errorf("configuration: it has no route")
	}
	r := &routing{intervals: make(map[string][]timeinterval.TimeInterval)}
	for _, named := range slices.Concat(read.Intervals, read.Mute) {
		r.intervals[named.Name] = named.Intervals
	}
	var err error
	r.root, err = read.Route.route("")
	return r, err
}

func (t *routeText) route(receiver string) (*route, error) {
	if t == nil {
		return nil, fmt.Errorf("configuration: an empty route")
	}
	r := &route{receiver: receiver, mute: t.Mute, active: t.Active, goOn: t.Continue}
	if t.Receiver != "" {
		r.receiver = t.Receiver
	}
	add := func(kind labels.MatchType, all map[string]string) error {
		for name, value := range all {
			m, err := labels.NewMatcher(kind, name, value)
			if err != nil {
				return fmt.Errorf("configuration: matcher of %q: %w", name, err)
			}
			r.match = append(r.match, m)
		}
		return nil
	}
	if err := add(labels.MatchEqual, t.Match); err != nil {
		return nil, err
	}
	if err := add(labels.MatchRegexp, t.MatchRE); err != nil {
		return nil, err
	}
	parse := compat.FallbackMatchersParser(slog.New(slog.DiscardHandler))
	for _, one := range t.Matchers {
		all, err := parse(one, "route")
		if err != nil {
			return nil, fmt.Errorf("configuration: matcher %q: %w", one, err)
		}
		r.match = append(r.match, all...)
	}
	for _, child := range t.Routes {
		made, err := child.route(r.receiver)
		if err != nil {
			return nil, err
		}
		r.routes = append(r.routes, made)
	}
	return r, nil
}

// find returns the routes that an alert takes, as Alertmanager finds them.
func (r *route) find(have map[string]string) (all []*route) {
	for _, m := range r.match {
		if !m.Matches(have[m.Name]) {
			return nil
		}
	}
	for _, child := range r.routes {
		found := child.find(have)
		all = append(all, found...)
		if found != nil && !child.goOn {
			break
		}
	}
	if all == nil {
		all = []*route{r}
	}
	return all
}

// mutes returns which time intervals mute every route of an alert to a receiver, or ""
// if one of them is open or none exists. A receiver is quoted as a regular
// expression; "" means every one.
func (r *routing) mutes(have map[string]string, receiver string, now time.Time) string {
	var by []string
	for _, route := range r.root.find(have) {
		if receiver != "" && regexp.QuoteMeta(route.receiver) != receiver {
			continue
		}
		why := r.muted(route, now)
		if why == "" {
			return ""
		}
		if !slices.Contains(by, why) {
			by = append(by, why)
		}
	}
	return strings.Join(by, ", ")
}

func (r *routing) muted(route *route, now time.Time) string {
	for _, name := range route.mute {
		if r.holds(name, now) {
			return fmt.Sprintf("the time interval %q", name)
		}
	}
	if len(route.active) > 0 && !slices.ContainsFunc(route.active,
		func(name string) bool { return r.holds(name, now) }) {
		return fmt.Sprintf("its route, which is active in %q only", route.active)
	}
	return ""
}

func (r *routing) holds(name string, now time.Time) bool {
	return slices.ContainsFunc(r.intervals[name],
		func(t timeinterval.TimeInterval) bool { return t.ContainsTime(now.UTC()) })
}

package inbox_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

// routing writes a configuration of Alertmanager: a random tree of routes, and time
// intervals of which some hold now.
func routing(r *rand.Rand, now time.Time) string {
	var tree func(depth int, indent string) string
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	tree = func(depth int, indent string) string {
		var b strings.Builder
		if r.IntN(2) == 0 {
			fmt.Fprintf(&b, "%sreceiver: %s\n", indent, pick("upkeep", "up.keep", "slack"))
		}
		if depth > 0 {
			switch r.IntN(5) {
			case 0:
				fmt.Fprintf(&b, "%smatchers: ['team=\"%s\"']\n", indent, pick("a", "b"))
			case 1:
				fmt.Fprintf(&b, "%smatchers: ['team=~\"%s\"', 'kind!=\"%s\"']\n", indent, pick("a|b", "a.*", "b"),
					pick("x", "y"))
			case 2:
				fmt.Fprintf(&b, "%smatch: {team: %s}\n", indent, pick("a", "b"))
			case 3:
				fmt.Fprintf(&b, "%smatch_re: {kind: '%s'}\n", indent, pick("x|y", "x.+", ""))
			}
			if r.IntN(3) == 0 {
				fmt.Fprintf(&b, "%scontinue: true\n", indent)
			}
			if r.IntN(3) == 0 {
				fmt.Fprintf(&b, "%smute_time_intervals: [%s]\n", indent, pick("now", "other", "now, other", "night"))
			}
			if r.IntN(4) == 0 {
				fmt.Fprintf(&b, "%sactive_time_intervals: [%s]\n", indent, pick("now", "other", "now, other", "night"))
			}
		}
		if depth < 3 {
			fmt.Fprintf(&b, "%sroutes:\n", indent)
			for range 1 + r.IntN(3) {
				lines := tree(depth+1, indent+"    ") + indent + "    group_wait: 10m\n"
				b.WriteString(indent + "  - " + strings.TrimPrefix(lines, indent+"    "))
			}
		}
		return b.String()
	}
	day := strings.ToLower(now.Weekday().String())
	other := strings.ToLower(now.Add(48 * time.Hour).Weekday().String())
	zone := now.Add(14 * time.Hour) // the day of Kiritimati
	return fmt.Sprintf(`receivers: [{name: upkeep}, {name: up.keep}, {name: slack}]
mute_time_intervals:
  - name: other
    time_intervals: [{weekdays: ['%s'], times: [{start_time: '00:00', end_time: '24:00'}]}]
time_intervals:
  - name: now
    time_intervals: [{years: ['1999']}, {weekdays: ['%s'], months: ['%d'], days_of_month: ['%d', '-1']}]
  - name: night
    time_intervals: [{location: 'Pacific/Kiritimati', days_of_month: ['%d'], times: [{start_time: '06:30', end_time: '18:00'}]}]
route:
  receiver: upkeep
%s`, other, day, now.Month(), now.Day(), zone.Day(), strings.Replace(tree(0, "  "), "  receiver", "  group_by: [a]\n  # receiver", 1))
}

// What a configuration mutes is read from it as Alertmanager itself does, for random
// trees of routes, labels and moments.
func TestMutesAsAlertmanagerDoes(t *testing.T) {
	muted, free := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		now := time.Date(2026, time.Month(1+r.IntN(12)), 1+r.IntN(28), r.IntN(24), r.IntN(60), 0, 0, time.UTC)
		text := routing(r, now)
		conf, err := config.Load(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		root := dispatch.NewRoute(conf.Route, nil)
		intervals := make(map[string][]timeinterval.TimeInterval)
		for _, one := range conf.MuteTimeIntervals {
			intervals[one.Name] = one.TimeIntervals
		}
		for _, one := range conf.TimeIntervals {
			intervals[one.Name] = one.TimeIntervals
		}
		holds := timeinterval.NewIntervener(intervals)
		for _, team := range []string{"a", "b", "c"} {
			for _, kind := range []string{"x", "xy", ""} {
				for _, receiver := range []string{"", "upkeep", "up.keep", "slack"} {
					var routes []*dispatch.Route
					for _, route := range root.Match(model.LabelSet{"team": model.LabelValue(team),
						"kind": model.LabelValue(kind)}) {
						if receiver == "" || route.RouteOpts.Receiver == receiver {
							routes = append(routes, route)
						}
					}
					want := len(routes) > 0 && !slices.ContainsFunc(routes, func(route *dispatch.Route) bool {
						mutes, _, err := holds.Mutes(route.RouteOpts.MuteTimeIntervals, now)
						active, _, err2 := holds.Mutes(route.RouteOpts.ActiveTimeIntervals, now)
						if err != nil || err2 != nil {
							t.Fatal(err, err2)
						}
						return !mutes && (active || len(route.RouteOpts.ActiveTimeIntervals) == 0)
					})
					// As the API writes it: without secrets, and in its own form.
					got, err := inbox.Mutes(conf.String(), map[string]string{"team": team, "kind": kind},
						regexp.QuoteMeta(receiver), now)
					if err != nil || (got != "") != want {
						t.Fatalf("seed %d, team %q, kind %q, receiver %q: muted by %q (%v), want %t\n%s", seed, team,
							kind, receiver, got, err, want, text)
					}
					if want {
						muted++
					} else {
						free++
					}
				}
			}
		}
	}
	if muted < 100 || free < 100 {
		t.Errorf("%d were muted and %d were not: the trees say too little", muted, free)
	}
}

// What is no configuration is an error, and no guess.
func TestRoutingThatCannotBeRead(t *testing.T) {
	for _, text := range []string{"", "{", "route: 5", "route: {receiver: x, routes: [null]}",
		"route: {matchers: ['=']}", "route: {match_re: {a: '('}}"} {
		if by, err := inbox.Mutes(text, nil, "", time.Now()); err == nil {
			t.Errorf("%q: no error, and muted by %q", text, by)
		}
	}
}

package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// windows checks that each window opens at some time.
func (k *checker) windows() {
	times := k.config.Times()
	for i, w := range k.config.Windows {
		if times[w.Name].Next(time.Now()).IsZero() {
			k.fault(in("windows", i),
				"window %s does not open within the next two years; look at its days_of_month, months and years "+
					"together", strconv.Quote(w.Name))
		}
	}
}

// schedules checks what each schedule works on.
func (k *checker) schedules() {
	for i, s := range k.config.Schedules {
		at, who := in("schedules", i), "schedule "+strconv.Quote(s.Name)
		a, ok := k.words.actions[s.Action]
		if !ok {
			continue // said already
		}
		k.comes(at, who, s)
		k.fresh(at, who, s.Fresh, a)
		k.backedUp(at.in("backup"), who, s.Terms, a)
		if s.Query != "" {
			k.query(at.in("query"), who, s, a)
		}
		if !k.noTarget(at, who, a) {
			k.subjectServer(at, who, s.Subject, a)
			k.subjectTable(at, who, s.Subject, a)
		}
	}
}

// comes checks that the time of a schedule comes.
func (k *checker) comes(at place, who string, s config.Schedule) {
	cron, err := schedule.ParseCron(s.Cron)
	if err != nil {
		return // said already
	}
	zone, err := schedule.Zone(s.TimeZone)
	if err == nil && cron.Next(time.Now(), zone).IsZero() {
		k.fault(at.in("cron"), "%s never comes: no day is %q; look at its day and month", who, s.Cron)
	}
}

// query checks what the query of a schedule reads, and that its series say on what the
// action works.
func (k *checker) query(at place, who string, s config.Schedule, a remediate.Action) {
	expr, err := promql(s.Query)
	if err != nil {
		return // said already
	}
	k.expr(expr, who, func(offset int, warning bool, format string, args ...any) {
		k.add(k.source.File(), k.source.LineIn(offset, at...), warning, fmt.Sprintf(format, args...))
	})
	gives := k.words.infer(expr)
	for _, label := range a.Subject {
		if _, named := s.Subject[label]; named || gives.has(label) {
			continue
		}
		k.fault(at, "%s: %s needs the label %q, which the series of the query do not have; name it in subject, or "+
			"keep it in the query (by, on)", who, a.Name, label)
	}
	server, fixed := gives.fixed["server"]
	if named, ok := s.Subject["server"]; ok && fixed && named != server {
		k.fault(at, "%s: the query reads server %q, and the subject names %q: no series is the schedule's; name the "+
			"same in both", who, server, named)
	}
	kind := kindOf(a.Name)
	names := k.words.targets[kind]
	if _, named := s.Subject["server"]; named || len(names) == 0 || len(gives.metrics) == 0 {
		return
	}
	for _, name := range gives.metrics {
		m, ok := k.words.metrics[name]
		if !ok {
			return
		}
		if slices.ContainsFunc(k.words.servers([]string{m.kind}),
			func(n string) bool { return slices.Contains(names, n) }) ||
			len(k.words.targets[m.kind]) == 0 && m.kind != "" {
			return
		}
	}
	k.fault(at, "%s: %s acts on %s targets (%s), and the query reads %s, which is about others; name a server in "+
		"subject", who, a.Name, kind, strings.Join(names, ", "), gives.metrics[0])
}

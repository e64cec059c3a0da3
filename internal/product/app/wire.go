package app

import (
	"cmp"
	"context"
	"fmt"

	"github.com/ai-micro-service/upkeep/collectors/backup"
	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/policy"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// guard makes the guards that hold under a configuration.
func (a *App) guard(c *config.Config) []remediate.Guard {
	open := make(map[string]guard.Window)
	for name, w := range c.Times() {
		open[name] = w
	}
	g := guard.Config{
		Windows: open, Limits: guard.Limits{All: c.Engine.Concurrency, PerTarget: c.Engine.PerTarget},
		Answers: answers{a.scraper}, Backups: backups(c.Targets.Backup),
	}
	if a.delivery != nil {
		g.Deliveries = a.delivery
	}
	return guard.All(g)
}

// answers asks the scraper how collectors do.
type answers struct{ *scrape.Scraper }

// backups know what backups there are of a server, and when one was last restored and
// found good: those that have the server's name.
type backups []config.Backup

// Backups looks at the backups as the collector does.
func (all backups) Backups(ctx context.Context, server string) (found []guard.Series, err error) {
	for _, b := range all {
		if b.Name != server {
			continue
		}
		series, err := backup.ReadSeries(ctx, new(target.Backup(b)))
		if err != nil {
			return nil, fmt.Errorf("backup %s: %w", b.Name, err)
		}
		for _, s := range series {
			one := guard.Series{Path: b.Path, Verified: guard.Dated(s.Verified)}
			for _, d := range s.Backups {
				one.Backups = append(one.Backups, guard.Dated(d))
			}
			found = append(found, one)
		}
	}
	return found, nil
}

// schedules makes the schedules of a configuration.
func (a *App) schedules(c *config.Config) (all []schedule.Schedule, err error) {
	limits, err := a.limits()
	if err != nil {
		return nil, err
	}
	actions := make(map[string]remediate.Action)
	for _, action := range catalog.EveryAction() {
		actions[action.Name] = action
	}
	for _, s := range c.Schedules {
		made := schedule.Schedule{
			Name: s.Name, Missed: schedule.Missed(s.Missed), Query: s.Query,
			Action: s.Action, Mode: remediate.Mode(s.Mode), Subject: s.Subject, Windows: s.Windows,
		}
		if made.Cron, err = schedule.ParseCron(s.Cron); err != nil {
			return nil, fmt.Errorf("schedule %q: %w", s.Name, err)
		}
		if made.Zone, err = schedule.Zone(s.TimeZone); err != nil {
			return nil, fmt.Errorf("schedule %q: %w", s.Name, err)
		}
		limit := s.Limit
		for _, name := range []string{limitOf(s.Action,
			actions[s.Action].For(remediate.Request{Params: s.Step().With}).Lowers), s.Action} {
			if l, ok := limits[name]; ok && limit == nil {
				limit = &l
			}
		}
		made.Request = asked(s.Step(), actions[s.Action].Subject, s.Query, limit)
		all = append(all, made)
	}
	return all, nil
}

// asked returns what makes a schedule's request from the labels of a series: what
// the schedule names of the subject is as it says, the rest is the series'. A
// label that neither has refuses the run, and a series whose labels contradict the
// schedule is skipped: what was found on one server is not done on another.
func asked(step policy.Step, subject []string, query string,
	limit *float64) func(map[string]string) (remediate.Request, bool) {
	return func(labels map[string]string) (remediate.Request, bool) {
		r := remediate.Request{Action: step.Action, Mode: step.Mode, Subject: make(map[string]string),
			Params: step.With, Query: query, Limit: limit, Terms: step.Terms}
		for _, name := range subject {
			fixed, found := step.Subject[name], labels[name]
			if fixed != "" && found != "" && fixed != found {
				return r, false
			}
			value := cmp.Or(fixed, found)
			if value == "" {
				r.Wrong = fmt.Sprintf("neither the schedule nor the series of its query has the label %s", name)
				continue
			}
			r.Subject[name] = value
		}
		return r, true
	}
}

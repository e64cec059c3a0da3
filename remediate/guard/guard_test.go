package guard_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
)

// noon is the moment of every proposal.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a moment, which nothing changes

// shift is a window that is open from one hour of the day until another.
type shift struct{ from, until int }

func (s shift) Open(at time.Time) bool { return at.Hour() >= s.from && at.Hour() < s.until }

func (s shift) Next(at time.Time) time.Time {
	day := at.Truncate(24 * time.Hour)
	if at.Hour() >= s.from {
		day = day.Add(24 * time.Hour)
	}
	return day.Add(time.Duration(s.from) * time.Hour)
}

// never is a window of last year.
type never struct{}

func (never) Open(time.Time) bool { return false }

func (never) Next(time.Time) time.Time { return time.Time{} }

// answers is what one collector has answered, and backups what one server has.
type answers struct {
	last time.Time
	err  error
}

func (a answers) Answer(metric string, subject map[string]string) (time.Time, error) {
	if metric != "upkeep_postgres_table_dead_ratio" || subject["server"] != "main" || subject["table"] != "logs" {
		return time.Time{}, fmt.Errorf("asked for %s of %s", metric, subject)
	}
	return a.last, a.err
}

// deliveries is what Alertmanager would do with the alert of incident 5.
type deliveries struct {
	why string
	err error
}

func (d deliveries) Held(_ context.Context, incident int64) (string, error) {
	if incident != 5 {
		return "", fmt.Errorf("asked for incident %d", incident)
	}
	return d.why, d.err
}

type backups struct {
	all []guard.Series
	err error
}

func (b backups) Backups(_ context.Context, server string) ([]guard.Series, error) {
	if server != "main" {
		return nil, fmt.Errorf("asked for %s", server)
	}
	return b.all, b.err
}

// series is a backup for each age, and a verification; one long ago does not count.
func series(verified time.Duration, ages ...time.Duration) guard.Series {
	s := guard.Series{Path: "/b/*", Verified: guard.Dated{Name: "/b/verified"}}
	if verified != unverified {
		s.Verified.At = noon.Add(-verified)
	}
	for i, age := range ages {
		s.Backups = append(s.Backups, guard.Dated{Name: fmt.Sprint("/b/", i), At: noon.Add(-age)})
	}
	return s
}

const unverified = time.Duration(math.MinInt64)

func asks(p *remediate.Proposal) { p.Action.Asks = true }

func windowed(p *remediate.Proposal) { p.Action.Windowed = true }

// executor cannot tell how much room there is, and roomy can.
type executor struct{ remediate.Executor }

type roomy struct {
	remediate.Executor
	room remediate.Headroom
	err  error
}

func (r roomy) Headroom(context.Context, remediate.Request) (remediate.Headroom, error) {
	return r.room, r.err
}

// proposal is a run that nothing blocks, changed by the test.
func proposal(change ...func(*remediate.Proposal)) remediate.Proposal {
	p := remediate.Proposal{
		Run: remediate.Run{
			ID: 7,
			Request: remediate.Request{
				Action: "postgres/vacuum", Policy: "dead rows", Mode: remediate.Auto, By: "alert/PostgresDeadRows",
				Subject: map[string]string{"server": "main", "table": "logs"},
			},
			Plan: remediate.Plan{Steps: []remediate.Step{{Do: "VACUUM logs"}}},
		},
		Action: remediate.Action{Name: "postgres/vacuum", Target: "main", Lowers: "upkeep_postgres_table_dead_ratio",
			Executor: executor{}},
		Exclusive: "main/logs", Targets: 10, Now: noon,
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

func terms(t remediate.Terms) func(*remediate.Proposal) {
	return func(p *remediate.Proposal) { p.Run.Request.Terms = t }
}

func mode(m remediate.Mode) func(*remediate.Proposal) {
	return func(p *remediate.Proposal) { p.Run.Request.Mode = m }
}

func work(all ...remediate.Work) func(*remediate.Proposal) {
	return func(p *remediate.Proposal) { p.Working.Acting = all }
}

func lastEnd(ago time.Duration) func(*remediate.Proposal) {
	return func(p *remediate.Proposal) { p.Working.LastEnd = noon.Add(-ago) }
}

// ended are runs that ended one minute apart, the newest one a minute ago.
func ended(states ...remediate.State) func(*remediate.Proposal) {
	return func(p *remediate.Proposal) {
		for i, s := range states {
			p.Working.Ended = append(p.Working.Ended, remediate.Ended{Run: int64(i), State: s,
				At: noon.Add(-time.Duration(i+1) * time.Minute)})
		}
	}
}

func paused(scope string, until time.Time) func(*remediate.Proposal) {
	return func(p *remediate.Proposal) {
		p.Working.Pauses = []remediate.Pause{{Scope: scope, Reason: "move", By: "ann", Until: until}}
	}
}

func approved(plan string, until time.Time) func(*remediate.Proposal) {
	return func(p *remediate.Proposal) {
		p.Working.Approval = &remediate.Approval{Run: 7, Plan: plan, By: "ann", Until: until}
	}
}

func demoted(p *remediate.Proposal) { p.Working.Demoted = "3 of 10 runs resolved" }

func destructive(p *remediate.Proposal) { p.Action.Risk = remediate.Destructive }

func person(p *remediate.Proposal) {
	p.Run.Request.Policy, p.Run.Request.By = "", "user/ann"
}

func room(r remediate.Headroom) func(*remediate.Proposal) {
	return func(p *remediate.Proposal) { p.Action.Executor = roomy{room: r} }
}

// on is a run of the proposal's action and policy on another subject.
func on(target string, state remediate.State) remediate.Work {
	return remediate.Work{Run: 3, Action: "postgres/vacuum", Policy: "dead rows", Target: target,
		Exclusive: target + "/other", State: state}
}

// a test case is one proposal and what the guards say to it.
type testCase struct {
	name   string
	config guard.Config
	change []func(*remediate.Proposal)
	reason string        // of the first refusal; "" when all agree
	again  time.Duration // from now; 0 when the refusal is final
	says   string        // part of the detail
}

func (c testCase) run(t *testing.T) {
	var first *remediate.Refusal
	for _, g := range guard.All(c.config) {
		refusal, err := guard.Ask(t.Context(), []remediate.Guard{g}, proposal(c.change...), guard.BeforeActing)
		if err != nil {
			t.Fatal(err)
		}
		if refusal != nil && refusal.Reason != g.Name {
			t.Errorf("guard %s refuses with the reason %s", g.Name, refusal.Reason)
		}
		if first == nil {
			first = refusal
		}
	}
	if first == nil {
		first = &remediate.Refusal{}
	}
	var until time.Time
	if c.again != 0 {
		until = noon.Add(c.again)
	}
	if first.Reason != c.reason || !first.Until.Equal(until) || !strings.Contains(first.Detail, c.says) {
		t.Errorf("refused with %q until %v: %s\nwant %q until %v: … %s …", first.Reason, first.Until, first.Detail,
			c.reason, until, c.says)
	}
}

type changes = []func(*remediate.Proposal)

func TestPeople(t *testing.T) {
	hash, other := proposal().Run.Plan.Hash(), remediate.Plan{}.Hash()
	for _, c := range []testCase{
		{name: "nothing blocks"},
		{name: "observe", change: changes{mode(remediate.Observe)}, reason: "observe"},
		{name: "only its mode blocks one that observes",
			change: changes{mode(remediate.Observe), paused("all", time.Time{}), demoted}, reason: "observe"},
		{name: "all is paused", change: changes{paused("all", time.Time{})}, reason: "pause", again: 30 * time.Second,
			says: "upkeep resume all"},
		{name: "paused for a moment", change: changes{paused("all", noon.Add(time.Second))}, reason: "pause",
			again: time.Second, says: "ends at 2026-01-01T12:00:01Z"},
		{name: "a pause that is over", change: changes{paused("all", noon)}},
		{name: "the policy is paused", change: changes{paused("policy/dead rows", time.Time{})}, reason: "pause",
			again: 30 * time.Second, says: "by ann: move"},
		{name: "the action is paused", change: changes{paused("action/postgres/vacuum", time.Time{})}, reason: "pause",
			again: 30 * time.Second},
		{name: "the target is paused", change: changes{paused("target/main", time.Time{})}, reason: "pause",
			again: 30 * time.Second},
		{name: "another target is paused", change: changes{paused("target/other", time.Time{})}},
		{name: "a person's own run is paused too", change: changes{person, paused("all", time.Time{})}, reason: "pause",
			again: 30 * time.Second},

		{name: "not answered", change: changes{mode(remediate.Ask)}, reason: "approval", says: hash},
		{name: "an unknown mode asks", change: changes{mode("automatic")}, reason: "approval"},
		{name: "approved", change: changes{mode(remediate.Ask), approved(hash, noon.Add(time.Hour))}},
		{name: "another plan was approved", change: changes{mode(remediate.Ask), approved(other, noon.Add(time.Hour))},
			reason: "approval", says: "differs from plan " + other + ", which ann"},
		{name: "the approval has run out", change: changes{mode(remediate.Ask), approved(hash, noon)},
			reason: "approval", says: "the approval by ann expired"},
		{name: "demoted", change: changes{demoted}, reason: "approval", says: "3 of 10 runs resolved"},
		{name: "demoted and approved", change: changes{demoted, approved(hash, noon.Add(time.Hour))}},
		{name: "a person does not approve of a person", change: changes{person, mode(remediate.Ask)}},
		{name: "an action that always asks", change: changes{asks}, reason: "approval",
			says: "postgres/vacuum always asks"},
		{name: "an action that always asks, asked for by a person", change: changes{asks, person}, reason: "approval",
			says: hash},
		{name: "an action that always asks, approved", change: changes{asks, approved(hash, noon.Add(time.Hour))}},
	} {
		t.Run(c.name, c.run)
	}
}

func TestTime(t *testing.T) {
	windows := guard.Config{Windows: map[string]guard.Window{"day": shift{8, 16}, "night": shift{3, 5},
		"evening": shift{20, 22}, "past": never{}}}
	in := func(names ...string) changes { return changes{terms(remediate.Terms{Windows: names})} }
	hour := changes{terms(remediate.Terms{Cooldown: time.Hour})}
	five := changes{terms(remediate.Terms{Decay: 5 * time.Minute})}
	for _, c := range []testCase{
		{name: "the window is open", config: windows, change: in("day")},
		{name: "one of two windows is open", config: windows, change: in("night", "day")},
		{name: "the window is closed", config: windows, change: in("night"), reason: "window", again: 15 * time.Hour,
			says: "opens at 2026-01-02T03:00:00Z"},
		{name: "two windows are closed", config: windows, change: in("night", "evening"), reason: "window",
			again: 8 * time.Hour},
		{name: "no such window", config: windows, change: in("day", "weekend"), reason: "window",
			says: `unknown window "weekend"`},
		{name: "a window that is over for good", config: windows, change: in("past"), reason: "window",
			says: "never opens again"},
		{name: "a window that is over for good and one that is not", config: windows, change: in("past", "night"),
			reason: "window", again: 15 * time.Hour},
		{name: "a person waits for the window that the person names", config: windows,
			change: append(in("night"), person), reason: "window", again: 15 * time.Hour},
		{name: "an action that wants a window, without one", config: windows, change: changes{windowed},
			reason: "window", says: "postgres/vacuum needs a maintenance window"},
		{name: "an action that wants a window, without one, asked for by a person", config: windows,
			change: changes{windowed, person}, reason: "window", says: "--window"},
		{name: "an action that wants a window, in one", config: windows, change: append(in("day"), windowed)},

		{name: "in the cooldown", change: append(hour, lastEnd(10*time.Minute)), reason: "cooldown",
			again: 50 * time.Minute},
		{name: "at the end of the cooldown", change: append(hour, lastEnd(time.Hour))},
		{name: "no run before", change: hour},
		{name: "the alert looks back", change: append(five, lastEnd(time.Minute)), reason: "decay",
			again: 4 * time.Minute, says: "looks back for 5m0s"},
		{name: "the alert looked back", change: append(five, lastEnd(5*time.Minute))},
		{name: "an alert that looks back and no run before", change: five},
	} {
		t.Run(c.name, c.run)
	}
}

func TestCrowds(t *testing.T) {
	limits := guard.Config{Limits: guard.Limits{All: 3, PerTarget: 2}}
	allowed, applied := remediate.Allowed, remediate.Applied
	same := on("main", allowed)
	same.Exclusive = "main/logs"
	stranger := remediate.Work{Run: 4, Action: "redis/bgsave", Policy: "snapshots", Target: "cache", State: allowed}
	fifth := terms(remediate.Terms{Budget: 0.2})
	ramp := terms(remediate.Terms{Ramp: true})
	resolved, unresolved, inconclusive := remediate.Resolved, remediate.Unresolved, remediate.Inconclusive
	for _, c := range []testCase{
		{name: "the subject is busy", change: changes{work(same)}, reason: "busy", again: 5 * time.Second,
			says: "run 3"},
		{name: "another subject is busy", change: changes{work(on("main", allowed))}},

		{name: "room on the target", config: limits, change: changes{work(on("main", allowed), on("a", allowed))}},
		{name: "the target is full", config: limits, change: changes{work(on("main", allowed), on("main", allowed))},
			reason: "limit", again: 15 * time.Second, says: "2 runs act on target main, the limit is 2"},
		{name: "all is full", config: limits, change: changes{work(on("a", allowed), on("b", allowed), stranger)},
			reason: "limit", again: 15 * time.Second, says: "3 runs act in total"},
		{name: "runs that are verified do not act", config: limits,
			change: changes{work(on("main", applied), on("main", applied), on("a", applied), stranger)}},
		{name: "without limits", change: changes{work(on("main", allowed), on("main", allowed), on("main", allowed),
			on("main", allowed))}},
		{name: "a person is limited too", config: limits,
			change: changes{person, work(on("main", allowed), on("main", allowed))}, reason: "limit",
			again: 15 * time.Second},

		{name: "within the budget", change: changes{fifth, work(on("a", allowed), on("a", applied))}},
		{name: "the budget is spent", change: changes{fifth, work(on("a", allowed), on("b", applied))},
			reason: "budget", again: 15 * time.Second, says: "3 of 10 targets"},
		{name: "its target is worked on already", change: changes{fifth, work(on("a", allowed), on("main", applied))}},
		{name: "other actions do not count", change: changes{fifth, work(on("a", allowed), stranger)}},
		{name: "one target always", change: changes{terms(remediate.Terms{Budget: 0.01})}},
		{name: "but not two", change: changes{terms(remediate.Terms{Budget: 0.01}), work(on("a", applied))},
			reason: "budget", again: 15 * time.Second, says: "allows 1"},
		{name: "a share that computers round", change: changes{func(p *remediate.Proposal) { p.Targets = 100 },
			terms(remediate.Terms{Budget: 0.29}), work(many(28)...)}},
		{name: "a share that computers round, and one more",
			change: changes{func(p *remediate.Proposal) { p.Targets = 100 }, terms(remediate.Terms{Budget: 0.29}),
				work(many(29)...)}, reason: "budget", again: 15 * time.Second},
		{name: "a person has no budget", change: changes{person, fifth, ramp,
			work(on("a", allowed), on("b", applied))}},

		{name: "the first of a ramp", change: changes{ramp}},
		{name: "the second is too early", change: changes{ramp, work(on("a", applied))}, reason: "budget",
			again: 15 * time.Second, says: "allows 1"},
		{name: "others' runs do not count in a ramp", change: changes{ramp, work(stranger)}},
		{name: "two after one", change: changes{ramp, ended(resolved), work(on("a", applied))}},
		{name: "not three after two", change: changes{ramp, ended(resolved, resolved), work(many(2)...)},
			reason: "budget", again: 15 * time.Second, says: "after 2 successful runs in a row the ramp allows 2"},
		{name: "four after three", change: changes{ramp, ended(resolved, inconclusive, resolved, resolved, unresolved),
			work(many(3)...)}},
		{name: "one after one that did not help", change: changes{ramp, ended(unresolved, resolved, resolved, resolved),
			work(many(1)...)}, reason: "budget", again: 15 * time.Second},
		{name: "one after one that failed", change: changes{ramp, ended(remediate.Failed, resolved), work(many(1)...)},
			reason: "budget", again: 15 * time.Second},
		{name: "what resolved the day before yesterday does not count",
			change: changes{ramp, func(p *remediate.Proposal) {
				p.Working.Ended = []remediate.Ended{{State: resolved, At: noon.Add(-25 * time.Hour)}}
			}, work(many(1)...)}, reason: "budget", again: 15 * time.Second},
	} {
		t.Run(c.name, c.run)
	}
}

// many are runs on as many targets.
func many(n int) (all []remediate.Work) {
	for i := range n {
		all = append(all, on(fmt.Sprint("server", i), remediate.Allowed))
	}
	return all
}

func TestBreaker(t *testing.T) {
	three, forever := terms(remediate.Terms{Breaker: 3, BreakerFor: time.Hour}), terms(remediate.Terms{Breaker: 3})
	bad, failed, good, none := remediate.Unresolved, remediate.Failed, remediate.Resolved, remediate.Inconclusive
	later := func(p *remediate.Proposal) { p.Now = noon.Add(59 * time.Minute) } // an hour after the newest ended
	for _, c := range []testCase{
		{name: "two useless runs", change: changes{three, ended(bad, failed, good)}},
		{name: "three useless runs", change: changes{three, ended(bad, failed, bad)}, reason: "breaker",
			again: 59 * time.Minute, says: "the last 3 runs of policy dead rows"},
		{name: "one in between resolved", change: changes{three, ended(bad, bad, good, bad)}},
		{name: "one in between could not be judged", change: changes{three, ended(none, bad, none, bad, bad)},
			reason: "breaker", again: 58 * time.Minute},
		{name: "those that could not be judged do not count",
			change: changes{three, ended(none, none, none, bad, bad)}},
		{name: "one may try", change: changes{three, ended(bad, failed, bad), later}},
		{name: "while one tries the others wait", change: changes{three, ended(bad, failed, bad), later,
			work(on("a", remediate.Applied))}, reason: "breaker", again: 59*time.Minute + 15*time.Second,
			says: "run 3 is trying again"},
		{name: "another policy's run is no try", change: changes{three, ended(bad, failed, bad), later,
			work(remediate.Work{Policy: "other", Action: "postgres/vacuum"})}},
		{name: "until a person closes it", change: changes{forever, ended(bad, failed, bad), later}, reason: "breaker",
			again: time.Hour, says: "close the breaker"},
		{name: "one is enough", change: changes{terms(remediate.Terms{Breaker: 1}), ended(bad)}, reason: "breaker",
			again: time.Minute, says: "the last run of"},
		{name: "no breaker", change: changes{ended(bad, bad, bad, bad, bad)}},
		{name: "a person is not stopped", change: changes{person, three, ended(bad, bad, bad)}},
	} {
		t.Run(c.name, c.run)
	}
}

func TestElsewhere(t *testing.T) {
	incident := func(p *remediate.Proposal) { p.Run.Request.Incident = 5 }
	fresh := terms(remediate.Terms{Fresh: time.Minute})
	answered := func(ago time.Duration, err error) guard.Config {
		return guard.Config{Answers: answers{noon.Add(-ago), err}}
	}
	day := terms(remediate.Terms{Backup: 24 * time.Hour})
	of := func(all ...guard.Series) guard.Config {
		return guard.Config{Backups: backups{all: all}}
	}
	unnamed := series(unverified, time.Hour)
	unnamed.Verified.Name = ""
	wants := terms(remediate.Terms{FreeDisk: 0.2, Lag: time.Minute, Transaction: time.Hour})
	full := remediate.Headroom{FreeDisk: new(0.5), Lag: new(time.Second), Transaction: new(time.Minute),
		Who: "session 9"}
	with := func(change func(*remediate.Headroom)) func(*remediate.Proposal) {
		r := full
		change(&r)
		return room(r)
	}
	for _, c := range []testCase{
		{name: "the collector answers", config: answered(time.Minute, nil), change: changes{fresh}},
		{name: "the collector is late", config: answered(time.Minute+1, nil), change: changes{fresh},
			reason: "freshness", again: 2 * time.Second,
			says: "upkeep_postgres_table_dead_ratio on main last succeeded at"},
		{name: "the collector fails", config: answered(time.Second, errors.New("no route")), change: changes{fresh},
			reason: "freshness", again: 2 * time.Second, says: "fails: no route"},
		{name: "the collector never answered", config: guard.Config{Answers: answers{}}, change: changes{fresh},
			reason: "freshness", again: 2 * time.Second, says: "never"},
		{name: "the collector is not asked about", config: answered(time.Hour, nil)},
		{name: "no source of collections", change: changes{fresh}},
		{name: "a person sees for himself", config: answered(time.Hour, nil), change: changes{fresh, person}},

		{name: "the alert would be delivered", config: guard.Config{Deliveries: deliveries{}},
			change: changes{incident}},
		{name: "the alert is silenced", config: guard.Config{Deliveries: deliveries{why: "silenced by ann"}},
			change: changes{incident}, reason: "suppressed", again: 15 * time.Second,
			says: "does not deliver the alert now: it is silenced by ann"},
		{name: "whether it would be is not known",
			config: guard.Config{Deliveries: deliveries{err: errors.New("no route")}}, change: changes{incident},
			reason: "suppressed", again: 5 * time.Second,
			says: "unknown whether Alertmanager suppresses the alert: no route"},
		{name: "no alert asks", config: guard.Config{Deliveries: deliveries{why: "silenced by ann"}}},
		{name: "no source of alerts", change: changes{incident}},

		{name: "the backup is young enough", config: of(series(time.Hour, 24*time.Hour)),
			change: changes{destructive, day}},
		{name: "verified at once", config: of(series(24*time.Hour, 24*time.Hour)), change: changes{destructive, day}},
		{name: "the backup is too old, verified now", config: of(series(0, 25*time.Hour)),
			change: changes{destructive, day}, reason: "backup", again: 10 * time.Minute,
			says: "made at 2025-12-31T11:00:00Z; the last verification (/b/verified) was at 2026-01-01T12:00:00Z"},
		{name: "a backup of 40 days, verified now", config: of(series(0, 960*time.Hour)),
			change: changes{destructive, day}, reason: "backup", again: 10 * time.Minute,
			says: "made longer ago than 24h0m0s"},
		{name: "the newest is not verified, the one before is young enough",
			config: of(series(12*time.Hour, time.Hour, 13*time.Hour)), change: changes{destructive, day}},
		{name: "the newest is not verified, the one before is too old",
			config: of(series(12*time.Hour, time.Hour, 25*time.Hour)), change: changes{destructive, day},
			reason: "backup", again: 10 * time.Minute, says: "the newest verified backup is of 2025-12-31T11:00:00Z"},
		{name: "written over since it was verified", config: of(series(12*time.Hour, time.Hour)),
			change: changes{destructive, day}},
		{name: "written over since it was verified too long ago", config: of(series(25*time.Hour, time.Hour)),
			change: changes{destructive, day}, reason: "backup", again: 10 * time.Minute,
			says: "have the newest verified"},
		{name: "no file, verified now", config: of(series(0)), change: changes{destructive, day}, reason: "backup",
			again: 10 * time.Minute, says: "main has no backup (/b/*)"},
		{name: "no file, verified in the future", config: of(series(-80000 * time.Hour)),
			change: changes{destructive, day}, reason: "backup", again: 10 * time.Minute, says: "main has no backup"},
		{name: "verified in the future", config: of(series(-time.Minute, time.Hour)), change: changes{destructive, day},
			reason: "backup", again: 10 * time.Minute,
			says: "/b/verified, which says when a backup of main was verified, has the time 2026-01-01T12:01:00Z, " +
				"which is in the future"},
		{name: "made in the future", config: of(series(0, -time.Minute, time.Hour)), change: changes{destructive, day},
			reason: "backup", again: 10 * time.Minute,
			says: "the backup /b/0 of main has the time 2026-01-01T12:01:00Z, which is in the future"},
		{name: "a clock a little ahead", config: of(series(-time.Second, -time.Second)),
			change: changes{destructive, day}},
		{name: "never verified", config: of(series(unverified, time.Hour)), change: changes{destructive, day},
			reason: "backup", again: 10 * time.Minute,
			says: "/b/verified, which the test of the restore touches, is not there"},
		{name: "no verification is configured", config: of(unnamed), change: changes{destructive, day},
			reason: "backup", again: 10 * time.Minute, says: "names no file"},
		{name: "one of two series is too old", config: of(series(0, time.Hour), series(0, 25*time.Hour)),
			change: changes{destructive, day}, reason: "backup", again: 10 * time.Minute, says: "longer ago than"},
		{name: "there is no backup", config: guard.Config{Backups: backups{}}, change: changes{destructive, day},
			reason: "backup", again: 10 * time.Minute, says: "main has no verified backup"},
		{name: "no source of backups", change: changes{destructive, day}, reason: "backup", again: 10 * time.Minute},
		{name: "backups cannot be asked about",
			config: guard.Config{Backups: backups{err: errors.New("no repository")}}, change: changes{destructive, day},
			reason: "backup", again: 10 * time.Minute, says: "no repository"},
		{name: "what is guarded needs no backup", change: changes{day}},
		{name: "the policy asks for no backup", change: changes{destructive}},

		{name: "room enough", change: changes{wants, room(full)}},
		{name: "exactly enough", change: changes{wants, room(remediate.Headroom{FreeDisk: new(0.2),
			Lag: new(time.Minute), Transaction: new(time.Hour)})}},
		{name: "too little disk", change: changes{wants, with(func(r *remediate.Headroom) { r.FreeDisk = new(0.199) })},
			reason: "headroom", again: 10 * time.Minute, says: "19.9 % of the disk is free"},
		{name: "the disk cannot be seen", change: changes{wants,
			with(func(r *remediate.Headroom) { r.FreeDisk = nil })}, reason: "headroom",
			says: "unknown: the disk of main is not visible"},
		{name: "a replica is behind", change: changes{wants,
			with(func(r *remediate.Headroom) { r.Lag = new(61 * time.Second) })}, reason: "headroom",
			again: 30 * time.Second, says: "1m1s behind"},
		{name: "the lag is not known", change: changes{wants, with(func(r *remediate.Headroom) { r.Lag = nil })},
			reason: "headroom", again: 30 * time.Second, says: "unknown replication lag"},
		{name: "a transaction is old", change: changes{wants,
			with(func(r *remediate.Headroom) { r.Transaction = new(time.Hour + time.Second) })}, reason: "headroom",
			again: 30 * time.Second, says: "session 9"},
		{name: "transactions are not known", change: changes{wants,
			with(func(r *remediate.Headroom) { r.Transaction = nil })}, reason: "headroom", again: 30 * time.Second,
			says: "unknown age of the oldest transaction"},
		{name: "all at once", change: changes{wants, room(remediate.Headroom{FreeDisk: new(0.0), Lag: new(time.Hour),
			Transaction: new(24 * time.Hour), Who: "session 9"})}, reason: "headroom", again: 10 * time.Minute,
			says: "behind, more than 1m0s: wait until it has caught up; a transaction"},
		{name: "the action cannot tell", change: changes{wants}, reason: "headroom",
			says: "postgres/vacuum cannot report"},
		{name: "nothing is asked", change: changes{room(remediate.Headroom{})}},
	} {
		t.Run(c.name, c.run)
	}
}

// A target that cannot be asked is a fault, which is tried again, not a refusal.
func TestHeadroomFails(t *testing.T) {
	down := errors.New("no route")
	p := proposal(terms(remediate.Terms{Lag: time.Second}),
		func(p *remediate.Proposal) { p.Action.Executor = roomy{err: down} })
	err := guard.Headroom().Check(t.Context(), p)
	if _, refused := remediate.Refused(err); refused || !errors.Is(err, down) ||
		!strings.Contains(err.Error(), "headroom of main") {
		t.Errorf("Check: %v", err)
	}
}

// What people read and what the engine relies on.
func TestAll(t *testing.T) {
	all := guard.All(guard.Config{})
	names := make(map[string]bool)
	for _, g := range all {
		if names[g.Name] || g.Doc == "" || !strings.HasSuffix(g.Doc, ".") {
			t.Errorf("guard %q is there twice or is not described: %q", g.Name, g.Doc)
		}
		names[g.Name] = true
	}
	var inOrder []string
	for _, g := range all {
		inOrder = append(inOrder, g.Name)
	}
	if !slices.Equal(inOrder, remediate.Guards()) {
		t.Errorf("the guards are %q, and remediate names %q", inOrder, remediate.Guards())
	}
	if all[0].Name != remediate.ReasonMode || all[0].Early {
		t.Error("what is observed is planned first, and then refused before all else")
	}
	if last := all[len(all)-1]; last.Name != remediate.ReasonApproval || last.Early || !last.Exact {
		t.Error("a person is asked last, about a plan, and the answer is looked at once more when the run is allowed " +
			"to act")
	}
	for _, name := range remediate.Reasons() {
		if names[name] && name != remediate.ReasonMode && name != remediate.ReasonAmount {
			t.Errorf("%q is a guard and another reason", name)
		}
	}
}

package journal_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// A run that another one than upkeep has written or changed is carried by no instance: people are paged once, and
// what was done to it can still be seen.
func TestForgedRunIsNotCarried(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		create(t, d.Journal, "one")
		d.sql(t, "create table kept as select * from runs")
		for change, want := range map[string]string{
			"update runs set state = 'allowed'":                        "run 1: it is allowed",
			"update runs set request = replace(request, 'a/b', 'a/c')": "run 1: its request or plan",
			"update runs set plan = '{\"steps\":[{\"do\":\"DROP\"}]}'": "run 1: its request or plan",
			"update runs set cancel = 'eve: no'":                       `run 1: it is cancelled by "eve: no"`,
			"insert into approvals (run, plan, approver, said, until) values (1, 'p', 'user/ann', 0, 99999999999999)": `run 1: ` +
				`its plan p is approved by "user/ann", and no entry says so`,
			"update runs set id = 9": "run 9: it has no entry",
		} {
			d.sql(t, change)
			_, _, ok, err := d.Claim(t.Context(), due(t, d))
			if ok || !journal.Broken(err) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: claimed: %v %v, want %q", change, ok, err, want)
			}
			if all, err := d.Due(t.Context(), 9); err != nil || len(all) > 0 {
				t.Errorf("%s: ready again: %v %v", change, all, err)
			}
			if _, err := d.Verify(t.Context()); !journal.Broken(err) {
				t.Errorf("%s: Verify: %v", change, err)
			}
			d.sql(t, "delete from runs")
			d.sql(t, "insert into runs select * from kept")
			d.sql(t, "delete from approvals")
		}
		if keys := d.notified(t); len(keys) != 2 { // of the runs 1 and 9
			t.Errorf("notified: %v", keys)
		}
		d.sql(t, "update entries set entry = replace(entry, 'why', 'Why') where seq = 1")
		if _, _, ok, err := d.Claim(t.Context(), 1); ok || !journal.Broken(err) {
			t.Errorf("after a change of its entry: %v %v", ok, err)
		}
		d.sql(t, "update entries set entry = replace(entry, 'Why', 'why') where seq = 1")
		claim(t, d.Journal, 1)
	})
}

func due(t *testing.T, d *fixture) int64 {
	t.Helper()
	all, err := d.Due(t.Context(), 9)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	return all[0].ID
}

// An approval that comes while the run is carried counts only with its entry, in the transaction that acts too.
func TestForgedApprovalDoesNotCount(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		run := walk(t, d.Journal, create(t, d.Journal, "one"), remediate.Planned, remediate.AwaitingApproval)
		_, f := claim(t, d.Journal, run.ID)
		d.sql(t, "insert into approvals (run, plan, approver, said, until) values (1, '', 'user/ann', 0, 99999999999999)")
		if w, err := d.Working(t.Context(), run); !journal.Broken(err) {
			t.Errorf("Working: %+v %v", w.Approval, err)
		}
		asked := false
		next := run
		next.State = remediate.Waiting
		err := d.Append(t.Context(), journal.Change{Run: next, Fence: f.Token,
			Admit: func(remediate.Working) error { asked = true; return nil },
			Entry: remediate.Entry{Run: run.ID, At: d.now, From: run.State, To: remediate.Waiting}})
		if !journal.Broken(err) || asked {
			t.Errorf("admitted: %v %v", asked, err)
		}
		d.sql(t, "delete from approvals")
		if err := d.Approve(t.Context(), run.ID, "", "user/ann", "it is late until then", d.now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if w, err := d.Working(t.Context(), run); err != nil || w.Approval == nil || w.Approval.By != "user/ann" {
			t.Errorf("with its entry: %+v %v", w.Approval, err)
		}
		d.sql(t, "update approvals set until = until + 100000")
		if _, err := d.Working(t.Context(), run); !journal.Broken(err) {
			t.Errorf("for longer than its entry says: %v", err)
		}
	})
}

// A pause holds until an entry ends it and a policy stays demoted until an entry promotes it, also for a process
// that is new; Verify names the rows that say otherwise.
func TestForgedRowsOfPoliciesAndPauses(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		run, _, err := d.Create(t.Context(), remediate.Request{Key: "k", Action: "a/b", Policy: `p "1"`,
			Subject: map[string]string{"server": "s"}, Mode: remediate.Auto, Terms: remediate.Terms{Breaker: 1}}, "why")
		ctx := t.Context()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(err)
		const scope = "policy/a: b"
		pause := remediate.Pause{Scope: scope, Reason: "we move, until then", By: "user/ann", Until: d.now.Add(time.Hour)}
		must(d.SetPause(ctx, remediate.Pause{Scope: "all", Reason: "x", By: "y"}))
		must(d.SetPause(ctx, pause))
		must(ended(d.EndPause(ctx, "all", "y", "done: all of it")))
		must(d.CloseBreaker(ctx, `p "1"`, "user/ann", "w"))
		must(ended(d.Demote(ctx, `p "1"`, "1 of 9", run.ID)))
		_, err = d.Verify(ctx)
		must(err)
		for _, table := range []string{"pauses", "policy_states"} {
			d.sql(t, "create table kept_"+table+" as select * from "+table)
		}
		for change, want := range map[string]string{
			"delete from pauses":                         "policy/a: b is not paused, and its last entry says that it is",
			"update pauses set until = 1":                "policy/a: b is not paused",
			"update pauses set until = until + 86400000": "the pause of policy/a: b is by",
			"update pauses set reason = 'other'":         "the pause of policy/a: b is by",
			"update pauses set by = 'eve'":               `is by "eve"`,
			"insert into pauses (scope, reason, by, since, until) values ('all', 'x', 'eve', 1800000000000, 0)": "the pause of all",
			"delete from policy_states":                          "is not demoted, and its last entry says that it is",
			"update policy_states set demoted = 0":               "is not demoted",
			"update policy_states set why = 'other'":             `it is demoted because of "other"`,
			"update policy_states set breaker = breaker + 10000": "its breaker was closed at",
			"insert into policy_states (policy, demoted, why) values ('q', 1800000000000, 'x')": `policy "q": it is demoted, ` +
				"and no entry says so",
		} {
			d.sql(t, change)
			if _, err := d.Verify(ctx); !journal.Broken(err) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: Verify: %v, want %q", change, err, want)
			}
			for name, j := range map[string]*journal.Journal{"old": d.Journal, "new": d.another("new")} {
				w, err := j.Working(ctx, run)
				if err != nil || len(w.Pauses) == 0 || !strings.Contains(w.Demoted, "1 of 9") &&
					!strings.Contains(w.Demoted, "other") {
					t.Errorf("%s: %s process: %+v %v", change, name, w, err)
				}
				o, err := j.Overrides(ctx)
				if err != nil || len(o.Pauses) != len(w.Pauses) || o.Demoted[run.Request.Policy] != w.Demoted {
					t.Errorf("%s: %s process: %+v %v, want %+v", change, name, o, err, w)
				}
			}
			for _, table := range []string{"pauses", "policy_states"} {
				d.sql(t, "delete from "+table)
				d.sql(t, "insert into "+table+" select * from kept_"+table)
			}
		}
		must(d.Promote(ctx, `p "1"`, "user/ann", "w"))
		must(ended(d.EndPause(ctx, scope, "y", "done")))
		if w, err := d.Working(ctx, run); err != nil || len(w.Pauses) > 0 || w.Demoted != "" {
			t.Errorf("after the ends: %+v %v", w, err)
		}
		if o, err := d.Overrides(ctx); err != nil || len(o.Pauses) > 0 || len(o.Demoted) > 0 {
			t.Errorf("after the ends: %+v %v", o, err)
		}
		_, err = d.Verify(ctx)
		must(err)
	})
}

func ended(was bool, err error) error {
	if err == nil && !was {
		return context.Canceled
	}
	return err
}

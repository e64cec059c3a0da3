package journal_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// A row of a run or an approval that was changed, deleted or added is named, whatever is changed of what
// upkeep acts by. Rows of which the entries say nothing may differ.
func TestVerifyComparesRows(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		d.rowsOfAllKinds(t)
		if v, err := d.Verify(t.Context()); err != nil || v.Entries != 10 {
			t.Fatalf("Verify: %+v %v", v, err)
		}
		for _, table := range []string{"runs", "approvals"} {
			d.sql(t, "create table kept_"+table+" as select * from "+table)
		}
		for change, want := range map[string]string{
			"update runs set due = 1, owner = 5, fence = 9, came_back = 1": "",
			"update runs set state = 'allowed' where id = 2":               "run 2: it is allowed",
			"update runs set state = 'planned' where id = 2":               "run 2: it is planned",
			"update runs set why = 'other' where id = 1":                   "run 1: its last reason (why) is not what entry 4 says",
			"update runs set reason = 'busy' where id = 1":                 "run 1: its reason is not what entry 4 says",
			"update runs set changed = changed + 1 where id = 1":           "run 1: its time of the last change",
			"update runs set created = created - 1 where id = 1":           "run 1: its time of creation",
			"update runs set incident = 7 where id = 1":                    "run 1: its incident",
			"update runs set request = replace(request, 'a/b', 'a/c')":     "run 1: its request or plan is not what entry 4 says",
			"update runs set plan = '{}' where id = 2":                     "run 2: its request or plan",
			"update runs set cancel = 'eve: no' where id = 2":              `run 2: it is cancelled by "eve: no", and its entries say ""`,
			"update runs set cancel = '' where id = 3":                     `run 3: it is cancelled by "", and its entries say "bob: no"`,
			"delete from runs where id = 1":                                "run 1 has entries and is not there: it was deleted",
			"update runs set id = 9 where id = 1":                          "run 1 has entries and is not there",
			"insert into runs (id, key, request, action, subject, state, why, plan, due, created, changed) values " +
				"(9, 'k9', '{}', 'a/b', '', 'allowed', '', '{}', 0, 0, 0)": "run 9 has no entry",
			"delete from approvals": "run 2: entry 8 approves its plan, and the approval is not there",
			"insert into approvals (run, plan, approver, said, until) values (1, 'p', 'eve', 0, 9)": `run 1: its plan p is ` +
				`approved by "eve", and no entry says so`,
			"insert into approvals (run, plan, approver, said, until) values (77, 'p', 'eve', 0, 9)": "an approval is of run 77",
			"update approvals set approver = 'eve'":                                                  `run 2: its approval is by "eve", and entry 8 says by "ann"`,
			"update approvals set plan = 'other'":                                                    "run 2: its approval is of plan other",
			"update approvals set until = until + 100000":                                            "run 2: its approval is until ",
			"update approvals set said = said + 1":                                                   "run 2: its approval has another amount or time than entry 8 says",
			"update approvals set amount = '{\"rows\":100}'":                                         "run 2: its approval has another amount or time",
		} {
			d.sql(t, change)
			v, err := d.Verify(t.Context())
			switch {
			case want == "" && err != nil:
				t.Errorf("%s: %v", change, err)
			case want != "" && (!journal.Broken(err) || !strings.Contains(err.Error(), want) || v.Entries != 10):
				t.Errorf("%s: %+v %v, want %q", change, v, err, want)
			}
			for _, table := range []string{"runs", "approvals"} {
				d.sql(t, "delete from "+table)
				d.sql(t, "insert into "+table+" select * from kept_"+table)
			}
		}
		if _, err := d.Verify(t.Context()); err != nil {
			t.Errorf("as it was: %v", err)
		}
	})
}

// rowsOfAllKinds makes a run that has ended, one whose plan is approved and one that a person cancelled. What
// is no text of UTF-8 is not kept as it is, which is no change.
func (d *fixture) rowsOfAllKinds(t *testing.T) {
	t.Helper()
	plan := remediate.Plan{Steps: []remediate.Step{{Do: "x\x00\xff\xfe"}}, Amount: &remediate.Amount{Rows: 5}}
	walk(t, d.Journal, create(t, d.Journal, "ended"), remediate.Planned, remediate.Waiting, remediate.StateRefused)
	asks := create(t, d.Journal, "asks")
	asks.Plan = plan
	walk(t, d.Journal, asks, remediate.Planned, remediate.AwaitingApproval)
	if err := d.Approve(t.Context(), asks.ID, "", "ann", "", d.now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	third := create(t, d.Journal, "third")
	if err := d.Cancel(t.Context(), third.ID, "bob", "no"); err != nil {
		t.Fatal(err)
	}
}

package remediate_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Every state leads somewhere or has ended, and every state can be reached.
func TestTransitions(t *testing.T) {
	reached := map[remediate.State]bool{remediate.Received: true}
	for from, tos := range remediate.Transitions() {
		if len(tos) == 0 {
			t.Errorf("%s is listed and leads nowhere", from)
		}
		for _, to := range tos {
			reached[to] = true
		}
	}
	for _, s := range remediate.States() {
		if !reached[s] {
			t.Errorf("%s cannot be reached", s)
		}
	}
	if !remediate.Resolved.Ended() || remediate.Waiting.Ended() {
		t.Error("Ended is wrong")
	}
}

// Each state is the answer to one question: it is under way, has a verdict, was stopped or failed.
func TestStates(t *testing.T) {
	for _, s := range remediate.States() {
		verdict := s == remediate.Resolved || s == remediate.Unresolved || s == remediate.Inconclusive
		n := 0
		for _, is := range []bool{s.Unfinished(), verdict, s.Stopped(), s == remediate.Failed} {
			if is {
				n++
			}
		}
		if n != 1 || s.Ended() == s.Unfinished() || s.Useless() && !s.Judged() || s.Judged() && s.Stopped() {
			t.Errorf("%s is %d kinds of state", s, n)
		}
	}
	for reason, want := range map[string]string{
		"person": "rejected", "unanswered": "expired", "observe": "observed", "cancelled": "cancelled",
		"unfit": "refused (unfit)", "nothing_to_do": "refused (nothing_to_do)", "pause": "refused (pause)",
	} {
		if s := remediate.StoppedBy(reason); !s.Stopped() || s.Named(reason) != want {
			t.Errorf("stopped by %s: %s, want %s", reason, s.Named(reason), want)
		}
	}
}

// Entries, requests and notifications of a store that an earlier version has written are read.
func TestFormerNames(t *testing.T) {
	for text, want := range map[string]remediate.Entry{
		`{"run":1,"episode":7,"from":"asked","to":"declined","reason":"person"}`: {Run: 1, Incident: 7,
			From: remediate.AwaitingApproval, To: remediate.Rejected, Reason: "person"},
		`{"from":"allowed","to":"failed","reason":"cancelled"}`: {From: remediate.Allowed, To: remediate.Cancelled,
			Reason: "cancelled"},
		`{"from":"applied","to":"uncleared"}`:                 {From: remediate.Applied, To: remediate.Unresolved},
		`{"from":"applied","to":"cleared"}`:                   {From: remediate.Applied, To: remediate.Resolved},
		`{"from":"planned","to":"asked"}`:                     {From: remediate.Planned, To: remediate.AwaitingApproval},
		`{"note":"refused","by":"ann"}`:                       {Note: remediate.NoteRejected, By: "ann"},
		`{"incident":8,"from":"planned","to":"refused"}`:      {Incident: 8, From: remediate.Planned, To: "refused"},
		`{"from":"received","to":"declined","reason":"gone"}`: {From: remediate.Received, To: "refused", Reason: "gone"},
	} {
		var got remediate.Entry
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", text, diff)
		}
	}
	for _, text := range []string{`{"episode":7,"kind":"tell"}`, `{"incident":7,"kind":"info"}`} {
		var r remediate.Request
		var n remediate.Notification
		if err := errors.Join(json.Unmarshal([]byte(text), &r), json.Unmarshal([]byte(text), &n)); err != nil ||
			r.Incident != 7 || n.Incident != 7 || n.Kind != remediate.NotificationInfo {
			t.Errorf("%s: %+v, %+v, %v", text, r, n, err)
		}
	}
}

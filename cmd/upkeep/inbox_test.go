package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
)

func TestPrintInbox(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	when := func(at time.Time) string { return at.Local().Format(time.DateTime) }
	for _, test := range []struct {
		name string
		list console.InboxList
		want string
	}{
		{"nothing", console.InboxList{}, "No open incidents.\n\nNo dead letters.\n"},
		{"both", console.InboxList{
			Incidents: []remediate.Incident{
				{ID: 1, Opened: now, Alert: remediate.Alert{Source: "grafana",
					Labels: map[string]string{"alertname": "A", "table": "t\x1b[2J"}}},
				{ID: 2, Opened: now, Flaps: 2, Ripe: now.Add(time.Minute),
					Alert: remediate.Alert{Source: "alertmanager", Labels: map[string]string{"alertname": "B"}}},
			},
			DeadLetters: []remediate.DeadLetter{{ID: 3, Received: now, Source: "grafana", Remote: "192.0.2.1:9",
				Status: 400, Size: 7, Error: "no\nJSON"}},
		}, "INCIDENT  SINCE                ALERT  FROM          LABELS            NOTE\n" +
			"1         " + when(now) + "  A      grafana       table=\"t\\x1b[2J\"  \n" +
			"2         " + when(now) + "  B      alertmanager                    came back 2 times, held until " +
			now.Add(time.Minute).Local().Format(time.TimeOnly) + "\n\n" +
			"DEAD LETTER  RECEIVED             FROM     BY           STATUS  BYTES  WHY\n" +
			"3            " + when(now) + "  grafana  192.0.2.1:9  400     7      no\\nJSON\n"},
	} {
		var b strings.Builder
		if err := printInbox(&b, test.list, now); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, b.String()); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestPrintDeadLetter(t *testing.T) {
	now := time.Now()
	var b strings.Builder
	printDeadLetter(&b, remediate.DeadLetter{ID: 3, Received: now, Source: "grafana", Remote: "r", Status: 413,
		Error: "too large", Size: 9, Body: []byte("a\n\tß\x1b\xff\ufffd")})
	want := "dead letter 3: answered with 413\n  why       too large\n  received  " + now.Local().
		Format(time.DateTime) + "\n  from      grafana, r\n  body      9 bytes, of which the first 9 are " +
		"here\n\na\n\tß\\u001b\\xff\ufffd\n"
	want = strings.Replace(want, ", of which the first 9 are here", "", 1)
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	printDeadLetter(&b, remediate.DeadLetter{Size: 10, Body: []byte("abc")})
	if !strings.Contains(b.String(), "10 bytes, of which the first 3 are here\n\nabc\n") {
		t.Error(b.String())
	}
}

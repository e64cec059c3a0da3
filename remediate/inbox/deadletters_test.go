package inbox_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

func TestDeadLetters(t *testing.T) {
	d := open(t)
	l := remediate.DeadLetter{Remote: "192.0.2.1:99", Source: "grafana", Status: 400,
		Error: "no\x00 \xff JSON " + strings.Repeat("x", 2000), Size: 9, Body: []byte("\x00\xff'; drop")}
	if err := d.Keep(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	l.Body, l.Size = []byte(strings.Repeat("b", 100<<10)), 1<<40
	if err := d.Keep(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if err := d.Keep(t.Context(), remediate.DeadLetter{Source: "alertmanager", Status: 400,
		Error: "empty"}); err != nil {
		t.Fatal(err)
	}
	got, err := d.DeadLetter(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := remediate.DeadLetter{ID: 1, Received: d.now, Remote: l.Remote, Source: "grafana", Status: 400,
		Error: "no\ufffd \ufffd JSON " + strings.Repeat("x", 1024-len("no. . JSON ")), Size: 9,
		Body: []byte("\x00\xff'; drop")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err = d.DeadLetter(t.Context(), 2); err != nil || len(got.Body) != 64<<10 || got.Size != 1<<40 {
		t.Errorf("%d bytes of %d are kept (%v)", len(got.Body), got.Size, err)
	}
	all, err := d.DeadLetters(t.Context(), 0, 2)
	if err != nil || len(all) != 2 || all[0].ID != 3 || all[1].ID != 2 || len(all[1].Body) != 0 {
		t.Errorf("%+v, %v; want the newest two, without bodies", all, err)
	}
	if _, err := d.DeadLetter(t.Context(), 9); !errors.Is(err, inbox.ErrNoDeadLetter) {
		t.Errorf("got %v, want ErrNoDeadLetter", err)
	}
}

func TestOldDeadLettersAreDeleted(t *testing.T) {
	d := open(t)
	d.exec(t, "insert into dead_letters (received, remote, source, status, error, body, size) values (1, 'r', 's', 400, "+
		"'old', '', 0)")
	err := d.store.Write(t.Context(), func(tx *store.Tx) error {
		for n := range 999 {
			if _, err := tx.Exec("insert into dead_letters (received, remote, source, status, error, body, size) values "+
				"(1, 'r', 's', 400, ?, '', 0)", fmt.Sprint(n)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.DeadLetter(t.Context(), 1); err != nil {
		t.Errorf("one of a thousand is gone: %v", err)
	}
	if err := d.Keep(t.Context(), remediate.DeadLetter{Error: "newest"}); err != nil {
		t.Fatal(err)
	}
	all, err := d.DeadLetters(t.Context(), 0, 2000)
	if err != nil || len(all) != 1000 || all[0].Error != "newest" || all[999].ID != 2 {
		t.Errorf("%d dead letters, %v; want the newest thousand", len(all), err)
	}
}

func TestMetrics(t *testing.T) {
	d := open(t)
	d.accept(t, firing(at(0)), firing(at(0), "table", "t"))
	d.accept(t, firing(at(0)))
	d.accept(t, resolved(at(0)))
	if err := d.Keep(t.Context(), remediate.DeadLetter{}); err != nil {
		t.Fatal(err)
	}
	if err := testutil.CollectAndCompare(d.Inbox, strings.NewReader(`
# HELP upkeep_incidents_open Number of open incidents, of the 50 alerts that have the most; the rest is other.
# TYPE upkeep_incidents_open gauge
upkeep_incidents_open{alertname="A"} 1
# HELP upkeep_inbox_alerts_total Alerts received and stored, duplicates included, by source and status.
# TYPE upkeep_inbox_alerts_total counter
upkeep_inbox_alerts_total{source="alertmanager",status="firing"} 3
upkeep_inbox_alerts_total{source="alertmanager",status="resolved"} 1
upkeep_inbox_alerts_total{source="grafana",status="firing"} 0
upkeep_inbox_alerts_total{source="grafana",status="resolved"} 0
# HELP upkeep_inbox_dead_letters Number of dead letters: webhook payloads that could not be parsed. At most a thousand are kept, a hundred of one sender.
# TYPE upkeep_inbox_dead_letters gauge
upkeep_inbox_dead_letters 1
# HELP upkeep_inbox_dead_letters_total Webhook payloads, or alerts of one, that could not be parsed and were kept as dead letters; each delivery counts.
# TYPE upkeep_inbox_dead_letters_total counter
upkeep_inbox_dead_letters_total 1
`)); err != nil {
		t.Error(err)
	}
}

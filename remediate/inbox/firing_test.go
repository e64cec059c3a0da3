package inbox_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

// What fires is listed part by part, the worst first and of these the newest, and counted by server and
// severity, also after some of it has ended.
func TestFiring(t *testing.T) {
	d := open(t)
	var alerts []remediate.Alert
	for n := range 60 {
		alerts = append(alerts, firing(at(0), "alertname", fmt.Sprint("A", n), "severity",
			[]string{"critical", "warning", "info", "", "WARNING"}[n%5], "server", []string{"main", "ca/che"}[n%2]))
	}
	d.accept(t, alerts...)
	for n := range 10 {
		ended := alerts[6*n]
		ended.Firing = false
		d.accept(t, ended)
	}
	open, err := d.Incidents(t.Context(), 0, 1000)
	if err != nil || len(open) != 50 {
		t.Fatal(len(open), err)
	}
	slices.SortFunc(open, func(a, b remediate.Incident) int {
		return cmp.Or(cmp.Compare(b.Severity(), a.Severity()), cmp.Compare(b.ID, a.ID))
	})
	var got []remediate.Incident
	for after := (inbox.Place{}); ; {
		part, err := d.Firing(t.Context(), after, 7)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, part...)
		if len(part) < 7 {
			break
		}
		after = inbox.Place{Severity: part[6].Severity(), ID: part[6].ID}
	}
	ids := func(all []remediate.Incident) (ids []int64) {
		for _, e := range all {
			ids = append(ids, e.ID)
		}
		return ids
	}
	if !slices.Equal(ids(open), ids(got)) {
		t.Errorf("%v, want %v", ids(got), ids(open))
	}
	want := make(map[inbox.Rated]int64)
	for _, e := range open {
		want[inbox.Rated{Server: e.Alert.Labels["server"], Severity: e.Severity()}]++
	}
	servers, severe := []string{"no such"}, make(map[remediate.Severity]int64)
	for r, n := range want {
		servers = append(servers, r.Server)
		severe[r.Severity] += n
	}
	slices.Sort(servers)
	if got, err := d.BySeverity(t.Context()); err != nil || !maps.Equal(got, severe) {
		t.Errorf("%v, %v, want %v", got, err, severe)
	}
	rated, err := d.ByServer(t.Context(), slices.Compact(servers))
	if err != nil || len(rated) != len(want) {
		t.Errorf("%v, %v, want %v", rated, err, want)
	}
	for _, r := range rated {
		if n := want[inbox.Rated{Server: r.Server, Severity: r.Severity}]; n != r.Open {
			t.Errorf("%+v, want %d", r, n)
		}
	}
}

// What a silence of a person or a time interval keeps quiet is known for many incidents at once, and agrees with
// what is asked for each; a silence of upkeep itself does not count.
func TestQuiet(t *testing.T) {
	t.Parallel()
	h := hold(t, 1)
	ids := map[string]int64{}
	for _, kind := range []string{"loud", "silenced", "muted", "asleep", "worked on"} {
		ids[kind] = h.tell(t, "alertname", "A", "kind", kind)
	}
	silence(t, h.peers[0], "ann", prom.Equal("kind", "silenced"))
	silence(t, h.peers[0], "upkeep", prom.Equal("kind", "worked on"))
	quiet, err := h.Quiet(t.Context(), h.open(t))
	if err != nil || len(quiet) != 3 || !strings.HasPrefix(quiet[ids["silenced"]], "silenced by ann until ") ||
		!strings.HasPrefix(quiet[ids["muted"]], "muted by ") || !strings.HasPrefix(quiet[ids["asleep"]], "muted by ") {
		t.Errorf("%v, %v of %v", quiet, err, ids)
	}
	for kind, id := range ids {
		h.awaitHeld(t, id, quiet[id])
		if kind == "loud" && quiet[id] != "" {
			t.Error(quiet[id])
		}
	}
	h.Delivery.Alertmanager.URLs = []string{"http://127.0.0.1:1"}
	if quiet, err := h.Quiet(t.Context(), h.open(t)); err == nil {
		t.Errorf("no Alertmanager answers: %v", quiet)
	}
}

package inbox_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

const holding = `route:
  receiver: upkeep
  group_by: ['...']
  group_wait: 10ms
  routes:
    - matchers: ['kind="muted"']
      mute_time_intervals: [always]
    - matchers: ['kind="elsewhere"']
      receiver: people
      mute_time_intervals: [always]
      continue: true
    - matchers: ['kind="elsewhere"']
    - matchers: ['kind="asleep"']
      active_time_intervals: [never]
receivers: [{name: upkeep}, {name: people}]
inhibit_rules: [{source_matchers: ['kind="source"'], target_matchers: ['kind="inhibited"']}]
time_intervals:
  - {name: always, time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]}
  - {name: never, time_intervals: [{years: ['1999']}]}
`

// A holder is an inbox beside real Alertmanagers.
type holder struct {
	*fixture
	*inbox.Delivery
	peers []*servertest.Monitor
	log   bytes.Buffer
}

func hold(t *testing.T, peers int) *holder {
	t.Helper()
	h := &holder{fixture: open(t)}
	h.now = time.Now()
	am := inbox.Alertmanager{Source: "alertmanager", Receiver: "upkeep",
		Logger: slog.New(slog.NewTextHandler(&h.log, nil))}
	for range peers {
		m := servertest.AlertmanagerWith(t, holding)
		h.peers, am.URLs = append(h.peers, m), append(am.URLs, m.URL)
	}
	h.Delivery = &inbox.Delivery{Inbox: h.fixture.Inbox, Alertmanager: am}
	return h
}

// tell lets the peers and the inbox know of an alert, and returns its incident.
func (h *holder) tell(t *testing.T, labels ...string) int64 {
	t.Helper()
	a := firing(h.now.Add(-time.Minute).Truncate(time.Millisecond), labels...)
	a.Receiver = "upkeep"
	h.post(t, a)
	h.accept(t, a)
	all := h.open(t)
	return all[len(all)-1].ID
}

func (h *holder) post(t *testing.T, a remediate.Alert) {
	t.Helper()
	body, err := json.Marshal([]map[string]any{{"labels": a.Labels, "startsAt": a.StartsAt,
		"endsAt": time.Now().Add(time.Hour)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range h.peers {
		res, err := http.Post(p.URL+"/api/v2/alerts", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close() // nothing is in it
		if res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
	}
}

// awaitHeld waits until an incident is held for a reason; "" is that it is not held.
func (h *holder) awaitHeld(t *testing.T, id int64, want string) {
	t.Helper()
	var why string
	var err error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if why, err = h.Held(t.Context(), id); err == nil && strings.Contains(why, want) &&
			(why == "") == (want == "") {
			return
		}
	}
	t.Errorf("incident %d is held because it is %q (%v), want %q", id, why, err, want)
}

func silence(t *testing.T, m *servertest.Monitor, by string, matchers ...prom.Matcher) string {
	t.Helper()
	id, err := prom.Alertmanager{URL: m.URL}.Set(t.Context(),
		prom.Silence{Matchers: matchers, StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour), CreatedBy: by,
			Comment: "we move the disks"})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// What Alertmanager silences, inhibits or mutes is known before anything is done about
// it, from Debian's Alertmanager, which does not tell by itself what it mutes.
func TestHeld(t *testing.T) {
	h := hold(t, 1)
	am := h.peers[0]
	plain := h.tell(t, "kind", "plain", "table", `täble "x"\`)
	h.awaitHeld(t, plain, "")
	h.awaitHeld(t, h.tell(t, "kind", "muted"), `muted by the time interval "always"`)
	h.awaitHeld(t, h.tell(t, "kind", "asleep"), `muted by its route, which is active in ["never"] only`)
	h.awaitHeld(t, h.tell(t, "kind", "elsewhere"), "")
	inhibited := h.tell(t, "kind", "inhibited")
	h.awaitHeld(t, inhibited, "")
	h.tell(t, "kind", "source")
	h.awaitHeld(t, inhibited, "inhibited by")

	ours := silence(t, am, "upkeep", prom.Equal("kind", "plain"))
	time.Sleep(50 * time.Millisecond) // it is looked at again and again below
	h.awaitHeld(t, plain, "")
	id := silence(t, am, "ann", prom.Matcher{Name: "table", Value: ".*x.*", IsRegex: true, IsEqual: true})
	h.awaitHeld(t, plain, "silenced by ann")
	for _, one := range []string{id, ours} {
		if err := (prom.Alertmanager{URL: am.URL}).Expire(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	h.awaitHeld(t, plain, "")
	am.Reload(strings.Replace(holding, `'kind="muted"'`, `'kind="plain"'`, 1))
	h.awaitHeld(t, plain, "muted by")

	// One of a pair is silenced, and the other is delivered.
	pair := h.tell(t, "kind", "pair", "replica", "a")
	h.tell(t, "kind", "pair", "replica", "b")
	silence(t, am, "ann", prom.Equal("kind", "pair"), prom.Equal("replica", "b"))
	h.awaitHeld(t, pair, "")
	silence(t, am, "ann", prom.Equal("kind", "pair"))
	h.awaitHeld(t, pair, "silenced by ann")
	am.Kill()
	if why, err := h.Held(t.Context(), pair); err == nil {
		t.Errorf("no Alertmanager answers, and it is %q", why)
	}
	am.Start() // without what it knew
	h.awaitHeld(t, pair, "")
	if h.log.Len() > 0 {
		t.Error(h.log.String())
	}
}

// Of three peers one is enough that has heard of a silence, and one that answers.
func TestHeldByPeers(t *testing.T) {
	h := hold(t, 3)
	id := h.tell(t, "kind", "plain")
	h.awaitHeld(t, id, "")
	h.peers[0].Kill()
	h.awaitHeld(t, id, "")
	silence(t, h.peers[2], "ann", prom.Equal("kind", "plain"))
	h.awaitHeld(t, id, "silenced by ann")
	h.peers[1].Kill()
	h.awaitHeld(t, id, "silenced by ann")
	h.peers[2].Kill()
	if why, err := h.Held(t.Context(), id); err == nil {
		t.Errorf("no Alertmanager answers, and it is %q", why)
	}
}

// An Alertmanager that was restarted knows its silences, and for a while no alert.
func TestHeldWhileAlertmanagerKnowsNoAlert(t *testing.T) {
	h := hold(t, 1)
	am := h.peers[0]
	a := firing(h.now.Add(-time.Minute).Truncate(time.Millisecond), "kind", "plain", "table", "x")
	a.Receiver = "upkeep"
	h.accept(t, a)
	silence(t, am, "ann", prom.Equal("kind", "plain"), prom.Equal("table", "y"))
	silence(t, am, "ann", prom.Matcher{Name: "kind", Value: "pla", IsRegex: true, IsEqual: true})
	silence(t, am, "ann", prom.Equal("kind", "plain"), prom.Matcher{Name: "table", Value: "x|z", IsRegex: true})
	silence(t, am, "upkeep", prom.Equal("kind", "plain"))
	h.awaitHeld(t, 1, "")
	for _, matchers := range [][]prom.Matcher{
		{prom.Equal("kind", "plain"), prom.Equal("absent", "")},
		{prom.Matcher{Name: "table", Value: "x|y", IsRegex: true, IsEqual: true}},
		{prom.Matcher{Name: "kind", Value: "other"}},
	} {
		id := silence(t, am, "ann", matchers...)
		h.awaitHeld(t, 1, "silenced by ann")
		if err := (prom.Alertmanager{URL: am.URL}).Expire(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		h.awaitHeld(t, 1, "")
	}
	h.listed(t, silence(t, am, "upkeep", prom.Equal("kind", "plain"), prom.Equal("table", "x")))
}

// listed lists the silences that hold: ours is the one that the store has, and no other that names upkeep.
func (h *holder) listed(t *testing.T, ours string) {
	t.Helper()
	if err := h.store.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec("insert into silences (run, id, until) values (7, ?, 0)", ours)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	all, err := h.Silences(t.Context())
	if err != nil || len(all) != 5 {
		t.Fatalf("%d silences, want 5: %+v %v", len(all), all, err)
	}
	for n, s := range all {
		if (s.Run == 7) != (s.ID == ours) || s.Run != 7 && s.Run != 0 || s.State != prom.SilenceActive ||
			n > 0 && s.EndsAt.Before(all[n-1].EndsAt) {
			t.Errorf("%d: %+v", n, s)
		}
	}
}

// A newer Alertmanager reports what is muted; alerts of other sources are not checked.
func TestHeldByWhatItTells(t *testing.T) {
	d := open(t)
	d.now = time.Now()
	a := firing(d.now, "n", "1")
	other := firing(d.now, "n", "2")
	other.Source = "grafana"
	a.Receiver = `up\.keep`
	d.accept(t, a, other)
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path+" "+r.URL.Query().Get("receiver"))
		if strings.HasSuffix(r.URL.Path, "/groups") {
			fmt.Fprint(w,
				`[{"receiver":{"name":"up.keep"},"alerts":[{"labels":{"alertname":"A","n":"1"},"status":{"state":"active","silencedBy":[],"inhibitedBy":[],"mutedBy":["nights"]}}]}]`)
			return
		}
		http.Error(w, "not now", http.StatusInternalServerError)
	}))
	t.Cleanup(server.Close)
	delivery := &inbox.Delivery{Inbox: d.Inbox, Alertmanager: inbox.Alertmanager{URLs: []string{server.URL},
		Source: "alertmanager", Logger: slog.New(slog.DiscardHandler)}}
	if why, err := delivery.Held(t.Context(), 1); err != nil || why != "muted by the time interval nights" {
		t.Errorf("%q, %v", why, err)
	}
	if why, err := delivery.Held(t.Context(), 2); err != nil || why != "" {
		t.Errorf("Grafana's: %q, %v", why, err)
	}
	if len(asked) != 1 || asked[0] != `/api/v2/alerts/groups up\.keep` {
		t.Errorf("asked %q", asked)
	}
	if _, err := delivery.Held(t.Context(), 99); err == nil {
		t.Error("no error for an incident that is not there")
	}
}

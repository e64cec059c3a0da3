package silence_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/silence"
)

// A stage is a Keeper with an Alertmanager to ask.
type stage struct {
	*silence.Keeper
	monitor *servertest.Monitor
	am      prom.Alertmanager
}

func begin(t *testing.T, length time.Duration) *stage {
	t.Helper()
	return beginOn(t, length, store.Options{Dir: t.TempDir()})
}

// onBoth runs a test on SQLite and on PostgreSQL.
func onBoth(t *testing.T, test func(t *testing.T, s *stage)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, begin(t, time.Minute)) })
	t.Run("postgres", func(t *testing.T) {
		address, _ := servertest.Database(t)
		test(t, beginOn(t, time.Minute, store.Options{Postgres: address}))
	})
}

func beginOn(t *testing.T, length time.Duration, o store.Options) *stage {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	m := servertest.Alertmanager(t)
	am := prom.Alertmanager{URL: m.URL}
	return &stage{
		Keeper: &silence.Keeper{Store: s, Alertmanagers: []silence.Alertmanager{am}, Replicas: []string{"replica"},
			Length: length, Logger: slog.New(slog.DiscardHandler)},
		monitor: m, am: am,
	}
}

func alert(labels ...string) remediate.Alert {
	a := remediate.Alert{Source: "alertmanager", Firing: true,
		Labels: map[string]string{"alertname": "A", "table": "a \"b\" \\ \n{{ x }}"}}
	for i := 0; i < len(labels); i += 2 {
		a.Labels[labels[i]] = labels[i+1]
	}
	return a
}

func run(id int64) remediate.Run { return remediate.Run{ID: id} }

// active returns the IDs of the silences that hold.
func (s *stage) active(t *testing.T) (ids []string) {
	t.Helper()
	all, err := s.am.Silences(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if one.State == prom.SilenceActive {
			ids = append(ids, one.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (s *stage) hold(t *testing.T, id int64, a remediate.Alert) string {
	t.Helper()
	if err := s.Hold(t.Context(), run(id), a); err != nil {
		t.Fatal(err)
	}
	return s.row(t, id)
}

// row returns what is noted for a run, "" where nothing is.
func (s *stage) row(t *testing.T, run int64) (id string) {
	t.Helper()
	rows, err := s.Store.Query(t.Context(), "select id from silences where run = ?", run)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
	}
	return id
}

func (s *stage) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	err := s.Store.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(statement, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// fire sends alerts to Alertmanager, and suppressed tells which of them it keeps
// from people.
func (s *stage) fire(t *testing.T, alerts ...remediate.Alert) {
	t.Helper()
	body := make([]map[string]any, len(alerts))
	for i, a := range alerts {
		body[i] = map[string]any{"labels": a.Labels}
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(s.monitor.URL+"/api/v2/alerts", "application/json", strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("alerts: %s", res.Status)
	}
}

func (s *stage) suppressed(t *testing.T) map[string]bool {
	t.Helper()
	res, err := http.Get(s.monitor.URL + "/api/v2/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var all []struct {
		Labels map[string]string
		Status struct{ State string }
	}
	if err := json.NewDecoder(res.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	states := make(map[string]bool)
	for _, a := range all {
		states[a.Labels["n"]] = a.Status.State == "suppressed"
	}
	return states
}

func TestHoldAndRelease(t *testing.T) {
	s := begin(t, time.Minute)
	id := s.hold(t, 7, alert("replica", "a", "n", "own"))
	first, err := s.am.Silence(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	want := []prom.Matcher{prom.Equal("alertname", "A"), prom.Equal("n", "own"),
		prom.Equal("table", alert().Labels["table"])}
	if !slices.Equal(first.Matchers, want) || first.CreatedBy != "upkeep" ||
		first.Comment != "upkeep run 7 works on this" || first.State != prom.SilenceActive {
		t.Errorf("silence: %+v", first)
	}
	other := alert("n", "other", "table", "other")
	s.fire(t, alert("replica", "a", "n", "own"), alert("replica", "b", "n", "own"), other)
	servertest.Eventually(t, "our alert is silenced and no other", func() bool {
		return maps.Equal(s.suppressed(t), map[string]bool{"own": true, "other": false})
	})
	time.Sleep(10 * time.Millisecond)
	if again := s.hold(t, 7, alert("replica", "b", "n", "own")); again != id {
		t.Errorf("renewed as %s, want the same %s", again, id)
	}
	if renewed, err := s.am.Silence(t.Context(), id); err != nil || !renewed.EndsAt.After(first.EndsAt) {
		t.Errorf("it ends at %s, before at %s (%v)", renewed.EndsAt, first.EndsAt, err)
	}
	for range 2 { // the second time it is gone
		if err := s.Release(t.Context(), 7); err != nil {
			t.Error(err)
		}
	}
	if got := s.active(t); len(got) != 0 || s.row(t, 7) != "" {
		t.Errorf("after Release: %v, %q", got, s.row(t, 7))
	}
	servertest.Eventually(t, "people are notified again", func() bool { return !s.suppressed(t)["own"] })
}

// Alertmanager writes its silences down every fifteen minutes: one that is
// killed has lost ours.
func TestAlertmanagerKilled(t *testing.T) {
	s := begin(t, time.Minute)
	before := s.hold(t, 7, alert())
	s.monitor.Kill()
	if err := s.Hold(t.Context(), run(7), alert()); err == nil || !strings.Contains(err.Error(), "silence of run 7") {
		t.Errorf("while it is down: %v", err)
	}
	s.monitor.Start()
	if got := s.active(t); len(got) != 0 {
		t.Fatalf("it has kept %v: this test shows nothing", got)
	}
	after := s.hold(t, 7, alert()) // one renewal
	if got := s.active(t); !slices.Equal(got, []string{after}) || after == before {
		t.Errorf("active %v, noted %s, before %s", got, after, before)
	}
}

// When our side is killed, the silence is not renewed, and people are notified.
func TestNobodyRenews(t *testing.T) {
	s := begin(t, 2*time.Second)
	s.fire(t, alert("n", "own"))
	first := s.hold(t, 7, alert("n", "own"))
	servertest.Eventually(t, "silenced", func() bool { return s.suppressed(t)["own"] })
	servertest.Eventually(t, "people are notified", func() bool {
		return len(s.active(t)) == 0 &&
			!s.suppressed(t)["own"]
	})
	// The next owner of the run continues.
	if second := s.hold(t, 7, alert("n", "own")); second == first || !slices.Equal(s.active(t), []string{second}) {
		t.Errorf("taken over: %s, before %s, active %v", second, first, s.active(t))
	}
}

// A process that was killed between making and noting a silence makes no other.
func TestMadeAndNotNoted(t *testing.T) { onBoth(t, madeAndNotNoted) }

func madeAndNotNoted(t *testing.T, s *stage) {
	t.Helper()
	id := s.hold(t, 7, alert())
	s.hold(t, 8, alert("n", "more")) // a silence of ours that the filter finds too
	s.exec(t, "delete from silences where run = 7")
	if again := s.hold(t, 7, alert()); again != id || len(s.active(t)) != 2 {
		t.Errorf("%s, want %s found again; active %v", again, id, s.active(t))
	}
}

func TestEndedByHand(t *testing.T) {
	s := begin(t, time.Minute)
	id := s.hold(t, 7, alert())
	if err := s.am.Expire(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if again := s.hold(t, 7, alert()); again != id || len(s.active(t)) != 0 {
			t.Errorf("a person's end did not last: %s, active %v", again, s.active(t))
		}
	}
	if err := s.Release(t.Context(), 7); err != nil || s.row(t, 7) != "" {
		t.Errorf("Release: %v, noted %q", err, s.row(t, 7))
	}
}

func TestSweep(t *testing.T) { onBoth(t, sweep) }

func sweep(t *testing.T, s *stage) {
	t.Helper()
	for i, state := range []remediate.State{remediate.Allowed, remediate.Applied, remediate.Resolved, remediate.Failed,
		""} {
		id := int64(i + 1)
		s.hold(t, id, alert("n", fmt.Sprint(id)))
		if state != "" { // the last one's run is gone
			s.exec(t, "insert into runs (id, key, request, action, subject, state, why, plan, due, created, changed) "+
				"values (?, ?, '{}', 'a', 's', ?, '', '{}', 0, 0, 0)", id, fmt.Sprint(id), string(state))
		}
	}
	if err := s.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	want := []string{s.row(t, 1), s.row(t, 2)}
	slices.Sort(want)
	if got := s.active(t); !slices.Equal(got, want) || s.row(t, 3)+s.row(t, 4)+s.row(t, 5) != "" {
		t.Errorf("active %v, want those of runs 1 and 2, %v", got, want)
	}
	s.exec(t, "update runs set state = 'resolved'")
	if err := s.Hold(t.Context(), run(1), alert("n", "1")); err != nil || s.row(t, 1) != "" || len(s.active(t)) != 1 {
		t.Errorf("a run that has ended was given a silence: %v, active %v", err, s.active(t))
	}
	s.monitor.Kill()
	if err := s.Sweep(t.Context()); err == nil || s.row(t, 2) == "" {
		t.Errorf("Alertmanager is down: %v, noted %q", err, s.row(t, 2))
	}
	s.Now = func() time.Time { return time.Now().Add(2 * time.Minute) } // both have ended by themselves
	if err := s.Sweep(t.Context()); err != nil || s.row(t, 1)+s.row(t, 2) != "" {
		t.Errorf("they have run out: %v, noted %q", err, s.row(t, 1))
	}
}

func TestTheFirstThatAnswers(t *testing.T) {
	s := begin(t, time.Minute)
	s.Alertmanagers = []silence.Alertmanager{prom.Alertmanager{URL: "http://127.0.0.1:1"}, s.am}
	if id := s.hold(t, 7, alert()); !slices.Equal(s.active(t), []string{id}) {
		t.Errorf("active %v, noted %s", s.active(t), id)
	}
	if err := s.Release(t.Context(), 7); err != nil || len(s.active(t)) != 0 {
		t.Errorf("Release: %v, active %v", err, s.active(t))
	}
}

func TestNeverEverything(t *testing.T) {
	s := begin(t, time.Minute)
	a := remediate.Alert{Source: "alertmanager", Labels: map[string]string{"replica": "a", "x": ""}}
	if err := s.Hold(t.Context(), run(7), a); err == nil || !strings.Contains(err.Error(), "everything") {
		t.Errorf("an alert without labels: %v", err)
	}
	a = alert()
	a.Source = "grafana"
	if err := s.Hold(t.Context(), run(7), a); err != nil {
		t.Errorf("an alert that Alertmanager does not have: %v", err)
	}
	if got := s.active(t); len(got) != 0 {
		t.Errorf("active %v", got)
	}
}

package console_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

func TestSchedules(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now := time.Date(2026, 6, 1, 0, 30, 0, 0, time.UTC)
	j := journal.New(journal.Config{Store: s})
	nightly := schedule.Schedule{
		Name: "nightly", Missed: schedule.Late, Action: "redis/bgsave", Mode: remediate.Auto,
		Request: func(map[string]string) (remediate.Request, bool) {
			return remediate.Request{Action: "redis/bgsave", Subject: map[string]string{"server": "cache"},
				Mode: remediate.Auto}, true
		},
	}
	if nightly.Cron, err = schedule.ParseCron("0 3 * * *"); err == nil {
		nightly.Zone, err = schedule.Zone("Europe/Berlin")
	}
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return now }
	keeper := schedule.NewScheduler(schedule.Config{Store: s, Journal: j, Now: clock,
		Logger: slog.New(slog.DiscardHandler)}, nil)
	r := mount(console.Config{Journal: j, Scheduler: keeper, Portal: portal.Portal{Logger: slog.New(slog.DiscardHandler)}})
	ask := func(query string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		q := httptest.NewRequest(http.MethodGet, "http://localhost"+console.Prefix+"/schedules"+query, nil)
		q.Header.Set("Authorization", "Bearer "+adminToken)
		r.ServeHTTP(w, q)
		return w
	}
	if w := ask(""); w.Code != 200 || strings.TrimSpace(w.Body.String()) != `{"next":[],"last":[]}` {
		t.Errorf("%d %s, want empty lists", w.Code, w.Body)
	}
	keeper.Use([]schedule.Schedule{nightly})
	for _, now = range []time.Time{now, now.AddDate(0, 0, 2).Add(time.Hour)} {
		if _, err := keeper.Tick(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	w := ask("?limit=2")
	var got console.Calendar
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || len(got.Next) != 2 ||
		len(got.Last) != 2 {
		t.Fatalf("%d %s %v", w.Code, w.Body, err)
	}
	if n := got.Next[0]; n.At.Format(time.RFC3339) != "2026-06-04T03:00:00+02:00" || n.Zone != "Europe/Berlin" ||
		n.Schedule != "nightly" {
		t.Errorf("next is %+v", n)
	}
	if h := got.Last[0]; h.Outcome != schedule.MadeLate || len(h.Runs) != 1 || h.Runs[0].State != remediate.Received ||
		h.At.Format(time.RFC3339) != "2026-06-03T03:00:00+02:00" {
		t.Errorf("last was %+v", h)
	}
	if h := got.Last[1]; h.Outcome != schedule.Skipped || len(h.Runs) != 0 || h.Why == "" {
		t.Errorf("before it was %+v", h)
	}
	for _, query := range []string{"?limit=0", "?limit=1001", "?limit=x"} {
		if w := ask(query); w.Code != 400 {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
}

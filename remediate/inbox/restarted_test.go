package inbox_test

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

// An Alertmanager keeps no alerts on its disk: one that comes back after a long time
// lists none until Prometheus sends them again. What it does not list then is not over.
func TestAlertmanagerComesBackWithoutAlerts(t *testing.T) {
	h := hold(t, 1)
	var ahead, next atomic.Int64
	h.fixture.Inbox = inbox.New(inbox.Config{Store: h.store,
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }, FlapWindow: 10 * time.Minute})
	lasts := h.tell(t, "kind", "plain", "n", "lasts")
	h.tell(t, "kind", "plain", "n", "ends")
	am := h.Alertmanager
	hurry := make(chan struct{})
	am.Client = &http.Client{Transport: before(func() { ahead.Store(next.Load()) })} // no listing sees the clock jump
	am.Every, am.Absent, am.Hurry, am.Logger = time.Hour, 5*time.Minute, hurry, slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := h.fixture.Watch(ctx, am); err != nil {
			t.Error(err)
		}
	})
	is := func(when string, want ...string) {
		t.Helper()
		hurry <- struct{}{}
		hurry <- struct{}{} // taken only when the answer before is in the inbox
		var got []string
		for _, e := range h.open(t) {
			got = append(got, e.Alert.Labels["n"])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	is("at first", "lasts", "ends")
	h.peers[0].Kill()
	next.Add(int64(3 * time.Hour))
	is("while it is away", "lasts", "ends")
	h.peers[0].Start()
	is("before Prometheus has sent anything", "lasts", "ends")
	e, err := h.Incident(t.Context(), lasts)
	if err != nil {
		t.Fatal(err)
	}
	h.post(t, e.Alert)
	next.Add(int64(6 * time.Minute))
	is("after six minutes more", "lasts")
	if all := h.open(t); len(all) != 1 || all[0].ID != lasts {
		t.Errorf("another incident is open: %+v", all)
	}
	stop()
	done.Wait()
}

// before is a transport that does something before each request.
type before func()

// RoundTrip implements http.RoundTripper.
func (b before) RoundTrip(r *http.Request) (*http.Response, error) {
	b()
	return http.DefaultTransport.RoundTrip(r)
}

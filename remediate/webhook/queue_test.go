package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// stuck is an inbox before a disk that hangs.
type stuck struct {
	until   chan struct{}
	waiting atomic.Int64
}

func (s *stuck) Accept(context.Context, []remediate.Alert) error {
	s.waiting.Add(1)
	<-s.until
	return nil
}

func (s *stuck) Keep(context.Context, remediate.DeadLetter) error {
	return errors.New("no room for dead letters")
}

// A store that hangs is asked by as many as may wait, and all others are refused at
// once. When many wait already, none waits for long.
func TestSaturation(t *testing.T) {
	const places = 16
	s := &stuck{until: make(chan struct{})}
	var log strings.Builder
	h := webhook.New(webhook.Config{Inbox: s, Waiting: places, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Registerer: prometheus.NewRegistry()})
	server := httptest.NewServer(h)
	defer server.Close()
	var all sync.WaitGroup
	var patient, hasty atomic.Int64
	ask := func() (status int) {
		res, err := http.Post(server.URL, "application/json", strings.NewReader(message(alert)))
		if err != nil {
			t.Error(err)
			return 0
		}
		defer func() { _ = res.Body.Close() }() // read only
		return res.StatusCode
	}
	for range places {
		before := s.waiting.Load()
		all.Go(func() {
			switch status := ask(); status {
			case 200:
				patient.Add(1)
			case 503:
				hasty.Add(1)
			default:
				t.Errorf("the answer is %d", status)
			}
		})
		for s.waiting.Load() == before {
			time.Sleep(100 * time.Microsecond)
		}
	}
	for range 200 { // while the store is stuck: none of them waits for it
		if status := ask(); status != 503 {
			t.Fatalf("%d, want 503", status)
		}
	}
	if n := s.waiting.Load(); n != places {
		t.Errorf("%d wait for the store, want %d", n, places)
	}
	for hasty.Load() < places/2 {
		time.Sleep(time.Millisecond) // those that found many before them give up by themselves
	}
	close(s.until)
	all.Wait()
	if patient.Load() != places/2 || hasty.Load() != places/2 {
		t.Errorf("%d were patient and %d hasty", patient.Load(), hasty.Load())
	}
	if lines := strings.Count(log.String(), "\n"); lines < 20 || lines > 60 {
		t.Errorf("%d lines for 200 refusals", lines)
	}
	if status := ask(); status != 200 {
		t.Errorf("%d after the store came back", status)
	}
}

// What cannot be kept is refused as before.
func TestLetterThatCannotBeKept(t *testing.T) {
	var log strings.Builder
	h := webhook.New(webhook.Config{Inbox: &stuck{}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Registerer: prometheus.NewRegistry()})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader("no JSON")))
	if w.Code != 400 || !strings.Contains(log.String(), "no room for dead letters") {
		t.Errorf("%d %s, and the log says %s", w.Code, w.Body, &log)
	}
}

// A body that does not come holds no place that others wait for.
func TestSlowBodies(t *testing.T) {
	d := open(t)
	server := httptest.NewServer(d.Trusted())
	defer server.Close()
	for range 10 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, &dripping{t.Context()})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if res, err := http.DefaultClient.Do(r); err == nil {
				_ = res.Body.Close() // the answer does not matter: the test may be over
			}
		}()
	}
	res, err := http.Post(server.URL, "application/json", strings.NewReader(message(alert)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read only
	if res.StatusCode != 200 {
		t.Error(res.Status)
	}
	server.CloseClientConnections()
}

// dripping is a body that never ends.
type dripping struct{ ctx context.Context } //nolint:containedctx // the body's own life

func (d *dripping) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, fmt.Errorf("test: %w", d.ctx.Err())
	case <-time.After(100 * time.Millisecond):
		return copy(p, " "), nil
	}
}

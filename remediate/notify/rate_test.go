package notify_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/notify"
)

// A book has the messages that it was given.
type book struct {
	mu       sync.Mutex
	messages []notify.Message
	ends     int
}

// Notify takes everything.
func (b *book) Notify(_ context.Context, m notify.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, m)
	return nil
}

// Closes says that it also takes ends, which must not be sent one by one.
func (b *book) Closes() bool { return true }

// Close takes an end.
func (b *book) Close(context.Context, notify.Item) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ends++
	return nil
}

// A flood of notifications is a few messages, and each of them is sent or counted once.
func TestFloodIsSummedUp(t *testing.T) {
	for _, alone := range []bool{false, true} {
		t.Run(fmt.Sprint("alone ", alone), func(t *testing.T) {
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			s, err := store.Open(t.Context(), store.Options{Memory: true, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() }) // nothing is read any more
			is, st := &book{}, &stage{store: s, now: now}
			o := notify.New(notify.Config{Store: s, Now: func() time.Time { return now }, Registerer: prometheus.NewRegistry(),
				Logger: slog.New(slog.DiscardHandler), Rate: notify.Rate{Most: 4, Every: 5 * time.Minute},
				Notifiers: []notify.Named{{Name: "n", Alone: alone, Notifier: is}},
				Over:      func(context.Context, remediate.Notification) (bool, bool, error) { return true, false, nil }})
			st.write(t, notifications(0, 3)...)
			deliver(t, o)
			few := len(is.messages)
			all := notifications(3, 1500)
			for i := range all {
				if i%3 == 0 {
					all[i].Kind, all[i].Incident = remediate.NotificationPage, int64(i)
				}
			}
			st.write(t, all...)
			for range 3 {
				deliver(t, o)
			}
			if n := len(is.messages); n-few > 3 || n > 4 {
				t.Fatalf("%d messages, %d of them before the flood", n, few)
			}
			last := is.messages[len(is.messages)-1].Notifications
			if len(last) != 1 || !strings.HasSuffix(last[0].Title, " notifications from upkeep") ||
				last[0].Kind != remediate.NotificationPage || !strings.Contains(last[0].Text, "× needs a person") {
				t.Errorf("the last message is %+v", last)
			}
			sent := 0
			for _, m := range is.messages[:len(is.messages)-1] {
				sent += len(m.Notifications)
			}
			var summed int
			if _, err := fmt.Sscan(last[0].Title, &summed); err != nil || sent+summed != 1500 {
				t.Errorf("%d were sent and %d summed up, of 1500 (%v)", sent, summed, err)
			}
			if is.ends > sent {
				t.Errorf("%d ends were sent of %d notifications", is.ends, sent)
			}
			was := len(is.messages)
			st.write(t, notifications(1500, 1502)...)
			deliver(t, o)
			if len(is.messages) != was {
				t.Error("a message more than the rate allows")
			}
			now = now.Add(5 * time.Minute)
			deliver(t, o)
			if len(is.messages) != was+1 {
				t.Errorf("%d messages after five minutes, want one more than %d", len(is.messages), was)
			}
		})
	}
}

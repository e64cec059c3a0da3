package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/notify"
)

// A mailbox is a notifier that takes what take says.
type mailbox struct {
	mu    sync.Mutex
	take  func(m notify.Message) error // nil: everything
	tries int
	got   map[string]int // how often each key was taken
}

func (b *mailbox) Notify(_ context.Context, m notify.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries++
	if b.take != nil {
		if err := b.take(m); err != nil {
			return err
		}
	}
	if b.got == nil {
		b.got = make(map[string]int)
	}
	for _, n := range m.Notifications {
		b.got[n.Key]++
	}
	return nil
}

func (b *mailbox) taken() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.got)
}

// A stage is a store, a clock and what was logged.
type stage struct {
	store    *store.Store
	registry *prometheus.Registry
	over     func(n remediate.Notification) (over, helped bool) // nil: nothing is

	mu  sync.Mutex
	now time.Time
	log bytes.Buffer
}

// begin returns a stage whose clock moves only on request.
func begin(t *testing.T) *stage {
	t.Helper()
	s := &stage{now: time.Now()}
	s.open(t, store.Options{Dir: t.TempDir(), Now: s.clock})
	return s
}

func (s *stage) open(t *testing.T, o store.Options) {
	t.Helper()
	var err error
	if s.store, err = store.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// onBoth runs a test on SQLite and on PostgreSQL, whose clock cannot be set.
func onBoth(t *testing.T, test func(t *testing.T, s *stage)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, begin(t)) })
	t.Run("postgres", func(t *testing.T) {
		s := &stage{now: time.Now()}
		address, _ := servertest.Database(t)
		s.open(t, store.Options{Postgres: address})
		test(t, s)
	})
}

func (s *stage) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *stage) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// Write takes the log.
func (s *stage) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(line)
}

func (s *stage) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// outbox starts anew, as a restart does.
func (s *stage) outbox(notifiers ...notify.Named) *notify.Outbox {
	s.registry = prometheus.NewRegistry()
	var over func(context.Context, remediate.Notification) (bool, bool, error)
	if s.over != nil {
		over = func(_ context.Context, n remediate.Notification) (bool, bool, error) {
			over, helped := s.over(n)
			return over, helped, nil
		}
	}
	return notify.New(notify.Config{
		Over:  over,
		Store: s.store, Notifiers: notifiers, Now: s.clock, Registerer: s.registry,
		Logger: slog.New(slog.NewTextHandler(s, nil)),
		Link: func(n remediate.Notification, approve bool) string {
			return fmt.Sprintf("https://upkeep.example/%d?approve=%v", n.Run, approve)
		},
	})
}

// write puts notifications into the store as the journal does.
func (s *stage) write(t *testing.T, notifications ...remediate.Notification) {
	t.Helper()
	err := s.store.Write(t.Context(), func(tx *store.Tx) error {
		for _, n := range notifications {
			text, err := json.Marshal(n)
			if err != nil {
				return err
			}
			now := store.Millis(s.clock())
			if _, err := tx.Exec("insert into notifications (key, notification, created, due) values (?, ?, ?, ?) on conflict "+
				"(key) do nothing", n.Key, text, now, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func notifications(from, to int) (all []remediate.Notification) {
	for i := from; i < to; i++ {
		all = append(all, remediate.Notification{Key: fmt.Sprintf("k%d", i), Kind: remediate.NotificationInfo,
			Title: fmt.Sprintf("title %d", i)})
	}
	return all
}

// each is what a mailbox has that got every one once.
func each(all ...remediate.Notification) map[string]int {
	want := make(map[string]int)
	for _, n := range all {
		want[n.Key] = 1
	}
	return want
}

func deliver(t *testing.T, o *notify.Outbox) {
	t.Helper()
	if err := o.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// metrics returns the samples of a family, by their label values.
func (s *stage) metrics(t *testing.T, name string) map[string]float64 {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			all[strings.Join(labels, " ")] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return all
}

func TestEachOnceToEach(t *testing.T) { onBoth(t, eachOnceToEach) }

func eachOnceToEach(t *testing.T, s *stage) {
	t.Helper()
	all := notifications(0, 25)
	s.write(t, all...)
	s.write(t, all[3]) // known already
	down := true
	var chat, pager mailbox
	pager.take = func(notify.Message) error {
		if down {
			return errors.New("out of order")
		}
		return nil
	}
	named := []notify.Named{{Name: "chat", Notifier: &chat}, {Name: "pager", Notifier: &pager}}
	o := s.outbox(named...)
	deliver(t, o)
	if got := chat.taken(); !maps.Equal(got, each(all...)) || chat.tries != 3 {
		t.Errorf("chat got %v in %d messages, want each of 25 once in 3", got, chat.tries)
	}
	if len(pager.taken()) != 0 || s.metrics(t, "upkeep_notifications_pending")[""] != 25 {
		t.Errorf("pager got %v, pending %v", pager.taken(), s.metrics(t, "upkeep_notifications_pending"))
	}
	deliver(t, o) // the pager rests
	if pager.tries != 1 {
		t.Errorf("the pager was tried %d times without a pause", pager.tries)
	}
	down = false
	o = s.outbox(named...) // a restart
	deliver(t, o)
	if !maps.Equal(pager.taken(), each(all...)) || !maps.Equal(chat.taken(), each(all...)) {
		t.Errorf("after a restart: chat %v, pager %v", chat.taken(), pager.taken())
	}
	if got := s.metrics(t, "upkeep_notifications_pending")[""]; got != 0 {
		t.Errorf("pending: %v", got)
	}
	if got := s.metrics(t, "upkeep_notifications_total"); !maps.Equal(got,
		map[string]float64{"info pager delivered": 25}) {
		t.Errorf("upkeep_notifications_total: %v", got)
	}
	s.pass(100 * time.Hour)
	deliver(t, s.outbox(named...))
	if chat.tries != 3 || pager.tries != 4 || strings.Contains(s.logged(), "given up") {
		t.Errorf("days later: chat %d, pager %d messages, log %s", chat.tries, pager.tries, s.logged())
	}
}

// While nothing is taken, the pauses grow; so do they for a notification that is refused.
func TestPausesGrow(t *testing.T) {
	for _, test := range []struct {
		name        string
		err         error
		least, most int // tries in three hours, looked at each minute, and sixty, each half an hour
		first       time.Duration
	}{
		{"out of order", errors.New("out of order"), 130, 142, 5 * time.Second},
		{"asks for patience", &notify.FaultError{Err: errors.New("status 429"), After: 30 * time.Minute}, 120, 128,
			30 * time.Minute},
		{"refused", &notify.FaultError{Err: errors.New("status 400"), Refused: true}, 20, 25, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := begin(t)
			s.write(t, notifications(0, 1)...)
			box := mailbox{take: func(notify.Message) error { return test.err }}
			o := s.outbox(notify.Named{Name: "chat", Notifier: &box})
			deliver(t, o)
			s.pass(test.first - time.Second)
			if deliver(t, o); box.tries != 1 {
				t.Errorf("%d tries before %s", box.tries, test.first)
			}
			s.pass(time.Second)
			if deliver(t, o); box.tries != 2 {
				t.Errorf("%d tries after %s, want 2", box.tries, test.first)
			}
			for range 180 {
				s.pass(time.Minute)
				deliver(t, o)
			}
			for range 120 {
				s.pass(30 * time.Minute)
				deliver(t, o)
			}
			if box.tries < test.least || box.tries > test.most {
				t.Errorf("%d tries in 63 hours, want %d to %d", box.tries, test.least, test.most)
			}
		})
	}
}

// A refused one does not delay others, and is given up in the end.
func TestRefusedAndGivenUp(t *testing.T) {
	s := begin(t)
	all := notifications(0, 25)
	s.write(t, all...)
	box := mailbox{take: func(m notify.Message) error {
		if slices.ContainsFunc(m.Notifications, func(n notify.Item) bool { return n.Key == "k4" }) {
			return &notify.FaultError{Err: errors.New("status 400: invalid_payload"), Refused: true}
		}
		return nil
	}}
	o := s.outbox(notify.Named{Name: "chat", Notifier: &box})
	deliver(t, o)
	s.pass(5 * time.Second)
	deliver(t, o)
	want := each(all...)
	delete(want, "k4")
	if got := box.taken(); !maps.Equal(got, want) {
		t.Errorf("got %v, want all but k4", got)
	}
	for range 80 {
		s.pass(time.Hour)
		deliver(t, o)
	}
	tries := box.tries
	s.pass(100 * time.Hour)
	deliver(t, o)
	if box.tries != tries || !maps.Equal(box.taken(), want) {
		t.Errorf("given up and tried again: %d, before %d", box.tries, tries)
	}
	if log := s.logged(); strings.Count(log, "notification given up") != 1 || !strings.Contains(log, "invalid_payload") ||
		!strings.Contains(log, `title="title 4"`) {
		t.Errorf("log: %s", log)
	}
	if got := s.metrics(t, "upkeep_notifications_total"); got["info chat given_up"] != 1 ||
		got["info chat delivered"] != 24 || got["info chat failed"] < 10 {
		t.Errorf("upkeep_notifications_total: %v", got)
	}
	if got := s.metrics(t, "upkeep_notifications_pending")[""]; got != 0 {
		t.Errorf("pending: %v", got)
	}
}

// Who is new hears what still waits for an answer, and no old stories.
func TestNewNotifier(t *testing.T) { onBoth(t, newNotifier) }

func newNotifier(t *testing.T, s *stage) {
	t.Helper()
	s.pass(-2 * time.Hour)
	s.write(t, notifications(0, 3)...)
	s.pass(2 * time.Hour)
	s.write(t, notifications(3, 5)...)
	var first, second mailbox
	o := s.outbox()
	deliver(t, o) // nothing to deliver
	o.Use([]notify.Named{{Name: "first", Notifier: &first}})
	deliver(t, o)
	if got := first.taken(); !maps.Equal(got, each(notifications(3, 5)...)) {
		t.Errorf("the first got %v", got)
	}
	s.write(t, notifications(5, 6)...)
	o.Use([]notify.Named{{Name: "second", Notifier: &second}})
	deliver(t, o)
	o.Use([]notify.Named{{Name: "first", Notifier: &first}, {Name: "second", Notifier: &second}})
	deliver(t, o)
	if got := first.taken(); !maps.Equal(got, each(notifications(3, 6)...)) {
		t.Errorf("the first, left out for a while, got %v", got)
	}
	if got := second.taken(); !maps.Equal(got, each(notifications(3, 6)...)) {
		t.Errorf("the second got %v", got)
	}
}

func TestReplicas(t *testing.T) { onBoth(t, replicas) }

func replicas(t *testing.T, s *stage) {
	t.Helper()
	all := notifications(0, 300)
	s.write(t, all...)
	var box mailbox
	box.take = func(notify.Message) error { time.Sleep(time.Millisecond); return nil }
	var replicas sync.WaitGroup
	for range 4 {
		o := s.outbox(notify.Named{Name: "chat", Notifier: &box})
		replicas.Go(func() { deliver(t, o) })
	}
	replicas.Wait()
	if got := box.taken(); !maps.Equal(got, each(all...)) {
		t.Errorf("%d notifications, not each once: %v", len(got), got)
	}
}

// A notifier of some kinds gets only those, and nothing else stays behind.
func TestWants(t *testing.T) {
	s := begin(t)
	all := notifications(0, 40)
	for i := range all {
		if i%13 == 12 {
			all[i].Kind = remediate.NotificationPage
		}
	}
	s.write(t, all...)
	var box mailbox
	o := s.outbox(notify.Named{Name: "pager", Notifier: &box,
		Wants: func(k remediate.NotificationKind) bool { return k == remediate.NotificationPage }})
	deliver(t, o)
	if got := box.taken(); !maps.Equal(got, each(all[12], all[25], all[38])) {
		t.Errorf("got %v", got)
	}
	if got := s.metrics(t, "upkeep_notifications_pending")[""]; got != 0 {
		t.Errorf("pending: %v", got)
	}
	if got := s.metrics(t, "upkeep_notifications_total"); !maps.Equal(got,
		map[string]float64{"page pager delivered": 3}) {
		t.Errorf("upkeep_notifications_total: %v", got)
	}
}

// A replica that hangs or dies over a message is given a minute.
func TestReplicaDies(t *testing.T) {
	s := begin(t)
	s.write(t, notifications(0, 1)...)
	entered, leave := make(chan struct{}), make(chan struct{})
	hangs := mailbox{take: func(notify.Message) error { close(entered); <-leave; return errors.New("killed") }}
	var dead sync.WaitGroup
	first := s.outbox(notify.Named{Name: "chat", Notifier: &hangs})
	dead.Go(func() { deliver(t, first) })
	<-entered
	var box mailbox
	o := s.outbox(notify.Named{Name: "chat", Notifier: &box})
	s.pass(59 * time.Second)
	if deliver(t, o); box.tries != 0 {
		t.Error("delivered by two at once")
	}
	s.pass(time.Second)
	if deliver(t, o); !maps.Equal(box.taken(), each(notifications(0, 1)...)) {
		t.Errorf("not taken over: %v", box.taken())
	}
	close(leave)
	dead.Wait()
	s.pass(time.Hour)
	if deliver(t, o); box.tries != 1 {
		t.Errorf("the dead instance's claim made it %d deliveries", box.tries)
	}
}

// A message that is under way when the process stops is delivered once.
func TestStops(t *testing.T) { onBoth(t, stops) }

func stops(t *testing.T, s *stage) {
	t.Helper()
	s.write(t, notifications(0, 1)...)
	ctx, stop := context.WithCancel(t.Context())
	box := mailbox{take: func(notify.Message) error { stop(); time.Sleep(50 * time.Millisecond); return nil }}
	if err := s.outbox(notify.Named{Name: "chat", Notifier: &box}).Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	if deliver(t, s.outbox(notify.Named{Name: "chat", Notifier: &box})); box.tries != 1 {
		t.Errorf("delivered %d times", box.tries)
	}
}

// What was woken up delivers at once; else it would look only after some seconds.
func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t)
		var box mailbox
		o := s.outbox(notify.Named{Name: "chat", Notifier: &box})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- o.Run(ctx) }()
		synctest.Wait()
		s.write(t, notifications(0, 1)...)
		o.Wake()
		synctest.Wait() // no time passes
		if len(box.taken()) == 0 {
			t.Error("not delivered")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestLinks(t *testing.T) { onBoth(t, links) }

func links(t *testing.T, s *stage) {
	t.Helper()
	s.write(t, remediate.Notification{Key: "a", Kind: remediate.NotificationAsk, Run: 7, Plan: "abc"},
		remediate.Notification{Key: "b", Kind: remediate.NotificationPage, Run: 8},
		remediate.Notification{Key: "c", Kind: remediate.NotificationInfo})
	var got []string
	box := mailbox{take: func(m notify.Message) error {
		for _, n := range m.Notifications {
			got = append(got, n.Approve+" "+n.Open)
		}
		return nil
	}}
	deliver(t, s.outbox(notify.Named{Name: "chat", Notifier: &box}))
	want := []string{"https://upkeep.example/7?approve=true https://upkeep.example/7?approve=false",
		" https://upkeep.example/8?approve=false", " "}
	if !slices.Equal(got, want) {
		t.Errorf("links %q, want %q", got, want)
	}
}

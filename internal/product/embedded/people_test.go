package embedded_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/receivers"
	"github.com/ai-micro-service/upkeep/internal/product/embedded"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate/notify"
)

// An inbox is a place that keeps what it is notified of.
type inbox struct {
	mu    sync.Mutex
	all   []string
	delay chan struct{} // what it waits for before it answers; nil: nothing
	began chan struct{} // closed with the first message
	once  sync.Once
}

func (i *inbox) Notify(_ context.Context, m notify.Message) error {
	i.once.Do(func() { close(i.began) })
	if i.delay != nil {
		<-i.delay
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, n := range m.Notifications {
		i.all = append(i.all, fmt.Sprintf("%s %s", n.Kind, n.Title))
	}
	return nil
}

func (i *inbox) got() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.all)
}

func newInbox() *inbox { return &inbox{began: make(chan struct{})} }

func (s *stage) post(t *testing.T, name, severity string) {
	t.Helper()
	code, text := ask(t, s.Alertmanager(), "POST", "/api/v2/alerts",
		fmt.Sprintf(`[{"labels":{"alertname":%q,"severity":%q},"endsAt":%q}]`, name, severity,
			time.Now().Add(time.Hour).Format(time.RFC3339)))
	if code != 200 {
		t.Fatalf("%d %s", code, text)
	}
}

// A place is notified of what is warning or worse, and of its end; upkeep of everything.
func TestPlaces(t *testing.T) {
	s, in := begin(t, t.TempDir(), 0.9), newInbox()
	if err := s.reroute(embedded.Routing{Places: []embedded.Place{{Name: "p", To: in}}}); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the alert comes", func() bool {
		return slices.Contains(in.got(),
			"alert warning Full: Full")
	})
	s.post(t, "Hint", "info")
	s.await(t, `firing Hint`)
	s.post(t, "Mystery", "")
	servertest.Eventually(t, "an alert without a severity comes",
		func() bool { return slices.Contains(in.got(), "alert Mystery: Mystery") })
	s.used.Store(0.1)
	servertest.Eventually(t, "its end comes", func() bool {
		return slices.Contains(in.got(),
			"resolved resolved: Full: Full")
	})
	if all := in.got(); len(all) != 3 {
		t.Errorf("%q", all)
	}
}

// A reload that comes while a notification is under way sends it no second time.
func TestRerouteWaits(t *testing.T) {
	s, in := begin(t, t.TempDir(), 0.9), newInbox()
	in.delay = make(chan struct{})
	route := func(of string) {
		t.Helper()
		if err := s.reroute(embedded.Routing{Places: []embedded.Place{{Name: "p", Of: of, To: in}}}); err != nil {
			t.Error(err)
		}
	}
	route("one")
	<-in.began
	done := make(chan struct{})
	go func() { defer close(done); route("two") }()
	time.Sleep(100 * time.Millisecond) // so that it has begun; it is no matter when not
	close(in.delay)
	<-done
	s.post(t, "Next", "critical")
	servertest.Eventually(t, "the next alert comes", func() bool {
		return slices.Contains(in.got(),
			"alert critical Next: Next")
	})
	if all := in.got(); len(all) != 2 {
		t.Errorf("%q, want each once", all)
	}
}

// What ended while nothing ran is notified after the next start, and what goes on is not
// notified again.
func TestEndsWhileKilled(t *testing.T) {
	s, in := begin(t, t.TempDir(), 0.9), newInbox()
	routing := func(in *inbox) embedded.Routing {
		return embedded.Routing{Places: []embedded.Place{{Name: "p", To: in}}}
	}
	if err := s.reroute(routing(in)); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the alert is in the log", func() bool {
		text, err := os.ReadFile(filepath.Join(s.dir, "nflog"))
		return err == nil && strings.Contains(string(text), "notify/p")
	})
	for _, test := range []struct {
		used float64
		want []string
	}{{0.9, nil}, {0.1, []string{"resolved resolved: Full: Full"}}} {
		left := filepath.Join(t.TempDir(), "left") // what a kill leaves
		if err := os.CopyFS(left, os.DirFS(s.dir)); err != nil {
			t.Fatal(err)
		}
		again, in := begin(t, left, test.used), newInbox()
		if err := again.reroute(routing(in)); err != nil {
			t.Fatal(err)
		}
		again.post(t, "Next", "critical")
		servertest.Eventually(t, "the next alert comes",
			func() bool { return slices.Contains(in.got(), "alert critical Next: Next") })
		if test.want != nil {
			servertest.Eventually(t, "the end comes", func() bool { return len(in.got()) > 1 })
		} else {
			time.Sleep(3 * time.Second) // longer than four deliveries of an alert
		}
		if got := slices.DeleteFunc(in.got(), func(s string) bool {
			return strings.Contains(s,
				"Next")
		}); !slices.Equal(got, test.want) {
			t.Errorf("used %v: %q, want %q", test.used, got, test.want)
		}
		again.end()
	}
}

// Alertmanager's own file routes what upkeep gets too, also where its top route is the
// only one.
func TestFile(t *testing.T) {
	hook := servertest.NewHook(t)
	path := filepath.Join(t.TempDir(), "am.yml")
	load := func(receiver string) *receivers.File {
		t.Helper()
		text := fmt.Sprintf("route: {receiver: %[1]s, group_wait: 10ms, group_interval: 200ms}\nreceivers: [{name: "+
			"%[1]s, webhook_configs: [{url: '%[2]s/%[1]s'}]}]\n", receiver, hook.URL)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := receivers.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	s := begin(t, t.TempDir(), 0.9)
	if err := s.reroute(embedded.Routing{File: load("a")}); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the file's receiver has it",
		func() bool { return slices.Contains(hook.Alerts(t), "firing Full") })
	s.await(t, "firing Full")
	n := len(hook.Bodies())
	if err := s.reroute(embedded.Routing{File: load("a")}); err != nil { // the same again
		t.Fatal(err)
	}
	s.used.Store(0.1)
	servertest.Eventually(t, "the file's receiver has the end",
		func() bool { return slices.Contains(hook.Alerts(t), "resolved Full") })
	if all := hook.Alerts(t); len(all) != n+1 {
		t.Errorf("%q", all)
	}
}

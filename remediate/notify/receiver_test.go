package notify_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/alert"
	am "github.com/prometheus/alertmanager/notify"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/notify"
)

// An incidentKeeper is an integration of Alertmanager's that keeps what it receives.
type incidentKeeper struct {
	resolves bool
	fails    func() (again bool, err error)

	mu  sync.Mutex
	all []string
}

func (k *incidentKeeper) SendResolved() bool { return k.resolves }

func (k *incidentKeeper) Notify(ctx context.Context, alerts ...*alert.Alert) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fails != nil {
		if again, err := k.fails(); err != nil {
			return again, err
		}
	}
	key, err := am.ExtractGroupKey(ctx)
	if err != nil {
		return false, err
	}
	for _, a := range alerts {
		k.all = append(k.all, fmt.Sprintf("%s %s %s", a.Status(), a.Name(), key))
	}
	return false, nil
}

func (k *incidentKeeper) got() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.all)
}

func (k *incidentKeeper) named(wants func(remediate.NotificationKind) bool) notify.Named {
	return notify.Named{Name: "ops/pagerduty[0]", Alone: true, Wants: wants,
		Notifier: notify.Receiver{Name: "ops", To: am.NewIntegration(k, k, "pagerduty", 0, "ops")}}
}

// An incident is opened by what asks or pages, and closed when that is over; where it
// takes no ends, none is sent. Each is sent once, over restarts too.
func TestIncidentsEnd(t *testing.T) {
	for _, resolves := range []bool{true, false} {
		s, k := begin(t), &incidentKeeper{resolves: resolves}
		over := map[string]bool{}
		outbox := func() *notify.Outbox {
			o := s.outbox(k.named(nil))
			return o
		}
		s.over = func(n remediate.Notification) (bool, bool) { return over[n.Key], false }
		s.write(t,
			remediate.Notification{Key: "ask", Kind: remediate.NotificationAsk, Run: 7, At: s.clock()},
			remediate.Notification{Key: "page", Kind: remediate.NotificationPage, Incident: 3, At: s.clock()},
			remediate.Notification{Key: "info", Kind: remediate.NotificationInfo, At: s.clock()},
		)
		deliver := func(o *notify.Outbox) {
			t.Helper()
			if err := o.Deliver(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		deliver(outbox())
		want := []string{"firing UpkeepAwaitingApproval upkeep/run/7", "firing UpkeepNeedsPerson upkeep/incident/3",
			"firing UpkeepNotification upkeep/notification/info"}
		if got := k.got(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		over["ask"] = true
		deliver(outbox())
		deliver(outbox())
		over["page"] = true
		deliver(outbox())
		deliver(outbox())
		if resolves {
			want = append(want, "resolved UpkeepAwaitingApproval upkeep/run/7",
				"resolved UpkeepNeedsPerson upkeep/incident/3")
		}
		if got := k.got(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What helped is the end of the incident itself, for its receivers; what is not sent
// to a notifier has no end either.
func TestHelpedIsTheEnd(t *testing.T) {
	s, k := begin(t), &incidentKeeper{resolves: true}
	s.over = func(remediate.Notification) (bool, bool) { return true, true }
	s.write(t, remediate.Notification{Key: "ask", Kind: remediate.NotificationAsk, Run: 7, At: s.clock()},
		remediate.Notification{Key: "helped", Kind: remediate.NotificationHelped, Run: 7, At: s.clock()})
	for range 3 {
		if err := s.outbox(k.named(nil)).Deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := k.got(), []string{"firing UpkeepAwaitingApproval upkeep/run/7",
		"resolved UpkeepHelped upkeep/run/7"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	other := &incidentKeeper{resolves: true}
	for range 2 {
		named := other.named(func(k remediate.NotificationKind) bool { return k == remediate.NotificationPage })
		named.Name = "other"
		if err := s.outbox(named).Deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := other.got(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// What may be tried again is, and none of those before it comes twice.
func TestReceiverTriesAgain(t *testing.T) {
	s, k := begin(t), &incidentKeeper{}
	tries := 0
	k.fails = func() (bool, error) {
		if tries++; tries == 3 {
			return true, am.NewErrorWithReason(am.RateLimitedReason, errors.New("slow down"))
		}
		return false, nil
	}
	for i := range 5 {
		s.write(t, remediate.Notification{Key: fmt.Sprint("info", i), Kind: remediate.NotificationInfo, At: s.clock()})
	}
	o := s.outbox(k.named(nil))
	for range 3 {
		if err := o.Deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.pass(time.Minute)
	}
	counts := make(map[string]int)
	for _, line := range k.got() {
		counts[line]++
	}
	if len(counts) != 5 || slices.Max(slices.Collect(maps.Values(counts))) != 1 {
		t.Errorf("%v", counts)
	}
	if !strings.Contains(s.logged(), "slow down") {
		t.Error("nothing was logged")
	}
}

package inbox_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

// What a source that cannot be asked no longer repeats is over, and the next incident
// gets an incident of its own; a source that can be asked is left to its listing.
func TestExpire(t *testing.T) {
	d := open(t)
	grafana := func(labels ...string) remediate.Alert {
		a := firing(at(0), labels...)
		a.Source = "grafana"
		return a
	}
	d.accept(t, grafana("n", "repeated"), grafana("n", "lost"), firing(at(0), "n", "listed"))
	d.run(t, 2, remediate.Waiting, 0)
	expire := func(after, limit time.Duration) (names []string) {
		t.Helper()
		d.now = d.now.Add(after)
		if err := inbox.ExpireOnce(d.Inbox, inbox.Unlisted{Sources: []string{"grafana"}, After: limit}); err != nil {
			t.Fatal(err)
		}
		for _, e := range d.open(t) {
			names = append(names, e.Alert.Labels["n"])
		}
		return names
	}
	if got := expire(11*time.Hour, 12*time.Hour); len(got) != 3 {
		t.Errorf("after 11 hours: %q", got)
	}
	d.accept(t, grafana("n", "repeated"))
	if diff := cmp.Diff([]string{"repeated", "listed"}, expire(61*time.Minute, 12*time.Hour)); diff != "" {
		t.Error(diff)
	}
	if e, err := d.Incident(t.Context(), 2); err != nil || !strings.Contains(e.Why, "not repeated") {
		t.Errorf("%+v, %v", e, err)
	}
	if n := d.number(t, "select due from runs where incident = 2"); n == 0 {
		t.Error("the run that waits does not hear of it")
	}
	d.accept(t, grafana("n", "lost"))
	d.has(t, 4, 3)
	// 0 is never: it returns at once.
	if err := d.Expire(t.Context(), inbox.Unlisted{Sources: []string{"grafana"}, Every: time.Hour,
		Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Error(err)
	}
}

// The time without a repetition goes on over restarts, and stops while no upkeep
// ran: nothing could be taken then.
func TestExpireOverRestarts(t *testing.T) {
	d := open(t)
	u := inbox.Unlisted{Sources: []string{"grafana"}, After: 12 * time.Hour, Every: 10 * time.Minute}
	restart := func() { d.Inbox = inbox.New(inbox.Config{Store: d.store, Now: func() time.Time { return d.now }}) }
	lost := firing(at(0), "n", "lost")
	lost.Source = "grafana"
	listens := func(hours float64) {
		t.Helper()
		for end := d.now.Add(time.Duration(hours * float64(time.Hour))); ; d.now = d.now.Add(u.Every) {
			if err := inbox.Listen(d.Inbox, u); err != nil {
				t.Fatal(err)
			}
			if !d.now.Before(end) {
				return
			}
		}
	}
	listens(0)
	d.accept(t, lost)
	for range 3 {
		listens(3)
		d.now = d.now.Add(5 * time.Minute) // for which Grafana tries again
		restart()
	}
	d.now = d.now.Add(20 * time.Hour)
	restart()
	listens(2.5)
	if n := len(d.open(t)); n != 1 {
		t.Fatalf("after 11 hours 45 minutes of listening %d are open", n)
	}
	listens(0.5)
	if n := len(d.open(t)); n != 0 {
		t.Errorf("after 12 hours 15 minutes of listening %d are open", n)
	}
	// A machine that does not run for long at a time, again and again.
	d.accept(t, lost)
	for range 300 {
		d.now = d.now.Add(time.Hour)
		listens(0)
	}
	if n := len(d.open(t)); n != 1 {
		t.Errorf("what could never be repeated: %d are open", n)
	}
	if n := d.number(t, "select length(value) from notes where name = 'hearing of the inbox'"); n > 10000 {
		t.Errorf("%d bytes are kept", n)
	}
}

// number reads one number.
func (d *fixture) number(t *testing.T, query string) (n int64) {
	t.Helper()
	rows, err := d.store.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// A source whose clock is ahead reports one incident that "began" after its resolution:
// that is not another incident. One that began anew by the same clock is.
func TestClockAhead(t *testing.T) {
	for _, lead := range []time.Duration{0, time.Second, 10 * time.Minute, 24 * time.Hour} {
		d := open(t)
		began := d.now.Add(time.Second)
		reported := func(start time.Time) remediate.Alert { return firing(start.Add(lead)) }
		d.accept(t, reported(began))
		d.now = d.now.Add(10 * time.Second)
		resolved := d.now
		d.run(t, 1, remediate.Resolved, int(resolved.UnixMilli()))
		for range 4 {
			d.now = d.now.Add(12 * time.Second)
			d.accept(t, reported(began))
		}
		d.has(t, 1, 1)
		// Prometheus was restarted, and its alert begins a little later, before the clearing.
		d.accept(t, reported(began.Add(5*time.Second)))
		d.has(t, 1, 1)
		d.now = d.now.Add(time.Minute)
		d.accept(t, reported(d.now.Add(-10*time.Second)))
		d.has(t, 2, 1)
		if t.Failed() {
			t.Fatalf("with a clock that is %s ahead", lead)
		}
	}
}

// flap: 0s holds nothing down.
func TestFlapNever(t *testing.T) {
	d := open(t)
	d.Inbox = inbox.New(inbox.Config{Store: d.store, Now: func() time.Time { return d.now }})
	for minute := range 5 {
		d.accept(t, firing(at(minute)))
		if e := d.open(t)[0]; e.Flaps != 0 || !e.Ripe.IsZero() {
			t.Errorf("%d flaps, ripe at %s", e.Flaps, e.Ripe)
		}
		d.accept(t, resolved(at(minute)))
	}
	d.now = d.now.Add(time.Hour)
	if all := d.undecided(t, "e"); len(all) != 0 {
		t.Errorf("undecided: %+v", all)
	}
}

// An alert that is flapping so that it never outlasts its hold-down is reported after ten
// minutes; one whose policy had its turn meanwhile, or that has stopped, is not.
func TestFlappingWithoutADecision(t *testing.T) {
	const second, minute = time.Second, time.Minute
	for _, c := range []struct {
		name    string
		on, off time.Duration
		lasts   time.Duration
		from    int64 // the first incident without a decision; 0: none is reported
	}{
		{"fast", second, second, 11 * minute, 2},
		{"fast, for nine minutes", second, second, 9 * minute, 0},
		{"slow, decided for the first minutes", 230 * second, minute, 30 * minute, 4},
		{"slow, decided each time", 31 * minute, minute, 3 * 60 * minute, 0},
		{"once", minute, 20 * minute, 20 * minute, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := open(t)
			begun := d.now
			var reported []remediate.Incident
			look := func() {
				for _, e := range d.undecided(t, "e") {
					if !e.FlappingSince.IsZero() {
						reported = append(reported, e)
					}
				}
			}
			for n := 0; d.now.Sub(begun) < c.lasts; n++ {
				if n == 5 { // upkeep is restarted
					d.Inbox = inbox.New(inbox.Config{Store: d.store, Now: func() time.Time { return d.now },
						FlapWindow: 10 * minute})
				}
				d.accept(t, firing(at(n)))
				look()
				d.now = d.now.Add(c.on)
				look()
				d.accept(t, over(at(n), at(n).Add(second)))
				look()
				d.now = d.now.Add(c.off)
			}
			d.now = d.now.Add(30 * minute)
			look()
			if c.from == 0 {
				if len(reported) != 0 {
					t.Errorf("reported %+v", reported)
				}
				return
			}
			if len(reported) == 0 || reported[0].FlappingFrom != c.from || reported[0].Flaps == 0 {
				t.Fatalf("reported %+v, want it from incident %d on", reported, c.from)
			}
			for _, e := range reported {
				if e.FlappingFrom != c.from {
					t.Errorf("a second time, from incident %d on", e.FlappingFrom)
				}
			}
		})
	}
}

// What Alertmanager sends again every few minutes is one dead letter.
func TestLetterSentAgain(t *testing.T) {
	d := open(t)
	keep := func(text, body string) {
		t.Helper()
		if err := d.Keep(t.Context(), remediate.DeadLetter{Source: "alertmanager", Status: 400, Error: text,
			Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	keep("no alertname", "a")
	keep("no alertname", "b")
	d.now = d.now.Add(time.Minute)
	keep("no alertname", "a")
	keep("no alertname", "a")
	keep("no status", "a")
	all, err := d.DeadLetters(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range all {
		l, err := d.DeadLetter(t.Context(), l.ID)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l.Error+" "+string(l.Body))
	}
	if diff := cmp.Diff([]string{"no status a", "no alertname a", "no alertname b"}, got); diff != "" {
		t.Error(diff)
	}
	if !all[1].Received.Equal(d.now) {
		t.Errorf("received at %s, want the last time", all[1].Received)
	}
}

package retention_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/notify"
	"github.com/ai-micro-service/upkeep/remediate/retention"
)

const (
	keep = 30 * 24 * time.Hour
	day  = 24 * time.Hour
)

var errKilled = errors.New("killed")

// An archive is a store with everything that writes to it, and a clock.
type archive struct {
	*rand.Rand
	store   *store.Store
	journal *journal.Journal
	inbox   *inbox.Inbox
	sweeper *retention.Sweeper
	now     time.Time
	key     int
}

func newArchive(t *testing.T, seed uint64, o store.Options) *archive {
	t.Helper()
	a := &archive{Rand: rand.New(rand.NewPCG(seed, 7)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return a.now }
	o.Now = clock
	var err error
	if a.store, err = store.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.store.Intercept(nil)
		if err := a.store.Close(); err != nil {
			t.Error(err)
		}
	})
	a.journal = journal.New(journal.Config{Store: a.store, Now: clock, Lease: time.Hour})
	if err := a.journal.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.inbox = inbox.New(inbox.Config{Store: a.store, Now: clock})
	log := slog.New(slog.DiscardHandler)
	outbox := notify.New(notify.Config{Store: a.store, Now: clock, Logger: log, Registerer: prometheus.NewRegistry()})
	a.sweeper = retention.New(retention.Config{Store: a.store, Journal: a.journal, Inbox: a.inbox, Outbox: outbox,
		Keep: keep, Pause: time.Nanosecond, Now: clock, Logger: log})
	return a
}

// do writes a bit of history.
func (a *archive) do(t *testing.T) {
	t.Helper()
	var err error
	switch a.IntN(10) {
	case 0, 1, 2:
		err = a.deliver(t, a.IntN(3) > 0)
	case 3:
		err = a.decide(t)
	case 4:
		err = a.journal.SetPause(t.Context(), remediate.Pause{Scope: "all", Reason: "x", By: "ann"})
		if err == nil {
			_, err = a.journal.EndPause(t.Context(), "all", "ann", "")
		}
	case 5:
		a.now = a.now.Add(time.Duration(a.Int64N(int64(4 * day))))
	default:
		err = a.move(t)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// deliver lets an alert of a few fire or end.
func (a *archive) deliver(t *testing.T, firing bool) error {
	t.Helper()
	one := remediate.Alert{Source: "alertmanager", Firing: firing, StartsAt: a.now,
		Labels: map[string]string{"alertname": fmt.Sprint("A", a.IntN(3)), "n": fmt.Sprint(a.IntN(4))}}
	if !firing {
		one.EndsAt = a.now
	}
	return a.inbox.Accept(t.Context(), []remediate.Alert{one})
}

// decide makes a run for an incident, or leaves it alone.
func (a *archive) decide(t *testing.T) error {
	t.Helper()
	open, err := a.inbox.Undecided(t.Context(), "e", 100)
	if err != nil || len(open) == 0 {
		return err
	}
	e := open[a.IntN(len(open))]
	d := journal.Decided{Incident: e.ID, Why: "left alone", Case: json.RawMessage(`{"kind":"none"}`)}
	switch a.IntN(3) {
	case 0:
		d.Notification = &remediate.Notification{Key: fmt.Sprintf("page/%d", e.ID), Kind: remediate.NotificationPage,
			Incident: e.ID, At: a.now}
	case 1, 2:
		a.key++
		d.Request = &remediate.Request{Key: fmt.Sprint(a.key), Action: "x", Policy: "p", Incident: e.ID,
			Subject: map[string]string{"server": fmt.Sprint(a.IntN(2))}}
	}
	_, err = a.journal.Decide(t.Context(), "e", json.RawMessage(`{}`), []journal.Decided{d})
	return err
}

// move takes one of the runs that are due to another state.
func (a *archive) move(t *testing.T) error {
	t.Helper()
	due, err := a.journal.Due(t.Context(), 100)
	if err != nil || len(due) == 0 {
		return err
	}
	run, f, ok, err := a.journal.Claim(t.Context(), due[a.IntN(len(due))].ID)
	if err != nil || !ok {
		return err
	}
	next := remediate.Transitions()[run.State]
	from, to := run.State, next[a.IntN(len(next))]
	run.State, run.Due = to, a.now
	if to == remediate.Allowed && a.IntN(2) == 0 {
		run.Begun = 1
	}
	return a.journal.Append(t.Context(), journal.Change{Run: run, Fence: f.Token, Leave: true, Entry: remediate.Entry{
		Run: run.ID, Incident: run.Request.Incident, At: a.now, From: from, To: to, Why: "because"}})
}

// A state is what is in a store.
type state struct {
	entries   map[int64]remediate.Entry
	runs      map[int64]remediate.Run
	incidents map[int64]remediate.Incident // with their opening and end only
}

func (a *archive) state(t *testing.T) (s state) {
	t.Helper()
	s = state{make(map[int64]remediate.Entry), make(map[int64]remediate.Run), make(map[int64]remediate.Incident)}
	part, err := a.journal.Find(t.Context(), journal.EntryFilter{}, 1<<20)
	entries := part.Entries
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		s.entries[e.Seq] = e
	}
	runs, err := a.journal.Recent(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		s.runs[r.ID] = r
	}
	rows, err := a.store.Query(t.Context(), "select id, closed from incidents")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }() // read only
	for rows.Next() {
		var e remediate.Incident
		var closed int64
		if err := rows.Scan(&e.ID, &closed); err != nil {
			t.Fatal(err)
		}
		e.Closed = store.Time(closed)
		s.incidents[e.ID] = e
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return s
}

// lasts reports whether an incident is open, or was closed a short while ago.
func (s state) lasts(incident int64, before time.Time) bool {
	e, ok := s.incidents[incident]
	return ok && (e.Closed.IsZero() || !e.Closed.Before(before))
}

// lives reports whether a run must stay.
func (s state) lives(r remediate.Run, before time.Time) bool {
	return r.State.Unfinished() || !r.Changed.Before(before) || s.lasts(r.Request.Incident, before)
}

func (s state) stays(e remediate.Entry, before time.Time) bool {
	if !e.At.Before(before) {
		return true
	}
	if r, ok := s.runs[e.Run]; ok {
		return s.lives(r, before)
	}
	return s.lasts(e.Incident, before)
}

// compare finds what is gone that must stay, and, after a whole sweep, what is there that must not be.
func (s state) compare(t *testing.T, now state, before time.Time, whole bool) {
	t.Helper()
	newest, newestRun := slices.Max(slices.Collect(maps.Keys(s.entries))), int64(0)
	for id := range s.runs {
		newestRun = max(newestRun, id)
	}
	for seq, e := range s.entries {
		_, there := now.entries[seq]
		if stays := s.stays(e, before); stays && !there {
			t.Fatalf("entry %d of run %d, incident %d is gone, and is young or open: %+v", seq, e.Run, e.Incident, e)
		} else if whole && !stays && there && seq != newest && e.Run != newestRun {
			t.Fatalf("entry %d is still there after a whole sweep: %+v", seq, e)
		}
	}
	for id, r := range s.runs {
		_, there := now.runs[id]
		if lives := s.lives(r, before); lives && !there {
			t.Fatalf("run %d is gone, and is young or open: %+v", id, r)
		} else if whole && !lives && there && id != newestRun {
			t.Fatalf("run %d is still there after a whole sweep: %+v", id, r)
		}
	}
	for id := range s.incidents {
		if _, there := now.incidents[id]; s.lasts(id, before) && !there {
			t.Fatalf("incident %d is gone, and is young or open", id)
		}
	}
}

// verify reads the chain, and compares the counts with what they count.
func (a *archive) verify(t *testing.T) {
	t.Helper()
	v, err := a.journal.Verify(t.Context())
	if err != nil {
		t.Fatalf("the journal does not verify: %v", err)
	}
	s := a.state(t)
	newest := int64(0)
	for seq := range s.entries {
		newest = max(newest, seq)
	}
	if v.Entries != int64(len(s.entries)) || v.Entries+v.Deleted != newest || (v.Checkpoint != nil) != (v.Deleted > 0) {
		t.Fatalf("Verify: %+v; there are %d entries up to %d", v, len(s.entries), newest)
	}
	if n, err := a.inbox.Open(t.Context()); err != nil || n != a.number(t, "select count(*) from incidents where closed = 0") {
		t.Fatalf("%d incidents are counted (%v), that is wrong", n, err)
	}
	if n := a.number(t, "select count(*) from (select name, count(*) as n from incidents where closed = 0 group by name) "+
		"as really left join incident_counts c on c.scope = 'alert' and c.name = really.name where c.opened is null or "+
		"c.opened <> n"); n != 0 {
		t.Fatalf("the incidents of %d alerts are counted wrongly", n)
	}
}

func (a *archive) number(t *testing.T, query string) (n int64) {
	t.Helper()
	rows, err := a.store.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }() // read only
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// sweep deletes what is old; kill it in the middle now and then.
func (a *archive) sweep(t *testing.T) {
	t.Helper()
	was, before, left := a.state(t), a.now.Add(-keep), a.IntN(6)
	if len(was.entries) == 0 {
		return
	}
	kill := a.IntN(2) == 0
	a.store.Intercept(func(before bool) error {
		if left--; kill && left < 0 && before == (left%2 == 0) {
			return errKilled
		}
		return nil
	})
	_, err := a.sweeper.Sweep(t.Context())
	a.store.Intercept(nil)
	if err != nil && !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	was.compare(t, a.state(t), before, err == nil)
}

// Whatever has happened, and wherever the process is killed: the chain verifies, nothing that is
// young or open is deleted, everything else is, and no number is given twice.
func TestRetentionOfAnyHistory(t *testing.T) {
	var deleted int64
	run := func(t *testing.T, seed uint64, steps int, o store.Options) {
		t.Helper()
		a := newArchive(t, seed, o)
		for range steps {
			a.do(t)
			if a.IntN(25) == 0 {
				a.sweep(t)
				a.verify(t)
			}
		}
		a.now = a.now.Add(2 * keep)
		a.sweep(t)
		a.verify(t)
		deleted += a.number(t, "select sum(last - first + 1) from checkpoints")
	}
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { run(t, seed, 400, store.Options{Memory: true}) })
	}
	t.Run("PostgreSQL", func(t *testing.T) {
		address, _ := servertest.Database(t)
		run(t, 1, 150, store.Options{Postgres: address})
	})
	if deleted < 1000 {
		t.Errorf("only %d entries were deleted: these histories show little", deleted)
	}
}

// grow writes some history, the first part of which is deleted.
func grow(t *testing.T, o store.Options) *archive {
	t.Helper()
	a := newArchive(t, 3, o)
	for range 150 {
		a.do(t)
	}
	a.now = a.now.Add(keep + day)
	for range 150 {
		a.do(t)
	}
	if _, err := a.sweeper.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := a.journal.Verify(t.Context())
	if err != nil || v.Deleted < 30 || v.Entries < 50 || v.Checkpoint == nil {
		t.Fatalf("Verify: %+v, %v", v, err)
	}
	return a
}

// A checkpoint that was changed, forged, removed or put back is found; so are entries that are
// missing or changed beside it.
func TestCheckpointsProve(t *testing.T) {
	for name, sabotage := range map[string]string{
		"hash":      "update checkpoints set hash = 'x'",
		"longer":    "update checkpoints set last = last + 1 where last = (select max(last) from checkpoints)",
		"time":      "update checkpoints set written = written + 1",
		"signature": "update checkpoints set signature = ''",
		"removed":   "delete from checkpoints",
		"key":       "update secrets set value = '00' where name = 'journal checkpoints'",
		"no key":    "delete from secrets where name = 'journal checkpoints'",
		"cut": "delete from entries where seq = (select max(last) + 1 from checkpoints) or seq = " +
			"(select max(last) + 2 from checkpoints)",
		"covered": "insert into checkpoints (last, first, hash, written, signature) select last + 2, last + 1, hash, " +
			"written, signature from checkpoints order by last desc limit 1",
		"forged": "insert into checkpoints (last, first, hash, written, signature) select (select max(seq) from entries) + 5, " +
			"(select max(seq) from entries) + 1, hash, written, signature from checkpoints limit 1",
		"entry": "update entries set entry = replace(entry, 'because', 'for fun') where seq > (select max(last) from " +
			"checkpoints)",
	} {
		t.Run(name, func(t *testing.T) {
			a := grow(t, store.Options{Memory: true})
			a.exec(t, sabotage)
			if v, err := a.journal.Verify(t.Context()); !journal.Broken(err) {
				t.Errorf("Verify: %+v, %v", v, err)
			}
		})
	}
}

// Retention removes no trace of a change: from an entry on that was changed, nothing is deleted.
func TestChangedEntriesStay(t *testing.T) {
	a := grow(t, store.Options{Memory: true})
	a.exec(t, "update entries set entry = replace(entry, 'x', 'y') where seq = (select max(seq) - 20 from entries)")
	a.now = a.now.Add(2 * keep)
	if _, err := a.sweeper.Sweep(t.Context()); !journal.Broken(err) {
		t.Errorf("Sweep: %v", err)
	}
	if v, err := a.journal.Verify(t.Context()); !journal.Broken(err) || v.Entries < 20 {
		t.Errorf("Verify: %+v, %v", v, err)
	}
}

func (a *archive) exec(t *testing.T, query string) {
	t.Helper()
	err := a.store.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(query)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Room is given back to the file system, and notifications go with what they are about.
func TestRoomIsGivenBack(t *testing.T) {
	dir := t.TempDir()
	a := newArchive(t, 5, store.Options{Dir: dir})
	size := func() int64 {
		t.Helper()
		for { // writes its log into the file
			if more, err := a.store.GiveBack(t.Context()); err != nil {
				t.Fatal(err)
			} else if !more {
				break
			}
		}
		bytes, err := a.store.Size(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	was := size()
	var alerts []remediate.Alert
	var decided []journal.Decided
	for n := range 2000 {
		id := int64(n + 1)
		alerts = append(alerts, remediate.Alert{Source: "alertmanager", Firing: true, StartsAt: a.now, Labels: map[string]string{
			"alertname": fmt.Sprint("A", n/500), "n": fmt.Sprint(n)}, Annotations: map[string]string{
			"summary": string(make([]byte, 500))}})
		decided = append(decided, journal.Decided{Incident: id, Why: "paged", Case: json.RawMessage(`{"kind":"none"}`),
			Notification: &remediate.Notification{Key: fmt.Sprint("page/", id), Kind: remediate.NotificationPage,
				Incident: id, At: a.now}})
	}
	if err := a.inbox.Accept(t.Context(), alerts); err != nil {
		t.Fatal(err)
	}
	if _, err := a.journal.Decide(t.Context(), "e", json.RawMessage(`{}`), decided); err != nil {
		t.Fatal(err)
	}
	for n := range alerts {
		alerts[n].Firing, alerts[n].EndsAt = false, a.now.Add(time.Second)
	}
	if err := a.inbox.Accept(t.Context(), alerts); err != nil {
		t.Fatal(err)
	}
	full := size()
	a.now = a.now.Add(2 * keep)
	if _, err := a.sweeper.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if is := size(); is > was+was/2 || full < 4*was {
		t.Errorf("the store had %d bytes, grew to %d, and has %d after the retention", was, full, is)
	}
	if n := a.number(t, "select count(*) from notifications"); n != 1 {
		t.Errorf("%d notifications are left, want the newest", n)
	}
	a.verify(t)
}

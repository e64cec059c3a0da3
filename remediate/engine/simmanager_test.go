package engine_test

import (
	"context"
	"errors"
	"time"
)

// A simManager is the Alertmanager of a simulated world: it mutes alerts for a time,
// which are then listed as before and not delivered.
type simManager struct {
	w         *sim
	muted     map[string]time.Time              // subjects, and until when
	delivered map[string]bool                   // subjects whose alert was delivered as firing
	answers   map[*replica]map[string]simAnswer // the last answer to each replica about a subject
	heldBack  int                               // answers that held a run back
}

// simAnswer is one answer.
type simAnswer struct {
	why string
	err error
}

func newSimManager(w *sim) *simManager {
	return &simManager{w: w, muted: make(map[string]time.Time), delivered: make(map[string]bool),
		answers: make(map[*replica]map[string]simAnswer)}
}

// mute mutes the alerts of a subject, or of all, for a while.
func (m *simManager) mute() {
	d := []time.Duration{10 * time.Second, 2 * time.Minute, time.Hour}[m.w.rng.IntN(3)]
	if m.w.rng.IntN(6) != 0 {
		m.muteFor(m.w.machine.pick(), d)
		return
	}
	for _, p := range m.w.machine.subjects {
		m.muteFor(p, d)
	}
}

func (m *simManager) muteFor(p *simSubject, d time.Duration) {
	m.muted[p.key()] = m.w.now.Add(d)
	m.w.say("%s is muted for %s", p.key(), d)
}

func (m *simManager) unmute() { clear(m.muted) }

func (m *simManager) mutes(p *simSubject) bool { return m.w.now.Before(m.muted[p.key()]) }

// acted checks an effect against the last answer to the replica: nothing is done for an
// alert of which it knows that it is muted, or does not know that it is not.
func (m *simManager) acted(p *simSubject) {
	if m.w.quiet { // nothing is muted any more
		return
	}
	switch last, asked := m.answers[m.w.current][p.key()]; {
	case !asked:
		m.w.broken("%s was acted on before the engine had asked whether its alert is muted", p.key())
	case last.err != nil || last.why != "":
		m.w.broken("%s was acted on though its alert is held back: %s %v", p.key(), last.why, last.err)
	}
}

// A simDelivery is how one replica asks the manager.
type simDelivery struct {
	m *simManager
	r *replica
}

// Held implements guard.Deliveries.
func (d simDelivery) Held(ctx context.Context, id int64) (string, error) {
	incident, err := d.r.inbox.Incident(ctx, id)
	if err != nil {
		return "", err
	}
	w, p := d.m.w, d.m.w.machine.find(incident.Alert.Labels)
	var a simAnswer
	switch {
	case !w.quiet && w.rng.IntN(25) == 0:
		a.err = errors.New("no alertmanager answers")
	case d.m.mutes(p):
		a.why = "muted by nights"
	}
	if a.why != "" || a.err != nil {
		d.m.heldBack++
	}
	if d.m.answers[d.r] == nil {
		d.m.answers[d.r] = make(map[string]simAnswer)
	}
	d.m.answers[d.r][p.key()] = a
	return a.why, a.err
}

package engine

import (
	"errors"

	"github.com/ai-micro-service/upkeep/remediate"
)

// carries reports whether the run is being carried here, or is about to be.
func (e *Engine) carries(id int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.expected[id]
}

// claiming counts the runs that are carried here, or are about to be: those that
// are not claimed yet are still due.
func (e *Engine) claiming() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.expected) - len(e.carried)
}

func (e *Engine) expect(id int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expected[id] = true
	e.stirs++
	select {
	case e.stirred <- struct{}{}:
	default: // it beats, or is about to
	}
}

func (e *Engine) unexpect(id int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.expected, id)
}

// letGo ends everything that is carried.
func (e *Engine) letGo(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.carried {
		c.cancel(cause)
	}
	clear(e.silent) // the process that takes over the runs renews their silences
}

// stop ends the step of a run that a person wants to stop.
func (e *Engine) stop(id int64, who string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.carried[id]; c != nil {
		c.cancel(&cancelError{who})
	}
}

func (e *Engine) note(c *carried) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.carried[c.run.ID] = c
}

func (e *Engine) forget(c *carried) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.carried, c.run.ID)
}

// report logs and counts what was journalled.
func (e *Engine) report(run remediate.Run, entry remediate.Entry) {
	log := e.log.With("run", run.ID, "action", run.Request.Action, "state", entry.To)
	switch {
	case entry.Step != 0 && entry.Done:
		log.Info("step done", "step", entry.Step, "why", entry.Why)
	case entry.Step != 0:
		log.Info("step begun", "step", entry.Step, "do", entry.Why)
	case entry.Note == remediate.NoteHeld || entry.From == entry.To && entry.Reason != "":
		log.Info("run held", "why", entry.Why)
	case entry.From == entry.To:
		log.Warn("run tried again", "why", entry.Why)
	case entry.To == remediate.Failed:
		log.Error("run failed", "err", errors.New(entry.Why))
	default:
		log.Info("run moved", "from", entry.From, "why", entry.Why)
	}
	e.metrics.count(run, entry)
}

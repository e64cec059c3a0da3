package store

import (
	"fmt"
	"time"
)

const (
	// fresh is for how long a write that was kept proves that the next one would be.
	fresh = 2 * time.Second

	// answerIn is how long a write may go without an answer before the store counts as
	// one that takes none.
	answerIn = 3 * time.Second
)

// begin notes that a commit has begun.
func (p *proof) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = time.Now()
}

// end notes why a commit was not kept: nil where it was, or where nothing was to be kept.
func (p *proof) end(away error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun, p.failed = time.Time{}, away
}

// keep notes that a write was kept.
func (p *proof) keep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = time.Now()
}

// says returns what is known without a further write, and whether that is enough.
func (p *proof) says() (enough bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waits := time.Since(p.begun)
	switch {
	case !p.begun.IsZero() && waits > answerIn:
		return true, &AwayError{fmt.Errorf("store: no answer to a write for %s", waits.Round(time.Second))}
	case p.failed == nil && !p.kept.IsZero() && time.Since(p.kept) < fresh:
		return true, nil
	}
	return false, nil
}

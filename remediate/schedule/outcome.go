package schedule

import (
	"time"
)

// An Outcome is what became of an occurrence.
type Outcome string

// The outcomes.
const (
	Punctual Outcome = "run"     // its runs were made at its time
	MadeLate Outcome = "late"    // they were made after it had been missed
	Skipped  Outcome = "skipped" // it was missed, and left at that
)

// An Occurrence is one that has come, and what became of it.
type Occurrence struct {
	Schedule string    `json:"schedule"`
	At       time.Time `json:"at"` // in the schedule's zone, in UTC where the schedule is no more
	Zone     string    `json:"zone"`
	Outcome  Outcome   `json:"outcome"`
	Why      string    `json:"why,omitempty"`
	Runs     []int64   `json:"runs"` // their numbers
}

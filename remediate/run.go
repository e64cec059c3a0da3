package remediate

import (
	"encoding/json"
	"time"
)

// An Entry is one line of the journal: a transition of a run, or (From and To
// being the same) a step that begins or is done, or (To being empty) something
// that a person or the engine did that is no transition. Entries are appended and
// never changed.
type Entry struct {
	Seq      int64     `json:"seq"`
	Run      int64     `json:"run,omitempty"` // 0: it concerns no single run
	Incident int64     `json:"incident,omitempty"`
	At       time.Time `json:"at"`
	From     State     `json:"from,omitempty"` // empty for the first entry of a run
	To       State     `json:"to,omitempty"`   // empty where Note says what it is
	Step     int       `json:"step,omitempty"` // counted from 1; 0 for a transition
	Done     bool      `json:"done,omitempty"` // of a step: it is done, not begun
	Note     Note      `json:"note,omitempty"`
	By       string    `json:"by,omitempty"` // the person, where one did it
	Why      string    `json:"why"`          // for people

	// About is the scope of a pause, which its text has beside the reason.
	About string `json:"about,omitempty"`

	// Reason is small and enumerated where the entry is a refusal, else empty.
	Reason string `json:"reason,omitempty"`

	// Digest shows what was written with the entry into the row of the run, or of an approval; the
	// entries of an earlier upkeep have none.
	Digest string `json:"digest,omitempty"`

	// Case is what a decision was made of and what it was, so that it can be made
	// again: policy.Replay reads it.
	Case json.RawMessage `json:"case,omitempty"`
}

// A Note says what an entry is that is no transition.
type Note string

// The notes.
const (
	NotePaused   Note = "paused"
	NoteResumed  Note = "resumed"
	NoteApproved Note = "approved"
	NoteRejected Note = "rejected" // a person rejected the plan
	NoteCancel   Note = "cancel"   // a person stops the run
	NoteDecided  Note = "decided"  // an incident or an occurrence gets no run, and why
	NotePaged    Note = "paged"    // people were paged
	NoteDemoted  Note = "demoted"  // the runs of a policy need approval
	NotePromoted Note = "promoted"
	NoteClosed   Note = "closed" // a person closed the breaker of a policy
	NoteLeft     Note = "left"   // a replica was found dead and its runs are taken over
	NoteHeld     Note = "held"   // the run stops as soon as the statement under way has ended
)

// Notes lists the notes.
func Notes() []Note {
	return []Note{NotePaused, NoteResumed, NoteApproved, NoteRejected, NoteCancel, NoteDecided, NotePaged, NoteDemoted,
		NotePromoted, NoteClosed, NoteLeft, NoteHeld}
}

// A Run is one request on its way.
type Run struct {
	ID      int64    `json:"id"`
	Request Request  `json:"request"`
	State   State    `json:"state"`
	Why     string   `json:"why"`              // of the last entry
	Reason  string   `json:"reason,omitempty"` // of the last entry
	Plan    Plan     `json:"plan"`
	Before  *float64 `json:"before,omitempty"` // the metric when the plan was made
	After   *float64 `json:"after,omitempty"`  // the metric when the last step was done
	Begun   int      `json:"begun"`            // steps that were begun
	Done    int      `json:"done"`             // steps that were done
	Tries   int      `json:"tries,omitempty"`  // looks at the target that failed in a row
	// how often in a row upkeep ended without a word in the step that is begun, and the step had
	// made no progress
	Lost    int       `json:"lost,omitempty"`
	Due     time.Time `json:"due,omitzero"`     // not looked at before
	Applied time.Time `json:"applied,omitzero"` // when the last step was done
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`          // when the last entry was written
	Cancel  string    `json:"cancel,omitempty"` // who cancelled it, and why; or ""
}

// Acted reports whether the run has begun to change anything.
func (r Run) Acted() bool { return r.Begun > 0 }

// UnmarshalJSON reads an entry of this version or of one before.
func (e *Entry) UnmarshalJSON(text []byte) error {
	type plain Entry
	var read struct {
		plain
		former
	}
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*e = Entry(read.plain)
	e.Incident += read.Episode
	e.From, e.To = FormerState(e.From, ""), FormerState(e.To, e.Reason)
	if e.Note == "refused" {
		e.Note = NoteRejected
	}
	return nil
}

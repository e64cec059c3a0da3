package remediate

import (
	"encoding/json"
	"strings"
	"time"
)

// A State is the state of a run.
type State string

// The states of a run. The last five are final.
const (
	Received     State = "received"     // on disk, not yet looked at
	Planned      State = "planned"      // it is known what would be done
	Asked        State = "asked"        // a person is to approve of the plan
	Waiting      State = "waiting"      // blocked by a guard; evaluated again later
	Allowed      State = "allowed"      // all guards passed; steps are being carried out
	Applied      State = "applied"      // every step was done; it is not known yet whether it helped
	Cleared      State = "cleared"      // the measure is back within its limit, and the alert's expression agrees
	Uncleared    State = "uncleared"    // done as planned, and the measure is not
	Inconclusive State = "inconclusive" // done as planned, and what was seen afterwards contradicts itself or is not known
	Declined     State = "declined"     // on purpose: a guard, the action, the policy or a person said no
	Failed       State = "failed"       // something broke; the last entry says what
)

// States lists all states in the order in which a run meets them.
func States() StateList {
	return StateList{
		Received, Planned, Asked, Waiting, Allowed, Applied, Cleared, Uncleared, Inconclusive, Declined, Failed,
	}
}

// A StateList is some of the states, in the order of States.
type StateList []State

// SQL writes the list for a condition "state in (…)". The text is always the same: SQLite uses
// a partial index only for a condition that is written as the index is.
func (all StateList) SQL() string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = "'" + string(s) + "'"
	}
	return "(" + strings.Join(quoted, ", ") + ")"
}

// Where returns the states of the list that a condition holds for.
func (all StateList) Where(holds func(State) bool) (some StateList) {
	for _, s := range all {
		if holds(s) {
			some = append(some, s)
		}
	}
	return some
}

// Transitions is the whole life of a run. docs/states.md is drawn from it.
func Transitions() map[State][]State {
	return map[State][]State{
		Received: {Planned, Waiting, Declined, Failed},
		Planned:  {Asked, Allowed, Waiting, Declined, Failed},
		Asked:    {Received, Waiting, Declined},
		Waiting:  {Received, Asked, Allowed, Declined, Failed},
		Allowed:  {Applied, Received, Waiting, Asked, Declined, Failed},
		Applied:  {Cleared, Uncleared, Inconclusive}, // what was done is done, whatever becomes of the measure
	}
}

// Final reports whether a run in state s has ended.
func (s State) Final() bool { return len(Transitions()[s]) == 0 }

// Unfinished reports whether it has not.
func (s State) Unfinished() bool { return !s.Final() }

// Acting reports whether a run in state s holds its subject: it acts, or is not verified yet.
func (s State) Acting() bool { return s == Allowed || s == Applied }

// Idle reports whether nothing is done in state s until its time comes, a person answers or
// another run ends.
func (s State) Idle() bool { return s == Asked || s == Waiting }

// An Entry is one line of the journal: a transition of a run, or (From and To
// being the same) a step that begins or is done, or (To being empty) something
// that a person or the engine did that is no transition. Entries are appended and
// never changed.
type Entry struct {
	Seq      int64     `json:"seq"`
	Run      int64     `json:"run,omitempty"` // 0: it concerns no single run
	Incident int64     `json:"episode,omitempty"`
	At       time.Time `json:"at"`
	From     State     `json:"from,omitempty"` // empty for the first entry of a run
	To       State     `json:"to,omitempty"`   // empty where Note says what it is
	Step     int       `json:"step,omitempty"` // counted from 1; 0 for a transition
	Done     bool      `json:"done,omitempty"` // of a step: it is done, not begun
	Note     Note      `json:"note,omitempty"`
	By       string    `json:"by,omitempty"` // the person, where one did it
	Why      string    `json:"why"`          // for people

	// Reason is small and enumerated where the entry is a refusal, else empty.
	Reason string `json:"reason,omitempty"`

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
	NoteRefused  Note = "refused" // a person said no to the plan
	NoteCancel   Note = "cancel"  // a person wants the run to stop
	NoteDecided  Note = "decided" // an episode or an occurrence gets no run, and why
	NotePaged    Note = "paged"   // people were paged
	NoteDemoted  Note = "demoted" // a policy was put back to ask
	NotePromoted Note = "promoted"
	NoteClosed   Note = "closed" // a person closed the breaker of a policy
	NoteLeft     Note = "left"   // a replica was found dead and its runs are taken over
	NoteHeld     Note = "held"   // the run stops as soon as the statement under way has ended
)

// A Run is one request on its way.
type Run struct {
	ID      int64     `json:"id"`
	Request Request   `json:"request"`
	State   State     `json:"state"`
	Why     string    `json:"why"`              // of the last entry
	Reason  string    `json:"reason,omitempty"` // of the last entry
	Plan    Plan      `json:"plan"`
	Before  *float64  `json:"before,omitempty"` // the metric when the plan was made
	After   *float64  `json:"after,omitempty"`  // the metric when the last step was done
	Begun   int       `json:"begun"`            // steps that were begun
	Done    int       `json:"done"`             // steps that were done
	Tries   int       `json:"tries,omitempty"`  // looks at the target that failed in a row
	Lost    int       `json:"lost,omitempty"`   // how often in a row upkeep ended without a word in the step that is begun, and the step had made no progress
	Due     time.Time `json:"due"`              // not looked at before
	Applied time.Time `json:"applied,omitzero"` // when the last step was done
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`          // when the last entry was written
	Cancel  string    `json:"cancel,omitempty"` // who cancelled it, and why; or ""
}

// Acted reports whether the run has begun to change anything.
func (r Run) Acted() bool { return r.Begun > 0 }

// SourceAlertmanager is the source of the alerts that Alertmanager delivers, lists and silences.
const SourceAlertmanager = "alertmanager"

// An Alert is one alert as a source sent it. Firing and resolved are hints: the
// engine reads the target itself before it acts and before it calls a run cleared.
type Alert struct {
	Source      string            `json:"source"` // the name of a webhook.Source
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Firing      bool              `json:"firing"`
	StartsAt    time.Time         `json:"starts_at"`
	EndsAt      time.Time         `json:"ends_at,omitzero"` // of one that is not firing, where the source tells it
	Expr        string            `json:"expr,omitempty"`   // the rule's expression, where the source tells it

	// Receiver is the receiver of Alertmanager that the alert was delivered to, quoted
	// as a regular expression, as Alertmanager writes it.
	Receiver string `json:"receiver,omitempty"`

	// Ahead is by how much the clock of the source is ahead of ours at least: so much
	// later than it was received the alert had begun.
	Ahead time.Duration `json:"ahead,omitempty"`
}

// An Incident is an incident: the time in which one alert fires for one subject. It
// opens with the first firing alert of its labels and is not opened twice.
type Incident struct {
	ID     int64     `json:"id"`
	Alert  Alert     `json:"alert"` // as last delivered
	Opened time.Time `json:"opened"`
	Seen   time.Time `json:"seen"`            // when it was last delivered
	Closed time.Time `json:"closed,omitzero"` // zero while open
	Why    string    `json:"why,omitempty"`   // it was closed
	Ripe   time.Time `json:"ripe,omitzero"`   // nothing is decided before: an alert that comes and goes is held down
	Flaps  int       `json:"flaps,omitempty"` // how often the same alert has come and gone shortly before

	// FlappingSince is set when the alert has been flapping for long and each time ended
	// during its hold-down, so that nothing was decided: since when. FlappingFrom is the
	// first episode of that time.
	FlappingSince time.Time `json:"flapping_since,omitzero"`
	FlappingFrom  int64     `json:"flapping_from,omitempty"`
}

// Name returns the name of the alert.
func (e Incident) Name() string { return e.Alert.Labels["alertname"] }

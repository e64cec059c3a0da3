package remediate

import "time"

// A State is where a run stands.
type State string

// The states of a run. The last four are final.
const (
	Received  State = "received"  // on disk, not yet looked at
	Planned   State = "planned"   // it is known what would be done
	Waiting   State = "waiting"   // not now; looked at again when it is due
	Allowed   State = "allowed"   // every guard agreed; steps are being carried out
	Applied   State = "applied"   // every step was done
	Cleared   State = "cleared"   // the measure is back within its limit
	Uncleared State = "uncleared" // done as planned, and the measure is not
	Declined  State = "declined"  // on purpose: a guard, the action or the policy said no
	Failed    State = "failed"    // something broke; the last entry says what
)

// States lists all states in the order in which a run meets them.
func States() []State {
	return []State{Received, Planned, Waiting, Allowed, Applied, Cleared, Uncleared, Declined, Failed}
}

// Transitions is the whole life of a run. docs/states.md is drawn from it.
func Transitions() map[State][]State {
	return map[State][]State{
		Received: {Planned, Waiting, Declined, Failed},
		Planned:  {Allowed, Waiting, Declined, Failed},
		Waiting:  {Received, Declined},
		Allowed:  {Applied, Received, Failed},
		Applied:  {Cleared, Uncleared, Failed},
	}
}

// Final reports whether a run in state s has ended.
func (s State) Final() bool { return len(Transitions()[s]) == 0 }

// An Entry is one line of the journal: a transition of a run, or (From and To
// being the same) a step that begins or is done. Entries are appended and never
// changed.
type Entry struct {
	Seq  int64     `json:"seq"`
	Run  int64     `json:"run"`
	At   time.Time `json:"at"`
	From State     `json:"from,omitempty"` // empty for the first entry of a run
	To   State     `json:"to"`
	Step int       `json:"step,omitempty"` // counted from 1; 0 for a transition
	Done bool      `json:"done,omitempty"` // of a step: it is done, not begun
	Why  string    `json:"why"`            // for people

	// Reason is small and enumerated where the entry is a refusal, else empty.
	Reason string `json:"reason,omitempty"`
}

// A Run is one request on its way.
type Run struct {
	ID      int64     `json:"id"`
	Request Request   `json:"request"`
	State   State     `json:"state"`
	Why     string    `json:"why"` // of the last entry
	Plan    Plan      `json:"plan"`
	Before  *float64  `json:"before,omitempty"` // the metric when the plan was made
	After   *float64  `json:"after,omitempty"`  // the metric when the last step was done
	Begun   int       `json:"begun"`            // steps that were begun
	Done    int       `json:"done"`             // steps that were done
	Tries   int       `json:"tries,omitempty"`  // looks at the target that failed in a row
	Due     time.Time `json:"due"`              // not looked at before
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"` // when the last entry was written
}

// An Alert is one alert as a source told it. Firing and resolved are hints: the
// engine reads the target itself before it acts and before it calls a run cleared.
type Alert struct {
	Source      string            `json:"source"` // "alertmanager"
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Firing      bool              `json:"firing"`
	StartsAt    time.Time         `json:"starts_at"`
}

// An Episode is one trouble from when it was first told of until it is over. It
// opens with the first firing alert of its labels and is not opened twice.
type Episode struct {
	ID     int64     `json:"id"`
	Alert  Alert     `json:"alert"` // as last told
	Opened time.Time `json:"opened"`
	Seen   time.Time `json:"seen"`            // when it was last told of
	Closed time.Time `json:"closed,omitzero"` // zero while open
	Why    string    `json:"why,omitempty"`   // it was closed
}

// Name returns the name of the alert.
func (e Episode) Name() string { return e.Alert.Labels["alertname"] }

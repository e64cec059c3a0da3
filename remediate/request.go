package remediate

import "encoding/json"

// A Request asks for one action on one subject. An alert, a schedule or a person
// makes it. Two requests with the same Key are one run.
type Request struct {
	Key     string            `json:"key"`
	Action  string            `json:"action"`  // "postgres/reindex"
	Subject map[string]string `json:"subject"` // the labels that say on what
	// further parameters of the action; checked against its Params
	Params map[string]string `json:"params,omitempty"`
	// the limit in the rule; the action's metric should fall to it
	Limit    *float64 `json:"limit,omitempty"`
	Policy   string   `json:"policy,omitempty"`   // the policy that asked, if one did
	Step     int      `json:"step,omitempty"`     // of the policy's chain, counted from 0
	Mode     Mode     `json:"mode"`               // whether it may act
	Incident int64    `json:"incident,omitempty"` // the incident that asks; 0 when none does
	Schedule string   `json:"schedule,omitempty"` // the schedule that asks, if one does
	Query    string   `json:"query,omitempty"`    // of the schedule, by which it found the subject
	By       string   `json:"by"`                 // "alert/PostgresIndexBloat", "schedule/nightly", "user/ann"
	Terms    Terms    `json:"terms,omitzero"`

	// Aside says that Limit is the step's own and not the alert's: the step clears
	// the way for the next one, and need not end the alert by itself.
	Aside bool `json:"aside,omitempty"`

	// Wrong says what is wrong with the labels or parameters that the request was
	// made of. Such a run is refused with this as its reason.
	Wrong string `json:"wrong,omitempty"`
}

// Mode says how far a request may go.
type Mode string

// The modes of a request.
const (
	Auto    Mode = "auto"    // plan, then act when every guard agrees
	Ask     Mode = "ask"     // plan, and act when a person has approved of this plan
	Observe Mode = "observe" // plan and journal what would be done, and stop there
)

// UnmarshalJSON reads a request of this version or of one before.
func (r *Request) UnmarshalJSON(text []byte) error {
	type plain Request
	var read struct {
		plain
		former
	}
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*r = Request(read.plain)
	r.Incident += read.Episode
	return nil
}

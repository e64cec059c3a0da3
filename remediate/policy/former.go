package policy

import (
	"encoding/json"
	"strings"

	"github.com/ai-micro-service/upkeep/remediate"
)

// UnmarshalJSON reads a record of this version, or of one before: there an incident was an
// episode, some states had other names, and so the reasons of decisions and the keys of
// requests read differently. A journal of before replays the same.
func (r *Record) UnmarshalJSON(text []byte) error {
	type plain Record
	if err := json.Unmarshal(text, (*plain)(r)); err != nil {
		return err
	}
	if v := r.Verdict; v != nil {
		v.State = remediate.FormerState(v.State, v.Reason)
	}
	var former struct {
		Case struct {
			Incident *remediate.Incident `json:"episode"`
		} `json:"case"`
	}
	if err := json.Unmarshal(text, &former); err != nil || former.Case.Incident == nil || r.Decision == nil {
		return err
	}
	r.Case.Incident = *former.Case.Incident
	d := r.Decision
	if d.Why == "the episode is over" {
		d.Why = "the incident is closed"
	}
	for i := range r.Case.History {
		run := &r.Case.History[i]
		before := string(run.State)
		if run.Reason != "" {
			before += " (" + run.Reason + ")"
		}
		run.State = remediate.FormerState(run.State, run.Reason)
		d.Why = strings.Replace(d.Why, run.said(before), run.said(run.State.Named(run.Reason)), 1)
	}
	if d.Request != nil {
		if key, ok := strings.CutPrefix(d.Request.Key, "episode/"); ok {
			d.Request.Key = "incident/" + key
		}
	}
	return nil
}

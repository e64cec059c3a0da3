package remediate

import (
	"time"
)

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

	// Rule says whether the limit and the expression are those of a rule that upkeep knows.
	// No delivery sets it.
	Rule RuleSource `json:"rule,omitempty"`

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

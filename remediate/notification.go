package remediate

import (
	"encoding/json"
	"time"
)

// A Notification is sent to people, once for each Key.
type Notification struct {
	ID       int64            `json:"id"`
	Key      string           `json:"key"`
	Kind     NotificationKind `json:"kind"`
	Run      int64            `json:"run,omitempty"`
	Incident int64            `json:"incident,omitempty"`
	Plan     string           `json:"plan,omitempty"` // the question that is asked: Plan.Question
	Title    string           `json:"title"`
	Text     string           `json:"text"`
	At       time.Time        `json:"at"`
	Until    time.Time        `json:"until,omitzero"` // a question is answered until then; zero where nothing is asked

	Labels map[string]string `json:"labels,omitempty"` // what it is about: the subject, policy and action
}

// NotificationKind says what a notification is for.
type NotificationKind string

// The kinds of notifications.
const (
	NotificationAsk  NotificationKind = "ask"  // approve or reject a plan
	NotificationPage NotificationKind = "page" // a person is needed: nothing that may be done by itself has helped
	NotificationInfo NotificationKind = "info" // to know: a policy stopped, or was demoted

	NotificationActed  NotificationKind = "acted"  // a run has done all its steps
	NotificationHelped NotificationKind = "helped" // a run has ended, and it helped
	// a run has acted and ended, and it is not known to have helped.
	NotificationNotHelped NotificationKind = "not_helped"

	NotificationAlert    NotificationKind = "alert"    // an alert fires
	NotificationResolved NotificationKind = "resolved" // it fires no more

	NotificationTest NotificationKind = "test" // of upkeep notify test
)

// UnmarshalJSON reads a notification of this version or of one before.
func (n *Notification) UnmarshalJSON(text []byte) error {
	type plain Notification
	var read struct {
		plain
		former
	}
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*n = Notification(read.plain)
	n.Incident += read.Episode
	if n.Kind == "tell" {
		n.Kind = NotificationInfo
	}
	return nil
}

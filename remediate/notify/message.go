package notify

import (
	"context"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A Message is what a notifier is to tell.
type Message struct{ Notifications []Item }

// An Item is one notification with the links that belong to it.
type Item struct {
	remediate.Notification
	Approve string // where its plan is approved or refused; empty where nothing is asked
	Open    string // where its run is shown; empty where it has none
}

// A Notifier takes messages to people.
type Notifier interface {
	// Notify returns nil when the message was taken. The error may be a *FaultError.
	// There is no secret in it.
	Notify(ctx context.Context, m Message) error
}

// A FaultError says more of a message that was not taken.
type FaultError struct {
	Err     error
	Refused bool          // this message; another one may be taken
	After   time.Duration // the server asks for so much patience
}

func (f *FaultError) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *FaultError) Unwrap() error { return f.Err }

// A Named is a notifier under the name that it has in the configuration. Its
// progress is kept under that name.
type Named struct {
	Name  string
	Wants func(remediate.NotificationKind) bool // which notifications are for it; nil: all
	Alone bool                                  // each notification travels alone
	Notifier
}

// wants reports whether a kind of notification is for it.
func (n Named) wants(kind remediate.NotificationKind) bool { return n.Wants == nil || n.Wants(kind) }

package notify

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/docs/runbooks"
	"github.com/ai-micro-service/upkeep/internal/platform/visible"
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

// shown returns the title in one line and the text, as they may be sent: the name of a table or an
// annotation makes no link, calls no one, and changes nothing in how the message looks.
func (n Item) shown() (title, text string) {
	own := []string{runbooks.Online}
	for _, link := range []string{n.Open, n.Approve} {
		if u, err := url.Parse(link); err == nil && u.Host != "" {
			own = append(own, u.Scheme+"://"+u.Host)
		}
	}
	title = visible.Unlinked(visible.Text(strings.Join(strings.Fields(n.Title), " ")), own...)
	return title, visible.Unlinked(visible.Lines(strings.TrimSpace(n.Text)), own...)
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

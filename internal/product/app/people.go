package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/embedded"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/notify"
)

// newPeople makes what notifies people.
func newPeople(c *config.Config, external string, log *slog.Logger) (p people, err error) {
	p.routing.File = c.AlertmanagerFile()
	for _, place := range c.Informed() {
		if place.Receiver != "" {
			all, err := integrations(c, place, external, log)
			if err != nil {
				return p, err
			}
			p.notifiers = append(p.notifiers, all...)
			continue
		}
		to := chat(place)
		p.notifiers = append(p.notifiers, notify.Named{Name: place.Name, Wants: place.Wants, Notifier: to})
		if p.routing.File == nil && place.Wants(remediate.NotificationAlert) {
			of := fmt.Sprintf("%s %q %q", place.Kind, place.URLFile, place.URLEnv)
			p.routing.Places = append(p.routing.Places, embedded.Place{Name: place.Name, Of: of, To: to})
		}
	}
	return p, nil
}

// chat is a place that upkeep notifies in a form of its own.
func chat(place config.Place) notify.Notifier {
	if place.Kind == "slack" {
		return notify.Slack{URL: notify.Secret(place.URL())}
	}
	return notify.Webhook{URL: notify.Secret(place.URL())}
}

// integrations are what the receiver of a place notifies by, each with progress of its
// own: one that takes nothing keeps no other waiting, and none is notified twice.
func integrations(c *config.Config, place config.Place, external string,
	log *slog.Logger) (named []notify.Named, err error) {
	u, err := url.Parse(external)
	if err != nil {
		return nil, fmt.Errorf("web.external_url: %w", err)
	}
	t, err := c.AlertmanagerFile().OwnTemplates(u)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.AlertmanagerFile().Path, err)
	}
	all, err := c.AlertmanagerFile().Integrations(place.Receiver, t,
		slog.New(quiet{log.With("component", "notify", "notifier", place.Name).Handler()}))
	if err != nil {
		return nil, fmt.Errorf("notify %q: %w", place.Name, err)
	}
	for _, i := range all {
		named = append(named, notify.Named{
			Name: place.Name + "/" + i.String(), Wants: place.Wants, Alone: true,
			Notifier: notify.Receiver{Name: place.Receiver, To: i},
		})
	}
	return named, nil
}

// announced reports whether a place of the configuration takes a kind of notification that is
// optional.
func (a *App) announced(kind remediate.NotificationKind) bool {
	p := a.people.Load()
	return p != nil && slices.ContainsFunc(p.notifiers, func(n notify.Named) bool {
		return n.Wants == nil ||
			n.Wants(kind)
	})
}

// over reports whether what a notification is about is over: a run that asked or acted has
// ended, the alert of a page fires no more.
func (a *App) over(ctx context.Context, n remediate.Notification) (over, helped bool, err error) {
	switch n.Kind {
	case remediate.NotificationAsk, remediate.NotificationActed:
		run, err := a.journal.Get(ctx, n.Run)
		return err == nil && run.State.Ended(), run.State == remediate.Resolved, err
	case remediate.NotificationPage, remediate.NotificationNotHelped:
		if n.Incident == 0 {
			return false, false, nil
		}
		e, err := a.inbox.Incident(ctx, n.Incident)
		return err == nil && !e.Closed.IsZero(), false, err
	default:
		return false, false, nil
	}
}

// A Tried is what came of a test notification.
type Tried struct {
	Name string // of the place or the receiver, and of its kind where it has several
	Err  error  // nil where it was taken
}

// TestNotification sends one test notification to a place or a receiver of a
// configuration, and says what came of it. A receiver that opens incidents is notified at once
// that the test is over.
func TestNotification(ctx context.Context, c *config.Config, name string, log *slog.Logger) (tried []Tried, err error) {
	place, err := c.Place(name)
	if err != nil {
		return nil, err
	}
	external := c.Web.ExternalURL
	if external == "" {
		external = "http://" + c.Web.Listen
	}
	all := []notify.Named{{Name: place.Name, Notifier: nil}}
	if place.Receiver == "" {
		all[0].Notifier = chat(place)
	} else if all, err = integrations(c, place, external, log); err != nil {
		return nil, err
	}
	now := time.Now()
	m := notify.Message{Notifications: []notify.Item{{Open: external, Notification: remediate.Notification{
		Key: fmt.Sprintf("test/%d", now.UnixNano()), Kind: remediate.NotificationTest, At: now,
		Title: "Test notification from upkeep",
		Text:  fmt.Sprintf("upkeep notify test %s was run. This is only a test.", name),
	}}}}
	for _, n := range all {
		sending, cancel := context.WithTimeoutCause(ctx, testTimeout, fmt.Errorf("no answer within %s", testTimeout))
		err := n.Notify(sending, m)
		if closer, ok := n.Notifier.(notify.Closer); ok && err == nil && closer.Closes() {
			if err = closer.Close(sending, m.Notifications[0]); err != nil {
				err = fmt.Errorf("it was accepted, and its resolved notification was not: %w", err)
			}
		}
		cancel()
		tried = append(tried, Tried{n.Name, err})
	}
	return tried, nil
}

// testTimeout is how long a receiver may take to answer a test.
const testTimeout = 10 * time.Second

package receivers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
)

// farewell is for a notification that is under way when it is no longer wanted: at the
// end of the process or at a reload. What was sent and not noted would be sent again.
const farewell = 4 * time.Second

// Careful returns an integration that does as another one, and whose errors have no
// secret in them. An answer 429 may be tried again: most kinds of Alertmanager take it for
// the end. A notification may end though its context was cancelled.
func Careful(to notify.Integration, receiver string, secrets func() []string) notify.Integration {
	return notify.NewIntegration(careful{&to, secrets}, &to, to.Name(), to.Index(), receiver)
}

type careful struct {
	to      *notify.Integration
	secrets func() []string
}

// Notify implements Alertmanager's Notifier.
func (c careful) Notify(ctx context.Context, alerts ...*alert.Alert) (again bool, err error) {
	sending, cancel := lasting(ctx)
	type answer struct {
		again bool
		err   error
	}
	answered := make(chan answer, 1)
	go func() { // some kinds do not look at the context
		defer cancel()
		var a answer
		a.again, a.err = c.to.Notify(sending, alerts...)
		answered <- a
	}()
	select {
	case a := <-answered:
		if a.err == nil {
			return false, nil
		}
		return a.again || limited(a.err), c.hide(a.err, alerts)
	case <-sending.Done():
	}
	select { // an answer that came with the end counts
	case a := <-answered:
		if a.err == nil {
			return false, nil
		}
		return a.again || limited(a.err), c.hide(a.err, alerts)
	default:
		return true, fmt.Errorf("no answer in time: %w", context.Cause(sending))
	}
}

// lasting returns a context that ends with the deadline of another one, and only a little
// after that was cancelled.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if deadline, ok := ctx.Deadline(); ok {
		var stop context.CancelFunc
		out, stop = context.WithDeadline(out, deadline)
		inner := cancel
		cancel = func() { stop(); inner() }
	}
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return
		}
		select {
		case <-out.Done():
		case <-time.After(farewell):
			cancel()
		}
	})
	return out, func() { stop(); cancel() }
}

// limited reports whether the server asks for less.
func limited(err error) bool {
	e, ok := errors.AsType[*notify.ErrorWithReason](err)
	return ok && e.Reason == notify.RateLimitedReason
}

// whyLimit is how much of what a server answers is repeated.
const whyLimit = 300

// hide returns an error without the secrets, which has the reason of the one before. It
// does not wrap it: the cause has them. The link by which a plan is approved is one too:
// some servers repeat what they were sent.
func (c careful) hide(err error, alerts []*alert.Alert) error {
	secrets := c.secrets()
	for _, a := range alerts {
		secrets = append(secrets, partsOf(string(a.Annotations["approve_url"]))...)
	}
	text := strings.Join(strings.Fields(redact(notify.RedactURL(err).Error(), secrets)), " ")
	if len(text) > whyLimit {
		text = strings.ToValidUTF8(text[:whyLimit], "") + "…"
	}
	said := errors.New(text)
	if e, ok := errors.AsType[*notify.ErrorWithReason](err); ok {
		return notify.NewErrorWithReason(e.Reason, said)
	}
	return said
}

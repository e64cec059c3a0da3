package notify

import (
	"context"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/nflog"
	am "github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate"
)

// detailLimit is how many letters of a notification's text travel: Telegram takes 4096 in all,
// and refuses what is longer.
const detailLimit = 2500

// A Receiver tells notifications by one integration of a receiver of Alertmanager's, of
// whatever kind. Each notification is an alert of its own, whose group is its run or its
// incident: kinds that keep incidents have one for each of these.
type Receiver struct {
	Name string // of the receiver
	To   am.Integration
}

// Notify implements Notifier. Notifications should come one by one: those before one that is
// not taken would come twice.
func (r Receiver) Notify(ctx context.Context, m Message) error {
	for _, n := range m.Notifications {
		ends := n.Kind == remediate.NotificationHelped && r.Closes()
		if err := r.send(ctx, n, ends); err != nil {
			return err
		}
	}
	return nil
}

// Closes reports whether the integration takes word of the end (send_resolved).
func (r Receiver) Closes() bool { return r.To.SendResolved() }

// Close tells that what a notification was about is over.
func (r Receiver) Close(ctx context.Context, n Item) error { return r.send(ctx, n, true) }

func (r Receiver) send(ctx context.Context, n Item, over bool) error {
	a := alertOf(n, time.Now(), over)
	ctx = am.WithGroupKey(ctx, groupOf(n.Notification))
	ctx = am.WithGroupLabels(ctx, model.LabelSet{model.AlertNameLabel: a.Labels[model.AlertNameLabel]})
	ctx = am.WithRouteLabels(ctx, model.LabelSet{})
	ctx = am.WithReceiverName(ctx, r.Name)
	ctx = am.WithNow(ctx, time.Now())
	ctx = am.WithRepeatInterval(ctx, keepFor)
	ctx = am.WithNflogStore(ctx, nflog.NewStore(nil))
	reason := am.ReasonFirstNotification
	if over {
		reason = am.ReasonAllAlertsResolved
	}
	ctx = am.WithNotificationReason(ctx, reason)
	again, err := r.To.Notify(ctx, a)
	if err != nil {
		return &FaultError{Err: err, Refused: !again}
	}
	return nil
}

// groupOf names what a notification is about: what has the same name is one incident.
func groupOf(n remediate.Notification) string {
	switch {
	case n.Kind == remediate.NotificationInfo || n.Kind == remediate.NotificationTest || n.Run == 0 && n.Incident == 0:
		return "upkeep/notification/" + n.Key
	case n.Incident != 0 && (n.Kind == remediate.NotificationPage || n.Kind == remediate.NotificationNotHelped):
		return fmt.Sprintf("upkeep/incident/%d", n.Incident)
	}
	return fmt.Sprintf("upkeep/run/%d", n.Run)
}

// alertOf is a notification as an alert.
func alertOf(n Item, now time.Time, over bool) *alert.Alert {
	name, severity := shape(n.Kind)
	labels := make(model.LabelSet)
	for key, value := range n.Labels {
		if value != "" {
			labels[model.LabelName(visible.Text(key))] = model.LabelValue(visible.Unlinked(visible.Text(value)))
		}
	}
	labels[model.AlertNameLabel], labels["severity"] = model.LabelValue(name), model.LabelValue(severity)
	if n.Run != 0 {
		labels["run"] = model.LabelValue(strconv.FormatInt(n.Run, 10))
	}
	title, text := n.shown()
	annotations := model.LabelSet{"summary": model.LabelValue(title),
		"description": model.LabelValue(shorter(text, detailLimit))}
	link := ""
	if n.Approve != "" && !over {
		annotations["approve_url"], link = model.LabelValue(n.Approve), n.Approve
	}
	if n.Open != "" {
		annotations["run_url"], link = model.LabelValue(n.Open), n.Open
	}
	a := &alert.Alert{Alert: model.Alert{Labels: labels, Annotations: annotations, StartsAt: n.At, GeneratorURL: link},
		UpdatedAt: now}
	if begun := now.Add(-2 * time.Second); over { // it is over a moment ago, after it began
		a.EndsAt = now.Add(-time.Second)
		if a.StartsAt.After(begun) {
			a.StartsAt = begun
		}
	}
	return a
}

// shape returns the alert's name and severity of a kind of notification.
func shape(kind remediate.NotificationKind) (name, severity string) {
	switch kind {
	case remediate.NotificationAsk:
		return "UpkeepAwaitingApproval", "warning"
	case remediate.NotificationPage:
		return "UpkeepNeedsPerson", "critical"
	case remediate.NotificationActed:
		return "UpkeepActed", "info"
	case remediate.NotificationHelped:
		return "UpkeepHelped", "info"
	case remediate.NotificationNotHelped:
		return "UpkeepDidNotHelp", "warning"
	case remediate.NotificationTest:
		return "UpkeepTest", "info"
	default:
		return "UpkeepNotification", "info"
	}
}

// shorter returns at most so many letters of a text.
func shorter(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit-1]) + "…"
}

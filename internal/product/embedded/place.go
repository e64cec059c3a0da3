package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/alert"
	am "github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/internal/platform/receivers"
	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/notify"
)

// groupLimit is how many alerts of a group are written one by one: ten are as long as a
// message of Slack's may be.
const groupLimit = 9

// integration lets a place be notified as Alertmanager's own kinds are: its tries are
// repeated, and what it was notified of is in the log.
func (p Place) integration(receiver string) am.Integration {
	return receivers.Careful(am.NewIntegration(p, p, "notify", 0, receiver), receiver, func() []string { return nil })
}

// SendResolved implements Alertmanager's ResolvedSender.
func (p Place) SendResolved() bool { return true }

// Notify implements Alertmanager's Notifier.
func (p Place) Notify(ctx context.Context, alerts ...*alert.Alert) (again bool, err error) {
	err = p.To.Notify(ctx, message(alerts))
	if err == nil {
		return false, nil
	}
	fault, known := errors.AsType[*notify.FaultError](err)
	return !known || !fault.Refused, err
}

// message describes a group of alerts: the worst first, and those that have ended last.
func message(alerts []*alert.Alert) (m notify.Message) {
	alerts = slices.Clone(alerts)
	slices.SortStableFunc(alerts, func(a, b *alert.Alert) int { return order(a) - order(b) })
	for _, a := range alerts[:min(len(alerts), groupLimit)] {
		m.Notifications = append(m.Notifications, item(a))
	}
	if more := len(alerts) - groupLimit; more > 0 {
		m.Notifications = append(m.Notifications, notify.Item{Notification: remediate.Notification{
			Key: "more/" + m.Notifications[0].Key, Kind: m.Notifications[0].Kind, At: m.Notifications[0].At,
			Title: fmt.Sprintf("And %d more alerts of the same group", more), Text: "See them with: upkeep alerts",
		}})
	}
	return m
}

func order(a *alert.Alert) int {
	switch {
	case a.Resolved():
		return 3
	case a.Labels["severity"] == "critical":
		return 0
	case a.Labels["severity"] == "warning":
		return 1
	default:
		return 2
	}
}

// item is one alert as a notification.
func item(a *alert.Alert) notify.Item {
	labels := make(map[string]string, len(a.Labels))
	about := make(map[string]string)
	for name, value := range a.Labels {
		labels[string(name)] = string(value)
		if name != model.AlertNameLabel && name != "severity" {
			about[string(name)] = string(value)
		}
	}
	summary := string(a.Annotations["summary"])
	if summary == "" {
		summary = a.Name()
	}
	n := remediate.Notification{
		Key: fmt.Sprintf("alert/%s/%d", a.Fingerprint(), a.StartsAt.UnixMilli()), Kind: remediate.NotificationAlert,
		At: a.StartsAt, Labels: labels,
		Title: strings.TrimSpace(string(a.Labels["severity"])+" "+a.Name()) + ": " + summary,
	}
	text := []string{
		visible.Text(journal.Subject(about)),
		"firing since " + a.StartsAt.UTC().Format(time.DateTime) + " UTC",
	}
	if a.Resolved() {
		n.Key, n.Kind, n.At = "resolved/"+n.Key, remediate.NotificationResolved, a.EndsAt
		n.Title = "resolved: " + a.Name() + ": " + summary
		text[1] = "fired from " + a.StartsAt.UTC().Format(time.DateTime) + " to " +
			a.EndsAt.UTC().Format(time.DateTime) + " UTC"
	} else if runbook := a.Annotations["runbook_url"]; runbook != "" {
		text = append(text, "runbook: "+visible.Text(string(runbook)))
	}
	n.Text = strings.Join(text, "\n")
	return notify.Item{Notification: n}
}

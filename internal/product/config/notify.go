package config

import (
	"slices"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Notify says who is notified.
type Notify struct {
	ReceiversFile string  `yaml:"receivers_file" check:"path" doc:"Configuration file of your own Alertmanager, if embedded mode is off; places may name its receivers. In embedded mode the receivers are those of embedded.alertmanager_file. Only receivers, global settings and templates are used, not routes."`
	Places        []Place `yaml:"places" doc:"Destinations of upkeep's own notifications; in embedded mode without alertmanager_file also of alerts of severity warning or worse. With a receivers file and no place, they are sent to the receiver of its top route."`
}

// Place is one place where people are notified.
type Place struct {
	Name     string   `yaml:"name" required:"a name" doc:"Name of the place, in logs and metrics; or a role, like tech-lead, product or support."`
	Receiver string   `yaml:"receiver" doc:"Receiver in the Alertmanager configuration file, of any kind. Default, without kind: the receiver with the name of the place. If the receiver has send_resolved, its incident is resolved when the run or the alert has ended."`
	Kind     string   `yaml:"kind" enum:"slack|webhook" doc:"Without a receiver: slack, an incoming webhook of Slack or a compatible service, with links to approve and reject; or webhook, the notification as JSON."`
	URLFile  string   `yaml:"url_file" check:"path" doc:"With kind: file with the URL. The URL is a secret: it is all that is needed to post messages."`
	URLEnv   string   `yaml:"url_env" doc:"Environment variable with the URL, instead of a file."`
	On       []string `yaml:"on" enum:"alert|ask|page|info|acted|helped|not_helped" doc:"Which notifications are sent: alert (an alert of severity warning or worse fires or is resolved; only with kind, in embedded mode without alertmanager_file), ask (a plan awaits approval), page (a person is needed), info (a policy was demoted), acted (a run has done all its steps), helped and not_helped (the result). Default: everything but acted."`
}

// Wants reports whether a kind of notification is sent here.
func (p Place) Wants(kind remediate.NotificationKind) bool {
	switch kind {
	case remediate.NotificationTest:
		return true
	case remediate.NotificationResolved:
		kind = remediate.NotificationAlert
	default:
	}
	if len(p.On) == 0 { // that a run has acted is no reason to wake anybody
		return kind != remediate.NotificationActed
	}
	return slices.Contains(p.On, string(kind))
}

// Report says which reviews are sent.
type Report struct {
	Monthly bool `yaml:"monthly" default:"false" doc:"On the first of each month at 06:00 UTC, notify of the review of the month before, with a link to it in the console, all places of notify that take info. Once a month, whatever is started again meanwhile; a month of which nothing is known is left out."`
}

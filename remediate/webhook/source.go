package webhook

import "github.com/ai-micro-service/upkeep/remediate"

// A Source is one kind of sender of alerts. Another one whose payload has the
// form of Alertmanager's is a file like grafana.go and a line in Sources: what is routed,
// counted and closed is derived from these. A payload of another form needs its own way through
// Source.read, message and message.alert as well.
type Source struct {
	Name   string // of its alerts: remediate.Alert.Source
	Path   string // where it delivers
	Listed bool   // it can be asked which of its alerts still fire

	version string // of its payload
	payload string // what its payload is called
	body    string // what a body of it is
	want    string // what is expected where another version comes

	complete func(a *remediate.Alert, m message, t oneAlert) // adds what only this source knows of an alert
}

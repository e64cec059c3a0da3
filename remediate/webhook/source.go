package webhook

import (
	"encoding/json"
	"fmt"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A Source is one kind of sender of alerts. Another one is a file like grafana.go and a line in
// Sources: what is routed, counted and closed is derived from these.
type Source struct {
	Name   string // of its alerts: remediate.Alert.Source
	Path   string // where it delivers
	Listed bool   // it can be asked which of its alerts still fire

	read     func(body []byte) (message, error)
	complete func(a *remediate.Alert, m message, t oneAlert) // adds what only this source knows of an alert

	version string // of its payload
	payload string // what its payload is called
}

// Sources returns every source.
func Sources() []Source { return []Source{Alertmanager(), Grafana()} }

// Names returns the names of the sources.
func Names() (names []string) {
	for _, s := range Sources() {
		names = append(names, s.Name)
	}
	return names
}

// Unlisted returns the names of the sources that cannot be asked which of their alerts still
// fire. listing says whether an Alertmanager is asked.
func Unlisted(listing bool) (names []string) {
	for _, s := range Sources() {
		if !s.Listed || !listing {
			names = append(names, s.Name)
		}
	}
	return names
}

// versioned reads a payload of a source that names its version. One that another source sends
// is refused with where it belongs.
func (s Source) versioned(body []byte, what, want string) (m message, err error) {
	if err := json.Unmarshal(body, &m); err != nil {
		return m, fmt.Errorf("body is not %s: %w", what, err)
	}
	if m.Version == s.version {
		return m, nil
	}
	for _, other := range Sources() {
		if m.Version == other.version {
			return m, fmt.Errorf("version %q is %s: deliver it to %s", m.Version, other.payload, other.Path)
		}
	}
	return m, fmt.Errorf("version %.20q: want %s", m.Version, want)
}

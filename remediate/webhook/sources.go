package webhook

import (
	"encoding/json"
	"fmt"
)

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

// read reads the payload of a source. One that another source sends is refused with where it
// belongs.
func (s Source) read(body []byte) (m message, err error) {
	if err := json.Unmarshal(body, &m); err != nil {
		return m, fmt.Errorf("body is not %s: %w", s.body, err)
	}
	if m.Version == s.version {
		return m, nil
	}
	for _, other := range Sources() {
		if m.Version == other.version {
			return m, fmt.Errorf("version %q is %s: deliver it to %s", m.Version, other.payload, other.Path)
		}
	}
	return m, fmt.Errorf("version %.20q: want %s", m.Version, s.want)
}

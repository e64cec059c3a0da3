package webhook

import (
	"maps"

	"github.com/ai-micro-service/upkeep/remediate"
)

// values is the annotation that has Grafana's text of what was measured.
const values = "value_string"

// Grafana returns the source whose payload is that of Grafana's webhook contact points.
func Grafana() Source {
	return Source{
		Name: "grafana", Path: "/webhook/grafana",
		version: "1", payload: "Grafana's payload",
		body: "the JSON of Grafana's webhook contact point",
		want: `the payload of Grafana's webhook contact point, version "1", without a template of its own`,
		complete: func(a *remediate.Alert, _ message, t oneAlert) {
			if t.ValueString == "" || t.Annotations[values] != "" {
				return
			}
			a.Annotations = maps.Clone(t.Annotations)
			if a.Annotations == nil {
				a.Annotations = make(map[string]string)
			}
			a.Annotations[values] = t.ValueString
		},
	}
}

package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// The sources of the alerts that this package takes in, and where each delivers.
const (
	Alertmanager = "alertmanager"
	Grafana      = "grafana"

	AlertmanagerPath = "/webhook/alertmanager"
	GrafanaPath      = "/webhook/grafana"
)

// values is the annotation that has Grafana's text of what was measured.
const values = "value_string"

// A message is what we read of a payload; Alertmanager's and Grafana's are alike
// in it. Its own status is not read: it says nothing of the single alert.
type message struct {
	Version   string `json:"version"`
	Truncated uint64 `json:"truncatedAlerts"`
	Alerts    []told `json:"alerts"`
}

// told is one alert in a message.
type told struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	ValueString  string            `json:"valueString"`
}

func readAlertmanager(body []byte) (m message, err error) {
	if err := json.Unmarshal(body, &m); err != nil {
		return m, fmt.Errorf("body is not Alertmanager's JSON: %w", err)
	}
	switch m.Version {
	case "4":
		return m, m.check()
	case "1":
		return m, fmt.Errorf("version \"1\" is Grafana's payload: deliver it to %s", GrafanaPath)
	}
	return m, fmt.Errorf("version %.20q: want Alertmanager's payload of version \"4\"", m.Version)
}

func readGrafana(body []byte) (m message, err error) {
	if err := json.Unmarshal(body, &m); err != nil {
		return m, fmt.Errorf("body is not the JSON of Grafana's webhook contact point: %w", err)
	}
	switch m.Version {
	case "1":
		return m, m.check()
	case "4":
		return m, fmt.Errorf("version \"4\" is Alertmanager's payload: deliver it to %s", AlertmanagerPath)
	}
	return m, fmt.Errorf("version %.20q: want the payload of Grafana's webhook contact point, version \"1\", without a template of its own", m.Version)
}

func (m message) check() error {
	if len(m.Alerts) == 0 {
		return errors.New("no alerts in the body")
	}
	for i, a := range m.Alerts {
		switch {
		case a.Status != "firing" && a.Status != "resolved":
			return fmt.Errorf("alert %d: status %.20q: want firing or resolved", i+1, a.Status)
		case a.Labels["alertname"] == "":
			return fmt.Errorf("alert %d has no alertname", i+1)
		}
	}
	return nil
}

func (m message) alerts(source string) []remediate.Alert {
	all := make([]remediate.Alert, len(m.Alerts))
	for i, t := range m.Alerts {
		a := remediate.Alert{Source: source, Labels: t.Labels, Annotations: t.Annotations, Firing: t.Status == "firing", StartsAt: t.StartsAt.UTC()}
		if !a.Firing {
			a.EndsAt = t.EndsAt.UTC()
		}
		if source == Alertmanager {
			a.Expr = remediate.RuleExpr(t.GeneratorURL)
		}
		if source == Grafana && t.ValueString != "" && t.Annotations[values] == "" {
			a.Annotations = maps.Clone(t.Annotations)
			if a.Annotations == nil {
				a.Annotations = make(map[string]string)
			}
			a.Annotations[values] = t.ValueString
		}
		all[i] = a
	}
	return all
}

package webhook

import (
	"bytes"
	"encoding/json"
	"time"
)

// A message is what we read of a payload; Alertmanager's and Grafana's are alike
// in it. Its own status is not read: it says nothing of the single alert.
type message struct {
	Version   string            `json:"version"`
	Truncated uint64            `json:"truncatedAlerts"`
	Receiver  any               `json:"receiver"`
	GroupKey  any               `json:"groupKey"`
	Alerts    []json.RawMessage `json:"alerts"`
}

// oneAlert is one alert in a message.
type oneAlert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	ValueString  string            `json:"valueString"`
}

// salvage returns the complete alerts of a body that was cut off.
func salvage(body []byte) (m message) {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return m
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return m
		}
		if key != "alerts" {
			var value any
			if d.Decode(&value) != nil {
				return m
			}
			if key == "receiver" {
				m.Receiver = value
			}
			continue
		}
		if t, err := d.Token(); err != nil || t != json.Delim('[') {
			return m
		}
		for d.More() {
			var one json.RawMessage
			if d.Decode(&one) != nil {
				return m
			}
			m.Alerts = append(m.Alerts, one)
		}
		return m
	}
	return m
}

package webhook

import "github.com/ai-micro-service/upkeep/remediate"

// Alertmanager returns the source whose payload is that of Alertmanager's webhook receivers.
func Alertmanager() Source {
	s := Source{
		Name: remediate.SourceAlertmanager, Path: "/webhook/alertmanager", Listed: true,
		version: "4", payload: "Alertmanager's payload",
		complete: func(a *remediate.Alert, m message, t oneAlert) {
			a.Expr = remediate.RuleExpr(t.GeneratorURL)
			a.Receiver, _ = m.Receiver.(string)
		},
	}
	s.read = func(body []byte) (message, error) {
		return s.versioned(body, "Alertmanager's JSON", `Alertmanager's payload of version "4"`)
	}
	return s
}

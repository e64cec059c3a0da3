package webhook

import "github.com/ai-micro-service/upkeep/remediate"

// Alertmanager returns the source whose payload is that of Alertmanager's webhook receivers.
func Alertmanager() Source {
	return Source{
		Name: remediate.SourceAlertmanager, Path: "/webhook/alertmanager", Listed: true,
		version: "4", payload: "Alertmanager's payload",
		body: "Alertmanager's JSON", want: `Alertmanager's payload of version "4"`,
		complete: func(a *remediate.Alert, m message, t oneAlert) {
			a.Expr = remediate.RuleExpr(t.GeneratorURL)
			a.Receiver, _ = m.Receiver.(string)
		},
	}
}

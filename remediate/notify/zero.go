package notify

import "github.com/ai-micro-service/upkeep/remediate"

// begin makes the counters of notifiers exist at zero: for Prometheus a counter that
// appears at 1 has not increased.
func (o *Outbox) begin(notifiers []Named) {
	for _, n := range notifiers {
		for _, kind := range kinds() {
			if n.Wants != nil && !n.Wants(kind) {
				continue
			}
			for _, result := range []string{"delivered", "failed", "given_up"} {
				o.total.WithLabelValues(n.Name, string(kind), result)
			}
		}
	}
}

// kinds are those of notifications that people are sent unasked.
func kinds() []remediate.NotificationKind {
	return []remediate.NotificationKind{
		remediate.NotificationAsk, remediate.NotificationPage, remediate.NotificationInfo,
		remediate.NotificationActed, remediate.NotificationHelped, remediate.NotificationNotHelped,
		remediate.NotificationAlert, remediate.NotificationResolved,
	}
}

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
			for _, result := range []string{"told", "failed", "given_up"} {
				o.total.WithLabelValues(n.Name, string(kind), result)
			}
		}
	}
}

// kinds are those of notices that people are sent unasked.
func kinds() []remediate.NoticeKind {
	return []remediate.NoticeKind{
		remediate.NoticeAsk, remediate.NoticePage, remediate.NoticeTell,
		remediate.NoticeActed, remediate.NoticeHelped, remediate.NoticeNotHelped,
		remediate.NoticeAlert, remediate.NoticeResolved,
	}
}

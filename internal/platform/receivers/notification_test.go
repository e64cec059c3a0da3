package receivers_test

import (
	"context"
	"time"

	"github.com/prometheus/alertmanager/alert"
	am "github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/common/model"
)

// groupContext is what the dispatcher puts into a context.
func groupContext(ctx context.Context) context.Context {
	ctx = am.WithGroupKey(ctx, "upkeep/run/7")
	ctx = am.WithGroupLabels(ctx, model.LabelSet{"alertname": "UpkeepAwaitingApproval"})
	ctx = am.WithReceiverName(ctx, "r")
	ctx = am.WithNow(ctx, time.Now())
	return am.WithNotificationReason(ctx, am.ReasonFirstNotification)
}

// notification is a question as an alert.
func notification() *alert.Alert {
	return &alert.Alert{Alert: model.Alert{
		Labels:   model.LabelSet{"alertname": "UpkeepAwaitingApproval", "severity": "warning", "run": "7"},
		StartsAt: time.Now(),
		Annotations: model.LabelSet{
			"summary": "May run 7 do postgres/vacuum?", "description": "It would vacuum.",
			"approve_url": "https://upkeep.example/approve?token=abc", "run_url": "https://upkeep.example/runs/7",
		},
	}}
}

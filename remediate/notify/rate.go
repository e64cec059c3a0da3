package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// allowance returns how many messages a notifier may get now.
func (o *Outbox) allowance(name string) int {
	if o.config.Rate.Most == 0 {
		return batchLimit // any number above one, which would sum up
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now, b := o.config.Now(), o.budgets[name]
	if b == nil {
		b = &budget{o.config.Rate.Most, now}
		o.budgets[name] = b
	}
	if more := int(now.Sub(b.at) / o.config.Rate.Every); more > 0 {
		b.left = min(b.left+more, o.config.Rate.Most)
		b.at = b.at.Add(time.Duration(more) * o.config.Rate.Every)
	}
	if b.left == o.config.Rate.Most {
		b.at = now
	}
	return b.left
}

// spend takes one message from what a notifier may get.
func (o *Outbox) spend(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b := o.budgets[name]; b != nil && b.left > 0 {
		b.left--
	}
}

const (
	// summedAtOnce is how many notifications are claimed in one write.
	summedAtOnce = 500

	// summedTitles is how many titles a summary names.
	summedTitles = 5
)

// summary tells many notifications in one. It has no links: what waits for approval is listed
// by upkeep.
func summary(all []remediate.Notification) Message {
	kinds := []struct {
		kind remediate.NotificationKind
		what string
	}{
		{remediate.NotificationPage, "needs a person"}, {remediate.NotificationNotHelped, "run did not help"},
		{remediate.NotificationAsk, "plan awaits approval"}, {remediate.NotificationActed, "run has acted"},
		{remediate.NotificationHelped, "run helped"}, {remediate.NotificationInfo, "other"},
	}
	count := make(map[remediate.NotificationKind]int)
	for _, n := range all {
		count[n.Kind]++
	}
	worst, lines := remediate.NotificationInfo, []string{}
	for _, k := range slices.Backward(kinds) {
		if count[k.kind] > 0 {
			worst = k.kind
			lines = append(lines, fmt.Sprintf("%d × %s", count[k.kind], k.what))
		}
	}
	slices.Reverse(lines)
	for _, n := range all[:min(len(all), summedTitles)] {
		lines = append(lines, "- "+strings.Join(strings.Fields(n.Title), " "))
	}
	if more := len(all) - summedTitles; more > 0 {
		lines = append(lines, fmt.Sprintf("- and %d more", more))
	}
	lines = append(lines, "They are summed up because there are too many. upkeep inbox, upkeep runs and the page of "+
		"upkeep list them.")
	return Message{Notifications: []Item{{Notification: remediate.Notification{
		ID: all[len(all)-1].ID, Key: fmt.Sprintf("summary/%d-%d", all[0].ID, all[len(all)-1].ID), Kind: worst,
		At: all[len(all)-1].At, Title: fmt.Sprintf("%d notifications from upkeep", len(all)),
		Text: strings.Join(lines, "\n"),
	}}}}
}

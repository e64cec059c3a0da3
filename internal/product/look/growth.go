package look

import (
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/forecast"
)

// From what on what fills up is listed.
const (
	fullSoon = 14 * 24 * time.Hour // as CapacityExhaustedSoon
	fullNow  = 2 * 24 * time.Hour  // less than a weekend
	halfFull = 0.5                 // as HostFilesystemFullSoon: below, a trend may turn
)

// kindOf is the kind of target that a resource belongs to.
func kindOf(resource string) string {
	switch resource {
	case "database", "table", "wal", "connections":
		return "postgres"
	case "redis_memory":
		return "redis"
	case "log":
		return "docker"
	}
	return "host"
}

// soon reports whether a resource reaches its limit soon. It does not where one of its figures is no number.
func soon(r forecast.Row) bool {
	return r.Likely != nil && r.Limit != nil && r.Used >= halfFull**r.Limit && *r.Likely <= fullSoon.Seconds()
}

// growth finds what reaches its limit soon, at the growth of the last weeks.
func growth(f Facts) (found []Finding) {
	for _, r := range f.Forecast {
		if !soon(r) ||
			r.Subject["server"] != f.Server || kindOf(r.Resource) != f.Kind {
			continue
		}
		days := *r.Likely / (24 * time.Hour).Seconds()
		found = append(found, Finding{Kind: f.Kind + "/full_soon", Harm: Service, Subject: r.Subject,
			Severity: worse(-*r.Likely, -fullSoon.Seconds(), -fullNow.Seconds()),
			Title: fmt.Sprintf("%s of %s reaches its limit in %.3g days at the growth of the last weeks", r.Resource,
				r.Name(), days),
			Cost: "at the limit what needs more of it fails",
			Evidence: []Evidence{{What: "upkeep:capacity_seconds_to_limit:likely",
				Value: fmt.Sprintf("%.1f days", days), From: "the recording rules of capacity", At: f.At,
				Note: fmt.Sprintf("from %d days of data", r.Days)}},
			ByHand: "Raise the limit or store less: upkeep forecast shows what grows."})
	}
	return found
}

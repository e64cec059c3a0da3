package check

import (
	"strconv"

	"github.com/ai-micro-service/upkeep/remediate"
)

// limits checks that upkeep knows the limit of the alerts by which a policy acts without
// approval: a delivery could name any.
func (k *checker) limits(c chain) {
	if c.Limit != nil {
		return
	}
	for _, s := range c.Steps {
		if remediate.Mode(s.Mode) != remediate.Auto || s.Limit != nil {
			continue
		}
		for _, r := range c.matches {
			if _, err := strconv.ParseFloat(r.annotations["limit"], 64); err != nil {
				k.fault(c.at, "%s: mode auto needs a limit that upkeep knows, and the rule of %s has no limit annotation "+
					"with a number: set limit in the policy, or mode: ask", c.who, r.alert)
				return
			}
		}
		if len(c.matches) == 0 && k.outside() && k.config.Prometheus.URL == "" {
			k.fault(c.at, "%s: mode auto needs a limit that upkeep knows, and it knows no rule of these alerts: set limit "+
				"in the policy, name the Prometheus that has the rule in prometheus.url, or set mode: ask", c.who)
			return
		}
	}
}

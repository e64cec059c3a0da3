package app

import (
	"context"
	"sync"
	"time"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/remediate"
)

// rulesEvery is how old the list of rules may be: a rule that was changed holds after
// that.
const rulesEvery = time.Minute

// A knownRules are the rules that upkeep knows: those of the Prometheus that it asks, and the
// shipped ones where that has none of their name.
type knownRules struct {
	shipped func() []remediate.Rule
	ask     func(context.Context) ([]remediate.Rule, error) // nil: there is no Prometheus
	failed  func(error)

	mu     sync.Mutex
	asked  time.Time
	loaded []remediate.Rule
}

func (a *App) knownRules() *knownRules {
	k := &knownRules{
		shipped: sync.OnceValue(func() (all []remediate.Rule) {
			rules, _ := alerts.Parse(a.options.Rules) // a rule file that is wrong is said where it is loaded
			for _, r := range rules {
				all = append(
					all,
					remediate.Rule{Name: r.Name, Expr: r.Expr, Labels: r.Labels, Annotations: r.Annotations},
				)
			}
			return all
		}),
		failed: func(err error) {
			a.log.Warn("the rules could not be read; those that are known hold", "err", err)
		},
	}
	if _, ok := a.prometheus(); ok {
		k.ask = func(ctx context.Context) ([]remediate.Rule, error) {
			p, _ := a.prometheus()
			return p.Rules(ctx)
		}
	}
	return k
}

// all returns the rules. Where Prometheus does not answer, those that it had last hold.
func (k *knownRules) all(ctx context.Context) []remediate.Rule {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ask != nil && time.Since(k.asked) > rulesEvery {
		ctx, cancel := context.WithTimeout(ctx, prom.AskTimeout)
		defer cancel()
		loaded, err := k.ask(ctx)
		if err == nil {
			k.loaded = loaded
		} else {
			k.failed(err)
		}
		k.asked = time.Now()
		if k.loaded == nil { // it is just starting
			k.asked = k.asked.Add(2*time.Second - rulesEvery)
		}
	}
	named := make(map[string]bool, len(k.loaded))
	for _, r := range k.loaded {
		named[r.Name] = true
	}
	rules := append([]remediate.Rule(nil), k.loaded...)
	for _, r := range k.shipped() {
		if !named[r.Name] {
			rules = append(rules, r)
		}
	}
	return rules
}

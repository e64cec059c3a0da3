package look

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/product/forecast"
	"github.com/ai-micro-service/upkeep/remediate"
)

// From what on a statement has changed.
const (
	someCalls  = 20      // in each of the two spans: of fewer a mean says nothing
	muchSlower = 2       // times its former mean
	addedSome  = 60      // seconds that it took more in a day
	addedMuch  = 30 * 60 // the same, for a warning
)

// readChanged asks a Prometheus for the statements that were called often enough in both spans. It reads one value
// an hour of each counter.
func readChanged(ctx context.Context, p forecast.Asker) ([]Changed, error) {
	const by = "server, database, user, queryid"
	all := make(map[string]*Changed)
	for i, q := range []struct {
		counter, span string
		set           func(*Changed, float64)
	}{
		{pgCalls, "[1d:1h]", func(c *Changed, v float64) { c.Calls = v }},
		{pgTime, "[1d:1h]", func(c *Changed, v float64) { c.Seconds = v }},
		{pgCalls, "[7d:1h] offset 1d", func(c *Changed, v float64) { c.CallsBefore = v }},
		{pgTime, "[7d:1h] offset 1d", func(c *Changed, v float64) { c.SecondsBefore = v }},
	} {
		samples, err := p.Query(ctx, fmt.Sprintf("increase(max by (%s) (%s{queryid!=%q})%s)", by, q.counter,
			collectors.Other, q.span), time.Time{})
		if err != nil {
			return nil, fmt.Errorf("statements: %w", err)
		}
		for _, s := range samples {
			c := changedOf(s)
			key := strings.Join([]string{c.Server, c.Database, c.User, c.QueryID}, "\x00")
			if all[key] == nil {
				if i > 0 {
					continue // it was not called on the last day
				}
				all[key] = &c
			}
			q.set(all[key], s.Value)
		}
	}
	var often []Changed
	for _, c := range all {
		if c.Calls >= someCalls && c.CallsBefore >= someCalls {
			often = append(often, *c)
		}
	}
	return often, nil
}

func changedOf(s prom.Sample) Changed {
	return Changed{Server: s.Labels["server"], Database: s.Labels["database"], User: s.Labels["user"],
		QueryID: s.Labels["queryid"]}
}

// changedStatements finds those whose calls take much longer than in the week before.
func changedStatements(f Facts) (found []Finding) {
	texts := f.statementTexts()
	all := slices.Clone(f.Changed)
	slices.SortFunc(all, func(a, b Changed) int {
		return cmp.Or(cmp.Compare(b.added(), a.added()), cmp.Compare(a.QueryID, b.QueryID), cmp.Compare(a.User, b.User),
			cmp.Compare(a.Database, b.Database))
	})
	for _, c := range all {
		text, shown := texts[c.QueryID]
		if c.Server != f.Server || c.User == f.Postgres.Role || !shown && len(texts) > 0 ||
			c.Mean() < muchSlower*c.Before() || c.added() < addedSome {
			continue
		}
		from := "Prometheus, of " + pgTime + " and " + pgCalls
		one := Finding{Kind: "postgres/slower_statement", Severity: worse(c.added(), addedMuch, 1e12), Harm: Speed,
			Subject: map[string]string{"server": c.Server, "database": c.Database, "user": c.User,
				"queryid": c.QueryID},
			Seconds: c.added(),
			Title: fmt.Sprintf("a statement of %s takes %s a time, and took %s in the week before", quoted(c.User),
				remediate.Quantity("_seconds", c.Mean()), remediate.Quantity("_seconds", c.Before())),
			Cost: fmt.Sprintf("%s more in the %.0f calls of the last day", remediate.Quantity("_seconds", c.added()),
				c.Calls),
			Evidence: []Evidence{
				{What: "mean of the last day", Value: remediate.Quantity("_seconds", c.Mean()), From: from, At: f.At},
				{What: "mean of the seven days before", Value: remediate.Quantity("_seconds", c.Before()), From: from,
					At: f.At, Note: fmt.Sprintf("of %.0f calls", c.CallsBefore)}},
			ByHand: "Look for what has changed: more rows, old statistics, another plan, a lost index. " + explainIt}
		if text != "" {
			one.Evidence = append(one.Evidence, statementEvidence(text, "postgres/statements", f.At))
		}
		found = append(found, one)
	}
	return found
}

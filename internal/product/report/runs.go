package report

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// journalled returns a figure of the journal: it covers the days on which upkeep ran.
func (b *builder) journalled(title, about string, queries ...string) Figure {
	f := Figure{Title: title, About: about, Coverage: b.ran}
	for _, q := range queries {
		f.Queries = append(f.Queries, Query{Language: "SQL", Text: q})
	}
	if b.Prometheus != nil {
		f.Queries = append(f.Queries, b.ranBy)
	}
	return f
}

// outcomes counts the runs that ended in the period.
func (b *builder) outcomes(context.Context) (Figure, error) {
	f := b.journalled("Runs that ended", "By action. A run is resolved when the metric is back within its limit "+
		"and the "+
		"alert's expression agrees. Covered is the time in which upkeep itself was scraped.", b.outcome.OutcomesSQL)
	f.Columns = []Column{{"action", Words}, {"runs", Number}, {"changed something", Number}, {"resolved", Number},
		{"unresolved", Number}, {"inconclusive", Number}, {"failed", Number}, {"stopped before acting", Number},
		{"came back within a day", Number}}
	sums := make(map[string]*[8]int64)
	states := map[remediate.State]int{remediate.Resolved: 2, remediate.Unresolved: 3, remediate.Inconclusive: 4,
		remediate.Failed: 5}
	for _, o := range b.outcome.Outcomes {
		if sums[o.Action] == nil {
			sums[o.Action] = new([8]int64)
		}
		s := sums[o.Action]
		s[0] += o.Runs
		s[1] += o.Acted
		s[7] += o.CameBack
		if i, ok := states[o.State]; ok {
			s[i] += o.Runs
		} else {
			s[6] += o.Runs - o.Acted
		}
	}
	for _, action := range slices.SortedFunc(maps.Keys(sums), func(x, y string) int {
		return cmp.Or(cmp.Compare(sums[y][0], sums[x][0]), cmp.Compare(x, y))
	}) {
		row := []Cell{words(action)}
		for _, n := range sums[action] {
			row = append(row, count(n))
		}
		f.Rows = append(f.Rows, row)
	}
	if len(f.Rows) == 0 {
		f.Note = "No run ended in this period."
		return f, nil
	}
	bars := Chart{Kind: Bars, Title: "Runs by action", Unit: Number}
	for _, row := range f.Rows[:min(len(f.Rows), top)] {
		bars.Series = append(bars.Series, Line{Name: row[0].Text, Values: []*float64{row[1].Value, row[3].Value},
			Legend: []string{"ended", "resolved"}})
	}
	f.Charts = append(f.Charts, bars)
	return f, nil
}

// helped shows what the runs of each action changed in the metric that they are to lower.
func (b *builder) helped(context.Context) (Figure, error) {
	f := b.journalled("What it helped", "The metric of the runs that were resolved, when the plan was made and "+
		"after the "+
		"last step.", b.outcome.ActedSQL)
	f.Columns = []Column{{"action", Words}, {"metric", Words}, {"resolved", Number}, {"median before", Words},
		{"median after", Words}, {"sum of the differences", Words}}
	type key struct{ action, metric string }
	of := make(map[key][]journal.ReviewedRun)
	for _, r := range b.outcome.Acted {
		if r.State == remediate.Resolved && r.Before != nil && r.After != nil {
			k := key{r.Action, b.lowers(r.Request)}
			of[k] = append(of[k], r)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(of), func(x, y key) int {
		return cmp.Or(cmp.Compare(len(of[y]), len(of[x])), cmp.Compare(x.action, y.action), cmp.Compare(x.metric,
			y.metric))
	}) {
		var before, after []float64
		sum := 0.0
		for _, r := range of[k] {
			before, after, sum = append(before, *r.Before), append(after, *r.After), sum+*r.Before-*r.After
		}
		total := Cell{Text: "–"} // a sum of ratios means nothing
		if strings.HasSuffix(k.metric, "_bytes") || strings.HasSuffix(k.metric, "_rows") {
			total = quantity(k.metric, &sum)
		}
		f.Rows = append(f.Rows, []Cell{words(k.action), words(k.metric), count(int64(len(of[k]))),
			quantity(k.metric, median(before)), quantity(k.metric, median(after)), total})
	}
	if len(f.Rows) == 0 {
		f.Note = "No run resolved anything in this period."
	}
	return f, nil
}

func (b *builder) lowers(r remediate.Request) string {
	if b.Lowers == nil {
		return ""
	}
	return b.Lowers(r)
}

// quantity is a cell with the value of a metric, in the unit that its name ends with.
func quantity(metric string, v *float64) Cell {
	if v == nil {
		return Cell{Text: unknown}
	}
	return Cell{Text: remediate.Quantity(metric, *v), Value: v}
}

func median(all []float64) *float64 {
	slices.Sort(all)
	return new((all[(len(all)-1)/2] + all[len(all)/2]) / 2)
}

// acted lists the newest runs that changed something.
func (b *builder) acted(context.Context) (Figure, error) {
	f := b.journalled("Runs that changed something", "The newest first.", b.outcome.ActedSQL)
	f.Columns = []Column{{"run", Number}, {"ended", Words}, {"action", Words}, {"on", Words}, {"state", Words},
		{"before", Words}, {"after", Words}, {"requested by", Words}}
	for _, r := range b.outcome.Acted {
		metric := b.lowers(r.Request)
		f.Rows = append(f.Rows, []Cell{count(r.ID), {Text: r.Changed.UTC().Format("2006-01-02 15:04")}, words(r.Action),
			words(journal.Subject(r.Subject)), words(string(r.State)), quantity(metric, r.Before), quantity(metric,
				r.After),
			words(shorten(r.Request.By, 60))})
	}
	f.cut(2 * maxRows)
	if len(f.Rows) == 0 {
		f.Note = "No run changed anything in this period."
	}
	return f, nil
}

// alerts sums up what fired.
func (b *builder) alerts(context.Context) (Figure, error) {
	r := b.fired
	f := b.journalled("Alerts that fired", "Incidents that were open in the period, those that fired longest first.",
		r.AlertsSQL)
	f.Columns = []Column{{"alert", Words}, {"incidents", Number}, {"open at the end", Number}, {"time firing", Seconds},
		{"longest", Seconds}}
	for _, a := range r.Alerts {
		name := a.Name
		if name == "" {
			name = "(closed before upkeep kept the name)"
		}
		f.Rows = append(f.Rows, []Cell{words(name), count(a.Incidents), count(a.Open), seconds(a.Firing),
			seconds(a.Longest)})
	}
	f.cut(maxRows)
	if len(f.Rows) == 0 {
		f.Note = "No alert fired in this period."
	}
	return f, nil
}

func seconds(d time.Duration) Cell { return value(Seconds, new(d.Seconds())) }

// offenders lists what fired again and again.
func (b *builder) offenders(context.Context) (Figure, error) {
	r := b.fired
	f := b.journalled("Repeat offenders", "The same alert for the same subject, three times or more in the period; "+
		"the twenty that fired most often. "+
		"Runs that acted and did not keep it away treat a symptom.", r.AgainSQL)
	f.Columns = []Column{{"alert", Words}, {"on", Words}, {"incidents", Number}, {"time firing", Seconds}, {"first",
		Words},
		{"last", Words}, {"runs that acted", Number}, {"resolved", Number}}
	for _, a := range r.Again {
		f.Rows = append(f.Rows, []Cell{words(a.Alert.Labels["alertname"]), words(subject(a.Alert.Labels)),
			count(a.Incidents),
			seconds(a.Firing), {Text: a.First.UTC().Format("2006-01-02 15:04")},
			{Text: a.Last.UTC().Format("2006-01-02 15:04")}, count(a.Runs), count(a.Resolved)})
	}
	if len(f.Rows) == 0 {
		f.Note = "No alert fired three times for one subject."
	}
	return f, nil
}

// subject writes those labels of an alert that say on what it is.
func subject(labels map[string]string) string {
	rest := maps.Clone(labels)
	for _, name := range []string{"alertname", "severity", "job", "instance"} {
		delete(rest, name)
	}
	return journal.Subject(rest)
}

// waiting lists the plans that a person has to approve now.
func (b *builder) waiting(ctx context.Context) (Figure, error) {
	runs, err := b.Journal.In(ctx, remediate.AwaitingApproval, maxRows+1)
	f := b.journalled("Plans that await approval", "As of "+b.now()+". Answer with upkeep approve or upkeep reject.",
		"select id from runs where state = '"+string(remediate.AwaitingApproval)+"' order by id")
	f.Coverage, f.asOfNow = Coverage{}, true
	f.Columns = []Column{{"run", Number}, {"since", Words}, {"until", Words}, {"action", Words}, {"on", Words},
		{"plan", Words}}
	for _, r := range runs {
		plan := ""
		if len(r.Plan.Steps) > 0 {
			plan = shorten(r.Plan.Steps[0].Do, textLimit)
		}
		if n := len(r.Plan.Steps); n > 1 {
			plan += fmt.Sprintf(" (and %d more steps)", n-1)
		}
		f.Rows = append(f.Rows, []Cell{count(r.ID), {Text: r.Changed.UTC().Format("2006-01-02 15:04")},
			{Text: r.Due.UTC().Format("2006-01-02 15:04")}, words(r.Request.Action),
			words(journal.Subject(r.Request.Subject)),
			words(plan)})
	}
	f.cut(maxRows)
	if len(f.Rows) == 0 {
		f.Note = "No plan awaits approval."
	}
	return f, err
}

// refused counts what was not done, and why.
func (b *builder) refused(context.Context) (Figure, error) {
	f := b.journalled("What was not done", "Runs of the period that were refused, rejected by a person, or expired "+
		"without an answer.", b.outcome.OutcomesSQL)
	f.Columns = []Column{{"action", Words}, {"policy", Words}, {"state", Words}, {"reason", Words}, {"runs", Number}}
	all := slices.DeleteFunc(slices.Clone(b.outcome.Outcomes), func(o journal.Outcome) bool {
		return o.State != remediate.StateRefused && o.State != remediate.Rejected && o.State != remediate.Expired ||
			slices.Contains([]string{remediate.ReasonNothing, remediate.ReasonResolved, remediate.ReasonPrepared},
				o.Reason)
	})
	slices.SortStableFunc(all, func(x, y journal.Outcome) int { return cmp.Compare(y.Runs, x.Runs) })
	for _, o := range all {
		f.Rows = append(f.Rows, []Cell{words(o.Action), words(cmp.Or(o.Policy, "–")), words(string(o.State)),
			words(cmp.Or(o.Reason, "–")), count(o.Runs)})
	}
	f.cut(maxRows)
	if len(f.Rows) == 0 {
		f.Note = "No run was refused, rejected or expired."
	}
	return f, nil
}

// openAtMost is how many open incidents are looked at.
const openAtMost = 1000

// byHand lists what only a person can do: open incidents without an action, and demoted policies.
func (b *builder) byHand(ctx context.Context) (Figure, error) {
	f := b.journalled("What only a person can do", "As of "+b.now()+": open incidents of alerts that have no "+
		"action, and "+
		"policies that are demoted: too few of their runs helped, or a person demoted them.",
		"select id, alert from incidents where closed = 0 order by id", "select * from policy_states where demoted > 0")
	f.Coverage, f.asOfNow = Coverage{}, true
	f.Columns = []Column{{"what", Words}, {"on", Words}, {"since", Words}, {"why a person", Words}}
	states, err := b.Journal.PolicyStates(ctx)
	if err != nil {
		return f, err
	}
	for _, s := range states {
		if !s.Demoted.IsZero() {
			f.Rows = append(f.Rows, []Cell{words("policy " + s.Policy), {Text: "–"},
				{Text: s.Demoted.UTC().Format("2006-01-02 15:04")}, words("demoted: " + s.Why)})
		}
	}
	open, err := b.Inbox.Incidents(ctx, 0, openAtMost)
	for _, e := range open {
		if a := e.Alert.Annotations; a["action"] == "none" {
			f.Rows = append(f.Rows, []Cell{words(e.Name()), words(subject(e.Alert.Labels)),
				{Text: e.Opened.UTC().Format("2006-01-02 15:04")}, words(shorten(cmp.Or(a["reason"], a["summary"]),
					200))})
		}
	}
	f.cut(maxRows)
	if len(f.Rows) == 0 {
		f.Note = "Nothing waits for a person."
	}
	return f, err
}

func (b *builder) now() string {
	now := time.Now
	if b.Now != nil {
		now = b.Now
	}
	return visible.Text(now().UTC().Format("2006-01-02 15:04") + " UTC")
}

package policy_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// matchers parses matchers as the configuration does.
func matchers(t testing.TB, texts ...string) (all labels.Matchers) {
	t.Helper()
	for _, text := range texts {
		m, err := policy.ParseMatchers(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m...)
	}
	return all
}

func actions() map[string]policy.Action {
	return map[string]policy.Action{
		"postgres/vacuum":  {Name: "postgres/vacuum", Subject: []string{"server", "table"}},
		"postgres/reindex": {Name: "postgres/reindex", Subject: []string{"server", "index"}},
		"redis/bgsave":     {Name: "redis/bgsave", Subject: []string{"server"}},
		"test/all": {Name: "test/all", Subject: []string{"server"}, Params: []remediate.Param{
			{Name: "note", Type: remediate.Text},
			{Name: "name", Type: remediate.Name},
			{Name: "count", Type: remediate.Int},
			{Name: "share", Type: remediate.Ratio},
			{Name: "age", Type: remediate.Duration},
			{Name: "force", Type: remediate.Bool},
		}},
	}
}

// book has a chain of three, one that only observes, one that maps its subject, and
// one that catches everything else.
func book(t testing.TB) policy.Book {
	return policy.Book{Actions: actions(), Policies: []policy.Policy{
		{
			Name: "dead rows", Match: matchers(t, `alertname="PostgresDeadRows"`, `severity=~"warning|critical"`),
			Hold: 5 * time.Minute,
			Steps: []policy.Step{
				{Action: "postgres/vacuum", Mode: remediate.Auto,
					Terms: remediate.Terms{Cooldown: time.Hour, Decay: time.Minute}},
				{Action: "test/all", Mode: remediate.Ask,
					With: map[string]string{"note": "dead rows of $table on ${server}: $$5", "count": "3"}},
				{Action: "redis/bgsave", Mode: remediate.Auto},
			},
		},
		{
			Name: "watched", Match: matchers(t, `team="watched"`),
			Steps: []policy.Step{{Action: "redis/bgsave", Mode: remediate.Observe},
				{Action: "postgres/vacuum", Mode: remediate.Observe}},
		},
		{
			Name: "mapped", Match: matchers(t, `alertname="Mapped"`),
			Steps: []policy.Step{{Action: "postgres/vacuum", Mode: remediate.Auto,
				Subject: map[string]string{"server": "pg-$zone", "table": "logs"}}},
		},
		{Name: "typed", Match: matchers(t, `alertname="Typed"`), Steps: []policy.Step{
			{Action: "test/all", Mode: remediate.Auto, With: map[string]string{"count": "$count", "name": "$name"}},
		}},
		{Name: "unknown", Match: matchers(t, `alertname="Unknown"`),
			Steps: []policy.Step{{Action: "test/none", Mode: remediate.Auto}}},
		{Name: "the rest", Match: matchers(t, `team=""`, `alertname!="Nothing"`),
			Steps: []policy.Step{{Action: "redis/bgsave", Mode: remediate.Auto}}},
		{Name: "no matcher", Steps: []policy.Step{{Action: "redis/bgsave", Mode: remediate.Auto}}},
	}}
}

func start() time.Time { return time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC) }

// dead is an incident of dead rows that has been open for ten minutes.
func dead(history ...policy.Past) policy.Case {
	return policy.Case{
		Incident: remediate.Incident{ID: 7, Opened: start(), Alert: remediate.Alert{
			Labels: map[string]string{"alertname": "PostgresDeadRows", "severity": "warning", "server": "main",
				"table": "logs"},
			Annotations: map[string]string{"limit": "0.2"},
			Expr:        "max_over_time(dead[5m]) > 0.2",
		}},
		History: history,
		Now:     start().Add(10 * time.Minute),
	}
}

func past(step int, state remediate.State, reason string) policy.Past {
	return policy.Past{Run: int64(100 + step), Policy: "dead rows", Step: step, Action: "postgres/vacuum", State: state,
		Reason: reason}
}

// labelled is an incident of other labels.
func labelled(pairs ...string) policy.Case {
	c := dead()
	c.Incident.Alert.Labels = make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		c.Incident.Alert.Labels[pairs[i]] = pairs[i+1]
	}
	return c
}

func with(c policy.Case, change func(*policy.Case)) policy.Case {
	change(&c)
	return c
}

// short writes a decision in one line, as the tables below have it.
func short(d policy.Decision) string {
	var b strings.Builder
	if r := d.Request; r != nil {
		b.WriteString("ask " + r.Key + " " + string(r.Mode) + " " + r.Action)
		for _, k := range slices.Sorted(maps.Keys(r.Subject)) {
			b.WriteString(" " + k + "=" + r.Subject[k])
		}
		for _, k := range slices.Sorted(maps.Keys(r.Params)) {
			b.WriteString(" --" + k + "=" + r.Params[k])
		}
		if r.Wrong != "" {
			b.WriteString(" WRONG " + r.Wrong)
		}
	}
	if d.Page {
		b.WriteString("page")
	}
	if !d.Wait.IsZero() {
		b.WriteString("wait " + d.Wait.Format("15:04:05"))
	}
	return strings.TrimSpace(b.String() + " | " + d.Why)
}

func TestDecide(t *testing.T) {
	const first = "ask incident/7/dead rows/0 auto postgres/vacuum server=main table=logs"
	const second = "ask incident/7/dead rows/1 ask test/all server=main --count=3 --note=dead rows of logs on main: $5"
	const third = "ask incident/7/dead rows/2 auto redis/bgsave server=main"
	for _, tc := range []struct {
		name string
		c    policy.Case
		want string
	}{
		{"new", dead(), first + ` | policy "dead rows" asks for postgres/vacuum`},
		{"over", with(dead(), func(c *policy.Case) { c.Incident.Closed = start().Add(time.Minute) }),
			"| the incident is closed"},
		{"held", with(dead(), func(c *policy.Case) { c.Now = start().Add(4 * time.Minute) }),
			`wait 03:05:00 | policy "dead rows" holds for 5m`},
		{"held to the moment", with(dead(), func(c *policy.Case) { c.Now = start().Add(5 * time.Minute) }),
			first + ` | policy "dead rows" asks for postgres/vacuum`},
		{"flapping", with(dead(), func(c *policy.Case) { c.Incident.Ripe = start().Add(time.Hour) }),
			"wait 04:00:00 | the alert comes and goes"},
		{"ripe", with(dead(), func(c *policy.Case) { c.Incident.Ripe = start().Add(time.Minute) }),
			first + ` | policy "dead rows" asks for postgres/vacuum`},

		{"resolved", dead(past(0, remediate.Resolved, "")), "| run 100 of postgres/vacuum is resolved"},
		{"unresolved", dead(past(0, remediate.Unresolved, "")),
			second + ` | run 100 of postgres/vacuum is unresolved; policy "dead rows" asks for test/all`},
		{"failed", dead(past(0, remediate.Failed, "")), second +
			` | run 100 of postgres/vacuum is failed; policy "dead rows" asks for test/all`},
		{"inconclusive", dead(past(0, remediate.Inconclusive, "")),
			"page | run 100 of postgres/vacuum is inconclusive"},
		{"not ended", dead(past(0, remediate.Applied, "")), "| run 100 of postgres/vacuum is applied"},
		{"waiting", dead(past(0, remediate.Waiting, "cooldown")), "| run 100 of postgres/vacuum is waiting (cooldown)"},
		{"twice unresolved", dead(past(0, remediate.Unresolved, ""), past(1, remediate.Unresolved, "")),
			third + ` | run 101 of postgres/vacuum is unresolved; policy "dead rows" asks for redis/bgsave`},
		{"the second resolved", dead(past(0, remediate.Unresolved, ""), past(1, remediate.Resolved, "")),
			"| run 101 of postgres/vacuum is resolved"},
		{"at the end", dead(past(0, remediate.Unresolved, ""), past(1, remediate.Unresolved, ""),
			past(2, remediate.Unresolved, "")),
			`page | run 102 of postgres/vacuum is unresolved; policy "dead rows" has no further step`},
		{"failed at the end", dead(past(2, remediate.Failed, "")),
			`page | run 102 of postgres/vacuum is failed; policy "dead rows" has no further step`},
		{"the chain has become shorter", dead(past(6, remediate.Unresolved, "")),
			`page | run 106 of postgres/vacuum is unresolved; policy "dead rows" has no further step`},

		{"cannot help", dead(past(0, remediate.StateRefused, remediate.ReasonCannotHelp)),
			second + ` | run 100 of postgres/vacuum is refused (cannot_help); policy "dead rows" asks for test/all`},
		{"unfit", dead(past(0, remediate.StateRefused, remediate.ReasonUnfit)),
			second + ` | run 100 of postgres/vacuum is refused (unfit); policy "dead rows" asks for test/all`},
		{"privilege", dead(past(0, remediate.StateRefused, remediate.ReasonPrivilege)),
			second + ` | run 100 of postgres/vacuum is refused (privilege); policy "dead rows" asks for test/all`},
		{"read only", dead(past(0, remediate.StateRefused, remediate.ReasonReadOnly)),
			second + ` | run 100 of postgres/vacuum is refused (read_only); policy "dead rows" asks for test/all`},
		{"gone", dead(past(0, remediate.StateRefused, remediate.ReasonGone)),
			second + ` | run 100 of postgres/vacuum is refused (gone); policy "dead rows" asks for test/all`},
		{"subject", dead(past(0, remediate.StateRefused, remediate.ReasonSubject)),
			second + ` | run 100 of postgres/vacuum is refused (subject); policy "dead rows" asks for test/all`},
		{"action", dead(past(0, remediate.StateRefused, remediate.ReasonAction)),
			second + ` | run 100 of postgres/vacuum is refused (action); policy "dead rows" asks for test/all`},
		{"unfit at the end", dead(past(2, remediate.StateRefused, remediate.ReasonUnfit)),
			`page | run 102 of postgres/vacuum is refused (unfit); policy "dead rows" has no further step`},
		{"observed", dead(past(0, remediate.Observed, remediate.ReasonMode)),
			"| run 100 of postgres/vacuum is observed"},
		{"resolved", dead(past(0, remediate.StateRefused, remediate.ReasonResolved)),
			"| run 100 of postgres/vacuum is refused (resolved)"},
		{"cancelled", dead(past(0, remediate.Cancelled, remediate.ReasonCancelled)),
			"| run 100 of postgres/vacuum is cancelled"},
		{"a person said no", dead(past(1, remediate.Rejected, remediate.ReasonPerson)),
			"| run 101 of postgres/vacuum is rejected"},
		{"a person said no at the end", dead(past(2, remediate.Rejected, remediate.ReasonPerson)),
			"| run 102 of postgres/vacuum is rejected"},
		{"not answered", dead(past(1, remediate.Expired, remediate.ReasonUnanswered)),
			"| run 101 of postgres/vacuum is expired"},
		{"not answered at the end", dead(past(2, remediate.Expired, remediate.ReasonUnanswered)),
			"| run 102 of postgres/vacuum is expired"},
		{"nothing to do", dead(past(0, remediate.StateRefused, remediate.ReasonNothing)),
			"page | run 100 of postgres/vacuum is refused (nothing_to_do)"},
		{"a guard's last word", dead(past(0, remediate.StateRefused, "backup")),
			"page | run 100 of postgres/vacuum is refused (backup)"},

		{"runs of another policy", dead(policy.Past{Run: 3, Policy: "other", State: remediate.Resolved}),
			first + ` | policy "dead rows" asks for postgres/vacuum`},
		{"a later step waits for the hold too", with(dead(past(0, remediate.Unresolved, "")),
			func(c *policy.Case) { c.Incident.Ripe = start().Add(time.Hour) }),
			"wait 04:00:00 | the alert comes and goes"},
		{"people do not wait", with(dead(past(0, remediate.Inconclusive, "")),
			func(c *policy.Case) { c.Incident.Ripe = start().Add(time.Hour) }),
			"page | run 100 of postgres/vacuum is inconclusive"},

		{"the first that matches decides", labelled("alertname", "Mapped", "team", "watched", "server", "main"),
			`ask incident/7/watched/0 observe redis/bgsave server=main | policy "watched" asks for redis/bgsave`},
		{"a label that is not there is empty", labelled("alertname", "Other", "server", "main"),
			`ask incident/7/the rest/0 auto redis/bgsave server=main | policy "the rest" asks for redis/bgsave`},
		{"none matches", labelled("alertname", "Nothing", "server", "main"), "| no policy matches its labels"},
		{"all must match", labelled("alertname", "PostgresDeadRows", "severity", "info", "team", "x"),
			"| no policy matches its labels"},
		{"a mapped subject", labelled("alertname", "Mapped", "zone", "eu", "server", "other"),
			`ask incident/7/mapped/0 auto postgres/vacuum server=pg-eu table=logs | policy "mapped" asks for postgres/vacuum`},

		{"no label", labelled("alertname", "PostgresDeadRows", "severity", "warning", "server", "main"),
			`ask incident/7/dead rows/0 auto postgres/vacuum server=main WRONG label "table" of the subject of postgres/vacuum: the alert has no label "table" | policy "dead rows" asks for postgres/vacuum`},
		{"an empty label", labelled("alertname", "PostgresDeadRows", "severity", "warning", "server", "", "table", "t"),
			`ask incident/7/dead rows/0 auto postgres/vacuum table=t WRONG label "server" of the subject of postgres/vacuum: the alert has no label "server" | policy "dead rows" asks for postgres/vacuum`},
		{"a zero byte", labelled("alertname", "Other", "server", "a\x00b"),
			`ask incident/7/the rest/0 auto redis/bgsave WRONG label "server" of the subject of redis/bgsave: it is "a\x00b"; text that is not empty was expected | policy "the rest" asks for redis/bgsave`},
		{"no label for the mapping", labelled("alertname", "Mapped"),
			`ask incident/7/mapped/0 auto postgres/vacuum table=logs WRONG label "server" of the subject of postgres/vacuum: the alert has no label "zone" | policy "mapped" asks for postgres/vacuum`},
		{"parameters from labels", labelled("alertname", "Typed", "server", "a", "count", "12", "name", `x"; drop`),
			`ask incident/7/typed/0 auto test/all server=a --count=12 --name=x"; drop | policy "typed" asks for test/all`},
		{"an ill-typed parameter", labelled("alertname", "Typed", "server", "a", "count", "12.5", "name", "x"),
			`ask incident/7/typed/0 auto test/all server=a --name=x WRONG parameter "count" is "12.5"; a whole number of at least 0 was expected | policy "typed" asks for test/all`},
		{"two mistakes", labelled("alertname", "Typed", "server", "a", "name", strings.Repeat("n", 64)),
			`ask incident/7/typed/0 auto test/all server=a WRONG parameter "count": the alert has no label "count"; parameter "name" is "` + strings.Repeat("n", 64) + `"; a name of 1 to 63 bytes was expected | policy "typed" asks for test/all`},
		{"an unknown action", labelled("alertname", "Unknown", "server", "a"),
			`ask incident/7/unknown/0 auto test/none WRONG unknown action "test/none" | policy "unknown" asks for test/none`},

		{"observe notifies no one", with(labelled("team", "watched", "server", "a"), func(c *policy.Case) {
			c.History = []policy.Past{{Run: 9, Policy: "watched", Step: 1, Action: "postgres/vacuum",
				State: remediate.StateRefused, Reason: remediate.ReasonUnfit}}
		}),
			`| run 9 of postgres/vacuum is refused (unfit); policy "watched" has no further step; the policy only observes`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, short(book(t).Decide(tc.c))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A step with a limit of its own clears the way for the next one, whether there
// was something in the way or not.
func TestAside(t *testing.T) {
	b := book(t)
	i := slices.IndexFunc(b.Policies, func(p policy.Policy) bool { return p.Name == "dead rows" })
	b.Policies[i].Steps[1].Limit = new(600.0)
	asked := b.Decide(dead(past(0, remediate.Unresolved, ""))).Request
	if asked == nil || !asked.Aside || asked.Limit == nil || *asked.Limit != 600 {
		t.Errorf("the step's own limit is not asked for: %+v", asked)
	}
	if r := b.Decide(dead()).Request; r == nil || r.Aside || *r.Limit != 0.2 {
		t.Errorf("a step without a limit is not held to the alert's: %+v", r)
	}
	const third = "ask incident/7/dead rows/2 auto redis/bgsave server=main | run 101 of postgres/vacuum is "
	for _, tc := range []struct {
		last policy.Past
		want string
	}{
		{past(1, remediate.Inconclusive, remediate.ReasonPrepared),
			third + `inconclusive (prepared); policy "dead rows" asks for redis/bgsave`},
		{past(1, remediate.StateRefused, remediate.ReasonNothing),
			third + `refused (nothing_to_do); policy "dead rows" asks for redis/bgsave`},
		{past(1, remediate.Inconclusive, ""), "page | run 101 of postgres/vacuum is inconclusive"},
		{past(1, remediate.Resolved, ""), "| run 101 of postgres/vacuum is resolved"},
		{past(0, remediate.StateRefused, remediate.ReasonNothing),
			"page | run 100 of postgres/vacuum is refused (nothing_to_do)"},
	} {
		if diff := cmp.Diff(tc.want, short(b.Decide(dead(tc.last)))); diff != "" {
			t.Error(diff)
		}
	}
}

// The request carries everything that the engine needs.
func TestRequest(t *testing.T) {
	limit := 0.2
	want := &remediate.Request{
		Key: "incident/7/dead rows/0", Action: "postgres/vacuum",
		Subject: map[string]string{"server": "main", "table": "logs"},
		Limit:   &limit, Policy: "dead rows", Mode: remediate.Auto, Incident: 7, By: "alert/PostgresDeadRows",
		Terms: remediate.Terms{Cooldown: time.Hour, Decay: time.Minute},
	}
	if diff := cmp.Diff(want, book(t).Decide(dead()).Request); diff != "" {
		t.Error(diff)
	}
}

func TestLimitAndDecay(t *testing.T) {
	for _, tc := range []struct {
		limit, decay string
		want         string
		wantDecay    time.Duration
	}{
		{"0.2", "", "0.2", 5 * time.Minute},
		{"0", "30s", "0", 30 * time.Second},
		{"-1.5e3", "0s", "-1500", 0},
		{"", "a while", "none", 5 * time.Minute},
		{"much", "1h30m", "none", 90 * time.Minute},
		{"NaN", "-5m", "none", 5 * time.Minute},
		{"+Inf", "", "none", 5 * time.Minute},
		{"1e999", "", "none", 5 * time.Minute},
	} {
		c := dead(past(0, remediate.Unresolved, "")) // the second step says no decay of its own
		c.Incident.Alert.Annotations = map[string]string{"limit": tc.limit, "decay": tc.decay}
		r := book(t).Decide(c).Request
		got := "none"
		if r.Limit != nil {
			text, err := json.Marshal(r.Limit)
			if err != nil {
				t.Fatal(err)
			}
			got = string(text)
		}
		if got != tc.want || r.Terms.Decay != tc.wantDecay {
			t.Errorf("limit %q, decay %q: got %s and %s, want %s and %s", tc.limit, tc.decay, got, r.Terms.Decay,
				tc.want, tc.wantDecay)
		}
	}
}

func TestLookBack(t *testing.T) {
	for expr, want := range map[string]string{
		"":                                      "0s",
		"x > 1":                                 "0s",
		"rate(x[5m]) > 1":                       "5m",
		"rate(x[5m]) / rate(y[1h]) > 1":         "1h",
		"x[5m:1m]":                              "5m",
		"max_over_time(rate(x[5m])[1h:1m]) > 3": "1h5m",
		"max_over_time((rate(x[5m]) + rate(y[10m]))[1h:]) > 3": "1h10m",
		"x offset 5m":              "5m",
		"x OFFSET 5m > 1":          "5m",
		"rate(x[5m] offset 1h30m)": "1h35m",
		"x - x offset 1d":          "1d",
		"x offset -5m":             "0s",
		"x[300]":                   "5m",
		`x{a="[5m]", b='offset 1h}', c=~` + "`\\`" + `} > 1`: "0s",
		`x{a="\"[5m]"}[1m]`: "1m",
		`label_replace(x, "a", "[7d]", "b", "offset 7d") > 1`: "0s",
		"x # [5m]\n > rate(y[1m])":                            "1m",
		"sum by (a, b) (rate(x[5m])) > on (a) group_left y":   "5m",
		"sum(rate(x[5m])) by (offset_a)":                      "5m",
		"my_offset[5m] + offsets[2m]":                         "5m",
		"x[ 5m : 1m ] offset 1m":                              "6m",
		"x[":                                                  "0s",
		"x[five]":                                             "0s",
		")))((([5m]":                                          "0s",
		"x[5m + 1m]":                                          "0s", // arithmetic is evaluated with the query
		"new_function(rate(x[5m])) > 1":                       "5m",
		"max_over_time(rate(x[100y])[200y:1d] offset 100y)": "106751d23h47m16s854ms",
		"x[5m] @ 1609746000 > 1":                            "5m",
		"predict_linear(disk[6h], 4 * 3600) < 0":            "6h",
		"(rate(x[5m]))[1h:] or absent_over_time(y[2h])":     "2h",
	} {
		if got := model.Duration(policy.LookBack(expr)).String(); got != want {
			t.Errorf("LookBack(%s) = %s, want %s", expr, got, want)
		}
	}
}

// What is written down decides the same.
func TestBookRoundTrip(t *testing.T) {
	b := book(t)
	b.Policies[0].Match = matchers(t, `a="x\"y\\z\n,{}"`, `b!="1"`, `c=~"a|b"`, `d!~".+"`, `e=""`, `"my.label"="täble"`,
		`"a \"quoted\" name"=~"x"`, `"größe"!=""`)
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var again policy.Book
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	second, err := json.Marshal(again)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), string(second)); diff != "" {
		t.Error(diff)
	}
	if b.Hash() != again.Hash() || len(b.Hash()) != 16 {
		t.Errorf("hashes %s and %s", b.Hash(), again.Hash())
	}
	have := map[string]string{"a": "x\"y\\z\n,{}", "c": "b", "my.label": "täble", `a "quoted" name`: "x", "größe": "5"}
	if ok, m := again.Policies[0].Matches(have); !ok {
		t.Errorf("%s does not match what it was made for", m)
	}
	var bad policy.Policy
	if err := json.Unmarshal([]byte(`{"name":"p","match":["a=~\"(\""]}`), &bad); err == nil ||
		!strings.Contains(err.Error(), `policy "p"`) {
		t.Errorf("a matcher that does not parse: %v", err)
	}
}

// Every part of a book counts.
func TestHash(t *testing.T) {
	seen := map[string]string{book(t).Hash(): "nothing"}
	if one, other := book(t), book(t); one.Hash() != other.Hash() {
		t.Error("two books that are the same have two hashes")
	}
	for name, change := range map[string]func(*policy.Book){
		"a matcher":    func(b *policy.Book) { b.Policies[1].Match = matchers(t, `team="seen"`) },
		"its operator": func(b *policy.Book) { b.Policies[1].Match = matchers(t, `team=~"watched"`) },
		"a mode":       func(b *policy.Book) { b.Policies[1].Steps[0].Mode = remediate.Auto },
		"a parameter":  func(b *policy.Book) { b.Policies[0].Steps[1].With["count"] = "4" },
		"a subject":    func(b *policy.Book) { b.Policies[2].Steps[0].Subject["table"] = "others" },
		"the hold":     func(b *policy.Book) { b.Policies[0].Hold++ },
		"a term":       func(b *policy.Book) { b.Policies[0].Steps[0].Terms.Windows = []string{"night"} },
		"the order":    func(b *policy.Book) { slices.Reverse(b.Policies) },
		"a name":       func(b *policy.Book) { b.Policies[0].Name = "other" },
		"an action":    func(b *policy.Book) { delete(b.Actions, "redis/bgsave") },
		"its subject": func(b *policy.Book) {
			b.Actions["redis/bgsave"] = policy.Action{Name: "redis/bgsave", Subject: []string{"host"}}
		},
	} {
		b := book(t)
		change(&b)
		if before, ok := seen[b.Hash()]; ok {
			t.Errorf("%s changed: the hash is as with %s changed", name, before)
		}
		seen[b.Hash()] = name
	}
}

// Matchers are read as Alertmanager reads them: names in UTF-8, and what only its
// classic parser takes.
func TestParseMatchers(t *testing.T) {
	for text, want := range map[string]string{
		`a="b"`: `a="b"`, ` a = b `: `a="b"`, `{a="b", c=~"d|e"}`: `a="b" c=~"d|e"`, `a="b",c!="d"`: `a="b" c!="d"`,
		`"my.label"="x"`: `my.label="x"`, `{"my.label"="x"}`: `my.label="x"`, `my.label="x"`: `my.label="x"`,
		`"with space"!~"x"`: `"with space"!~"x"`, `"q\"uote"="x"`: `"q\"uote"="x"`, `größe="x"`: `größe="x"`,
		`"日本"="🙂"`: `日本="🙂"`,
		`a=b c`:    `a="b c"`, `a="\d"`: `a="\\d"`, // the classic parser alone
		`a`: "", `="x"`: "", `"a"`: "", `a=~"("`: "", `{"a.b"="c"`: "",
	} {
		all, err := policy.ParseMatchers(text)
		var got []string
		for _, m := range all {
			got = append(got, m.String())
		}
		if strings.Join(got, " ") != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestMatches(t *testing.T) {
	p := policy.Policy{Match: matchers(t, `a="1"`, `b=~"x.*"`, `c!=""`)}
	for _, tc := range []struct {
		have map[string]string
		want string
	}{
		{map[string]string{"a": "1", "b": "xy", "c": "z"}, ""},
		{map[string]string{"a": "2", "b": "xy", "c": "z"}, `a="1"`},
		{map[string]string{"a": "1", "b": "yx", "c": "z"}, `b=~"x.*"`},
		{map[string]string{"a": "1", "b": "xy"}, `c!=""`},
		{nil, `a="1"`},
	} {
		ok, m := p.Matches(tc.have)
		if got := m; ok != (tc.want == "") || m != nil && got.String() != tc.want {
			t.Errorf("%v: %v %v, want %s", tc.have, ok, m, tc.want)
		}
	}
	utf8 := policy.Policy{Match: matchers(t, `"my.label"="x"`, `"a b"=~"y.*"`)}
	for have, want := range map[string]bool{"x": true, "z": false, "": false} {
		if ok, _ := utf8.Matches(map[string]string{"my.label": have, "a b": "yy"}); ok != want {
			t.Errorf("my.label=%q: %t", have, ok)
		}
	}
	if ok, m := (policy.Policy{}).Matches(nil); ok || m != nil {
		t.Errorf("no matcher: %v %v", ok, m)
	}
}

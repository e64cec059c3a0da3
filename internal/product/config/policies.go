package config

import (
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// A Window is a time in which may be acted.
type Window struct {
	Name          string          `yaml:"name" required:"a name, which policies and schedules use" doc:"Name of the window."`
	TimeIntervals []schedule.Spec `yaml:"time_intervals" required:"at least one time interval, like {times: [{start_time: '01:00', end_time: '05:00'}]}" doc:"When it is open, in Alertmanager's time-interval syntax: while any interval holds; an interval holds while all of its keys do."`

	parsed schedule.Window
}

// A Policy says what is done about which alert.
type Policy struct {
	Name    string            `yaml:"name" required:"a name, for the journal" doc:"Name of the policy in the journal."`
	Match   labels.Matchers   `yaml:"match" required:"at least one matcher, like alertname=\"PostgresDeadRows\"" doc:"Matchers, as Alertmanager writes them; all must match the alert's labels. The name of a label may be in UTF-8, in quotation marks: '\"my.label\"=\"x\"'."`
	Hold    time.Duration     `yaml:"hold" default:"0s" doc:"How long the alert must fire before the first step."`
	Steps   []Step            `yaml:"steps" doc:"The steps of the chain, in order: the next step runs if the previous one did not help; after the last one people are notified. A policy with a single step may set action, mode, subject and with here instead."`
	Action  string            `yaml:"action" doc:"Action of a policy with one step."`
	Mode    string            `yaml:"mode" default:"observe" enum:"observe|ask|auto" doc:"Mode of that step. The default only observes: it changes nothing and asks no one for approval."`
	Subject map[string]string `yaml:"subject" doc:"Of that step."`
	With    map[string]string `yaml:"with" doc:"Of that step."`

	Terms

	Cooldown   time.Duration `yaml:"cooldown" default:"1h" doc:"Minimum time between two runs of the same action on the same subject."`
	Decay      time.Duration `yaml:"decay" default:"0s" doc:"How long the alert's expression may keep holding after its cause is gone. upkeep waits this long before the verdict of a run, and before the next run. 0s: the rule's decay annotation, else the range of its expression."`
	Ramp       bool          `yaml:"ramp" default:"true" doc:"Ramp up concurrency: one run at first, then two, four and so on while runs succeed."`
	Breaker    int           `yaml:"breaker" default:"3" doc:"Number of failed or useless runs in a row that stop the policy; 0: never."`
	BreakerFor time.Duration `yaml:"breaker_for" default:"1d" doc:"Time after which one run may try again; 0s: only after upkeep policy close."`
	Effect     float64       `yaml:"effect" default:"50%" doc:"Minimum success rate of runs, by the lower bound of Wilson's interval (90 %). Below it the policy is demoted: its runs need approval. 0%: never. At least five verdicts are needed."`
	Silence    bool          `yaml:"silence" default:"false" doc:"Silence the alert in Alertmanager during a run; the silence ends with the run."`
}

// A Step is one action of a policy.
type Step struct {
	Action  string            `yaml:"action" required:"an action" doc:"The action; docs/actions.md lists all."`
	Mode    string            `yaml:"mode" default:"observe" enum:"observe|ask|auto" doc:"observe makes the plan, records it in the journal and changes nothing; ask acts after a person has approved the plan; auto acts when all guards pass."`
	Subject map[string]string `yaml:"subject" doc:"Labels of the action that the alert does not have by the same name: a fixed text, or the alert's own as $label or ${label}; $$ is a dollar."`
	With    map[string]string `yaml:"with" doc:"Parameters of the action, in the same syntax. If the alert does not have the label, or the value has another type, the run is refused."`
	Limit   *float64          `yaml:"limit" doc:"Limit for the action's own metric, if the step only prepares the next one. Default: the limit in the rule, and the step should resolve the alert."`
	Windows []string          `yaml:"windows" doc:"Windows of this step; they replace the policy's."`
}

// Terms are what policies and schedules ask alike before anything is done.
type Terms struct {
	Windows     []string      `yaml:"windows" doc:"Act only while one of these windows is open, and wait until then. Empty: at any time."`
	Budget      float64       `yaml:"budget" default:"20%" doc:"Maximum share of the action's targets with concurrent runs, at least one target; 0%: no limit. Runs that are not verified yet count."`
	Fresh       time.Duration `yaml:"fresh" default:"30m" doc:"Maximum age of the last successful collection of the metric that the action lowers. It must be longer than the collector's interval, which is 10s to 10m, and 30m for docker/diskusage. 0s: not checked."`
	Backup      time.Duration `yaml:"backup" default:"0s" doc:"Maximum age of the target's last verified backup before a destructive action; 0s: not checked."`
	FreeDisk    float64       `yaml:"free_disk" default:"0%" doc:"Minimum share of free disk space on the target; 0%: not checked."`
	Lag         time.Duration `yaml:"lag" default:"0s" doc:"Maximum replication lag of the target's replicas; 0s: not checked."`
	Transaction time.Duration `yaml:"transaction" default:"0s" doc:"Maximum age of the target's oldest transaction; 0s: not checked."`
	MostRows    int           `yaml:"most_rows" default:"0" doc:"Maximum number of rows that a run may delete, drop or prune. A plan that expects more is refused with the reason amount, and a run that would remove more stops. 0: no limit. It does not apply to runs started by hand."`
	MostShare   float64       `yaml:"most_share" default:"0%" doc:"Maximum share of all rows (or bytes, if rows are not counted) that a run may remove, in the same way. 0%: no limit."`
	Answer      time.Duration `yaml:"answer" default:"1d" min:"1m" doc:"How long a run awaits approval before it expires, and how long an approval is valid."`
}

// A Schedule says what is done at its time.
type Schedule struct {
	Name     string            `yaml:"name" required:"a name, for the journal" doc:"Name of the schedule in the journal."`
	Cron     string            `yaml:"cron" required:"a cron expression, like '0 3 * * *'" doc:"When: minute, hour, day of the month, month, day of the week. '0 3 * * *' is daily at 03:00, '0 2 * * SUN' on Sundays at 02:00, '0 1 * * SUN#1' on the first Sunday of a month at 01:00."`
	TimeZone string            `yaml:"time_zone" default:"UTC" doc:"Time zone, like Europe/Berlin. At daylight saving changes a skipped occurrence runs at once, and a repeated one runs only once."`
	Action   string            `yaml:"action" required:"an action" doc:"The action; docs/actions.md lists all."`
	Subject  map[string]string `yaml:"subject" doc:"Subject of the run: every label of the action, or with a query, the labels that are the same for all."`
	Query    string            `yaml:"query" doc:"PromQL; one run for each series in the result, with the series' labels as the rest of the subject."`
	With     map[string]string `yaml:"with" doc:"Parameters of the action."`
	Limit    *float64          `yaml:"limit" doc:"Limit that the action's metric must fall to. Default: the limit in the rule that names the action. Subjects that are within it already are worked on too: the query selects the subjects."`
	Mode     string            `yaml:"mode" default:"observe" enum:"observe|ask|auto" doc:"As in a policy's step."`
	Missed   string            `yaml:"missed" default:"skip" enum:"skip|late" doc:"Missed occurrences (upkeep was down): skip ignores them, late runs once after the start. Both are recorded in the journal."`

	Terms

	Cooldown time.Duration `yaml:"cooldown" default:"0s" doc:"Minimum time between two runs of the same action on the same subject."`
}

// Book returns the policies as they decide, with what they know of each action.
func (c *Config) Book(actions map[string]policy.Action) policy.Book {
	b := policy.Book{Actions: actions}
	for _, p := range c.Policies {
		made := policy.Policy{Name: p.Name, Match: p.Match, Hold: p.Hold}
		for _, s := range p.Steps {
			made.Steps = append(made.Steps, policy.Step{
				Action: s.Action, Mode: remediate.Mode(s.Mode), Subject: s.Subject, With: s.With, Limit: s.Limit, Terms: p.terms(s),
			})
		}
		b.Policies = append(b.Policies, made)
	}
	return b
}

// terms are those of the policy for one of its steps.
func (p Policy) terms(s Step) remediate.Terms {
	t := p.Terms.common()
	t.Cooldown, t.Decay, t.Ramp, t.Breaker, t.BreakerFor = p.Cooldown, p.Decay, p.Ramp, p.Breaker, p.BreakerFor
	t.Effect, t.Silence = p.Effect, p.Silence
	if len(s.Windows) > 0 {
		t.Windows = s.Windows
	}
	return t
}

func (t Terms) common() remediate.Terms {
	return remediate.Terms{
		Windows: t.Windows, Budget: t.Budget, Fresh: t.Fresh, Backup: t.Backup,
		FreeDisk: t.FreeDisk, Lag: t.Lag, Transaction: t.Transaction, Answer: t.Answer,
		MostRows: float64(t.MostRows), MostShare: t.MostShare,
	}
}

// Step returns what the schedule asks for each time.
func (s Schedule) Step() policy.Step {
	t := s.Terms.common()
	t.Cooldown = s.Cooldown
	return policy.Step{Action: s.Action, Mode: remediate.Mode(s.Mode), Subject: s.Subject, With: s.With, Terms: t}
}

// Times returns when a policy or a schedule may act, by the name that it uses.
func (c *Config) Times() map[string]schedule.Window {
	all := make(map[string]schedule.Window, len(c.Windows))
	for _, w := range c.Windows {
		all[w.Name] = w.parsed
	}
	return all
}

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
	TimeIntervals []schedule.Spec `yaml:"time_intervals" required:"at least one time interval, like {times: [{start_time: '01:00', end_time: '05:00'}]}" doc:"When it is open, as Alertmanager writes time intervals: while any of them holds, each of which holds while all of its keys do."`

	parsed schedule.Window
}

// A Policy says what is done about which alert.
type Policy struct {
	Name    string            `yaml:"name" required:"a name, for the journal" doc:"Name of the policy in the journal."`
	Match   labels.Matchers   `yaml:"match" required:"at least one matcher, like alertname=\"PostgresDeadRows\"" doc:"Matchers, as Alertmanager writes them; all must match the alert's labels. The name of a label may be in UTF-8, in quotation marks: '\"my.label\"=\"x\"'."`
	Hold    time.Duration     `yaml:"hold" default:"0s" doc:"How long the alert must have fired before the first step."`
	Steps   []Step            `yaml:"steps" doc:"The steps of the chain, in order: the next step runs if the previous one did not help; after the last one people are notified. A policy with a single step may set action, mode, subject and with here instead."`
	Action  string            `yaml:"action" doc:"What is done, where there is one step."`
	Mode    string            `yaml:"mode" default:"observe" enum:"observe|ask|auto" doc:"Mode of that step. The default only observes: it changes nothing and asks no one for approval."`
	Subject map[string]string `yaml:"subject" doc:"Of that step."`
	With    map[string]string `yaml:"with" doc:"Of that step."`

	Terms

	Cooldown   time.Duration `yaml:"cooldown" default:"1h" doc:"How long the same subject is left alone after a run of the same action."`
	Decay      time.Duration `yaml:"decay" default:"0s" doc:"How long the alert's expression may hold after its cause is gone: so long is waited before a run that helped is called useless, and before the next. 0s: as the rule's decay annotation says it, or as far as its expression looks back."`
	Ramp       bool          `yaml:"ramp" default:"true" doc:"Begin with one run at once, then two, four and so on as they clear."`
	Breaker    int           `yaml:"breaker" default:"3" doc:"So many failed or useless runs in a row stop the policy; 0: never."`
	BreakerFor time.Duration `yaml:"breaker_for" default:"1d" doc:"After which one run may try again; 0s: when a person says so."`
	Effect     float64       `yaml:"effect" default:"50%" doc:"Least share of runs that clear, by the lower bound of Wilson's interval (90 %). Below it the policy asks a person from then on; 0%: never. At least five runs are judged before."`
	Silence    bool          `yaml:"silence" default:"false" doc:"Silence the alert while a run works on it; the silence ends with the run."`
}

// A Step is one action of a policy.
type Step struct {
	Action  string            `yaml:"action" required:"an action" doc:"What is done; docs/actions.md lists all."`
	Mode    string            `yaml:"mode" default:"observe" enum:"observe|ask|auto" doc:"observe plans and journals, and changes nothing; ask acts when a person has approved of the plan; auto acts when every guard agrees."`
	Subject map[string]string `yaml:"subject" doc:"Labels of the action that the alert does not have by the same name: a fixed text, or the alert's own as $label or ${label}; $$ is a dollar."`
	With    map[string]string `yaml:"with" doc:"Parameters of the action, written in the same way. A label that the alert does not have, or a value of another type, declines the run."`
	Limit   *float64          `yaml:"limit" doc:"What the action's own metric should fall to, where the step only clears the way for the next one. Without: the limit in the rule, and the step should end the alert."`
	Windows []string          `yaml:"windows" doc:"Windows of this step, instead of the policy's."`
}

// Terms are what policies and schedules ask alike before anything is done.
type Terms struct {
	Windows     []string      `yaml:"windows" doc:"Act only while one of these windows is open, and wait until then; none: at any time."`
	Budget      float64       `yaml:"budget" default:"20%" doc:"Share of the action's targets that may be worked on at once, one at least; 0%: any. Runs that are not yet verified count."`
	Fresh       time.Duration `yaml:"fresh" default:"30m" doc:"How old the last good answer of the collector may be that reads what the action lowers; it must be longer than the collector's interval, which is 10s to 10m, and 30m of docker/diskusage. 0s: not asked."`
	Backup      time.Duration `yaml:"backup" default:"0s" doc:"How old the target's last verified backup may be before a destructive action; 0s: not asked."`
	FreeDisk    float64       `yaml:"free_disk" default:"0%" doc:"Least share of the target's disk that must be free; 0%: not asked."`
	Lag         time.Duration `yaml:"lag" default:"0s" doc:"How far the target's replicas may be behind; 0s: not asked."`
	Transaction time.Duration `yaml:"transaction" default:"0s" doc:"How old the target's oldest transaction may be; 0s: not asked."`
	MostRows    int           `yaml:"most_rows" default:"0" doc:"How many rows a run may delete, drop or prune; a plan that expects more is refused with the reason amount, and a run that would remove more stops. 0: any number. A run by hand is not bound."`
	MostShare   float64       `yaml:"most_share" default:"0%" doc:"What share of all rows, or of all bytes where rows are not counted, a run may remove, in the same way. 0%: any."`
	Answer      time.Duration `yaml:"answer" default:"1d" min:"1m" doc:"How long a person may take to answer, and how long the answer holds."`
}

// A Schedule says what is done at its time.
type Schedule struct {
	Name     string            `yaml:"name" required:"a name, for the journal" doc:"Name of the schedule in the journal."`
	Cron     string            `yaml:"cron" required:"a cron expression, like '0 3 * * *'" doc:"When: minute, hour, day of the month, month, day of the week. '0 3 * * *' is daily at 03:00, '0 2 * * SUN' on Sundays at 02:00, '0 1 * * SUN#1' on the first Sunday of a month at 01:00."`
	TimeZone string            `yaml:"time_zone" default:"UTC" doc:"Whose clock is meant, like Europe/Berlin. What the clock jumps over is made up for at once; what it shows twice is done once."`
	Action   string            `yaml:"action" required:"an action" doc:"What is done; docs/actions.md lists all."`
	Subject  map[string]string `yaml:"subject" doc:"On what: every label of the action, or with a query, those that are the same for all."`
	Query    string            `yaml:"query" doc:"PromQL; the action is done for each series that it finds, with the series' labels as the rest of the subject."`
	With     map[string]string `yaml:"with" doc:"Parameters of the action."`
	Limit    *float64          `yaml:"limit" doc:"What the action's metric should fall to for the run to be called cleared. Without: the limit in the rule that names the action. What is there already is worked on too: the query says on what."`
	Mode     string            `yaml:"mode" default:"observe" enum:"observe|ask|auto" doc:"As in a policy's step."`
	Missed   string            `yaml:"missed" default:"skip" enum:"skip|late" doc:"Missed occurrences (upkeep was down): skip ignores them, late runs once after the start. Both are recorded in the journal."`

	Terms

	Cooldown time.Duration `yaml:"cooldown" default:"0s" doc:"How long the same subject is left alone after a run of the same action."`
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

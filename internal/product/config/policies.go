package config

import (
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"

	"github.com/ai-micro-service/upkeep/remediate"
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
	Limit   *float64          `yaml:"limit" doc:"Limit of the alerts that it matches, in place of the limit annotation of their rule. Needed for mode auto if upkeep does not know the rule: one that is neither shipped nor loaded in the Prometheus that it asks."`
	Expr    string            `yaml:"expr" doc:"Expression of these alerts, in place of their rule's; upkeep evaluates it after a run to see whether they still hold."`

	remediate.Terms // a key of their own each
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

	remediate.Terms `terms:"schedule"` // those that a schedule has, with its defaults
}

package remediate

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// Terms are what a policy or a schedule asks of the guards and of the engine. The zero
// value asks for nothing.
//
// A term is said here and nowhere else: it is a key of policies and schedules in
// upkeep.yaml with these tags, and it is decoded, documented, compared and printed by
// them. schedule is the default of a schedule where it differs, "-" where a schedule has
// no such key. The order of the fields is that of the journal, whose hashes depend on it:
// append new ones.
type Terms struct {
	Cooldown         time.Duration `yaml:"cooldown" json:"cooldown,omitempty" default:"1h" schedule:"0s" doc:"Minimum time between two runs of the same action on the same subject."`
	Decay            time.Duration `yaml:"decay" json:"decay,omitempty" default:"0s" schedule:"-" doc:"How long the alert's expression may keep holding after its cause is gone. upkeep waits this long before the verdict of a run, and before the next run. 0s: the rule's decay annotation, else the range of its expression."`
	Windows          []string      `yaml:"windows" json:"windows,omitempty" doc:"Act only while one of these windows is open, and wait until then. Empty: at any time."`
	Budget           float64       `yaml:"budget" json:"budget,omitempty" default:"20%" doc:"Maximum share of the action's targets with concurrent runs, at least one target; 0%: no limit. Runs that are not verified yet count."`
	Ramp             bool          `yaml:"ramp" json:"ramp,omitempty" default:"true" schedule:"-" doc:"Ramp up concurrency: one run at first, then two, four and so on while runs succeed."`
	Breaker          int           `yaml:"breaker" json:"breaker,omitempty" default:"3" schedule:"-" doc:"Number of failed or useless runs in a row that stop the policy; 0: never."`
	BreakerFor       time.Duration `yaml:"breaker_for" json:"breaker_for,omitempty" default:"1d" schedule:"-" doc:"Time after which one run may try again; 0s: only after upkeep policy close."`
	Effect           float64       `yaml:"effect" json:"effect,omitempty" default:"50%" schedule:"-" doc:"Minimum success rate of runs, by the lower bound of Wilson's interval (90 %). Below it the policy is demoted: its runs need approval. 0%: never. At least five verdicts are needed."`
	Fresh            time.Duration `yaml:"fresh" json:"fresh,omitempty" default:"30m" doc:"Maximum age of the last successful collection of the metric that the action lowers. It must be longer than the collector's interval, which is 10s to 10m, and 30m for docker/diskusage. 0s: not checked."`
	Backup           time.Duration `yaml:"backup" json:"backup,omitempty" default:"0s" doc:"Maximum age of the target's last verified backup before a destructive action; 0s: not checked."`
	FreeDisk         float64       `yaml:"free_disk" json:"free_disk,omitempty" default:"0%" doc:"Minimum share of free disk space on the target; 0%: not checked."`
	Lag              time.Duration `yaml:"lag" json:"lag,omitempty" default:"0s" doc:"Maximum replication lag of the target's replicas; 0s: not checked."`
	Transaction      time.Duration `yaml:"transaction" json:"transaction,omitempty" default:"0s" doc:"Maximum age of the target's oldest transaction; 0s: not checked."`
	Silence          bool          `yaml:"silence" json:"silence,omitempty" default:"false" schedule:"-" doc:"Silence the alert in Alertmanager during a run; the silence ends with the run."`
	ApprovalLifetime time.Duration `yaml:"approval_lifetime" json:"answer,omitempty" default:"1d" min:"1m" doc:"How long a run awaits approval before it expires, and how long an approval is valid."`
	MostRows         int           `yaml:"most_rows" json:"most_rows,omitempty" default:"0" doc:"Maximum number of rows that a run may delete, drop or prune. A plan that expects more is refused with the reason amount, and a run that would remove more stops. 0: no limit. It does not apply to runs started by hand."`
	MostShare        float64       `yaml:"most_share" json:"most_share,omitempty" default:"0%" doc:"Maximum share of all rows (or bytes, if rows are not counted) that a run may remove, in the same way. 0%: no limit."`
}

// OfSchedule returns the tags of a term as a schedule has it, and whether it has it.
func OfSchedule(term reflect.StructTag) (reflect.StructTag, bool) {
	switch own, differs := term.Lookup("schedule"); {
	case own == "-":
		return "", false
	case differs: // the first of two tags of one key counts
		return reflect.StructTag(fmt.Sprintf("default:%q ", own)) + term, true
	}
	return term, true
}

// ApprovalTime returns how long a run awaits approval, and how long an approval is valid. A
// request that sets no time, like that of a person, has the default of policies.
func (t Terms) ApprovalTime() time.Duration {
	if t.ApprovalLifetime > 0 {
		return t.ApprovalLifetime
	}
	f, _ := reflect.TypeFor[Terms]().FieldByName("ApprovalLifetime")
	d, err := model.ParseDuration(f.Tag.Get("default"))
	if err != nil {
		panic("remediate: the default of approval_lifetime: " + err.Error()) // a test reads it
	}
	return time.Duration(d)
}

// Text writes what is asked, by the keys of the configuration, in its syntax. What is
// not asked is left out.
func (t Terms) Text() string {
	var all []string
	v := reflect.ValueOf(t)
	for i := range v.NumField() {
		if f := v.Field(i); !f.IsZero() {
			all = append(all, strings.TrimSpace(v.Type().Field(i).Tag.Get("yaml")+" "+written(f.Interface())))
		}
	}
	return strings.Join(all, "; ")
}

// written writes the value of a term as the configuration has it; what is switched on needs
// only its key.
func written(value any) string {
	switch value := value.(type) {
	case time.Duration:
		return model.Duration(value).String()
	case []string:
		return strings.Join(value, ", ")
	case float64:
		return fmt.Sprintf("%.12g%%", value*100) // 0.29 × 100 is not 29 to the last digit
	case int:
		return strconv.Itoa(value)
	default: // a bool
		return ""
	}
}

package remediate

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SourceAlertmanager is the source of the alerts that Alertmanager delivers, lists and silences.
const SourceAlertmanager = "alertmanager"

// The status of an alert, as its source and the metrics have it.
const (
	StatusFiring   = "firing"
	StatusResolved = "resolved"
)

// An Alert is one alert as a source sent it. Firing and resolved are hints: the
// engine reads the target itself before it acts and before it calls a run resolved.
type Alert struct {
	Source      string            `json:"source"` // the name of a webhook.Source
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Firing      bool              `json:"firing"`
	StartsAt    time.Time         `json:"starts_at,omitzero"`
	EndsAt      time.Time         `json:"ends_at,omitzero"` // of one that is not firing, where the source tells it
	Expr        string            `json:"expr,omitempty"`   // the rule's expression, where the source tells it

	// Rule says whether the limit and the expression are those of a rule that upkeep knows.
	// No delivery sets it.
	Rule RuleSource `json:"rule,omitempty"`

	// Receiver is the receiver of Alertmanager that the alert was delivered to, quoted
	// as a regular expression, as Alertmanager writes it.
	Receiver string `json:"receiver,omitempty"`

	// Ahead is by how much the clock of the source is ahead of ours at least: so much
	// later than it was received the alert had begun.
	Ahead time.Duration `json:"ahead,omitempty"`
}

// Severity is how bad an alert is, by its label severity. The numbers are in the store: what is worse is
// more.
type Severity int

// The severities. Another label than these is Unrated.
const (
	Unrated Severity = iota
	Info
	Warning
	Critical
)

// Severities lists the severities, the worst first.
func Severities() []Severity { return []Severity{Critical, Warning, Info, Unrated} }

// SeverityOf returns the severity of a label.
func SeverityOf(label string) Severity {
	switch strings.ToLower(label) {
	case "critical", "page", "error", "emergency", "fatal":
		return Critical
	case "warning", "warn":
		return Warning
	case "info", "none", "notice":
		return Info
	default:
		return Unrated
	}
}

// String returns the severity for people.
func (s Severity) String() string {
	switch s {
	case Critical:
		return "critical"
	case Warning:
		return "warning"
	case Info:
		return "info"
	default:
		return "unrated"
	}
}

// An Incident is an incident: the time in which one alert fires for one subject. It
// opens with the first firing alert of its labels and is not opened twice.
type Incident struct {
	ID     int64     `json:"id"`
	Alert  Alert     `json:"alert"` // as last delivered
	Opened time.Time `json:"opened"`
	Seen   time.Time `json:"seen"`            // when it was last delivered
	Closed time.Time `json:"closed,omitzero"` // zero while open
	Why    string    `json:"why,omitempty"`   // it was closed
	Ripe   time.Time `json:"ripe,omitzero"`   // nothing is decided before: an alert that comes and goes is held down
	Flaps  int       `json:"flaps,omitempty"` // how often the same alert has come and gone shortly before

	// FlappingSince is set when the alert has been flapping for long and each time ended
	// during its hold-down, so that nothing was decided: since when. FlappingFrom is the
	// first incident of that time.
	FlappingSince time.Time `json:"flapping_since,omitzero"`
	FlappingFrom  int64     `json:"flapping_from,omitempty"`
}

// Severity returns the severity of the alert.
func (e Incident) Severity() Severity { return SeverityOf(e.Alert.Labels["severity"]) }

// Name returns the name of the alert.
func (e Incident) Name() string { return e.Alert.Labels["alertname"] }

// A Rule is an alerting rule that upkeep knows from where it is configured, and not from a
// delivery.
type Rule struct {
	Name, Expr          string
	Labels, Annotations map[string]string
}

// A RuleSource says where the limit and the expression of an alert come from.
type RuleSource string

// The sources of a rule.
const (
	RuleDelivered RuleSource = ""        // the delivery, which was not compared with any rule
	RuleKnown     RuleSource = "known"   // the rule that is loaded or shipped
	RuleUnknown   RuleSource = "unknown" // the delivery, and upkeep knows no such rule
)

// Believed returns an alert with the limit, the decay and the expression of the rule that
// it claims to be of: the delivery may be forged. Where no such rule is known, the alert has no expression, and the
// limit of its delivery is for people to look at.
func (a Alert) Believed(rules []Rule) Alert {
	r, ok := a.rule(rules)
	a.Annotations = maps.Clone(a.Annotations)
	if !ok {
		a.Rule, a.Expr = RuleUnknown, ""
		delete(a.Annotations, "decay")
		return a
	}
	a.Rule, a.Expr = RuleKnown, r.Expr
	if a.Annotations == nil {
		a.Annotations = make(map[string]string)
	}
	for _, name := range []string{"limit", "decay"} {
		delete(a.Annotations, name)
		if value, ok := r.Annotations[name]; ok {
			a.Annotations[name] = value
		}
	}
	if _, err := strconv.ParseFloat(a.Annotations["limit"], 64); err != nil {
		a.Rule = RuleUnknown // its limit is a template, or is missing
		delete(a.Annotations, "limit")
	}
	return a
}

// rule finds the rule of an alert by its name. Of several one that sets labels that the alert
// has is taken, of these the one whose expression the delivery names, and else the one with the largest limit, by
// which the least is done.
func (a Alert) rule(rules []Rule) (found Rule, ok bool) {
	fitted := false // labels may have been changed on the way
	for _, r := range rules {
		fits := r.fits(a.Labels)
		if r.Name != a.Labels["alertname"] || fitted && !fits {
			continue
		}
		if fits && !fitted {
			fitted, found, ok = true, r, true
			continue
		}
		switch {
		case !ok || squeezed(r.Expr) == squeezed(a.Expr) && squeezed(found.Expr) != squeezed(a.Expr):
			found, ok = r, true
		case squeezed(found.Expr) != squeezed(a.Expr) && r.limit() > found.limit():
			found = r
		}
	}
	return found, ok
}

// fits reports whether an alert can be one of the rule: it has the labels that the rule sets.
// One with a template in it sets any value.
func (r Rule) fits(labels map[string]string) bool {
	for name, value := range r.Labels {
		if labels[name] != value && !strings.Contains(value, "{{") {
			return false
		}
	}
	return true
}

func (r Rule) limit() float64 {
	v, _ := strconv.ParseFloat(r.Annotations["limit"], 64) // 0 where it is no number
	return v
}

// squeezed is an expression without its spaces: Prometheus writes them as it likes.
func squeezed(expr string) string { return strings.Join(strings.Fields(expr), "") }

// What is kept of an alert. Prometheus sets no limits of its own by default; the alerts of real rules
// have some ten labels and a few hundred bytes.
const (
	maxLabels      = 64
	maxLabel       = 4 << 10  // bytes of a name and its value
	maxLabelsBytes = 16 << 10 // of all

	maxAnnotations      = 64
	maxAnnotation       = 8 << 10
	maxAnnotationsBytes = 32 << 10
	maxReceiver         = 4 << 10
)

// Bounded returns an alert whose annotations are cut where they are too many or too long, and
// say so. Labels are not cut: they say which alert it is, and two that differ in what was cut
// would be one. An alert with too many or too long labels is an error.
func (a Alert) Bounded() (Alert, error) {
	if len(a.Labels) > maxLabels {
		return a, fmt.Errorf("it has %d labels, %d are allowed", len(a.Labels), maxLabels)
	}
	all := 0
	for name, value := range a.Labels {
		size := len(name) + len(value)
		if all += size; size > maxLabel {
			return a, fmt.Errorf("its label %.40q has %d bytes, %d are allowed", name, size, maxLabel)
		}
	}
	switch {
	case all > maxLabelsBytes:
		return a, fmt.Errorf("its labels have %d bytes, %d are allowed", all, maxLabelsBytes)
	case len(a.Receiver) > maxReceiver:
		return a, fmt.Errorf("its receiver has %d bytes, %d are allowed", len(a.Receiver), maxReceiver)
	}
	all = 0
	for name, value := range a.Annotations {
		if all += len(name) + len(value); len(name)+len(value) > maxAnnotation {
			all = maxAnnotationsBytes + 1
			break
		}
	}
	if all > maxAnnotationsBytes || len(a.Annotations) > maxAnnotations {
		a.Annotations = cutAnnotations(a.Annotations)
	}
	return a, nil
}

// cutAnnotations keeps of annotations what there is room for, those first that upkeep reads. A
// value that was cut says so, and is no number any more.
func cutAnnotations(all map[string]string) map[string]string {
	first := []string{"limit", "decay", "action", "reason", "summary", "description", "runbook_url"}
	kept, left, out := make(map[string]string), maxAnnotationsBytes, 0
	rest := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(name string) bool {
		return slices.Contains(first,
			name)
	})
	for _, name := range append(first, rest...) {
		value, ok := all[name]
		switch room := min(left, maxAnnotation) - len(name); {
		case !ok:
			continue
		case room <= 0 || len(kept) == maxAnnotations:
			out++
			continue
		case len(value) > room:
			value = strings.ToValidUTF8(value[:room], "") + fmt.Sprintf("… (cut by upkeep: it has %d bytes)",
				len(value))
		}
		kept[name] = value
		left -= len(name) + len(value)
	}
	if out > 0 {
		kept["upkeep_cut"] = fmt.Sprintf("%d annotations were left out by upkeep: there are too many, or they are too "+
			"long",
			out)
	}
	return kept
}

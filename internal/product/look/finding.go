// Package look finds what is wrong with the servers that upkeep watches, at the first look: from what the
// collectors have read already, and from a few small queries for what no collector reads. A finding has its
// figures with it. What cannot be read is listed as not known, and never as fine.
//
// facts.go has what is known of a target, and ask.go the queries of its own; postgres.go, load.go, redis.go and
// machine.go what is found in it; rank.go has the order, and look.go puts them together.
package look

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Harm is what a finding endangers.
type Harm string

// The harms, the worst first.
const (
	Data    Harm = "data"    // rows may be lost or wrong
	Service Harm = "service" // requests may fail
	Speed   Harm = "speed"   // requests take longer than they need to
	Space   Harm = "space"   // bytes that are of no use
	Care    Harm = "care"    // something is left undone
)

// Harms lists the harms, the worst first.
func Harms() []Harm { return []Harm{Data, Service, Speed, Space, Care} }

// A Finding is one thing that is wrong.
type Finding struct {
	Kind     string            `json:"kind"`     // like postgres/index_bloat
	Severity string            `json:"severity"` // critical, warning or info
	Harm     Harm              `json:"harm"`
	Server   string            `json:"server"`
	Subject  map[string]string `json:"subject"` // labels of the object, with the server
	Title    string            `json:"title"`   // what is wrong, in one sentence
	Cost     string            `json:"cost"`    // what it costs
	Bytes    float64           `json:"bytes,omitempty"`
	Seconds  float64           `json:"seconds,omitempty"`
	Evidence []Evidence        `json:"evidence"`

	// Candidate is set where the evidence is too young: a candidate has no plan.
	Candidate *Candidate `json:"candidate,omitempty"`
	Plan      *Plan      `json:"plan,omitempty"`    // the action that mends it
	ByHand    string     `json:"by_hand,omitempty"` // what a person can do about it; SQL ends with a semicolon
}

// Evidence is one figure, and where it is from.
type Evidence struct {
	What  string     `json:"what"` // the metric or the column
	Value string     `json:"value"`
	From  string     `json:"from"`            // the collector, or the catalogs of a query
	At    time.Time  `json:"at,omitzero"`     // when it was read
	Since *time.Time `json:"since,omitempty"` // since when it is counted
	Note  string     `json:"note,omitempty"`  // what limits it
}

// A Candidate is since when there is evidence, and from when on it is enough.
type Candidate struct {
	Since  time.Time `json:"since,omitzero"`
	Enough time.Time `json:"enough,omitzero"`
	Why    string    `json:"why,omitempty"` // what else it needs
}

// A Plan names the action that mends a finding. Nothing is planned before a person asks for it.
type Plan struct {
	Action  string            `json:"action"`
	Subject map[string]string `json:"subject"`
	Params  map[string]string `json:"params,omitempty"`
	Command string            `json:"command,omitempty"` // for a shell; left out where a name cannot be typed
}

// Unknown is something that could not be read.
type Unknown struct {
	Server string `json:"server"`
	What   string `json:"what"` // the collector or the question
	Why    string `json:"why"`
	SQL    string `json:"sql,omitempty"` // the statement that grants the missing right
}

// Left is how many findings of one kind are not listed one by one.
type Left struct {
	Server string  `json:"server"`
	Kind   string  `json:"kind"`
	Count  int     `json:"count"`
	Bytes  float64 `json:"bytes,omitempty"`
}

// A Seen is one target that was looked at.
type Seen struct {
	Server   string   `json:"server"`
	Kind     string   `json:"kind"`
	Findings int      `json:"findings"`
	Pending  []string `json:"pending,omitempty"` // collectors that have not answered yet
}

// A Report is what was found at a moment, the worst first.
type Report struct {
	At       time.Time `json:"at,omitzero"`
	Complete bool      `json:"complete"` // every target answers, and every collector has answered or failed to
	Targets  []Seen    `json:"targets"`
	Findings []Finding `json:"findings"`
	Left     []Left    `json:"left_out"`
	Unknown  []Unknown `json:"unknown"`
}

// plan makes the plan of an action, on what has these labels of a subject.
func plan(action string, subject, params map[string]string, names ...string) *Plan {
	p := &Plan{Action: action, Subject: make(map[string]string, len(names)), Params: params,
		Command: Command("plan", action, names, subject, params)}
	for _, name := range names {
		p.Subject[name] = subject[name]
	}
	return p
}

// Command returns the command of upkeep that does something with an action, for a shell: plan or run. It is
// empty where a name cannot be typed.
func Command(verb, action string, names []string, subject, params map[string]string) string {
	words := []string{"upkeep", verb, action}
	for _, name := range names {
		words = append(words, shellWord(name+"="+subject[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		words = append(words, "--with", shellWord(name+"="+params[name]))
	}
	if command := strings.Join(words, " "); visible.Text(command) == command {
		return command
	}
	return ""
}

// shellWord quotes a word for a shell where it needs that.
func shellWord(word string) string {
	plain := strings.IndexFunc(word, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("_=./:-", r))
	}) < 0
	if plain {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// severity is the word of a severity.
func severity(s remediate.Severity) string { return s.String() }

// worse is the severity of a value: critical or warning from their limits on, and else info.
func worse(v, warning, critical float64) string {
	switch {
	case v >= critical:
		return severity(remediate.Critical)
	case v >= warning:
		return severity(remediate.Warning)
	}
	return severity(remediate.Info)
}

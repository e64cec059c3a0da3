// Package serverlog reads what PostgreSQL itself writes into its log, and counts it by class. What a line says of
// statements, names and data is not kept: a class, a SQLSTATE, how often, and when.
//
// class.go has the classes; line.go reads lines of stderr and of jsonlog, and table.go csvlog; tally.go
// counts; read.go finds the log.
//
// Who can reach the port of a server can make it write lines, with a text of his own in the place of a name. So what a
// log says is for people, and nothing is done because of it.
package serverlog

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Group is how often a log has lines of a class, or of one SQLSTATE.
type Group struct {
	Class       Class
	State       string    // "" where the log does not say it
	Count       int       // of lines
	Bytes       float64   // of temporary files
	First, Last time.Time // zero where lines have no time
}

// An event is one line, with those that continue it.
type event struct {
	at                       time.Time // zero: not known
	severity, state, message string
}

// A tally counts events.
type tally struct {
	from   time.Time // what is older does not count
	groups map[Group]*Group
	first  time.Time // of all that was read, also of what does not count
	lines  int       // that were understood
	notes  []rule
	errors []rule
}

func newTally(from time.Time) *tally {
	return &tally{from: from, groups: make(map[Group]*Group), notes: notes(), errors: errorRules()}
}

// saw notes that a line was understood, and its time.
func (t *tally) saw(at time.Time) {
	t.lines++
	if !at.IsZero() && (t.first.IsZero() || at.Before(t.first)) {
		t.first = at
	}
}

// add counts an event.
func (t *tally) add(e event) {
	if !e.at.IsZero() && e.at.Before(t.from) {
		return
	}
	class, state := t.classify(e)
	if class == "" || class == ignored {
		return
	}
	key := Group{Class: class, State: state}
	g := t.groups[key]
	if g == nil {
		g = &Group{Class: class, State: state}
		t.groups[key] = g
	}
	g.Count++
	if class == Temporary {
		g.Bytes += sizeOf(e.message)
	}
	if !e.at.IsZero() {
		if g.First.IsZero() || e.at.Before(g.First) {
			g.First = e.at
		}
		if e.at.After(g.Last) {
			g.Last = e.at
		}
	}
}

// classify says what an event is. A severity is a word of some language; a SQLSTATE is not.
func (t *tally) classify(e event) (Class, string) {
	failed := failure(e.state) || e.state == "" && (e.severity == "ERROR" || e.severity == "FATAL" ||
		e.severity == "PANIC")
	if !failed || e.severity == "LOG" || e.severity == "WARNING" {
		r, _ := match(t.notes, e.message)
		return r.class, ""
	}
	r, _ := match(t.errors, e.message)
	state := cmp.Or(e.state, r.state)
	class := r.class
	if class == "" {
		class = ofState(state)
	}
	if e.severity == "PANIC" && class == Failed {
		class = Panic
	}
	return class, state
}

// sizeOf is the size of a temporary file, which is the end of its line.
func sizeOf(message string) float64 {
	_, text, _ := strings.Cut(message, ", size ")
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 62)
	if err != nil {
		return 0
	}
	return float64(n)
}

// all returns the groups in one order.
func (t *tally) all() (list []Group) {
	for _, g := range t.groups {
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(b.Count, a.Count), cmp.Compare(a.State, b.State))
	})
	return list
}

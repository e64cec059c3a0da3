package journal

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A PolicyState is the state of a policy that differs from its configuration.
type PolicyState struct {
	Policy  string    `json:"policy"`
	Demoted time.Time `json:"demoted,omitzero"` // since when it asks instead of acting
	Why     string    `json:"why,omitempty"`
	Breaker time.Time `json:"breaker,omitzero"` // ends before do not count for the breaker
	Effect  time.Time `json:"effect,omitzero"`  // nor for the measured effect
}

func policyState(q querier, policy string) (s PolicyState, err error) {
	rows, err := q("select policy, demoted, why, breaker, effect from policy_states where policy = ?", policy)
	all, err := policyStates(rows, err)
	if err != nil || len(all) == 0 {
		return PolicyState{Policy: policy}, err
	}
	return all[0], nil
}

// PolicyStates returns every policy whose state differs from its configuration.
func (j *Journal) PolicyStates(ctx context.Context) ([]PolicyState, error) {
	return policyStates(j.store.Query(ctx,
		"select policy, demoted, why, breaker, effect from policy_states order by policy"))
}

func policyStates(rows *sql.Rows, asked error) (all []PolicyState, err error) {
	if asked != nil {
		return nil, asked
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var s PolicyState
		var demoted, breaker, effect int64
		if err := rows.Scan(&s.Policy, &demoted, &s.Why, &breaker, &effect); err != nil {
			return nil, err
		}
		s.Demoted, s.Breaker, s.Effect = store.Time(demoted), store.Time(breaker), store.Time(effect)
		all = append(all, s)
	}
	return all, rows.Err()
}

// marks are what the entries say of policies and pauses. Their rows alone would let one who deletes or changes
// a row have upkeep act: a pause ends by an entry only, and a policy is promoted by an entry only.
// One that is kept is not changed any more.
type marks struct {
	read     int64     // the last entry
	oldest   time.Time // of the entries that retention has left
	policies map[string]policyMark
	pauses   map[string]pauseMark // by their scopes, until they end by an entry
}

// marksNow returns what the entries say now. A transaction, which may be undone with entries of others in it,
// keeps nothing for the next time.
func (j *Journal) marksNow(q querier, keep bool) (*marks, error) {
	kept := j.marks.Load()
	m := &marks{policies: make(map[string]policyMark), pauses: make(map[string]pauseMark)}
	if kept != nil {
		m.read, m.oldest = kept.read, kept.oldest
		m.policies, m.pauses = maps.Clone(kept.policies), maps.Clone(kept.pauses)
	}
	if err := m.follow(q); err != nil {
		return nil, fmt.Errorf("entries of pauses and policies: %w", err)
	}
	if keep {
		j.marks.CompareAndSwap(kept, m) // where another was faster, the next one reads a few entries again
	}
	return m, nil
}

// A policyMark is what the entries say of a policy.
type policyMark struct {
	demoted bool
	why     string    // the whole text of the entry
	reset   time.Time // of its breaker
}

// A pauseMark is a pause as its entry has it.
type pauseMark struct {
	remediate.Pause
	text string // of the entry
}

// marking selects the entries of marks. The text of a name has its quotes escaped, and is no note.
func marking() string {
	var all []string
	for _, note := range []remediate.Note{remediate.NotePaused, remediate.NoteResumed, remediate.NoteDemoted,
		remediate.NotePromoted, remediate.NoteClosed} {
		all = append(all, `entry like '%"note":"`+string(note)+`"%'`)
	}
	return "(" + strings.Join(all, " or ") + ")"
}

// follow reads what was written since the last time: everything at first.
func (m *marks) follow(q querier) error {
	first, read, err := extent(q)
	if err != nil {
		return err
	}
	if read < m.read || first > m.read+1 { // another store, or retention has deleted what was not read
		*m = marks{policies: make(map[string]policyMark), pauses: make(map[string]pauseMark)}
	}
	if m.read == 0 { // of what is deleted later is known what it said
		if m.oldest, err = oldest(q); err != nil {
			return err
		}
	}
	if read == m.read {
		return nil
	}
	rows, err := q("select entry from entries where seq > ? and seq <= ? and "+marking()+" order by seq", m.read, read)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var text []byte
		var e remediate.Entry
		if err := rows.Scan(&text); err != nil {
			return err
		}
		if err := json.Unmarshal(text, &e); err != nil {
			return broken("journal: an entry of a policy or a pause was changed: %v", err)
		}
		m.take(e)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	m.read = read
	return nil
}

// extent returns the numbers of the first and the last entry, 0 in an empty journal. Either is found
// in the index; both in one select would read all.
func extent(q querier) (first, last int64, err error) {
	rows, err := q("select coalesce((select min(seq) from entries), 0), coalesce((select max(seq) from entries), 0)")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := rows.Scan(&first, &last); err != nil {
			return 0, 0, err
		}
	}
	return first, last, rows.Err()
}

func oldest(q querier) (at time.Time, err error) {
	rows, err := q("select entry from entries order by seq limit 1")
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var text []byte
		var e remediate.Entry
		if err := rows.Scan(&text); err != nil {
			return at, err
		}
		if err := json.Unmarshal(text, &e); err != nil {
			return at, broken("journal: its first entry was changed: %v", err)
		}
		at = e.At
	}
	return at, rows.Err()
}

// take notes an entry.
func (m *marks) take(e remediate.Entry) {
	policy := func(before string) string {
		quoted, err := strconv.QuotedPrefix(strings.TrimPrefix(e.Why, before))
		name, wrong := strconv.Unquote(quoted)
		if err != nil || wrong != nil {
			return ""
		}
		return name
	}
	switch e.Note {
	case remediate.NoteDemoted:
		p := m.policies[policy("policy ")]
		p.demoted, p.why = true, e.Why
		m.policies[policy("policy ")] = p
	case remediate.NotePromoted:
		m.policies[policy("policy ")] = policyMark{reset: e.At}
	case remediate.NoteClosed:
		name := policy("the breaker of policy ")
		p := m.policies[name]
		p.reset = e.At
		m.policies[name] = p
	case remediate.NotePaused:
		scope := e.About
		if scope == "" { // of an earlier upkeep
			scope, _, _ = strings.Cut(e.Why, ": ")
		}
		p := pauseMark{remediate.Pause{Scope: scope, By: e.By, Since: e.At}, e.Why}
		p.Reason = strings.TrimPrefix(e.Why, scope+": ")
		if at := strings.LastIndex(p.Reason, untilText); at >= 0 {
			if until, err := time.Parse(time.RFC3339, p.Reason[at+len(untilText):]); err == nil {
				p.Until, p.Reason = until, p.Reason[:at]
			}
		}
		m.pauses[scope] = p
	case remediate.NoteResumed:
		delete(m.pauses, cmp.Or(e.About, e.Why)) // an earlier upkeep wrote the scope alone
	default:
	}
}

// holdPauses completes the pauses that the guards decide by: one holds until an entry ends it, whatever its row says.
func (j *Journal) holdPauses(m *marks, w *remediate.Working) {
	there := make(map[string]bool, len(w.Pauses))
	for _, p := range w.Pauses {
		there[p.Scope] = true
	}
	for scope, p := range m.pauses {
		if !there[scope] && (p.Until.IsZero() || p.Until.After(j.now())) {
			p.Pause.Reason += " (the journal has no end of this pause, and its row was deleted)"
			w.Pauses = append(w.Pauses, p.Pause)
		}
	}
}

// holdPolicy completes the state of a policy that the guards decide by: it is demoted until an entry promotes it, and
// its breaker was closed when an entry says so, whatever its row says.
func (j *Journal) holdPolicy(m *marks, s *PolicyState) {
	said := m.policies[s.Policy]
	if said.demoted && s.Demoted.IsZero() {
		s.Demoted, s.Why = j.now(), said.why+" (the journal has no promotion since, and its row was changed)"
	}
	if s.Breaker.After(said.reset) && !s.Breaker.Before(m.oldest) {
		s.Breaker = said.reset // its row alone says otherwise
	}
}

// Overrides are what holds beside the configuration: pauses, and the policies that are demoted.
type Overrides struct {
	Pauses  []remediate.Pause
	Demoted map[string]string // the reason by the name of the policy
}

// Overrides returns what holds now beside the configuration. As in Working, a pause and a demotion hold until
// an entry ends them, whatever their rows say.
func (j *Journal) Overrides(ctx context.Context) (Overrides, error) {
	q := func(query string, args ...any) (*sql.Rows, error) { return j.store.Query(ctx, query, args...) }
	o := Overrides{Demoted: make(map[string]string)}
	var w remediate.Working
	m, err := j.marksNow(q, true) // first, so that what a person sets meanwhile is in its row at least
	if err != nil {
		return o, err
	}
	if w.Pauses, err = j.pauses(q); err != nil {
		return o, err
	}
	states, err := j.PolicyStates(ctx)
	if err != nil {
		return o, err
	}
	of := make(map[string]PolicyState, len(states))
	for _, s := range states {
		of[s.Policy] = s
	}
	for name := range m.policies {
		if _, there := of[name]; !there {
			of[name] = PolicyState{Policy: name}
		}
	}
	for name, s := range of {
		if j.holdPolicy(m, &s); !s.Demoted.IsZero() {
			o.Demoted[name] = s.Why
		}
	}
	j.holdPauses(m, &w)
	o.Pauses = w.Pauses
	return o, nil
}

// compare names what the rows of pauses and policies have otherwise than the entries.
func (j *Journal) compare(q querier) error {
	m := &marks{policies: make(map[string]policyMark), pauses: make(map[string]pauseMark)}
	if err := m.follow(q); err != nil {
		return err
	}
	rows, err := q("select policy, demoted, why, breaker, effect from policy_states order by policy")
	states, err := policyStates(rows, err)
	if err != nil {
		return err
	}
	of := make(map[string]PolicyState, len(states))
	for _, s := range states {
		of[s.Policy] = s
		if what := m.differs(s); what != "" {
			return broken("journal: policy %q: %s", s.Policy, what)
		}
	}
	for name, p := range m.policies {
		if s := of[name]; p.demoted && s.Demoted.IsZero() {
			return broken("journal: policy %q is not demoted, and its last entry says that it is", name)
		}
	}
	return j.comparePauses(q, m)
}

// differs says in what the state of a policy is not what the entries say, or "".
func (m *marks) differs(s PolicyState) string {
	p := m.policies[s.Policy]
	switch {
	case !s.Demoted.IsZero() && !p.demoted && s.Demoted.After(m.oldest):
		return "it is demoted, and no entry says so"
	case !s.Demoted.IsZero() && p.demoted && stored(p.why) != stored(demotedText(s.Policy, s.Why)):
		return fmt.Sprintf("it is demoted because of %q, and its entry says %q", s.Why, p.why)
	case s.Breaker.After(m.oldest) && store.Millis(s.Breaker) != store.Millis(p.reset):
		return fmt.Sprintf("its breaker was closed at %s, and no entry says so", s.Breaker.UTC().Format(time.RFC3339))
	}
	return ""
}

func demotedText(policy, why string) string {
	return fmt.Sprintf("policy %q is demoted: %s", policy, why)
}

func (j *Journal) comparePauses(q querier, m *marks) error {
	all, err := j.pauses(q)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(all))
	for _, p := range all {
		there[p.Scope] = true
		is, said := m.pauses[p.Scope]
		switch {
		case !said && p.Since.Before(m.oldest): // retention has deleted its entry
		case !said || stored(is.text) != stored(pauseText(p)) || stored(is.By) != stored(p.By):
			return broken("journal: the pause of %s is by %q for %q, and its last entry does not say so", p.Scope, p.By,
				p.Reason)
		}
	}
	for scope, p := range m.pauses {
		if !there[scope] && (p.Until.IsZero() || p.Until.After(j.now())) {
			return broken("journal: %s is not paused, and its last entry says that it is", scope)
		}
	}
	return nil
}

package journal

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

const runColumns = "id, request, state, why, reason, plan, before, after, begun, done, tries, due, applied, created, " +
	"changed, cancel, lost"

// Recent returns the newest runs, at most n: those before a number, or of all where it is 0.
func (j *Journal) Recent(ctx context.Context, before int64, n int) ([]remediate.Run, error) {
	return j.read(ctx, "id < ? order by id desc limit ?", cmp.Or(before, math.MaxInt64), n)
}

// A Filter selects runs of a list; what is zero selects all.
type Filter struct {
	State  remediate.State
	Active bool // those that have not ended
	Action string
	Policy string
	Target string
	Text   string    // in what the run is about and why it is as it is, without regard to case
	Since  time.Time // created then or later
	Until  time.Time // created before
	All    bool      // also those that did nothing

	Before int64 // the number of the last one of the part before; 0: from the newest on
}

// A Part is a part of a list of runs, the newest first. Their plans are left out.
type Part struct {
	Runs []remediate.Run

	// More says that there may be more, which the part after Next begins with. A part with few runs
	// or none may have more: runs that match are far apart.
	More bool
	Next int64
}

// noPlan is the plan of a run for which none was made yet.
const noPlan = "{}"

// looked is how many runs a part looks at, at most: it costs the same however many there are.
const looked = 1000

// List returns a part of the runs that a filter selects, n at most.
func (j *Journal) List(ctx context.Context, f Filter, n int) (p Part, err error) {
	q, err := j.listing(ctx, f)
	if err != nil {
		return p, err
	}
	columns := strings.Replace(runColumns, "plan", "'"+noPlan+"' plan", 1)
	rows, err := j.store.Query(ctx, "select "+runColumns+" from (select "+columns+
		", subject, action, policy, target from runs where "+q.led+" order by id desc limit ?) listed where "+q.rest+
		" order by id desc limit ?", slices.Concat(q.ledArgs, []any{looked}, q.restArgs, []any{n + 1})...)
	if err != nil {
		return p, fmt.Errorf("list of runs: %w", err)
	}
	if p.Runs, err = scanRuns(rows); err != nil {
		return p, err
	}
	if len(p.Runs) > n {
		p.Runs = p.Runs[:n]
		p.More, p.Next = true, p.Runs[n-1].ID
		return p, nil
	}
	var seen int
	rows, err = j.store.Query(ctx, "select count(*), coalesce(min(id), 0) from (select id from runs where "+q.led+
		" order by id desc limit ?) listed", append(q.ledArgs, looked)...)
	if err != nil {
		return p, fmt.Errorf("list of runs: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := rows.Scan(&seen, &p.Next); err != nil {
			return p, err
		}
	}
	p.More = seen == looked
	return p, rows.Err()
}

// A listing is a filter in SQL: what an index leads by, and what is compared of the rows that it leads to.
type listing struct {
	led, rest         string
	ledArgs, restArgs []any
}

func (j *Journal) listing(ctx context.Context, f Filter) (q listing, err error) {
	q = listing{led: "id < ?", rest: "1 = 1", ledArgs: []any{cmp.Or(f.Before, math.MaxInt64)}}
	for _, bound := range []struct {
		at    time.Time
		query string
		led   string
	}{
		{f.Since, "select id from runs where created >= ? order by created, id limit 1", " and id >= ?"},
		{f.Until, "select id from runs where created < ? order by created desc, id desc limit 1", " and id <= ?"},
	} {
		if bound.at.IsZero() {
			continue
		}
		id, err := j.number(ctx, bound.query, store.Millis(bound.at))
		if err != nil {
			return q, err
		}
		if id == 0 && bound.at.Equal(f.Since) {
			id = math.MaxInt64 // none was created since
		}
		q.led += bound.led
		q.ledArgs = append(q.ledArgs, id)
	}
	leads := false // one equality leads, the others are compared
	for _, by := range []struct{ column, value string }{
		{"state", string(f.State)}, {"policy", f.Policy}, {"action", f.Action}, {"target", f.Target},
	} {
		switch {
		case by.value == "":
		case leads:
			q.rest += " and " + by.column + " = ?"
			q.restArgs = append(q.restArgs, by.value)
		default:
			leads = true
			q.led += " and " + listed(by.column)
			q.ledArgs = append(q.ledArgs, by.value)
		}
	}
	switch {
	case f.Active && !leads:
		q.led += " and " + isUnfinished()
	case f.Active:
		q.rest += " and " + isUnfinished()
	case !f.All && !leads:
		q.led += " and " + isShown()
	case !f.All:
		q.rest += " and " + isShown()
	}
	if f.Text != "" {
		like := "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(strings.ToLower(f.Text)) + "%"
		q.rest += ` and (lower(subject) like ? escape '\' or lower(why) like ? escape '\' or lower(action) like ? ` +
			`escape '\' or lower(policy) like ? escape '\')`
		q.restArgs = append(q.restArgs, like, like, like, like)
	}
	return q, nil
}

// number returns the number that a query returns, or 0.
func (j *Journal) number(ctx context.Context, query string, args ...any) (n int64, err error) {
	return numberOf(func(query string, args ...any) (*sql.Rows, error) { return j.store.Query(ctx, query, args...) },
		query, args...)
}

// Last returns the number of the newest entry, by which it is seen that something has happened.
func (j *Journal) Last(ctx context.Context) (int64, error) {
	return j.number(ctx, "select coalesce(max(seq), 0) from entries")
}

// Since returns the entries after a number, in order, n at most.
func (j *Journal) Since(ctx context.Context, after int64, n int) ([]remediate.Entry, error) {
	return j.entries(ctx, "where seq > ? order by seq limit ?", after, n)
}

// Get returns one run, or ErrNoRun.
func (j *Journal) Get(ctx context.Context, id int64) (remediate.Run, error) {
	runs, err := j.read(ctx, "id = ?", id)
	if err != nil {
		return remediate.Run{}, err
	}
	if len(runs) == 0 {
		return remediate.Run{}, fmt.Errorf("%w: %d", ErrNoRun, id)
	}
	return runs[0], nil
}

// historiesAtOnce is how many incidents one query is about: one text, which is prepared once.
const historiesAtOnce = 64

// Histories returns the runs of each incident, the oldest first.
func (j *Journal) Histories(ctx context.Context, incidents []int64) (map[int64][]remediate.Run, error) {
	all := make(map[int64][]remediate.Run)
	for some := range slices.Chunk(incidents, historiesAtOnce) {
		args := make([]any, historiesAtOnce)
		for n := range args {
			args[n] = some[min(n, len(some)-1)]
		}
		runs, err := j.read(ctx, "incident in (?"+strings.Repeat(", ?", historiesAtOnce-1)+") order by id", args...)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			all[r.Request.Incident] = append(all[r.Request.Incident], r)
		}
	}
	return all, nil
}

// States returns in which states runs are; those that are not kept any more are left out.
func (j *Journal) States(ctx context.Context, runs []int64) (all map[int64]remediate.State, err error) {
	all = make(map[int64]remediate.State, len(runs))
	for some := range slices.Chunk(runs, historiesAtOnce) {
		args := make([]any, historiesAtOnce)
		for n := range args {
			args[n] = some[min(n, len(some)-1)]
		}
		rows, err := j.store.Query(ctx, "select id, state from runs where id in (?"+strings.Repeat(", ?",
			historiesAtOnce-1)+")", args...)
		if err == nil {
			err = statesOf(rows, all)
		}
		if err != nil {
			return nil, fmt.Errorf("states of runs: %w", err)
		}
	}
	return all, nil
}

func statesOf(rows *sql.Rows, all map[int64]remediate.State) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id int64
		var state remediate.State
		if err := rows.Scan(&id, &state); err != nil {
			return err
		}
		all[id] = state
	}
	return rows.Err()
}

// In returns the runs in a state, the oldest first, at most n.
func (j *Journal) In(ctx context.Context, state remediate.State, n int) ([]remediate.Run, error) {
	return j.read(ctx, listed("state")+" order by id limit ?", string(state), n)
}

// Count returns how many runs are in a state.
func (j *Journal) Count(ctx context.Context, state remediate.State) (int64, error) {
	return j.number(ctx, "select count(*) from runs where "+listed("state"), string(state))
}

// Unmoved returns the runs that have not ended, that nothing was written about since a
// moment, and that were to be looked at before it: those that have not moved for the
// longest first, at most n.
func (j *Journal) Unmoved(ctx context.Context, since time.Time, n int) ([]remediate.Run, error) {
	ms := store.Millis(since)
	return j.read(ctx, isUnfinished()+" and changed < ? and due < ? order by changed, id limit ?", ms, ms, n)
}

// Entries returns what the journal says of a run, in order.
func (j *Journal) Entries(ctx context.Context, run int64) ([]remediate.Entry, error) {
	return j.entries(ctx, "where run = ? order by seq", run)
}

// The kinds of entries beside the notes.
const (
	KindPerson     = "person" // of any kind, that a person made
	KindTransition = "transition"
	KindStep       = "step"
)

// Kinds lists the kinds of entries.
func Kinds() []string {
	all := []string{KindPerson, KindTransition, KindStep}
	for _, n := range remediate.Notes() {
		all = append(all, string(n))
	}
	return all
}

// An EntryFilter selects entries; what is zero selects all.
type EntryFilter struct {
	Run    int64
	Kind   string
	Text   string // in who, why and about what, without regard to case
	Before int64  // the number of the last one of the part before; 0: from the newest on
}

// An EntryPart is a part of the journal, the newest first. More says that there may be more, which the part after
// Next begins with: entries that match may be far apart.
type EntryPart struct {
	Entries []remediate.Entry
	More    bool
	Next    int64
}

// atOnce is how many entries are read at once where they are compared one by one.
const atOnce = 200

// Find returns a part of the entries that a filter selects, n at most. It looks at a thousand entries at most, of
// the run or of all, however many there are.
func (j *Journal) Find(ctx context.Context, f EntryFilter, n int) (p EntryPart, err error) {
	p.Next = cmp.Or(f.Before, math.MaxInt64)
	some := atOnce
	if f.Kind == "" && f.Text == "" {
		some = n + 1
	}
	for read := 0; read < looked; read += some {
		condition, args := beforeEntry, []any{p.Next, some}
		if f.Run != 0 {
			condition, args = beforeEntryOfRun, []any{f.Run, p.Next, some}
		}
		all, err := j.entries(ctx, "where "+condition, args...)
		if err != nil {
			return p, err
		}
		for _, e := range all {
			if len(p.Entries) == n {
				p.More = true
				return p, nil
			}
			p.Next = e.Seq
			if f.is(e) {
				p.Entries = append(p.Entries, e)
			}
		}
		if len(all) < some {
			return p, nil
		}
	}
	p.More = true
	return p, nil
}

const (
	beforeEntry      = "seq < ? order by seq desc limit ?"
	beforeEntryOfRun = "run = ? and seq < ? order by seq desc limit ?"
)

func (f EntryFilter) is(e remediate.Entry) bool {
	kind := false
	switch f.Kind {
	case "":
		kind = true
	case KindPerson:
		kind = e.By != ""
	case KindTransition:
		kind = e.Note == "" && e.To != "" && e.Step == 0
	case KindStep:
		kind = e.Step > 0
	default:
		kind = string(e.Note) == f.Kind
	}
	text := strings.ToLower(strings.Join([]string{e.By, e.Why, e.About, e.Reason}, "\n"))
	return kind && strings.Contains(text, strings.ToLower(f.Text))
}

// Oldest returns when the oldest entry was written; the zero time in an empty journal.
func (j *Journal) Oldest(ctx context.Context) (at time.Time, err error) {
	all, err := j.entries(ctx, "order by seq limit 1")
	if len(all) > 0 {
		at = all[0].At
	}
	return at, err
}

func (j *Journal) entries(ctx context.Context, condition string, args ...any) (all []remediate.Entry, err error) {
	rows, err := j.store.Query(ctx, "select seq, entry from entries "+condition, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e remediate.Entry
		var seq int64
		var text []byte
		if err := rows.Scan(&seq, &text); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &e); err != nil {
			return nil, fmt.Errorf("entry %d: %w", seq, err)
		}
		e.Seq = seq
		all = append(all, e)
	}
	return all, rows.Err()
}

func (j *Journal) read(ctx context.Context, condition string, args ...any) ([]remediate.Run, error) {
	rows, err := j.store.Query(ctx, "select "+runColumns+" from runs where "+condition, args...)
	if err != nil {
		return nil, fmt.Errorf("runs: %w", err)
	}
	return scanRuns(rows)
}

func one(tx *store.Tx, condition string, args ...any) (remediate.Run, error) {
	rows, err := tx.Query("select "+runColumns+" from runs where "+condition, args...)
	if err != nil {
		return remediate.Run{}, err
	}
	runs, err := scanRuns(rows)
	if err == nil && len(runs) == 0 {
		err = ErrNoRun
	}
	if err != nil {
		return remediate.Run{}, err
	}
	return runs[0], nil
}

func scanRuns(rows *sql.Rows) (all []remediate.Run, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r remediate.Run
		var request, plan []byte
		var due, applied, created, changed int64
		err := rows.Scan(&r.ID, &request, &r.State, &r.Why, &r.Reason, &plan, &r.Before, &r.After, &r.Begun, &r.Done,
			&r.Tries, &due, &applied, &created, &changed, &r.Cancel, &r.Lost)
		if err == nil {
			err = errors.Join(json.Unmarshal(request, &r.Request), json.Unmarshal(plan, &r.Plan))
		}
		if err != nil {
			return nil, fmt.Errorf("run %d: %w", r.ID, err)
		}
		r.Due, r.Applied, r.Created, r.Changed = store.Time(due), store.Time(applied), store.Time(created),
			store.Time(changed)
		all = append(all, r)
	}
	return all, rows.Err()
}

// numberOf returns the number that a query returns, or 0.
func numberOf(q querier, query string, args ...any) (n int64, err error) {
	rows, err := q(query, args...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var found *int64
		if err := rows.Scan(&found); err != nil {
			return 0, err
		}
		if found != nil {
			n = *found
		}
	}
	return n, rows.Err()
}

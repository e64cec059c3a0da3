package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
)

// expected are the alerts that the demo's servers raise.
var expected = [...]string{"PostgresDeadRows", "PostgresIndexBloat", "RedisSnapshotOld"} //nolint:gochecknoglobals // a constant list

// lookEvery is how often the timeline looks for news.
const lookEvery = 150 * time.Millisecond

// A timeline prints what happens, with the time since the start.
type timeline struct {
	out   io.Writer
	token string // of the upkeep
	begun time.Time
	runs  map[int64]*printed
	news  []news
}

// news is one line that is not printed yet: the runs are asked one after the
// other, and what they report is printed in the order in which it happened.
type news struct {
	at         time.Time
	what, text string
}

// printed is what was printed of a run.
type printed struct {
	details console.RunDetails
	alert   bool
	entries int
	over    bool
}

func newTimeline(out io.Writer) *timeline {
	return &timeline{out: out, begun: time.Now(), runs: make(map[int64]*printed)}
}

func (t *timeline) say(format string, args ...any) {
	t.line(time.Now(), "", fmt.Sprintf(format, args...))
	t.print()
}

func (t *timeline) line(at time.Time, what, text string) {
	t.news = append(t.news, news{at, what, text})
}

func (t *timeline) print() {
	slices.SortStableFunc(t.news, func(a, b news) int { return a.at.Compare(b.at) })
	for _, n := range t.news {
		fmt.Fprintf(t.out, "%7.2fs  %-9s %s\n", n.at.Sub(t.begun).Seconds(), n.what, n.text)
	}
	t.news = nil
}

// follow prints what the console reports until every expected alert has fired, its
// run is resolved, and its incident is closed.
func (t *timeline) follow(ctx context.Context, url string) error {
	for {
		if err := t.look(ctx, url); err != nil && ctx.Err() == nil {
			return err
		}
		if t.resolved() {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookEvery):
		}
	}
}

func (t *timeline) look(ctx context.Context, url string) error {
	var lines []console.Line
	if err := get(ctx, t.token, url+console.Prefix+"/runs", &lines); err != nil {
		return err
	}
	defer t.print()
	slices.Reverse(lines)
	for _, l := range lines {
		r := t.runs[l.ID]
		if r == nil {
			r = &printed{}
			t.runs[l.ID] = r
		}
		if r.over {
			continue
		}
		var details console.RunDetails
		if err := get(ctx, t.token, fmt.Sprintf("%s%s/runs/%d", url, console.Prefix, l.ID), &details); err != nil {
			return err
		}
		r.details = details
		t.run(r)
	}
	return nil
}

// run prints what is new of a run.
func (t *timeline) run(r *printed) {
	s := r.details
	name := fmt.Sprintf("run %d", s.Run.ID)
	if e := s.Incident; e != nil && !r.alert {
		r.alert = true
		t.line(e.Opened, "ALERT", fmt.Sprintf("%s fires: %s", e.Name(), e.Alert.Annotations["summary"]))
	}
	for _, e := range s.Entries[min(r.entries, len(s.Entries)):] {
		r.entries++
		t.entry(name, s, e)
	}
	if e := s.Incident; e != nil && !e.Closed.IsZero() && s.Run.State.Ended() {
		r.over = true
		t.line(e.Closed, "RESOLVED", e.Name())
	}
}

func (t *timeline) entry(name string, s console.RunDetails, e remediate.Entry) {
	switch {
	case e.Step != 0 && e.Done:
		t.line(e.At, name, fmt.Sprintf("step %d done, %s", e.Step, e.Why))
	case e.Step != 0:
		t.line(e.At, name, fmt.Sprintf("step %d: %s", e.Step, e.Why))
	case e.To == remediate.Planned:
		t.line(e.At, name, fmt.Sprintf("plan: %s, %s now %s", e.Why, s.Lowers, quantity(s.Lowers, s.Run.Before)))
		for _, fact := range s.Run.Plan.Facts {
			t.line(e.At, name, "  "+fact)
		}
	case e.To == remediate.Allowed:
		t.line(e.At, name, "guard: "+e.Why)
	case e.To == remediate.Applied:
		t.line(e.At, name, "applied: "+e.Why)
	default:
		t.line(e.At, name, fmt.Sprintf("%s: %s", e.To, e.Why))
	}
}

// resolved reports whether every expected alert has fired and is over, with a run
// of it that resolved.
func (t *timeline) resolved() bool {
	for _, name := range expected {
		if !slices.ContainsFunc(t.ended(), func(s console.RunDetails) bool {
			return s.Incident.Name() == name &&
				s.Run.State == remediate.Resolved
		}) {
			return false
		}
	}
	return true
}

func (t *timeline) ended() (all []console.RunDetails) {
	for _, r := range t.runs {
		if r.over {
			all = append(all, r.details)
		}
	}
	slices.SortFunc(all, func(a, b console.RunDetails) int { return int(a.Run.ID - b.Run.ID) })
	return all
}

// summary prints what was before and after, in upkeep's words and in those of
// the servers' own tools.
func (t *timeline) summary(before, after findings) {
	fmt.Fprintf(t.out, "\nResults, as upkeep measured them:\n")
	for _, details := range t.ended() {
		fmt.Fprintf(t.out, "  %-18s %-18s %8s → %-8s limit %s\n", details.Incident.Name(), details.Run.Request.Action,
			quantity(details.Lowers, details.Run.Before), quantity(details.Lowers, details.Run.After),
			quantity(details.Lowers, details.Run.Request.Limit))
	}
	fmt.Fprintf(t.out, "and as psql and redis-cli report:\n")
	fmt.Fprintf(t.out, "  dead rows of orders     %9d of %d → %d of %d\n", before.deadRows,
		before.deadRows+before.liveRows, after.deadRows, after.deadRows+after.liveRows)
	fmt.Fprintf(t.out, "  size of sessions_token  %9s → %s\n", remediate.Quantity("_bytes", float64(before.indexBytes)),
		remediate.Quantity("_bytes", float64(after.indexBytes)))
	fmt.Fprintf(t.out, "  snapshots of Redis      %9d → %d, with %d → %d changes not in one\n", before.saves,
		after.saves, before.changes, after.changes)
	fmt.Fprintln(t.out)
}

func quantity(metric string, v *float64) string {
	if v == nil {
		return "–"
	}
	return remediate.Quantity(metric, *v)
}

func get(ctx context.Context, token, url string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read only
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

package inbox_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

// What fires, and what has closed since a moment: of either the newest first.
func TestFired(t *testing.T) {
	d := open(t)
	start, long := d.now, time.UnixMilli(1)
	var all []string
	for _, name := range []string{"a", "b", "c", "d"} {
		d.accept(t, firing(start, "alertname", name))
	}
	d.now = d.now.Add(time.Minute)
	d.accept(t, resolved(start, "alertname", "a"))
	between := d.now.Add(time.Minute)
	d.now = between.Add(time.Minute)
	d.accept(t, resolved(start, "alertname", "c"))
	for since, want := range map[time.Time]string{between: "d b c", long: "d b c a", d.now.Add(time.Hour): "d b"} {
		found, err := d.Fired(t.Context(), since, 10)
		if err != nil {
			t.Fatal(err)
		}
		all = all[:0]
		for _, e := range found {
			all = append(all, e.Name())
		}
		if got := strings.Join(all, " "); got != want {
			t.Errorf("since %s: %s, want %s", since, got, want)
		}
	}
	if found, err := d.Fired(t.Context(), long, 1); err != nil || len(found) != 2 || found[0].Name() != "d" ||
		found[1].Name() != "c" {
		t.Errorf("one of either: %+v %v", found, err)
	}
}

// SQLite reads each list of the pages from the end of an index, and sorts nothing.
func TestIndexesServe(t *testing.T) {
	d := open(t)
	for _, c := range []struct {
		index, query string
		args         []any
	}{
		{"incidents_old", "incidents " + inbox.IsOpen + " order by id desc limit ?", []any{1}},
		{"incidents_old", "incidents " + inbox.IsClosedSince + " order by closed desc, id desc limit ?", []any{1, 1}},
		{"incidents_firing", "incidents where closed = 0 and severity = ? and id < ? order by id desc limit ?", []any{1, 1, 1}},
		{"incident_counts_most", "incident_counts where " + inbox.IsMost, []any{1}},
		{"(scope=? AND name=?)", "incident_counts where " + inbox.IsOfServers(3), []any{"3/a", "3/b", "3/c"}},
		{"(scope=?)", "incident_counts where scope = 'severity'", nil},
		{"INTEGER PRIMARY KEY", "dead_letters where id < ? order by id desc limit ?", []any{1, 1}},
	} {
		of := "id"
		if strings.HasPrefix(c.query, "incident_counts") {
			of = "name, opened"
		}
		rows, err := d.store.Query(t.Context(), "explain query plan select "+of+" from "+c.query, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		var steps []string
		for rows.Next() {
			var id, parent, unused int64
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			steps = append(steps, step)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		if plan := strings.Join(steps, "\n") + " "; !strings.Contains(plan, c.index+" ") ||
			strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s is not chosen for %s: %s", c.index, c.query, plan)
		}
	}
}

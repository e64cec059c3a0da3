package inbox

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A ledger counts the incidents that one write opens and closes. The counts are in the store, so
// that neither a page nor a scrape counts incidents.
type ledger struct {
	tx      *store.Tx
	limits  Limits
	loaded  map[string]int64 // how many were open for an alert before this write
	all     int64            // how many in all; -1 where it was not read
	changes map[string]int64
	rated   map[string]int64 // changes by what rated returns
	severe  map[string]int64 // changes by severity
	change  int64            // of all

	known map[string]bool // keys with incidents; nil where it was not looked for them
}

func (i *Inbox) newLedger(tx *store.Tx) *ledger {
	return &ledger{tx: tx, limits: i.config.Limits, all: -1, loaded: make(map[string]int64),
		changes: make(map[string]int64), rated: make(map[string]int64), severe: make(map[string]int64)}
}

// room returns "" where one more incident of an alert may open, or which limit is reached.
func (l *ledger) room(name string) (why string, err error) {
	if _, known := l.loaded[name]; !known || l.all < 0 {
		if err := l.load(name); err != nil {
			return "", err
		}
	}
	switch {
	case l.loaded[name]+l.changes[name] >= int64(l.limits.PerAlert):
		return fmt.Sprintf("%d incidents of the alert %q are open (engine.max_incidents_per_alert)", l.limits.PerAlert,
			clipped(name)), nil
	case l.all+l.change >= int64(l.limits.All):
		return fmt.Sprintf("%d incidents are open (engine.max_incidents)", l.limits.All), nil
	}
	return "", nil
}

func (l *ledger) load(name string) (err error) {
	rows, err := l.tx.Query("select scope, opened from incident_counts where scope = 'all' and name = '' or "+
		"scope = 'alert' and name = ?", name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	l.all, l.loaded[name] = 0, 0
	for rows.Next() {
		var scope string
		var n int64
		if err := rows.Scan(&scope, &n); err != nil {
			return err
		}
		if scope == "all" {
			l.all = n
		} else {
			l.loaded[name] = n
		}
	}
	return rows.Err()
}

// add notes that an incident of an alert opened (1) or closed (-1).
func (l *ledger) add(a remediate.Alert, n int64) {
	l.changes[a.Labels["alertname"]] += n
	l.rated[rated(a.Labels)] += n
	l.severe[fmt.Sprint(int(remediate.SeverityOf(a.Labels["severity"])))] += n
	l.change += n
}

// rated is under which name the open incidents of a severity and a server are counted; the store has the
// same in SQL.
func rated(labels map[string]string) string {
	return fmt.Sprintf("%d/%s", remediate.SeverityOf(labels["severity"]), labels["server"])
}

// write keeps the counts. It is the last that a write does.
func (l *ledger) write() error {
	for _, of := range []struct {
		scope   string
		changes map[string]int64
	}{{"alert", l.changes}, {"rated", l.rated}, {"severity", l.severe}} {
		if err := l.keepEach(of.scope, of.changes); err != nil {
			return err
		}
	}
	if l.change == 0 {
		return nil
	}
	return l.keep("all", "", l.change)
}

// keepEach keeps the counts of a scope; those that are zero are not kept.
func (l *ledger) keepEach(scope string, changes map[string]int64) error {
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if changes[name] == 0 {
			continue
		}
		if err := l.keep(scope, name, changes[name]); err != nil {
			return err
		}
		if changes[name] > 0 {
			continue
		}
		if _, err := l.tx.Exec("delete from incident_counts where scope = ? and name = ? and opened <= 0", scope,
			name); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) keep(scope, name string, n int64) error {
	_, err := l.tx.Exec("insert into incident_counts (scope, name, opened) values (?, ?, ?) on conflict (scope, name) "+
		"do update set opened = incident_counts.opened + excluded.opened", scope, name, n)
	return err
}

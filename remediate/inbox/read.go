package inbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Incidents returns open incidents, the oldest first: those after a number, n at most.
func (i *Inbox) Incidents(ctx context.Context, after int64, n int) ([]remediate.Incident, error) {
	return i.incidents(ctx, "where closed = 0 and id > ? order by id limit ?", after, n)
}

// Fired returns incidents that fire, or that closed since a moment: of either the newest first, n at most.
func (i *Inbox) Fired(ctx context.Context, since time.Time, n int) ([]remediate.Incident, error) {
	open, err := i.incidents(ctx, isOpen+" order by id desc limit ?", n)
	if err != nil {
		return nil, err
	}
	closed, err := i.incidents(ctx, isClosedSince+" order by closed desc, id desc limit ?", store.Millis(since), n)
	return append(open, closed...), err
}

// The conditions of lists of incidents, each of which is read from the end of an index (TestIndexesServe).
const (
	isOpen        = "where closed = 0"
	isClosedSince = "where closed > ?"
	isMost        = "scope = 'alert' and scope || '' = 'alert' order by opened desc, name desc limit ?"
)

// A Place is where in the list of Firing an incident is.
type Place struct {
	Severity remediate.Severity
	ID       int64
}

// Firing returns open incidents, the worst first and of these the newest: those after a place, or from
// the first on where it is zero; n at most.
func (i *Inbox) Firing(ctx context.Context, after Place, n int) (all []remediate.Incident, err error) {
	if after.ID == 0 {
		after = Place{remediate.Critical, math.MaxInt64}
	}
	for _, severity := range remediate.Severities() {
		if severity > after.Severity {
			continue
		}
		before := int64(math.MaxInt64)
		if severity == after.Severity {
			before = after.ID
		}
		// One severity at a time is read from the end of its index; all at once would be sorted.
		part, err := i.incidents(ctx, "where closed = 0 and severity = ? and id < ? order by id desc limit ?",
			int(severity), before, n-len(all))
		if err != nil {
			return nil, err
		}
		if all = append(all, part...); len(all) == n {
			break
		}
	}
	return all, nil
}

// Rated are the open incidents of a server with a severity.
type Rated struct {
	Server   string
	Severity remediate.Severity
	Open     int64
}

// serversAtOnce is how many servers one query is about: one text, which is prepared once.
const serversAtOnce = 16

// isOfServers is the condition of the counts of n pairs of a severity and a server.
func isOfServers(n int) string {
	return "scope = 'rated' and name in (?" + strings.Repeat(", ?", n-1) + ")"
}

// ByServer counts the open incidents of servers by severity. Alerts may name any number of others.
func (i *Inbox) ByServer(ctx context.Context, servers []string) (all []Rated, err error) {
	severities := remediate.Severities()
	for some := range slices.Chunk(servers, serversAtOnce) {
		var names []any
		for n := range serversAtOnce {
			for _, severity := range severities {
				names = append(names, fmt.Sprintf("%d/%s", severity, some[min(n, len(some)-1)]))
			}
		}
		counts, err := i.counts(ctx, isOfServers(len(names)), names...)
		if err != nil {
			return nil, fmt.Errorf("incidents of servers: %w", err)
		}
		for _, server := range some {
			for _, severity := range severities {
				if open := counts[fmt.Sprintf("%d/%s", severity, server)]; open > 0 {
					all = append(all, Rated{server, severity, open})
				}
			}
		}
	}
	return all, nil
}

// BySeverity counts the open incidents.
func (i *Inbox) BySeverity(ctx context.Context) (map[remediate.Severity]int64, error) {
	counts, err := i.counts(ctx, "scope = 'severity'")
	if err != nil {
		return nil, fmt.Errorf("incidents by severity: %w", err)
	}
	all := make(map[remediate.Severity]int64)
	for _, severity := range remediate.Severities() {
		if open := counts[fmt.Sprint(int(severity))]; open > 0 {
			all[severity] = open
		}
	}
	return all, nil
}

// counts reads counts of open incidents by their names.
func (i *Inbox) counts(ctx context.Context, which string, args ...any) (all map[string]int64, err error) {
	rows, err := i.store.Query(ctx, "select name, opened from incident_counts where "+which, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	all = make(map[string]int64)
	for rows.Next() {
		var name string
		var open int64
		if err := rows.Scan(&name, &open); err != nil {
			return nil, err
		}
		all[name] = open
	}
	return all, rows.Err()
}

// Edition returns a text that changes when an incident opens or closes.
func (i *Inbox) Edition(ctx context.Context) (string, error) {
	var last, open int64
	err := i.one(ctx, &last, "select coalesce(max(id), 0) from incidents")
	if err == nil {
		open, err = i.Open(ctx)
	}
	return fmt.Sprintf("%d.%d", last, open), err
}

// Incident returns one incident, open or closed.
func (i *Inbox) Incident(ctx context.Context, id int64) (remediate.Incident, error) {
	all, err := i.incidents(ctx, "where id = ?", id)
	if err != nil {
		return remediate.Incident{}, err
	}
	if len(all) == 0 {
		return remediate.Incident{}, fmt.Errorf("there is no incident %d", id)
	}
	return all[0], nil
}

func (i *Inbox) incidents(ctx context.Context, condition string, args ...any) ([]remediate.Incident, error) {
	rows, err := i.read(ctx, condition, args...)
	all := make([]remediate.Incident, len(rows))
	for n, e := range rows {
		all[n] = e.Incident
	}
	return all, err
}

func (i *Inbox) read(ctx context.Context, condition string, args ...any) (all []incident, err error) {
	rows, err := i.store.Query(ctx, "select "+columns+" from incidents "+condition, args...)
	if err != nil {
		return nil, fmt.Errorf("incidents: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		e, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("incidents: %w", err)
		}
		all = append(all, e)
	}
	return all, rows.Err()
}

// one reads one number.
func (i *Inbox) one(ctx context.Context, into *int64, query string, args ...any) (err error) {
	rows, err := i.store.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := rows.Scan(into); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Open returns how many incidents are open.
func (i *Inbox) Open(ctx context.Context) (n int64, err error) {
	err = i.one(ctx, &n, "select opened from incident_counts where scope = 'all' and name = ''")
	return n, err
}

// openByName returns how many incidents are open of those alerts that have the most, and of all
// others together.
func (i *Inbox) openByName(ctx context.Context) (counts map[string]int64, err error) {
	all, err := i.Open(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := i.store.Query(ctx, "select name, opened from incident_counts where "+isMost, shownNames)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	counts = make(map[string]int64)
	for rows.Next() {
		var name string
		var n int64
		if err := rows.Scan(&name, &n); err != nil {
			return nil, err
		}
		counts[clipped(name)] += n
		all -= n
	}
	if all > 0 {
		counts[others] += all
	}
	return counts, rows.Err()
}

const (
	// namesAtMost and againAtMost are how many alerts and subjects a review lists.
	namesAtMost, againAtMost = 50, 20

	// again is how often an alert fires for one subject before it is repeated.
	again = 3
)

// A Review is what fired in a time.
type Review struct {
	Alerts []FiredAlert // those that fired longest first
	Again  []Repeated   // those that fired most often first

	AlertsSQL, AgainSQL string // how they were read, for people
}

// A FiredAlert sums up the incidents of one alert.
type FiredAlert struct {
	Name      string // "" for what was closed before upkeep kept the name
	Incidents int64
	Open      int64         // at the end of the time
	Firing    time.Duration // within the time, summed over the incidents
	Longest   time.Duration
}

// A Repeated is one alert that fired again and again for one subject.
type Repeated struct {
	Alert       remediate.Alert
	Incidents   int64
	Firing      time.Duration
	First, Last time.Time // when the first and the last one opened
	Runs        int64     // of upkeep that acted on them
	Resolved    int64     // of these
}

// Review sums up the incidents that were open in a time, the end of which is not part of it.
func (i *Inbox) Review(ctx context.Context, from, to time.Time) (r Review, err error) {
	a, b := store.Millis(from), store.Millis(to)
	firing := "case when closed = 0 or closed > ? then ? else closed end - case when opened < ? then ? else opened end"
	alerts := "select name, count(*), cast(sum(case when closed = 0 or closed >= ? then 1 else 0 end) as bigint), " +
		"cast(sum(" + firing + ") as bigint), max(" + firing + ") from incidents " +
		"where opened < ? and (closed = 0 or closed >= ?) group by name order by 4 desc, 1 limit ?"
	args := []any{b, b, b, a, a, b, b, a, a, b, a, namesAtMost}
	r.AlertsSQL = filled(alerts, args)
	if r.Alerts, err = i.firedAlerts(ctx, alerts, args...); err != nil {
		return r, fmt.Errorf("inbox: review: %w", err)
	}
	same := "select id from incidents i where i.key = incidents.key and i.closed = 0 union all " +
		"select id from incidents i where i.key = incidents.key and i.closed > 0"
	repeated := "select max(alert), count(*), cast(sum(" + firing + ") as bigint), min(opened), max(opened), " +
		"(select count(*) from runs where begun > 0 and changed >= ? and changed < ? and incident in " +
		"(" + same + ")), " +
		"(select count(*) from runs where begun > 0 and changed >= ? and changed < ? and state = '" +
		string(remediate.Resolved) + "' and incident in (" + same + ")) " +
		"from incidents where opened >= ? and opened < ? group by key having count(*) >= ? order by 2 desc, 4, " +
		"key limit ?"
	args = []any{b, b, a, a, a, b, a, b, a, b, again, againAtMost}
	r.AgainSQL = filled(repeated, args)
	if r.Again, err = store.List(ctx, i.store, scanRepeated, repeated, args...); err != nil {
		return r, fmt.Errorf("inbox: review: %w", err)
	}
	return r, nil
}

func (i *Inbox) firedAlerts(ctx context.Context, query string, args ...any) (all []FiredAlert, err error) {
	rows, err := i.store.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var f FiredAlert
		var firing, longest int64
		if err := rows.Scan(&f.Name, &f.Incidents, &f.Open, &firing, &longest); err != nil {
			return nil, err
		}
		f.Firing, f.Longest = milliseconds(firing), milliseconds(longest)
		all = append(all, f)
	}
	return all, rows.Err()
}

func scanRepeated(rows *sql.Rows) (r Repeated, err error) {
	var text []byte
	var firing, first, last int64
	if err := rows.Scan(&text, &r.Incidents, &firing, &first, &last, &r.Runs, &r.Resolved); err != nil {
		return r, err
	}
	r.Firing, r.First, r.Last = milliseconds(firing), store.Time(first), store.Time(last)
	return r, json.Unmarshal(text, &r.Alert)
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// filled writes numbers into a query, as a person would run it.
func filled(query string, args []any) string {
	for _, a := range args {
		var n int64
		switch a := a.(type) {
		case int64:
			n = a
		case int:
			n = int64(a)
		}
		query = strings.Replace(query, "?", strconv.FormatInt(n, 10), 1)
	}
	return query
}

package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// slowestVacuum is how fast the slowest of vacuums goes, in bytes a second: a
	// third of what autovacuum's throttle lets through. The server tells when the
	// last one ended, and so this is how long before it began at most.
	slowestVacuum = 10 << 20

	// staysInVain is how long the last vacuum tells anything: who held even older
	// rows then may be gone by now, and to try once more costs little.
	staysInVain = 15 * time.Minute

	// ordinary is how long a transaction may be open that ends by itself.
	ordinary = 10 * time.Minute

	// AgainIn is when it is looked again whether such a one has ended.
	AgainIn = time.Minute
)

// Sightings record when we first saw a blocker whose start time PostgreSQL does not
// report.
type Sightings struct {
	mu    sync.Mutex
	First map[string]time.Time
}

// at returns when the key was first seen, which may be now. Other keys of the database
// are dropped: each call concerns only the current worst blocker.
func (s *Sightings) at(database, key string, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	full := database + "\x00" + key
	if t, known := s.First[full]; known {
		return t
	}
	for k := range s.First {
		if strings.HasPrefix(k, database+"\x00") {
			delete(s.First, k)
		}
	}
	s.First[full] = now
	return now
}

// Horizon returns the blocker with the oldest xmin horizon of a database, or nil.
func Horizon(ctx context.Context, t *target.Postgres, database string) (*read.SessionRow, error) {
	server, err := t.Server()
	if err != nil {
		return nil, err
	}
	rows, err := read.ReadSessions(ctx, server, read.OfHorizon, database)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}

// holds is since when somebody holds what it holds now, at the latest. A snapshot
// is taken within a statement, and a transaction gets its number in one: where a
// session is idle, both were there when its last statement had ended. Where it is
// active, its statement may have waited for long before it took its snapshot.
func (s *Sightings) holds(h read.SessionRow) time.Time {
	now := h.Since.Add(time.Duration(h.Seconds * float64(time.Second))) // by the server's clock
	switch {
	case h.What == read.Prepared:
		return h.Since
	case h.What == read.Session && strings.HasPrefix(h.State, "idle in transaction") && h.Changed != nil:
		return *h.Changed
	}
	// A standby feeds back what it needs, and its slot remembers it.
	return s.at(h.Database, fmt.Sprintf("%s %s %d %s", h.What, h.Name, h.PID, h.Oldest), now)
}

// Useless reports whether a vacuum of the table would remove nothing, because of
// a blocker: the last vacuum, manual or automatic, has begun since the blocker holds
// them, and has removed whatever had died before; what is dead now has died since.
// That is known where the server tells it, and else a vacuum is tried, which tells
// it: a scan of the table that removes nothing costs less than a wrong refusal.
func (s *Sightings) Useless(h *read.SessionRow, last *time.Time, size int64) bool {
	if h == nil {
		return false
	}
	since := s.holds(*h) // asked in any case, so that it is known the next time
	if last == nil {
		return false
	}
	now := h.Since.Add(time.Duration(h.Seconds * float64(time.Second)))
	longest := time.Duration(float64(size) / slowestVacuum * float64(time.Second))
	return last.After(since.Add(longest)) && now.Sub(*last) < staysInVain
}

// HeldBy names who holds rows back, with what a person needs to find it.
func HeldBy(h read.SessionRow) string {
	who := h.Who()
	if h.What == read.Session {
		who += ", " + h.State
	}
	if h.What == read.Prepared {
		who += fmt.Sprintf(" of %q", h.User)
	}
	most := ""
	if h.What == read.Slot || h.What == read.Session && h.Transaction == nil {
		most = "at most " // the server does not tell since when
	}
	return fmt.Sprintf("%s holds back what died in the last %d transactions, for %s%s, since %s (UTC)", who,
		h.Age, most,
		Lasting(h.Seconds), h.Since.UTC().Format(time.DateTime))
}

// CannotHelp refuses, and names who is in the way. One that is not old ends by
// itself, and is waited for.
func CannotHelp(h read.SessionRow, what string) error {
	r := &remediate.Refusal{Reason: remediate.ReasonCannotHelp, Detail: what + ": " + HeldBy(h)}
	if h.What == read.Session && h.Type == "client backend" && h.Seconds < ordinary.Seconds() {
		r.Until = time.Now().Add(AgainIn)
	}
	return r
}

// Hidden makes of who may not be seen a fact for people.
func Hidden(err error) (fact string, other error) {
	if errors.Is(err, read.ErrHidden) {
		return "who holds dead rows back is not known: " + err.Error(), nil
	}
	return "", err
}

// HolderSQL names who keeps dead rows from being removed, the oldest first. The
// age is in transactions. A logical slot holds only the catalog's rows back.
const HolderSQL = `
select who, age from (
  select 'session ' || pid || ' (' || coalesce(nullif(application_name, ''), 'no application_name') || ', '
    || coalesce(state, 'no state') || ')' as who, age(backend_xmin)::int8 as age
    from pg_stat_activity
   where backend_xmin is not null and pid <> pg_backend_pid() and backend_type <> 'autovacuum worker'
     and (datname = current_database() or datname is null)
  union all
  select 'prepared transaction ' || quote_literal(gid), age(transaction)::int8 from pg_prepared_xacts
    where database = current_database()
  union all
  select 'replication slot ' || quote_ident(slot_name::text), age(xmin)::int8 from pg_replication_slots
    where xmin is not null
) holders
 order by age desc
 limit 1`

// WorthTelling is from which age on, in transactions, a holder is named. A
// younger one is ordinary traffic.
const WorthTelling = 10_000

// Holder returns the session that holds old rows back, or "".
func Holder(ctx context.Context, db *target.Database) (string, error) {
	var who string
	var age int64
	err := db.QueryRow(ctx, HolderSQL).Scan(&who, &age)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("who holds old rows: %w", err)
	case age < WorthTelling:
		return "", nil
	}
	return fmt.Sprintf("%s holds back what can be removed: it is %d transactions old", who, age), nil
}

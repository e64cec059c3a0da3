package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/postgres/statement"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

//go:embed sessions.sql
var sessionsSQL string

// The ways in which a session can be in the way: the values of the label "of".
const (
	OfIdle        = "idle"        // idle within its transaction
	OfTransaction = "transaction" // its transaction is open
	OfBlocker     = "blocker"     // others wait for its locks, and it waits for none
	OfHorizon     = "horizon"     // dead rows stay for its sake
)

// Sessions reports the session of each database that is most in the way.
func Sessions(t *target.Postgres) collectors.Collector {
	c := sessions{target: t, worst: gauge("worst_session_seconds",
		"Age of the worst blocking session of each kind: idle in transaction (idle), oldest transaction "+
			"(transaction), blocker of the longest lock wait (blocker), or oldest xmin horizon, which keeps dead "+
			"rows from being removed (horizon). Absent when no session blocks.", "database", "of", "user",
		"application")}
	return collectors.Collector{
		Name:   "postgres/sessions",
		Target: t.Name,
		Doc: `Sessions reports the worst blocking session of each database, of each of four kinds.

The kinds are: longest idle in transaction; oldest open transaction; blocker of the
longest lock wait; oldest xmin horizon, which holds back the most dead rows. Prepared
transactions and replication slots hold locks and dead rows too: the label application
is then their name. For a slot the server reports since when it is inactive (17 and
later); before, the time since the server start is used, which is the upper bound. Sessions of upkeep do not count as idle or as old. Reads
pg_stat_activity, once for the whole server. Rights: pg_read_all_stats (it is in
pg_monitor), to see other roles' sessions. Cost: one pass over the sessions;
blockers are looked up only for sessions that wait. The action postgres/terminate ends
the reported session.`,
		Metrics: []*collectors.Metric{c.worst},
		Every:   15 * time.Second,
		Timeout: 10 * time.Second,
		Limit:   1000, // four for each database
		Collect: c.collect,
	}
}

type sessions struct {
	target *target.Postgres
	worst  *collectors.Metric
}

func (c sessions) collect(ctx context.Context, w *collectors.Writer) error {
	server, err := c.target.Server()
	if err != nil {
		return err
	}
	rows, err := ReadSessions(ctx, server, "", "")
	if err != nil {
		return err
	}
	kept, rest := collectors.Largest(rows, w.Limit(), func(r SessionRow) float64 { return r.Seconds })
	for _, r := range kept {
		application := r.Application
		if r.What != Session {
			application = r.Who()
		}
		w.Set(c.worst, r.Seconds, c.target.Name, r.Database, r.Of, r.User, application)
	}
	w.Cut(len(rest))
	return nil
}

// What a SessionRow can be.
const (
	Session  = "session"
	Prepared = "prepared"
	Slot     = "slot"
)

// A SessionRow is who is most in the way, in one way and one database.
type SessionRow struct {
	Of, Database                         string
	What                                 string // Session, Prepared or Slot
	PID                                  int32  // of a session
	Name                                 string // of a prepared transaction or slot
	User, Application, Address           string
	Type, State, Text                    string
	Started, Transaction, Query, Changed *time.Time // of the session, its transaction, its statement and its state
	Since                                time.Time  // it is in the way
	Seconds                              float64    // it has been in the way
	// in transactions, of the oldest rows that it may see; 0: it holds none
	Age        int64
	Oldest     string // that transaction; "": none
	Blocked    int64  // sessions that wait for it, and for those that do
	Wrote      bool   // it has changed something that is not committed
	Ours       bool   // it is of upkeep
	Superuser  bool   // its role is one
	MayBeEnded bool   // by the role that asks
}

// hiddenSQL counts the sessions of which the role does not see what they do.
const hiddenSQL = `select count(*) from pg_stat_activity where state is null and backend_type is null and query = '<insufficient privilege>'`

// ReadSessions reads the worst blocking session: of one kind and one database, or of all
// if these are empty. A role that does not see every session cannot know the worst one:
// that is an error, which names the grant.
func ReadSessions(ctx context.Context, q Querier, of, database string) ([]SessionRow, error) {
	unseen, err := target.Rows[struct{ N int64 }](ctx, q, hiddenSQL)
	if err != nil {
		return nil, err
	}
	if n := unseen[0].N; n > 0 {
		return nil, hidden(fmt.Sprintf("what %d sessions do", n), "pg_read_all_stats")
	}
	return target.Rows[SessionRow](ctx, q, sessionsSQL, of, database)
}

// Who names who it is, for people.
func (r SessionRow) Who() string {
	switch r.What {
	case Prepared:
		return fmt.Sprintf("prepared transaction %q", r.Name)
	case Slot:
		return fmt.Sprintf("replication slot %q", r.Name)
	}
	kind := ""
	if r.Type != "client backend" {
		kind = r.Type + ", "
	}
	from := "a local client"
	if r.Address != "" {
		from = r.Address
	}
	return fmt.Sprintf("session %d of user %q (%sapplication %q, from %s)", r.PID, r.User, kind, r.Application, from)
}

// StatementText returns what people are shown of a statement: nothing of a command,
// which may hold a password, and no literal.
func StatementText(text string) string { return statement.Shown(text) }

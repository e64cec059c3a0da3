package look

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/collectors/postgres/serverlog"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// From what on lines of a log are listed, of the last 24 hours.
const (
	severalCrashes = 3
	manyDeadlocks  = 20       // PostgresDeadlocks has as many in an hour
	manyTooSoon    = 20       // checkpoints: more than in a load of data
	temporarySome  = 16 << 20 // bytes
	temporaryMuch  = 10 << 30
	someCanceled   = 3 // a change of a table cancels an autovacuum now and then
	manyCanceled   = 50
	someConflicts  = 10
	someLogins     = 20 // a person types a wrong password a few times
	manyLogins     = 1000
	someFailed     = 100 // of one SQLSTATE
	manyFailed     = 10_000

	internalError = "XX000"
	beyond        = 1 << 53 // more lines than there are
)

// readServerLog asks for what PostgreSQL's own log says.
func readServerLog(ctx context.Context, t *target.Postgres) (*serverlog.Report, []Unknown) {
	r, err := serverlog.Read(ctx, t)
	if err == nil {
		return &r, nil
	}
	u := Unknown{Server: t.Name, What: "what PostgreSQL's own log says", Why: err.Error()}
	if n, ok := errors.AsType[*serverlog.NotKnown](err); ok {
		u.SQL = n.SQL
	}
	return nil, []Unknown{u}
}

// A said is how a class of lines is listed.
type said struct {
	class                 serverlog.Class
	harm                  Harm
	least, warn, critical int // of lines
	title, cost, byHand   string
}

// saids are the classes that are listed by how often they are there.
func saids() []said {
	return []said{
		{serverlog.Corrupt, Data, 1, 1, 1, "it has met damaged pages, indexes or rows",
			"what is damaged cannot be read, or is read wrongly",
			"Copy the data directory before anything else. The log " +
				"names the relation: restore it from a backup, or reindex an index."},
		{serverlog.InputOutput, Data, 1, 1, 1, "it could not read or write its files",
			"what was to be written may be lost", "Look at the disk and the kernel's log of the machine."},
		{serverlog.Panic, Service, 1, 1, 1, "it has ended itself by PANIC",
			"all sessions ended, and what they had not committed is lost",
			"The log has the reason before the word PANIC."},
		{serverlog.Wraparound, Service, 1, 1, 1, "it warns that transaction ids run out",
			"when none is left it takes no more writes", "VACUUM FREEZE the tables with the oldest ids; end old " +
				"transactions, prepared transactions and slots before."},
		{serverlog.DiskFull, Service, 1, 1, 1, "its disk was full",
			"writes failed, and a full disk of WAL ends the server",
			"Find what filled it: WAL that a slot keeps, temporary files, logs."},
		{serverlog.Killed, Service, 1, 1, severalCrashes, "one of its processes was terminated by a signal",
			"all sessions ended, and it recovered from its WAL",
			"Signal 9 is the kernel's, out of memory, or a person's " +
				"kill -9; signal 11 is a fault of PostgreSQL or of an extension. The line after it names what was " +
				"running."},
		{serverlog.Recovered, Service, 1, 1, severalCrashes, "it was not shut down properly",
			"all sessions ended, and it recovered from its WAL",
			"Find out what ended it: a power failure, the kernel, or " +
				"a stop in mode immediate."},
		{serverlog.NoMemory, Service, 1, 1, beyond, "it had not enough memory", "statements failed",
			"Lower work_mem or max_connections. Where the log says shared memory, raise max_locks_per_transaction."},
		{serverlog.NoConnections, Service, 1, 1, beyond, "it has sent clients away: too many connections",
			"who needed a connection got an error",
			"Put a pooler before it, or let applications keep fewer connections."},
		{serverlog.LostWAL, Service, 1, 1, beyond, "a standby asked for WAL that is gone",
			"the standby cannot follow any more", "Make the standby anew, or give it the WAL archive. A slot or " +
				"wal_keep_size keeps what a standby needs."},
		{serverlog.OldHorizon, Service, 1, 1, beyond, "vacuum says that the oldest transaction is far in the past",
			"dead rows stay, and ids come nearer to their end",
			"End old transactions, prepared transactions and slots that " +
				"no one uses."},
		{serverlog.Settings, Care, 1, 1, beyond, "its configuration file has errors",
			"settings that were changed are not in force",
			"The line before it names the setting: pg_file_settings too."},
		{serverlog.Deadlock, Service, 1, manyDeadlocks, beyond, "transactions ended in deadlocks",
			"each fails one of them", "The log has the statements of both. Let all lock the same rows in one order."},
		{serverlog.Checkpoints, Speed, 1, manyTooSoon, beyond, "checkpoints are occurring too frequently",
			"each writes all changed pages, and makes more WAL", "Raise max_wal_size."},
		{serverlog.Autovacuum, Speed, someCanceled, manyCanceled, beyond, "autovacuum was canceled by others' locks",
			"dead rows stay until it comes to its end", "Find what locks the tables: ALTER, LOCK TABLE, CREATE INDEX."},
		{serverlog.Conflict, Service, someConflicts, beyond, beyond,
			"queries on the standby were canceled by its recovery",
			"who asked got an error", "Raise max_standby_streaming_delay, or set hot_standby_feedback to on."},
		{serverlog.Login, Care, someLogins, manyLogins, beyond, "logins were refused",
			"an application has a wrong password, or someone guesses", "The log names the user and the address."},
	}
}

// serverLog finds what PostgreSQL's own log says. Nothing of a line is shown but its class, and its SQLSTATE.
func serverLog(f Facts) (found []Finding) {
	r := f.Postgres.Log
	if r == nil {
		return nil
	}
	for _, s := range saids() {
		groups := f.logged(s.class)
		n := total(groups)
		if n < s.least || s.class == serverlog.Recovered && n <= total(f.logged(serverlog.Killed)) {
			continue // after the end of a process it recovers: that is said
		}
		found = append(found, Finding{Kind: "postgres/log_" + string(s.class), Harm: s.harm,
			Severity: worse(float64(n), float64(s.warn), float64(s.critical)), Title: s.title + often(n), Cost: s.cost,
			Evidence: f.logEvidence(groups), ByHand: s.byHand})
	}
	return slices.Concat(found, f.temporaryFiles(), f.failedStatements())
}

// logged are the groups of a class.
func (f Facts) logged(class serverlog.Class) (groups []serverlog.Group) {
	if f.Postgres.Log == nil {
		return nil
	}
	for _, g := range f.Postgres.Log.Groups {
		if g.Class == class {
			groups = append(groups, g)
		}
	}
	return groups
}

// total is how many lines groups have.
func total(groups []serverlog.Group) (n int) {
	for _, g := range groups {
		n += g.Count
	}
	return n
}

func often(n int) string {
	if n == 1 {
		return ", says its log once"
	}
	return fmt.Sprintf(", says its log %d times", n)
}

// logEvidence is where the lines are, how many, and when.
func (f Facts) logEvidence(groups []serverlog.Group) (all []Evidence) {
	r := f.Postgres.Log
	for _, g := range groups {
		e := Evidence{What: "lines of class " + string(g.Class), Value: fmt.Sprint(g.Count), From: r.From, At: r.At}
		if g.State != "" {
			e.What += ", SQLSTATE " + g.State
			if name := serverlog.Name(g.State); name != "" {
				e.What += " (" + name + ")"
			}
		}
		if !r.Since.IsZero() {
			e = e.since(r.Since)
		}
		switch first, last := g.First.Format(time.DateTime), g.Last.Format(time.DateTime); {
		case g.First.IsZero():
		case first == last:
			e.Note = "at " + last + " UTC"
		default:
			e.Note = "the first at " + first + " UTC, the last at " + last + " UTC"
		}
		all = append(all, e)
	}
	return all
}

// temporaryFiles finds sorts and hashes that did not fit into memory.
func (f Facts) temporaryFiles() []Finding {
	groups := f.logged(serverlog.Temporary)
	bytes := 0.0
	for _, g := range groups {
		bytes += g.Bytes
	}
	if bytes < temporarySome {
		return nil
	}
	return []Finding{{Kind: "postgres/log_temporary", Severity: worse(bytes, temporaryMuch, 1e18), Harm: Speed,
		Bytes: bytes, Title: fmt.Sprintf("statements wrote %s to temporary files%s", size(bytes), often(total(groups))),
		Cost:     "sorts and hashes that do not fit into work_mem read and write the disk",
		Evidence: f.logEvidence(groups), ByHand: "The log has their statements: give them an index, or more work_mem."}}
}

// failedStatements finds errors that are there often, by their SQLSTATE.
func (f Facts) failedStatements() (found []Finding) {
	for _, g := range f.logged(serverlog.Failed) {
		if g.Count < someFailed && g.State != internalError {
			continue
		}
		what := "without a SQLSTATE"
		if g.State != "" {
			what = "with SQLSTATE " + g.State
		}
		if name := serverlog.Name(g.State); name != "" {
			what += " (" + name + ")"
		}
		found = append(found, Finding{Kind: "postgres/log_failed", Harm: Service,
			Severity: worse(float64(g.Count), manyFailed, beyond),
			Subject:  map[string]string{"server": f.Server, "sqlstate": g.State},
			Title:    "statements failed " + what + often(g.Count), Cost: "what they were for was not done",
			Evidence: f.logEvidence([]serverlog.Group{g}),
			ByHand:   "The log has the statements. Errors without a SQLSTATE have one with %e in log_line_prefix."})
	}
	return found
}

// unreadLog says what of a log is not known though it was read.
func unreadLog(t *target.Postgres, r *serverlog.Report) []Unknown {
	if r == nil || r.Note == "" {
		return nil
	}
	return []Unknown{{Server: t.Name, What: "a part of what PostgreSQL's own log says", Why: r.Note}}
}

package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Terminate ends the one session that is most in the way.
func Terminate(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   "postgres/terminate",
		Target: t.Name,
		Doc: "Terminate ends the worst blocking session of a database with pg_terminate_backend, after a person has approved it." + `

The parameter of selects the kind: the session that is idle in transaction for the
longest time (idle), the one with the oldest open transaction (transaction), the blocker
of the longest lock wait (blocker), or the one with the oldest xmin horizon, which holds
back the most dead rows (horizon). It is the session that the metric with the same label
reports, and the run is verified by that metric.

Uncommitted changes of the session are lost, and its client gets an error. The plan
shows its user, client address, start time, whether it has written, which sessions wait
for it, and its last statement without literals. The session is identified by its
process id and the start times of the session, its transaction and its idle state. The
statement that ends it compares them: if the session has moved on it is left alone, and
the step is done. Otherwise the step is done when the session is gone.

It always needs approval. It refuses sessions that must not be ended, and names them:
walsenders, autovacuum and other processes of the server, sessions of upkeep, backups
(recognized by application_name: pg_dump, pg_dumpall, pg_restore, pg_basebackup,
pg_receivewal, pgBackRest, Barman, WAL-G) and pg_repack. Prepared transactions and
replication slots are named and left to people. Statements are not
cancelled instead: that ends no transaction. Rights: pg_read_all_stats (it is in
pg_monitor) to see the sessions, and pg_signal_backend, or to be a member of the
session's role; a superuser's session is ended by superusers only.`,
		Lowers: "upkeep_postgres_worst_session_seconds",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "none",
			Blocks: "no one: it frees those who wait",
			WAL:    "none",
			Disk:   "none",
			Undo:   "none: the transaction of that session is rolled back",
		},
		Asks:      true,
		Subject:   []string{"server", "database"},
		Exclusive: []string{"server", "database"},
		Params: []remediate.Param{
			{Name: "of", Type: remediate.Text, Default: read.OfIdle,
				Doc: "Whom to end: idle, transaction, blocker or horizon."},
		},
		Rights: []remediate.Right{
			{Grant: `grant pg_read_all_stats to :"role"`, For: "to see the sessions of others"},
			{Grant: `grant pg_signal_backend to :"role"`, For: "to end the sessions of roles that are no superusers"},
		},
		Timeout:  time.Minute,
		Cancel:   remediate.CancelAnytime,
		Executor: terminate{t},
	}
}

// terminateArgs name the session that its step ends.
type terminateArgs struct {
	Database    string  `arg:"database"`
	PID         int32   `arg:"pid"`
	Started     string  `arg:"started"`
	Transaction string  `arg:"transaction"` // when it began; "" for none
	Idle        *string `arg:"idle"`        // since when, where it is ended for that
}

type terminate struct{ target *target.Postgres }

// worst returns the worst blocking session, or nil.
func (a terminate) worst(ctx context.Context, r remediate.Request) (*read.SessionRow, error) {
	of := cmp.Or(r.Params["of"], read.OfIdle)
	if !slices.Contains([]string{read.OfIdle, read.OfTransaction, read.OfBlocker, read.OfHorizon}, of) {
		return nil, remediate.Refuse(remediate.ReasonSubject,
			"the parameter of is %q, want idle, transaction, blocker or horizon", of)
	}
	db, err := relation.Database(ctx, a.target, r)
	if err != nil {
		return nil, err
	}
	server, err := a.target.Server()
	if err != nil {
		return nil, err
	}
	rows, err := read.ReadSessions(ctx, server, of, db.Name())
	switch {
	case errors.Is(err, read.ErrHidden):
		return nil, remediate.Refuse(remediate.ReasonPrivilege, "%v", err)
	case err != nil:
		return nil, fmt.Errorf("sessions: %w", err)
	case len(rows) == 0:
		return nil, nil //nolint:nilnil // no session blocks, which is not a fault
	}
	return &rows[0], nil
}

// Plan implements remediate.Executor.
func (a terminate) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.Plan(ctx, a.target, r, a.plan)
}

func (a terminate) plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	s, err := a.worst(ctx, r)
	switch {
	case errors.Is(err, remediate.ErrGone):
		return p, remediate.Refuse(remediate.ReasonGone, "%v", err)
	case err != nil:
		return p, err
	case s == nil:
		return p, remediate.Refuse(remediate.ReasonNothing, "no session blocks")
	}
	if err := p.NoteMissing(mayBeEnded(*s)); err != nil {
		return p, err
	}
	p.Facts = a.facts(*s)
	args := terminateArgs{Database: r.Subject["database"], PID: s.PID, Started: session.Stamp(s.Started),
		Transaction: session.Stamp(s.Transaction)}
	if s.Of == read.OfIdle {
		args.Idle = new(session.Stamp(s.Changed))
	}
	which, err := identity(args)
	if err != nil {
		return p, err
	}
	p.Steps = []remediate.Step{
		remediate.StepOf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "+which, args),
	}
	return p, nil
}

// backups are the beginnings of the names under which programs connect that must
// not be ended halfway: what they have made until then is worth nothing, and somebody
// may rely on it.
func backups() []string {
	return []string{"pg_dump", "pg_restore", "pg_basebackup", "pg_receivewal", "pgbackrest", "barman", "wal-g",
		"pg_repack"}
}

// mayBeEnded refuses who must not be ended, and says who that is.
func mayBeEnded(s read.SessionRow) error {
	who := fmt.Sprintf("%s, in the way for %s, since %s", s.Who(), session.Lasting(s.Seconds),
		s.Since.UTC().Format(time.DateTime))
	switch {
	case s.What == read.Prepared:
		return remediate.Refuse(remediate.ReasonUnfit,
			"%s of %q is not a session: its owner must run COMMIT PREPARED or ROLLBACK PREPARED", who, s.User)
	case s.What == read.Slot:
		return remediate.Refuse(remediate.ReasonUnfit,
			"%s is not a session: check its standby, and drop the slot if the standby will not come back", who)
	case s.Type != "client backend":
		return remediate.Refuse(remediate.ReasonUnfit, "%s is a process of the server, which is not ended", who)
	case s.Ours:
		return remediate.Refuse(remediate.ReasonUnfit, "%s is of upkeep: stop its run instead", who)
	case slices.ContainsFunc(backups(),
		func(name string) bool { return strings.HasPrefix(strings.ToLower(s.Application), name) }):
		return remediate.Refuse(remediate.ReasonUnfit,
			"%s makes a backup, restores one or rewrites a table, which is not ended halfway", who)
	case s.MayBeEnded:
		return nil
	case s.Superuser:
		return remediate.Refuse(remediate.ReasonPrivilege,
			"%s is a superuser's session: only superusers may end it, pg_signal_backend does not suffice", who)
	default:
		return remediate.Refuse(remediate.ReasonPrivilege,
			"%s may not be ended by this role: grant pg_signal_backend to it, or membership in %q", who, s.User)
	}
}

// facts tell people whom they are asked to end, and what is lost with the session.
func (a terminate) facts(s read.SessionRow) (all []string) {
	all = append(all, fmt.Sprintf("%s in database %q is %s", s.Who(), s.Database, s.State))
	since := map[string]string{
		read.OfIdle: "it has been idle within its transaction", read.OfTransaction: "its transaction has been open",
		read.OfBlocker: "the one that waits longest for its lock has waited",
		read.OfHorizon: "it has held back dead rows",
	}
	all = append(all, fmt.Sprintf("%s for %s, since %s", since[s.Of], session.Lasting(s.Seconds),
		s.Since.UTC().Format(time.DateTime)))
	all = append(all, fmt.Sprintf("connected since %s, transaction since %s, last statement at %s (UTC)",
		session.When(s.Started), session.When(s.Transaction), session.When(s.Query)))
	if s.Wrote {
		all = append(all, "it has changed something that is rolled back when it ends")
	} else {
		all = append(all, "it has changed nothing in this transaction")
	}
	if s.Blocked > 0 {
		all = append(all, fmt.Sprintf("%d sessions wait for it", s.Blocked))
	}
	if s.Age > 0 {
		all = append(all, fmt.Sprintf("it holds back the dead rows of %d transactions", s.Age))
	}
	if text := read.StatementText(s.Text); !a.target.WithoutText && text != "" {
		all = append(all, "its last statement, without literals: "+text)
	} else {
		all = append(all, "the text of its last statement is not shown")
	}
	return all
}

// identity is the condition under which a session is the one that was planned for:
// a process's number is another's soon.
func identity(args terminateArgs) (string, error) {
	if args.Started == "" {
		return "", errors.New("step: it does not say when the session began")
	}
	which := []string{fmt.Sprintf("pid = %d", args.PID)}
	for _, moment := range []struct {
		column string
		at     *string
	}{{"backend_start", &args.Started}, {"xact_start", &args.Transaction}, {"state_change", args.Idle}} {
		switch {
		case moment.at == nil:
			continue
		case *moment.at == "":
			which = append(which, moment.column+" IS NULL")
			continue
		}
		if _, err := time.Parse(time.RFC3339Nano, *moment.at); err != nil {
			return "", fmt.Errorf("step: %s: %w", moment.column, err)
		}
		which = append(which, fmt.Sprintf("%s = '%s'", moment.column, *moment.at))
	}
	return strings.Join(which, " AND "), nil
}

// goneWithin is how long a session may take to end: it rolls nothing back, but what
// it does just then may not be interruptible.
const goneWithin = 30 * time.Second

// Apply implements remediate.Executor.
func (a terminate) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	args, err := remediate.ArgsOf[terminateArgs](s)
	if err != nil {
		return err
	}
	which, err := identity(args)
	if err != nil {
		return err
	}
	err = session.Job{
		Target: a.target, Server: session.Planned(s), Action: "postgres/terminate",
		// no table has that name; the lock is the session's
		Place:       session.Place{Database: args.Database, Schema: "pg_stat_activity", Table: fmt.Sprint(args.PID)},
		LockTimeout: 5 * time.Second,
		Done: func(ctx context.Context, c *pgx.Conn) (bool, error) {
			there, err := present(ctx, c, which)
			return !there, err
		},
	}.Run(ctx, f, s.Do)
	if err != nil {
		return err
	}
	return a.gone(ctx, which)
}

// present reports whether the session is there as it was.
func present(ctx context.Context, q read.Querier, which string) (there bool, err error) {
	rows, err := q.Query(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE "+which+")")
	if err != nil {
		return false, fmt.Errorf("the session: %w", err)
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool])
}

// gone waits until the session has ended.
func (a terminate) gone(ctx context.Context, which string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, goneWithin, errors.New("it was terminated and is still there"))
	defer cancel()
	server, err := a.target.Server()
	if err != nil {
		return err
	}
	for {
		there, err := present(ctx, server, which)
		if err != nil || !there {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the session: %w", context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Measure implements remediate.Executor.
func (a terminate) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	s, err := a.worst(ctx, r)
	if err != nil || s == nil {
		return 0, err
	}
	return s.Seconds, nil
}

// Identified implements remediate.Identifier.
func (a terminate) Identified(ctx context.Context, s remediate.Step) error {
	return session.PlannedAnswers(ctx, a.target, s)
}

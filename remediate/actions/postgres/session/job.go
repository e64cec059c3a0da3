package session

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// LockPoll is how often the subject's lock is tried while another session holds it.
	LockPoll = 200 * time.Millisecond

	// CancelWithin is how long a cancelled statement may take to end on the server.
	CancelWithin = 5 * time.Second

	// idleFor is how long a session that holds the subject's lock may run no
	// statement before it is taken for one whose owner is frozen. Between two
	// statements of a session that works, only the fence is asked.
	idleFor = 2 * time.Second

	// idleEnd is when the server ends a session of ours by itself that says nothing
	// (14 and later), in case no other run comes to act on the subject.
	idleEnd = 30 * time.Second
)

// A Job is one step on one table.
type Job struct {
	Place

	Target      *target.Postgres
	Server      Server        // of the plan; the session is with no other
	Action      string        // for application_name
	Writes      bool          // it needs transactions that write
	LockTimeout time.Duration // how long a lock of the table is waited for; 0: as long as the step may take

	// Done looks at the server and tells whether the step was carried out already.
	Done func(ctx context.Context, c *pgx.Conn) (bool, error)

	// Work does the step in the place of the one statement, where that is not all.
	Work func(ctx context.Context, c *pgx.Conn) error
}

// Run executes statement on a session of its own, in this order: the session
// takes the subject's advisory lock, done is asked, the fence is checked, and
// then the statement runs.
//
// A process that is killed leaves its session behind, and the server finishes
// what it was doing, bounded by statement_timeout and still holding the lock.
// client_connection_check_interval would end it instead and leave an invalid
// index or a vacuum for nothing. The next owner of the run waits for the
// lock here and then finds the step done.
//
// A process that freezes between taking the lock and sending the statement
// leaves a session that holds the lock and does nothing. Who holds the fence now
// ends that session, so that its owner, should it wake up, can send nothing more.
func (j Job) Run(ctx context.Context, f remediate.Fence, statement string) (err error) {
	var notices []string
	c, err := j.Open(ctx, f, func(severity, message string) {
		if severity == "WARNING" {
			notices = append(notices, message)
		}
	})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }() // the work is done or has failed
	if err := j.Prepare(ctx, c, f); err != nil {
		return err
	}
	if done, err := j.Done(ctx, c); err != nil || done {
		return err
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	if j.Work == nil {
		j.Work = func(ctx context.Context, c *pgx.Conn) error { return j.Exec(ctx, c, statement) }
	}
	if err := j.Work(ctx, c); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return honest(notices)
}

// Open opens a session with the server of the plan.
func (j Job) Open(ctx context.Context, f remediate.Fence, onNotice func(severity, message string)) (*pgx.Conn, error) {
	return Open(ctx, j.Target, Request{
		Database: j.Database, Application: fmt.Sprintf("upkeep %s fence %d", j.Action, f.Token), Server: j.Server,
		Writes: j.Writes, OnNotice: onNotice,
	})
}

// limitsSQL sets what the server knows of some settings. Servers before 14 have no
// idle_session_timeout, those before 17 no transaction_timeout.
const limitsSQL = `
select set_config(key, value, false)
  from jsonb_each_text($1::jsonb)
 where current_setting(key, true) is not null`

// Prepare bounds the session and takes the subject's lock.
func (j Job) Prepare(ctx context.Context, c *pgx.Conn, f remediate.Fence) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		return errors.New("a step needs a deadline")
	}
	rest := max(time.Until(deadline), time.Millisecond)
	limits := make(map[string]string)
	for name, value := range map[string]time.Duration{"statement_timeout": rest, "lock_timeout": j.LockTimeout,
		"idle_in_transaction_session_timeout": 10 * time.Second, "idle_session_timeout": idleEnd,
		"transaction_timeout": 0} {
		limits[name] = fmt.Sprintf("%dms", value.Milliseconds())
	}
	if _, err := c.Exec(ctx, limitsSQL, limits); err != nil {
		return fmt.Errorf("the limits of the session: %w", err)
	}
	return TakeLock(ctx, c, f, LockKey(j.Schema, j.Table))
}

// TakeLock takes an advisory lock for the session.
func TakeLock(ctx context.Context, c *pgx.Conn, f remediate.Fence, key int64) error {
	for {
		var got bool
		if err := c.QueryRow(ctx, "select pg_try_advisory_lock($1)", key).Scan(&got); err != nil {
			return fmt.Errorf("the subject's lock: %w", err)
		}
		if got {
			return nil
		}
		if err := evict(ctx, c, f, key); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the subject's lock is held by another session: %w", context.Cause(ctx))
		case <-time.After(LockPoll):
		}
	}
}

// standingSQL finds the session of ours that holds the subject's lock and has run
// no statement for a while. One that runs a statement is left alone, even if another run sent
// it: its work is finished and adopted.
const standingSQL = `
select a.pid, a.backend_start, a.state_change
  from pg_locks l
  join pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'advisory' and l.granted and l.objsubid = 1
   and l.database = (select oid from pg_database where datname = current_database())
   and l.classid::int8 = ($1::int8 >> 32) & 4294967295
   and l.objid::int8 = $1::int8 & 4294967295
   and a.usesysid = (select usesysid from pg_stat_activity where pid = pg_backend_pid())
   and starts_with(a.application_name, 'upkeep ')
   and a.state = 'idle'
   and a.state_change < clock_timestamp() - $2::text::interval`

// endSQL ends that session, unless it is another by now or has begun a statement.
const endSQL = `
select pg_terminate_backend(pid)
  from pg_stat_activity
 where pid = $1 and backend_start = $2 and state = 'idle' and state_change = $3`

// evict ends the session that holds the lock for a frozen owner. Only
// who holds the fence may, and the fence is checked right before.
func evict(ctx context.Context, c *pgx.Conn, f remediate.Fence, key int64) error {
	var pid int32
	var started, idle time.Time
	err := c.QueryRow(ctx, standingSQL, key, fmt.Sprintf("%dms", idleFor.Milliseconds())).Scan(&pid, &started, &idle)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("who holds the subject's lock: %w", err)
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	if _, err := c.Exec(ctx, endSQL, pid, started, idle); err != nil {
		return fmt.Errorf("session %d, which holds the subject's lock and does nothing: %w", pid, err)
	}
	return nil
}

// LockKey is the advisory lock of a table in its database.
func LockKey(schema, table string) int64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "upkeep %q %q", schema, table))
	return int64(binary.BigEndian.Uint64(sum[:8])) // any 64 bits will do
}

// Exec runs the statement, and cancels it on the server when ctx ends first.
func (j Job) Exec(ctx context.Context, c *pgx.Conn, statement string) error {
	return Cancellable(ctx, c, func(ctx context.Context) error {
		_, err := c.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

// Cancellable runs what asks the server once, and when ctx ends first cancels it there
// and waits for its end: pgx would close the connection and leave the server
// working. The error tells both.
func Cancellable(ctx context.Context, c *pgx.Conn, ask func(ctx context.Context) error) error {
	ended := make(chan error, 1)
	go func() { ended <- ask(context.WithoutCancel(ctx)) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), CancelWithin)
	defer cancel()
	if err := c.PgConn().CancelRequest(last); err != nil {
		return errors.Join(context.Cause(ctx), fmt.Errorf("cancel: %w", err))
	}
	select {
	case err := <-ended:
		if err == nil {
			return nil // it was faster than the cancellation
		}
		return errors.Join(context.Cause(ctx), err)
	case <-last.Done():
		return errors.Join(context.Cause(ctx), errors.New("the server did not end the statement"))
	}
}

// honest turns warnings that mean "not done" into an error: VACUUM without the
// right, or on a table that is locked, warns and succeeds.
func honest(warnings []string) error {
	i := slices.IndexFunc(warnings, func(w string) bool {
		return strings.Contains(w, "skipping") || strings.Contains(w, "permission denied")
	})
	if i < 0 {
		return nil
	}
	return errors.New(warnings[i])
}

// Hold opens a session that holds the subject's lock and gives it to work, which
// may run many statements there. The fence is for work to check, before each
// change. A process that is killed in the middle loses the session, and the server
// rolls back what was not committed.
func (j Job) Hold(ctx context.Context, f remediate.Fence, work func(ctx context.Context, c *pgx.Conn) error) error {
	c, err := j.Open(ctx, f, nil)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }() // the work is done or has failed
	if err := j.Prepare(ctx, c, f); err != nil {
		return err
	}
	return work(ctx, c)
}

// PlannedAnswers looks whether the server of the plan answers.
func PlannedAnswers(ctx context.Context, t *target.Postgres, s remediate.Step) error {
	return Answers(ctx, t, Planned(s))
}

package session

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A Server is which server answers.
type Server struct {
	System string `arg:"system,omitempty"` // its system identifier; a physical replica has that of its primary
	// another after a promotion or a restore to an earlier moment; "" on a replica
	Timeline string `arg:"timeline,omitempty"`
	Replica  bool   // it is one, as of now
}

// Planned returns the server that a step was planned for. A step of a plan that was
// made before plans said so has none.
func Planned(s remediate.Step) Server {
	is, _ := remediate.ArgsOf[Server](s) // texts that a step may be without
	return is
}

// serverSQL reports which server answers. Rights: none beyond CONNECT, unless EXECUTE on
// the function was taken away. Versions: 13 and later.
const serverSQL = `
select system_identifier::text,
       case when pg_is_in_recovery() then '' else left(pg_walfile_name(pg_current_wal_lsn()), 8) end,
       pg_is_in_recovery()
  from pg_control_system()`

// Identify asks which server answers.
func Identify(ctx context.Context, q read.Querier) (s Server, err error) {
	rows, err := q.Query(ctx, serverSQL)
	if err == nil {
		s, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Server])
	}
	var denied interface{ SQLState() string }
	switch {
	case errors.As(err, &denied) && denied.SQLState() == "42501":
		return s, remediate.Refuse(remediate.ReasonPrivilege,
			"the role may not see which server answers: grant execute on function pg_control_system(), "+
				"pg_current_wal_lsn(), pg_walfile_name(pg_lsn) to it")
	case err != nil:
		return s, fmt.Errorf("which server answers: %w", err)
	}
	return s, nil
}

// same refuses where the server that answers is not the one of the plan. A step that
// may run on a replica says so by having no timeline.
func (s Server) same(name string, is Server) error {
	switch {
	case s.System == "":
		return nil
	case s.System != is.System:
		return remediate.Elsewhere("another server answers at the address of %s: its system identifier is %s, and "+
			"the plan is for %s", name, is.System, s.System)
	case s.Timeline == "":
		return nil
	case is.Replica:
		return remediate.Elsewhere("a replica answers at the address of %s, and the plan is for the primary", name)
	case s.Timeline != is.Timeline:
		return remediate.Refuse(remediate.ReasonTarget,
			"the server that answers at the address of %s was promoted or restored since the plan was made: its "+
				"timeline is %s, and was %s; plan again", name, is.Timeline,
			s.Timeline)
	}
	return nil
}

// A Request is for a session.
type Request struct {
	Database    string
	Application string // its application_name
	Server      Server // for which the plan was made
	Writes      bool   // what is done there needs transactions that write
	OnNotice    func(severity, message string)
}

// Open opens a session in which an action may change something: a connection to the
// server itself, and to the one of the plan. It sets and locks nothing before it has
// looked. The error is a *remediate.Refusal where the connection is another.
func Open(ctx context.Context, t *target.Postgres, r Request) (*pgx.Conn, error) {
	c, err := t.Session(ctx, r.Database, r.Application, r.OnNotice)
	if errors.Is(err, target.ErrPooler) {
		return nil, pooled(t)
	}
	if err != nil {
		return nil, err
	}
	is, err := Identify(ctx, c)
	if err == nil {
		err = r.Server.same(t.Name, is)
	}
	if err == nil && r.Writes {
		err = writable(ctx, c)
	}
	if err != nil {
		_ = c.Close(context.WithoutCancel(ctx)) // it has changed nothing
		return nil, err
	}
	return c, nil
}

// writable refuses a session whose transactions are read-only. Somebody has set the
// role, the database or the server to that, and may mean it.
func writable(ctx context.Context, c *pgx.Conn) error {
	var only bool
	if err := c.QueryRow(ctx, "select current_setting('default_transaction_read_only')::bool").Scan(&only); err != nil {
		return fmt.Errorf("whether transactions write: %w", err)
	}
	if only {
		return remediate.Refuse(remediate.ReasonReadOnly,
			"default_transaction_read_only is on for role %s in database %s, so that nothing there may be changed: "+
				"alter role %[1]s in database %[2]s set default_transaction_read_only = off, where upkeep may change "+
				"something all the same",
			pgx.Identifier{c.Config().User}.Sanitize(), pgx.Identifier{c.Config().Database}.Sanitize())
	}
	return nil
}

func pooled(t *target.Postgres) error {
	return remediate.Refuse(remediate.ReasonPooler,
		"the connection to %s is through a pooler, where settings and locks of a session can leak into other "+
			"sessions: give the target's url the server's own address and port", t.Name)
}

// Same refuses where another server than that of the plan answers, or a pooler, for
// a step that changes nothing on the server itself.
func Same(ctx context.Context, t *target.Postgres, planned Server) error {
	is, err := direct(ctx, t)
	if err != nil {
		return err
	}
	return planned.same(t.Name, is)
}

// Answers refuses if another server than that of the plan answers a new connection
// now: a connection that is kept may still lead to the one before.
func Answers(ctx context.Context, t *target.Postgres, planned Server) error {
	c, err := Open(ctx, t, Request{Database: t.Maintenance(), Application: "upkeep looks who answers", Server: planned})
	if err != nil {
		return err
	}
	return c.Close(context.WithoutCancel(ctx))
}

// direct asks which server answers, and refuses a pooler.
func direct(ctx context.Context, t *target.Postgres) (s Server, err error) {
	db, err := t.Server()
	if err != nil {
		return s, err
	}
	switch through, err := db.Pooled(ctx); {
	case err != nil:
		return s, err
	case through:
		return s, pooled(t)
	}
	return Identify(ctx, db)
}

// PlanWrites makes a plan as Plan does, for steps that need transactions that write. It
// refuses where those of a new session with the database of the request do not.
func PlanWrites(ctx context.Context, t *target.Postgres, r remediate.Request,
	plan func(context.Context, remediate.Request) (remediate.Plan, error)) (remediate.Plan, error) {
	return planned(ctx, t, r, true, plan)
}

// Plan makes a plan for the server that answers now: each step says which one that is.
// It refuses where a pooler answers, since no step could be carried out, and returns the
// whole plan with the refusal if only rights are missing.
func Plan(ctx context.Context, t *target.Postgres, r remediate.Request,
	plan func(context.Context, remediate.Request) (remediate.Plan, error)) (remediate.Plan, error) {
	return planned(ctx, t, r, false, plan)
}

func planned(ctx context.Context, t *target.Postgres, r remediate.Request, writes bool,
	plan func(context.Context, remediate.Request) (remediate.Plan, error)) (remediate.Plan, error) {
	is, err := direct(ctx, t)
	if err != nil {
		return remediate.Plan{}, err
	}
	p, err := plan(ctx, r)
	if err == nil {
		// A step works in a session of its own, which may be another than those that are
		// kept for reading.
		var c *pgx.Conn
		c, err = Open(ctx, t, Request{Database: r.Subject["database"], Application: "upkeep plans", Writes: writes})
		no, refused := remediate.Refused(err)
		switch {
		case err == nil:
			err = c.Close(ctx)
		case refused && no.Reason == remediate.ReasonReadOnly:
			p.Needs, err = append(p.Needs, no.Detail), nil // people see the whole plan all the same
		default:
			return remediate.Plan{}, err
		}
	}
	for i := range p.Steps {
		of := remediate.StepOf("", Server{System: is.System, Timeline: is.Timeline})
		if p.Steps[i].Args == nil {
			p.Steps[i].Args = make(map[string]string)
		}
		maps.Copy(p.Steps[i].Args, of.Args)
	}
	// With rights to act the missing rights come first, without them the reason why nothing would be done.
	if _, refused := remediate.Refused(err); err == nil || refused && len(p.Needs) > 0 && r.Mode != remediate.Observe {
		err = p.Missing()
	}
	return p, err
}

package rows

import (
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// PartRows is the part of a plan that moves rows one by one.
const PartRows = "rows"

// Args are the arguments of a step that moves rows.
type Args struct {
	session.Place
	session.Pacing

	Part string `arg:"part"` // of the plan

	FromSchema string `arg:"from_schema"`
	FromTable  string `arg:"from_table"`
	FromOID    int64  `arg:"from_oid"`
	ToSchema   string `arg:"to_schema,omitempty"`
	ToTable    string `arg:"to_table,omitempty"`
	ToOID      int64  `arg:"to_oid,omitempty"`

	Column  string `arg:"column"`
	Age     int64  `arg:"age,omitempty"` // in seconds, of rows that go; or
	Since   string `arg:"since,omitempty"`
	Until   string `arg:"until,omitempty"`
	Without string `arg:"without,omitempty"`

	Contract string `arg:"contract,omitempty"` // of all relations that the step relies on
	Wider    string `arg:"wider,omitempty"`    // who may read the destination and not the source
	Zone     string `arg:"zone,omitempty"`     // in which a column without a time zone is compared
}

// A Step is one with these arguments.
type Step = remediate.Typed[Args]

// Args is the movement as a step carries it. There is no moment in it that changes
// from one day to the next, so that the plan of tomorrow is that of today.
func (m Movement) Args(r remediate.Request, from, to Side) Args {
	args := Args{
		Place:  session.Place{Database: m.Database, Schema: r.Subject["schema"], Table: r.Subject["table"]},
		Pacing: session.PacingOf(r.Params), Part: PartRows,
		FromSchema: m.From.Schema, FromTable: m.From.Name, FromOID: from.OID, Column: m.Column,
	}
	if m.To != (Table{}) {
		args.ToSchema, args.ToTable, args.ToOID = m.To.Schema, m.To.Name, to.OID
	}
	if !m.Back {
		args.Age = int64(m.Age / time.Second)
		return args
	}
	args.Since, args.Until = m.Since.Format(time.RFC3339Nano), m.Until.Format(time.RFC3339Nano)
	args.Without = r.Params["without"]
	return args
}

// MovementOf reads the movement of a step.
func MovementOf(args Args) (m Movement, err error) {
	m = Movement{
		Database: args.Database, Column: args.Column,
		From: Table{args.FromSchema, args.FromTable}, To: Table{args.ToSchema, args.ToTable},
	}
	if args.Age < 0 {
		return m, fmt.Errorf("step: age %d: %w", args.Age, ErrUnknownStep)
	}
	if args.Age > 0 {
		m.Age = time.Duration(args.Age) * time.Second
		return m, nil
	}
	m.Back, m.Without = true, SplitNames(args.Without)
	m.Since, m.Until, err = Span(args.Since, args.Until)
	return m, err
}

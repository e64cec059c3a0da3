package postgres

import (
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// configured refuses a step that the configuration does not ask for any more: the
// table's archive is gone, or says another column, age or destination.
func (a moving) configured(step remediate.Step) error {
	s, err := remediate.ArgsOf[movingArgs](step)
	if err != nil {
		return err
	}
	refuse := func(format string, args ...any) error {
		return remediate.Refuse(remediate.ReasonConfiguration, "the archive of table %s in the configuration "+format+
			": plan again", append([]any{s.Table}, args...)...)
	}
	entry, err := entryOf(a.target, s.Place)
	switch {
	case err != nil:
		return refuse("is gone")
	case a.action == namePurge && !entry.Purge:
		return refuse("does not say purge any more")
	case a.action == nameArchive && entry.Purge:
		return refuse("says purge now, and the plan moves rows")
	case s.Part == partVacuum, s.Part == partAnalyze:
		return nil // whatever became of the rows, the table is kept well
	case s.Column != "" && s.Column != entry.Column:
		return refuse("goes by column %s now, and the plan by %s", entry.Column, s.Column)
	case s.Age != 0 && s.Age != int64(entry.After/time.Second):
		return refuse("says an age of %s seconds now, and the plan %d", rows.Seconds(entry.After), s.Age)
	}
	if was, is := s.archive(a.action), entrysPlace(entry); a.action != namePurge && was != is {
		return refuse("names the destination %s now, and the plan %s", is, was)
	}
	return nil
}

// The parts of a plan after the rows.
const (
	partVacuum  = "vacuum"
	partAnalyze = "analyze"
)

// movingArgs are the arguments of any step of a movement, as far as they say what the
// configuration asks for.
type movingArgs struct {
	session.Place

	Part       string `arg:"part"`
	Column     string `arg:"column,omitempty"`
	Age        int64  `arg:"age,omitempty"`
	Label      string `arg:"label,omitempty"`
	FromSchema string `arg:"from_schema,omitempty"`
	FromTable  string `arg:"from_table,omitempty"`
	ToSchema   string `arg:"to_schema,omitempty"`
	ToTable    string `arg:"to_table,omitempty"`
}

// archive names where a step has the archived rows, and entrysPlace where the
// configuration has them.
func (s movingArgs) archive(action string) string {
	if s.Label != "" {
		return s.Label
	}
	if action == nameRestore {
		return rows.Table{Schema: s.FromSchema, Name: s.FromTable}.String()
	}
	return rows.Table{Schema: s.ToSchema, Name: s.ToTable}.String()
}

func entrysPlace(entry target.Archive) string {
	if entry.To.Store != nil {
		return entry.To.Label
	}
	return rows.Table{Schema: entry.To.Schema, Name: entry.To.Table}.String()
}

// A moving carries movements out on one server.
type moving struct {
	target *target.Postgres
	action string
	now    func() time.Time // upkeep's clock; nil: that of the system
}

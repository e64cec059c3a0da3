package postgres

import (
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
)

// configured refuses a step that the configuration does not ask for any more: the
// table's archive is gone, or says another column, age or destination.
func (a moving) configured(s remediate.Step) error {
	refuse := func(format string, args ...any) error {
		return remediate.Refuse(remediate.ReasonConfiguration, "the archive of table %s in the configuration "+format+
			": plan again", append([]any{s.Args["table"]}, args...)...)
	}
	entry, err := entryOf(a.target, remediate.Request{Subject: s.Args})
	switch {
	case err != nil:
		return refuse("is gone")
	case a.action == namePurge && !entry.Purge:
		return refuse("does not say purge any more")
	case a.action == nameArchive && entry.Purge:
		return refuse("says purge now, and the plan moves rows")
	}
	switch s.Args["part"] {
	case "vacuum", "analyze":
		return nil // whatever became of the rows, the table is kept well
	}
	if s.Args["column"] != "" && s.Args["column"] != entry.Column {
		return refuse("goes by column %s now, and the plan by %s", entry.Column, s.Args["column"])
	}
	if age := s.Args["age"]; age != "" && age != rows.Seconds(entry.After) {
		return refuse("says an age of %s seconds now, and the plan %s", rows.Seconds(entry.After), age)
	}
	if was, is := stepsPlace(a.action, s), entrysPlace(entry); a.action != namePurge && was != is {
		return refuse("names the destination %s now, and the plan %s", is, was)
	}
	return nil
}

// stepsPlace names where a step has the archived rows, and entrysPlace where the
// configuration has them.
func stepsPlace(action string, s remediate.Step) string {
	if s.Args["label"] != "" {
		return s.Args["label"]
	}
	side := "to_"
	if action == nameRestore {
		side = "from_"
	}
	return rows.Table{Schema: s.Args[side+"schema"], Name: s.Args[side+"table"]}.String()
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

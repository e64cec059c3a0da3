package postgres

import (
	"github.com/ai-micro-service/upkeep/internal/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Configured implements remediate.Configurer.
func (a archive) Configured(r remediate.Request, s remediate.Step) error {
	return entryAsks(a.target, r, s, func(e target.Archive) bool { return !e.Purge })
}

// Configured implements remediate.Configurer.
func (a purge) Configured(r remediate.Request, s remediate.Step) error {
	return entryAsks(a.target, r, s, func(e target.Archive) bool { return e.Purge })
}

// Configured implements remediate.Configurer.
func (a restoreArchived) Configured(r remediate.Request, s remediate.Step) error {
	return entryAsks(a.target, r, s, func(e target.Archive) bool { return !e.Purge })
}

// entryAsks refuses a step that the archive of the configuration no longer asks for:
// its column, age and destination are those of the plan. What only tidies up after
// rows that went before does no harm whatever it says.
func entryAsks(t *target.Postgres, r remediate.Request, s remediate.Step, kind func(target.Archive) bool) error {
	switch s.Args["part"] {
	case "vacuum", "analyze":
		return nil
	}
	entry, err := entryOf(t, r)
	if err != nil {
		return remediate.Refuse(remediate.ReasonConfiguration, "the configuration has no archive of table %s any more", r.Subject["table"])
	}
	dest := place{entry.To.Schema, entry.To.Table}
	named := dest == place{s.Args["to_schema"], s.Args["to_table"]} || dest == place{s.Args["from_schema"], s.Args["from_table"]}
	switch {
	case !kind(entry):
		return remediate.Refuse(remediate.ReasonConfiguration, "the archive of table %s no longer asks for this: purge was put in or taken out", r.Subject["table"])
	case s.Args["column"] != "" && s.Args["column"] != entry.Column:
		return remediate.Refuse(remediate.ReasonConfiguration, "the archive of table %s goes by column %s now; the plan goes by %s", r.Subject["table"], entry.Column, s.Args["column"])
	case s.Args["age"] != "" && s.Args["age"] != seconds(entry.After):
		return remediate.Refuse(remediate.ReasonConfiguration, "the archive of table %s is for rows older than %s now; the plan is for %s seconds", r.Subject["table"], entry.After, s.Args["age"])
	case s.Args["label"] != entry.To.Label || entry.To.Store == nil && !named:
		return remediate.Refuse(remediate.ReasonConfiguration, "the archive of table %s has another destination now than in the plan", r.Subject["table"])
	}
	return nil
}

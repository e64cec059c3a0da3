package relation

import (
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/remediate"
)

// An Operation is what is done with the rows of a relation.
type Operation string

// The operations.
const (
	Insert Operation = "INSERT"
	Delete Operation = "DELETE"
	Update Operation = "UPDATE"
)

// Unfit returns a *remediate.Refusal with ReasonUnfit where an operation on the
// relation would do more or less than the statement says.
func (r Relation) Unfit(o Operation) error {
	unfit := func(format string, args ...any) error {
		return remediate.Refuse(remediate.ReasonUnfit, "%s "+format, append([]any{r.Name}, args...)...)
	}
	for _, l := range r.Lines {
		switch {
		case l.Kind == "table" && l.Mark == "f":
			return unfit("is a foreign table: no transaction holds both servers")
		case l.Kind == "table" && l.Mark == "t":
			return unfit("is a temporary table")
		case l.Kind == "table" && l.Mark == "secured":
			return unfit("has row security, which hides rows from the role: use the owner, or a role with BYPASSRLS")
		case l.Kind == "setting" && l.Mark != "origin":
			return unfit("cannot be worked on while session_replication_role is %s: foreign keys and triggers do "+
				"nothing then", l.Mark)
		case l.Kind == "trigger" && l.has("people") && l.has(string(o)) && !l.has("off"):
			return unfit("has the trigger %s for %s, which may do more than is planned: drop or disable it, or move "+
				"the rows by hand", l.Name, o)
		case l.Kind == "reference" && l.has("referred") && l.has("off") && o != Insert:
			return unfit("does not check the foreign key %s that refers to it, because its triggers are disabled: "+
				"alter table %s enable trigger all", l.Name, r.Name)
		case l.Kind == "rule" && l.has(string(o)) && !l.has("off"):
			return unfit("has the rule %s for %s, which may do something else instead", l.Name, o)
		case l.Kind == "publication" && l.has(string(o)) && o != Insert && r.marked("unnamed"):
			return unfit("is published in %s, which includes each %s, and has no replica identity, without which "+
				"they fail: give it a primary key or a replica identity", l.Name, o)
		case l.Kind == "publication" && l.has(string(o)) && o != Insert && l.has("filtered"):
			return unfit("is published in %s with a row filter on a column outside its replica identity, so that the "+
				"server refuses each %s: alter table %s replica identity full, or filter by the key", l.Name, o, r.Name)
		case l.Kind == "subscription" && o == Insert:
			return unfit("is filled by a logical subscription, which a row of ours could stop: disable the " +
				"subscription and take the table out of it first")
		case l.Kind == "extension":
			return unfit("belongs to the extension %s, which has rules of its own for its rows", l.Name)
		}
	}
	return nil
}

func (l Line) has(word string) bool {
	return slices.Contains(strings.Fields(l.Mark), word)
}

// marked reports whether a line of the table itself has a mark.
func (r Relation) marked(mark string) bool {
	return slices.ContainsFunc(r.Lines, func(l Line) bool { return l.Kind == "table" && l.Mark == mark })
}

// Kind is pg_class.relkind.
func (r Relation) Kind() string {
	i := slices.IndexFunc(r.Lines, func(l Line) bool { return l.Kind == "table" && l.Name == "kind" })
	if i < 0 {
		return ""
	}
	return r.Lines[i].Mark
}

// Unlogged reports whether a crash of the server empties the relation.
func (r Relation) Unlogged() bool {
	return slices.ContainsFunc(r.Lines, func(l Line) bool {
		return l.Kind == "table" && l.Name == "persistence" &&
			l.Mark == "u"
	})
}

// Publishes names the publications that say an operation to subscribers.
func (r Relation) Publishes(o Operation) (names []string) {
	for _, l := range r.Lines {
		if l.Kind == "publication" && l.has(string(o)) && !slices.Contains(names, l.Name) {
			names = append(names, l.Name)
		}
	}
	return names
}

// Subscribed reports whether a logical subscription fills the relation.
func (r Relation) Subscribed() bool {
	return slices.ContainsFunc(r.Lines, func(l Line) bool { return l.Kind == "subscription" })
}

// Lockable reports whether the role may lock the relation as a change of its rows
// does.
func (r Relation) Lockable() bool {
	may := func(names ...string) bool {
		return slices.ContainsFunc(r.Lines, func(l Line) bool {
			return l.Kind == "right" && slices.Contains(names, l.Name) && l.Text == "true"
		})
	}
	return may("USAGE of the schema") && may("INSERT", "UPDATE", "DELETE")
}

// Package rights writes what the rights of actions are as scripts for those who
// grant them: one for psql, and a line of Redis' access control list.
package rights

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Role is the name that upkeep has on its targets by default.
const Role = "upkeep"

// longestRole is how many bytes the name of a role may have: PostgreSQL cuts what
// is longer, and another role would get the rights.
const longestRole = 63

// A Kind is a kind of target that knows rights.
type Kind string

// The kinds of targets whose rights are written.
const (
	Postgres Kind = "postgres"
	Redis    Kind = "redis"
)

// Kinds lists the kinds.
func Kinds() []Kind { return []Kind{Postgres, Redis} }

// A Need is what one action, or monitoring, must be allowed.
type Need struct {
	By      string            `json:"by"` // the action, or "monitoring"
	Kind    Kind              `json:"kind"`
	Summary string            `json:"summary"`
	Rights  []remediate.Right `json:"rights"`
}

// Watching is the name of what the collectors and the guards need.
const Watching = "monitoring"

// watching are the rights of the collectors and guards of a kind. On PostgreSQL
// 13 there is no role that reads every table: there each schema is granted.
func watching(k Kind) Need {
	n := Need{By: Watching, Kind: k, Summary: "Collectors read, and guards ask how much room there is."}
	switch k {
	case Postgres:
		n.Rights = []remediate.Right{
			{Grant: `grant connect on database :"database" to :"role"`, For: "to be let in where PUBLIC is not"},
			{Grant: `grant pg_monitor to :"role"`,
				For: "other roles' sessions and statements, replicas, the folder of the log"},
			{Grant: `grant pg_read_all_data to :"role"`, Since: 14,
				For: "what ANALYZE found in tables, the last values of sequences, the ages of rows"},
			{Grant: `grant usage on schema :"schema" to :"role"`, Until: 13, For: "the same"},
			{Grant: `grant select on all tables in schema :"schema" to :"role"`, Until: 13, For: "the same"},
			{Grant: `grant select on all sequences in schema :"schema" to :"role"`, Until: 13, For: "the same"},
		}
	case Redis:
		for _, command := range []string{"+ping", "+info", "+slowlog|get", "+slowlog|len", "+latency|histogram",
			"+client|setname"} {
			n.Rights = append(n.Rights, remediate.Right{Grant: command, For: "the collectors"})
		}
	}
	return n
}

// Of returns what monitoring and the actions need on one kind of target, in the
// order of their names. Actions on other kinds are left out.
func Of(k Kind, actions []remediate.Action) []Need {
	needs := []Need{watching(k)}
	for _, a := range actions {
		if kind, _, _ := strings.Cut(a.Name, "/"); Kind(kind) != k {
			continue
		}
		summary, _, _ := strings.Cut(a.Doc, "\n\n")
		needs = append(needs, Need{By: a.Name, Kind: k, Summary: line(summary), Rights: a.Rights})
	}
	slices.SortStableFunc(needs[1:], func(a, b Need) int { return cmp.Compare(a.By, b.By) })
	return needs
}

// Check returns what is wrong with the name of a role for a kind of target, or nil.
func Check(k Kind, role string) error {
	switch {
	case role == "":
		return fmt.Errorf("the name of a role is empty")
	case !utf8.ValidString(role) || strings.ContainsRune(role, 0):
		return fmt.Errorf("the role %q has a byte that no name has", role)
	case k == Postgres && len(role) > longestRole:
		return fmt.Errorf("the role %q is longer than %d bytes: PostgreSQL would cut it, and grant to another", role,
			longestRole)
	case k == Redis && strings.ContainsFunc(role, func(r rune) bool {
		return r <= ' ' || r == 0x7f || r == '"' ||
			r == '\'' || r == '\\'
	}):
		return fmt.Errorf("the user %q has a blank, a quote or a backslash, which no access control list can hold",
			role)
	}
	return nil
}

// line makes one line of a text.
func line(s string) string { return strings.Join(strings.Fields(s), " ") }

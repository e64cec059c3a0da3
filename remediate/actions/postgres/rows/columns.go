package rows

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A Spare is a column of rows that come back which the table does not take: one
// that it has lost, or that it makes anew.
type Spare struct {
	Name string
	Same string // the condition that nothing of row t is lost by that
	Why  string // for people
}

// A fitting is how the columns of one table go into another's.
type fitting struct {
	names  []string // of the columns that are moved, in the order of the first table
	spares []Spare
}

// match returns the columns that are moved, by name and in the order of from, and
// refuses what would be lost, changed or rejected.
func match(m Movement, from, to []column) (f fitting, err error) {
	unfit := func(format string, args ...any) error {
		return remediate.Refuse(remediate.ReasonUnfit, "the columns of %s and %s do not fit: "+format,
			append([]any{m.From, m.To}, args...)...)
	}
	for _, c := range from {
		name := pgx.Identifier{c.Name}.Sanitize()
		i := slices.IndexFunc(to, func(d column) bool { return d.Name == c.Name })
		switch {
		case i < 0 && (c.Generated || m.Back && slices.Contains(m.Without, c.Name)):
			continue // made of the others; or the archive's own, as a person said
		case i < 0 && m.Back && constant(c.Expr):
			f.spares = append(f.spares, Spare{
				Name: name, Same: fmt.Sprintf("(t.%s is null or t.%s::text is not distinct from (%s)::text)", name,
					name, c.Expr),
				Why: fmt.Sprintf("the table has no column %s, and rows of the archive have another value in it than "+
					"its default", name),
			})
			continue
		case i < 0 && m.Back:
			return f, unfit("the second has no column %s, and what the first has in it would be lost: alter table %s "+
				"add column %s %s; or, if it is the archive's own, name it in the parameter without", name, m.To,
				name, c.Type)
		case i < 0:
			return f, unfit("the second has no column %s: alter table %s add column %s %s", name, m.To, name, c.Type)
		}
		d := to[i]
		switch {
		case d.Generated && m.Back && slices.Contains(m.Without, c.Name):
			continue // it is made anew, as a person said
		case d.Generated && c.Generated && d.Expr != c.Expr:
			return f, unfit("%s is generated as %s in the first and as %s in the second: its values would be others",
				name,
				c.Expr, d.Expr)
		case d.Generated && c.Generated:
			f.spares = append(f.spares, remade(c))
			continue
		case d.Generated && m.Back:
			f.spares = append(f.spares, Spare{
				Name: name, Same: fmt.Sprintf("t.%s::text is not distinct from (%s)::text", name, d.Expr),
				Why: fmt.Sprintf("the table generates column %s, and would make another value for rows of the "+
					"archive than they have", name),
			})
			continue
		case d.Generated:
			return f, unfit("%s is generated in the second, and what is in the first would be lost", name)
		case d.Type != c.Type:
			return f, unfit("%s is %s in the first and %s in the second: alter table %s alter column %s type %s",
				name, c.Type,
				d.Type, m.To, name, c.Type)
		case d.NotNull && !c.NotNull && !m.Back:
			return f, unfit("%s may be null in the first only: alter table %s alter column %s drop not null", name,
				m.To, name)
		}
		f.names = append(f.names, c.Name)
	}
	for _, d := range to {
		known := slices.ContainsFunc(from, func(c column) bool { return c.Name == d.Name })
		if !known && d.NotNull && !d.Default && !d.Generated && !d.Identity {
			return f, unfit("the second has the column %s beside them, which is NOT NULL and has no default",
				pgx.Identifier{d.Name}.Sanitize())
		}
	}
	if len(f.names) == 0 {
		return f, unfit("there is nothing to move")
	}
	return f, nil
}

// remade says of a stored generated column that nothing is lost when it is made anew:
// a function may be another by now. A virtual one is made anew at each look.
func remade(c column) Spare {
	name := pgx.Identifier{c.Name}.Sanitize()
	s := Spare{Name: name, Same: "true", Why: fmt.Sprintf("column %s is generated, and would be made anew with "+
		"another value than rows have", name)}
	if c.Stored {
		s.Same = fmt.Sprintf("t.%s::text is not distinct from (%s)::text", name, c.Expr)
	}
	return s
}

// constant reports whether a default is the same for every row: what the server
// writes for a literal, with or without a cast.
func constant(expr string) bool {
	literal := regexp.MustCompile(
		`^(?:'(?:[^'\\]|'')*'|\(?-?[0-9][0-9.]*\)?|true|false|NULL)(?:::[a-z_" ]+(?:\([0-9, ]+\))?(?:\[\])?)?$`)
	return literal.MatchString(expr)
}
